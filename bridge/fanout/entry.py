"""What the history keeps at one place of the stream."""

import msgspec

from bridge.events import Principal, RowEvent


class Reread(msgspec.Struct, frozen=True):
    """Whose sight of rows changed in a way that no event tells them.

    Attributes:
        role: Their role.
        users: Their ids; None for everybody with this role.
        told: Those who have been here since this moment, or longer, were told; None if nobody was.
        late: True if it is of changes that have been sent before, so that no cursor tells who knows it.
    """

    role: str
    users: frozenset[str | None] | None
    told: int | None
    late: bool = False

    def concerns(self, principal: Principal, here_since: int) -> bool:
        """True if ``principal`` has to read again, having been here since then."""
        if self.told is not None and here_since <= self.told:
            return False
        return principal.role == self.role and (self.users is None or principal.user_id in self.users)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What was sent, or could not be, at one place of the stream, and what it costs to keep.

    Attributes:
        id: The change that it is of.
        passed: The largest id until then.
        position: The changes that have been passed with it, as text.
        cursor: What a client has that has seen it and all before it.
        what: The event, or who has to read again.
        moment: Its place in the order in which it was sent.
    """

    id: int
    passed: int
    position: str
    cursor: str
    what: RowEvent | Reread
    at_s: float
    size_bytes: int
    moment: int
