"""A transport that keeps what is written to it."""

import asyncio


class Transport(asyncio.Transport):
    """A stream transport without a stream.

    Attributes:
        writes: What was written, call by call.
        unread_bytes: What it says that it holds.
        ended: ``eof``, ``closed`` or ``aborted``, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.unread_bytes = 0
        self.ended: list[str] = []

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def write(self, data: bytes) -> None:  # type: ignore[override]
        self.writes.append(bytes(data))

    def write_eof(self) -> None:
        self.ended.append("eof")

    def close(self) -> None:
        self.ended.append("closed")

    def abort(self) -> None:
        self.ended.append("aborted")

    def is_closing(self) -> bool:
        return "closed" in self.ended or "aborted" in self.ended

    def get_write_buffer_size(self) -> int:
        return self.unread_bytes
