"""What waits to be written to one client: bounded, and written in one call."""

import asyncio


class Outbox:
    """Frames of one connection.

    A flusher appends to :attr:`frames` by itself, and keeps count of that.  A single frame may be larger than
    the limit.  Were it not, the event of one large row would cut off everybody who sees it, and again each
    time they resume.

    Args:
        limit_bytes: What may wait, here and in the transport, beside one such frame.
    """

    __slots__ = ("_oversize_bytes", "frames", "limit_bytes", "waiting_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.frames: list[bytes] = []
        """What waits, in order."""
        self.waiting_bytes = 0
        """What of it was offered."""
        self.limit_bytes = limit_bytes
        self._oversize_bytes = 0
        """Size of a frame above the limit that may not have been read yet."""

    def __len__(self) -> int:
        return len(self.frames)

    def offer(self, frame: bytes) -> bool:
        """Queue ``frame``; False once this client has become a slow consumer."""
        self.frames.append(frame)
        self.waiting_bytes += len(frame)
        self._note_oversize(len(frame))
        return self.waiting_bytes <= self.limit_bytes + self._oversize_bytes

    def _note_oversize(self, size_bytes: int) -> None:
        if size_bytes > self.limit_bytes:
            self._oversize_bytes = max(self._oversize_bytes, size_bytes)

    def flush(self, transport: asyncio.Transport) -> bool:
        """Write everything in one call; False if the client has become a slow consumer."""
        frames = self.frames
        if frames:
            try:
                data = frames[0] if len(frames) == 1 else b"".join(frames)
                if len(data) > self.limit_bytes:
                    self._note_oversize(max(map(len, frames)))
                transport.write(data)
            finally:  # what cannot be written must not keep a close from it, too
                frames.clear()
                self.waiting_bytes = 0
        unread_bytes = transport.get_write_buffer_size()
        if unread_bytes <= self.limit_bytes:
            self._oversize_bytes = 0
            return True
        return unread_bytes <= self.limit_bytes + self._oversize_bytes

    def is_overfull(self, transport: asyncio.Transport | None) -> bool:
        """Return whether more waits, here and in the transport, than may."""
        return self.pending_bytes(transport) > self.limit_bytes + self._oversize_bytes

    def clear(self) -> None:
        """Forget what waits: the client will resume."""
        self.frames.clear()
        self.waiting_bytes = self._oversize_bytes = 0

    def pending_bytes(self, transport: asyncio.Transport | None) -> int:
        """Return what waits, here and in the transport."""
        return self.waiting_bytes + (0 if transport is None else transport.get_write_buffer_size())
