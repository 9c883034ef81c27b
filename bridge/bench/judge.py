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
        key: Primary key of the row.
        dialog: The dialog that it is of.
        user: The owner of a dialog, or the user of a membership.
        at: When it was committed, in seconds since 1970.  Ids are handed out before that, so that who was
            in a dialog when is told by this alone.
        txid: The transaction that wrote it.
    """

    id: int
    table: str
    action: str
    key: str
    dialog: str
    user: str | None
    at: float
    txid: str = ""


class Verdict(msgspec.Struct):
    """What was wrong, with an example of each kind."""

    lost: int = 0
    duplicated: int = 0
    leaked: int = 0
    disordered: int = 0
    examples: dict[str, str] = {}

    @property
    def failed(self) -> bool:
        """True if anything was wrong."""
        return bool(self.lost or self.duplicated or self.leaked or self.disordered)

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
        self.by_id = {row.id: row for row in journal}
        self.stays: dict[tuple[str, str], list[Stay]] = {}
        self.changed: set[tuple[str, str]] = set()
        """Memberships that came or went."""
        self.merged: set[int] = set()
        """What the same transaction did to the same row again, or undid: it is told as it was at the end."""
        first: dict[tuple[str, str, str], Recorded] = {}
        latest: dict[tuple[str, str, str], int] = {}
        for row in journal:
            place = (row.txid, row.table, row.key)
            if row.txid and place in latest:
                self.merged.add(latest[place])
                if (first[place].action, row.action) == ("INSERT", "DELETE"):
                    self.merged.add(row.id)
            first.setdefault(place, row)
            latest[place] = row.id
            if row.user is None:
                continue
            key = (row.user, row.dialog)
            stays = self.stays.setdefault(key, [])
            if row.table == "dialogs" and row.action == "DELETE":
                self._end_all(row)
            elif row.table == "dialogs":
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

    def _end_all(self, row: Recorded) -> None:
        """End every stay in a dialog that was deleted."""
        for (user, dialog), stays in self.stays.items():
            if dialog == row.dialog:
                self.changed.add((user, dialog))
                for stay in stays:
                    stay.until = row.at if stay.until is None else stay.until

    def may_have(self, user: str, seen: Seen, id_: int, part: str) -> bool:
        """True if ``user`` may have been sent this.

        An event is of a row of the journal, and of its dialog: nobody may have what was rolled back, or what
        is told of another dialog.  Parts tell what a row did to who is in the dialog, and go to that user.
        And ``user`` was in the dialog when the row was committed, or later, until the event was sent.
        """
        row = self.by_id.get(id_)
        if row is None or row.dialog != seen.dialog or (part and row.user != user):
            return False
        return any(
            stay.since <= seen.at + AT_ONCE_S and (stay.until is None or stay.until >= row.at - AT_ONCE_S)
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
    """Judge what a page was sent: its user's only, in order, and all of the dialogs that it never left."""
    got: set[int] = set()
    latest: dict[tuple[str, str], int] = {}
    for one in seen:
        number, _, part = one.id.partition("-")[2].partition(".")
        id_ = int(number)
        if not history.may_have(user, one, id_, part):
            stays = history.stays.get((user, one.dialog or ""))
            verdict.add(
                "leaked",
                f"{user} was sent {one}, which is of {history.by_id.get(id_)}, and was there {stays}",
            )
        elif not part:
            # Changes of one row wait for each other, so their ids rise; those of different rows need not.
            got.add(id_)
            row = history.by_id[id_]
            before = latest.setdefault((row.table, row.key), id_)
            if id_ < before:
                verdict.add("disordered", f"{user} was sent {row} after {history.by_id[before]}")
            latest[row.table, row.key] = max(before, id_)
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
        if row.id in history.merged:
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


def recorded(rows: Iterable[tuple[int, str, str, Mapping[str, str], float, str]]) -> list[Recorded]:
    """Return rows of the journal by what they say."""
    found = []
    for id_, relation, action, record, at, txid in rows:
        table = relation.partition(".")[2]
        is_membership = table == "dialog_participants"
        dialog = record["id"] if table == "dialogs" else record["dialog_id"]
        key = f"{dialog} {record['user_id']}" if is_membership else record["id"]
        user = {"dialogs": record.get("owner_id"), "dialog_participants": record.get("user_id")}.get(table)
        found.append(Recorded(id_, table, action, key, dialog, user, at, txid))
    return found
