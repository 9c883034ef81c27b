"""Work of one client that may have to wait, one piece after the other."""

from collections import deque
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar

from bridge.logs import log_crash

Arguments = ParamSpec("Arguments")
Piece: TypeAlias = Coroutine[Any, Any, None]

MAX_PIECES = 16
"""Messages of one client that may wait for something slow (a key fetch, a replay)."""


class Owner(Protocol):
    """Whose work it is."""

    id: str

    def crash(self) -> None:
        """End the client: a piece of its work failed in a way that nobody expected."""


Owned = TypeVar("Owned", bound=Owner)


def ends_its_owner(
    call: Callable[Concatenate[Owned, Arguments], None],
) -> Callable[Concatenate[Owned, Arguments], None]:
    """Have what a client's method raises logged, and the client ended: the loop would only drop it."""

    @wraps(call)
    def guarded(owner: Owned, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            call(owner, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - a defect
            log_crash(error, connection_id=owner.id)
            owner.crash()

    return guarded


class Work:
    """Runs pieces in order, in a task that lives only while there are any.

    Args:
        spawn: Starts a task that somebody owns.
        owner: Told when a piece fails; the failure of one client's work must not end the others.
    """

    __slots__ = ("_owner", "_pieces", "_spawn")

    def __init__(self, spawn: Callable[[Piece], None], owner: Owner) -> None:
        self._owner = owner
        self._spawn = spawn
        self._pieces: deque[Piece] | None = None

    @property
    def is_idle(self) -> bool:
        """True while there is nothing to be done before what would come next."""
        return self._pieces is None

    @property
    def is_waiting(self) -> bool:
        """True while there is a piece that has not begun."""
        return bool(self._pieces)

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
            try:
                await self._pieces.popleft()
            except Exception as error:  # noqa: BLE001 - a defect; logged, and the client is ended
                log_crash(error, connection_id=self._owner.id)
                self.cancel()
                self._owner.crash()
        self._pieces = None
