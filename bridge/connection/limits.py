"""How many connections there may be, and how many messages on each."""

from collections import Counter

from bridge.errors import TooManyError
from bridge.events import Principal

MESSAGES_PER_S = 20.0
MESSAGES_AT_ONCE = 60.0


class Connections:
    """Counts connections, in all and of each user.

    Args:
        limit: Most of them in all.
        limit_per_user: Most of them of one user.
    """

    def __init__(self, *, limit: int, limit_per_user: int) -> None:
        self._limit = limit
        self._limit_per_user = limit_per_user
        self._count = 0
        self._of_user: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._count

    def enter(self) -> None:
        """Count one more connection.

        Raises:
            TooManyError: there are as many as there may be.
        """
        if self._count >= self._limit:
            raise TooManyError(f"the server has {self._limit} connections: try again later, on another node")
        self._count += 1

    def leave(self) -> None:
        """Count one connection less."""
        self._count -= 1

    def enter_user(self, principal: Principal) -> None:
        """Count one more connection of a signed-in user; anonymous ones are not told apart.

        Raises:
            TooManyError: the user has as many as there may be.
        """
        user = principal.user_id
        if user is None:
            return
        if self._of_user[user] >= self._limit_per_user:
            raise TooManyError(f"this user has {self._limit_per_user} connections: close one first")
        self._of_user[user] += 1

    def leave_user(self, principal: Principal) -> None:
        """Count one connection of the user less."""
        user = principal.user_id
        if user is None:
            return
        self._of_user[user] -= 1
        if self._of_user[user] <= 0:
            del self._of_user[user]


class MessageRate:
    """A token bucket: so many messages at once, and so many a second in the long run."""

    __slots__ = ("_at_s", "_left")

    def __init__(self, now_s: float) -> None:
        self._left = MESSAGES_AT_ONCE
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Count one message; False if it is one too many."""
        self._left = min(MESSAGES_AT_ONCE, self._left + (now_s - self._at_s) * MESSAGES_PER_S)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
