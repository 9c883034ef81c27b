"""From decisions to the values that fan-out takes."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from bridge.authorization.plan import Plan
from bridge.events import Action, Change, Delivery, Principal, Row, RowEvent, View


class Shaper:
    """Builds events and deliveries.

    Args:
        keys: Primary keys of the watched tables.
        dialog_columns: Column that holds the dialog's id, by watched table.
    """

    def __init__(self, *, keys: Mapping[str, Sequence[str]], dialog_columns: Mapping[str, str]) -> None:
        self._keys = keys
        self._dialog_columns = dialog_columns

    def dialog_id(self, table: str, row: Mapping[str, Any] | None) -> str | None:
        """Return the id of the dialog that ``row`` belongs to, as text; None if to none, or not known."""
        column = self._dialog_columns.get(table)
        value = None if column is None or row is None else row.get(column)
        return None if value is None else str(value)

    def inserted(self, change: Change, row: Row) -> RowEvent:
        """Return the event of a new row, which has its primary key."""
        table = change.table
        column = self._dialog_columns.get(table)
        dialog = None if column is None else row.get(column)
        return RowEvent(
            table=table,
            new=row,
            old=None,
            key={column: row[column] for column in self._keys[table]},
            dialog_id=dialog if dialog is None or dialog.__class__ is str else str(dialog),
            dialog_column=column,
            commit_timestamp=change.commit_timestamp,
            received_s=change.received_s,
            id=f"{change.stream}-{change.id}",
        )

    def committed(self, change: Change, key: Row, old: Row | None) -> RowEvent:
        """Return the event of a change itself.

        Args:
            change: The change.
            key: The primary key before it: what a client knows the row by.
            old: What is known of the row before.
        """
        if change.action == "INSERT" and change.new is not None:
            return self.inserted(change, change.new)
        before = old if old is not None else change.old
        dialog = self.dialog_id(change.table, change.new if change.new is not None else before)
        old_dialog = self.dialog_id(change.table, before)
        return RowEvent(
            table=change.table,
            new=change.new,
            old=before,
            key=key,
            dialog_id=dialog,
            old_dialog_id=old_dialog if old_dialog != dialog else None,
            dialog_column=self._dialog_columns.get(change.table),
            commit_timestamp=change.commit_timestamp,
            received_s=change.received_s,
            id=f"{change.stream}-{change.id}",
        )

    def announcement(
        self, change: Change, plan: Plan, row: Row, action: Action, principals: Sequence[Principal]
    ) -> tuple[RowEvent, Delivery]:
        """Return the event of a row that came into sight of ``principals`` (INSERT) or left it (DELETE)."""
        key = {column: row[column] for column in self._keys[plan.table]}
        event = RowEvent(
            table=plan.table,
            new=row if action == "INSERT" else None,
            old=None if action == "INSERT" else key,
            key=key,
            dialog_id=self.dialog_id(plan.table, row),
            dialog_column=self._dialog_columns.get(plan.table),
            commit_timestamp=change.commit_timestamp,
            received_s=change.received_s,
            only=frozenset(p.user_id for p in principals),
            announced=action,
            id=f"{change.stream}-{change.id}.{_digest(plan.table, key, action)}",
        )
        return event, Delivery(view=View(action=action, columns=plan.columns), principals=tuple(principals))


def _digest(table: str, key: Mapping[str, Any], action: Action) -> str:
    """Return what tells the announcements of one change apart, in whatever order they are found."""
    return f"{zlib.crc32(repr((table, *key.values(), action)).encode()):08x}"


def views(
    before: Sequence[Principal], after: Sequence[Principal]
) -> list[tuple[Action, Sequence[Principal]]]:
    """Return what those who saw the row before and those who see it after experience."""
    if not before:
        return [("INSERT", after)]
    if not after:
        return [("DELETE", before)]
    if before == after:
        return [("UPDATE", after)]
    saw, sees = set(before), set(after)
    return [("UPDATE", list(saw & sees)), ("INSERT", list(sees - saw)), ("DELETE", list(saw - sees))]


def experience(*, saw_old: bool, sees_new: bool) -> Action | None:
    """Return what one user experiences of an UPDATE or DELETE; None if nothing."""
    match saw_old, sees_new:
        case True, True:
            return "UPDATE"
        case False, True:
            return "INSERT"
        case True, False:
            return "DELETE"
        case _:
            return None
