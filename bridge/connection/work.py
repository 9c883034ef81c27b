"""Work of one client that may have to wait, one piece after the other."""

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

Piece: TypeAlias = Coroutine[Any, Any, None]

MAX_PIECES = 16
"""Messages of one client that may wait for something slow (a key fetch, a replay)."""


class Work:
    """Runs pieces in order, in a task that lives only while there are any.

    Args:
        spawn: Starts a task that somebody owns.
    """

    __slots__ = ("_pieces", "_spawn")

    def __init__(self, spawn: Callable[[Piece], None]) -> None:
        self._spawn = spawn
        self._pieces: deque[Piece] | None = None

    def add(self, piece: Piece) -> bool:
        """Run ``piece`` after what was added before; False if too much waits, and it will not run."""
        if self._pieces is None:
            self._pieces = deque([piece])
            self._spawn(self._run())
        elif len(self._pieces) >= MAX_PIECES:
            piece.close()
            return False
        else:
            self._pieces.append(piece)
        return True

    def cancel(self) -> None:
        """Drop what has not begun."""
        while self._pieces:
            self._pieces.pop().close()

    async def _run(self) -> None:
        while self._pieces:
            await self._pieces.popleft()
        self._pieces = None
