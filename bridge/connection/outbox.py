"""What waits to be written to one client: bounded, and written in one call."""

import asyncio


class Outbox:
    """Frames of one connection.

    Args:
        limit_bytes: What may wait, here and in the transport.
    """

    __slots__ = ("_frames", "_limit_bytes", "_waiting_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._frames: list[bytes] = []
        self._waiting_bytes = 0
        self._limit_bytes = limit_bytes

    def __len__(self) -> int:
        return len(self._frames)

    def offer(self, frame: bytes) -> bool:
        """Queue ``frame``; False once this client has become a slow consumer."""
        self._frames.append(frame)
        self._waiting_bytes += len(frame)
        return self._waiting_bytes <= self._limit_bytes

    def flush(self, transport: asyncio.Transport) -> bool:
        """Write everything in one call; False if the client has become a slow consumer."""
        frames = self._frames
        if frames:
            self._frames, self._waiting_bytes = [], 0
            transport.write(frames[0] if len(frames) == 1 else b"".join(frames))
        return transport.get_write_buffer_size() <= self._limit_bytes

    def clear(self) -> None:
        """Forget what waits: the client will resume."""
        self._frames, self._waiting_bytes = [], 0

    def pending_bytes(self, transport: asyncio.Transport | None) -> int:
        """Return what waits, here and in the transport."""
        return self._waiting_bytes + (0 if transport is None else transport.get_write_buffer_size())
