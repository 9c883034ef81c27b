"""Holds what pages were sent against the journal, and what they have against the database."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from bridge.bench.page import Reread, Seen
from bridge.bench.reader import Rows
from bridge.position import Position

AT_ONCE_S = 0.005
"""Two transactions that end at the same moment are visible in either order: their times do not tell."""


class Recorded(msgspec.Struct, frozen=True):
    """A row of the journal.

    Attributes:
        id: Its id.
        table: ``dialogs``, ``messages`` or ``dialog_participants``.
        action: INSERT, UPDATE or DELETE.
        dialog: The dialog that it is of.
        user: The owner of a dialog, or the user of a membership.
        at: When it was committed, in seconds since 1970.  Ids are handed out before that, so that who was
            in a dialog when is told by this alone.
    """

    id: int
    table: str
    action: str
    dialog: str
    user: str | None
    at: float


class Verdict(msgspec.Struct):
    """What was wrong, with an example of each kind."""

    lost: int = 0
    duplicated: int = 0
    leaked: int = 0
    examples: dict[str, str] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one."""
        setattr(self, kind, getattr(self, kind) + 1)
        self.examples.setdefault(kind, example)


class Stay(msgspec.Struct):
    """A time in which a user was in a dialog.

    Attributes:
        first: The row of the journal that began it.
        since: When that was committed.
        until: When its end was committed; None if it has none.
    """

    first: int
    since: float
    until: float | None = None


class History:
    """Who was in which dialog when, from the whole journal.

    Args:
        journal: All of its rows, by id.
    """

    def __init__(self, journal: Sequence[Recorded]) -> None:
        self.journal = journal
        self.stays: dict[tuple[str, str], list[Stay]] = {}
        self.changed: set[tuple[str, str]] = set()
        """Memberships that came or went."""
        for row in journal:
            if row.user is None:
                continue
            key = (row.user, row.dialog)
            stays = self.stays.setdefault(key, [])
            if row.table == "dialogs":
                if not stays or stays[-1].until is not None:
                    stays.append(Stay(row.id, row.at))
            elif row.action == "INSERT":
                self.changed.add(key)
                stays.append(Stay(row.id, row.at))
            elif row.action == "DELETE":
                self.changed.add(key)
                for stay in reversed(stays):
                    if stay.until is None:
                        stay.until = row.at
                        break
        self._at = {row.id: row.at for row in journal}

    def may_have(self, user: str, seen: Seen, id_: int) -> bool:
        """True if ``user`` was in the dialog when the row was committed, or later, until it was sent."""
        committed = self._at[id_]
        return any(
            stay.since <= seen.at + AT_ONCE_S and (stay.until is None or stay.until >= committed - AT_ONCE_S)
            for stay in self.stays.get((user, seen.dialog or ""), ())
        )


def judge_events(
    verdict: Verdict,
    history: History,
    user: str,
    seen: Sequence[Seen],
    rereads: Iterable[Reread],
    *,
    until: int,
) -> None:
    """Judge what a page was sent: nothing but its user's, and all of the dialogs that it never left."""
    got = set()
    for one in seen:
        number, _, part = one.id.partition("-")[2].partition(".")
        if not part:
            got.add(int(number))
        if not history.may_have(user, one, int(number)):
            stays = history.stays.get((user, one.dialog or ""))
            verdict.add("leaked", f"{user} was sent {one}, and was there {stays}")
    first: Position | None = None
    excused: list[tuple[Position, Position]] = []
    for reread in rereads:
        after = _position(reread.after)
        if first is None:
            first = after
        excused.append((_position(reread.before), after))
    if first is None:
        verdict.add("lost", f"{user} was never told where it stands")
        return
    for row in history.journal:
        if row.id in got or row.id in first or row.id > until or row.table == "dialog_participants":
            continue
        stays = history.stays.get((user, row.dialog))
        if not stays or (user, row.dialog) in history.changed or row.id < stays[0].first:
            continue
        if not any(row.id in after and row.id not in before for before, after in excused):
            verdict.add("lost", f"{user} was not sent {row}")


def judge_picture(verdict: Verdict, user: str, has: Rows, sees: Rows, *, kind: str) -> None:
    """Judge what a page has: what its user sees, and nothing else."""
    for key in has.keys() | sees.keys():
        if key not in has:
            verdict.add("lost", f"{user} lacks {kind} {sees[key]}")
        elif key not in sees:
            verdict.add("leaked", f"{user} still has {kind} {has[key]}")
        elif has[key] != sees[key]:
            verdict.add("lost", f"{user} has {kind} {has[key]}, which is {sees[key]}")


def _position(cursor: str) -> Position:
    return Position.parse(cursor.partition("-")[2]) or Position(0)


def recorded(rows: Iterable[tuple[int, str, str, Mapping[str, str], float]]) -> list[Recorded]:
    """Return rows of the journal by what they say."""
    found = []
    for id_, relation, action, record, at in rows:
        table = relation.partition(".")[2]
        dialog = record["id"] if table == "dialogs" else record["dialog_id"]
        user = {"dialogs": record.get("owner_id"), "dialog_participants": record.get("user_id")}.get(table)
        found.append(Recorded(id_, table, action, dialog, user, at))
    return found
