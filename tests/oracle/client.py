"""A client that believes what it is told: it must end up with what ``select`` answers."""

from collections.abc import Mapping, Sequence

from bridge.authorization.authorizer import Deliver, Effect, Resync
from bridge.events import Delivery, Principal, Row, RowEvent

Key = tuple[object, ...]


class Client:
    """The rows that one principal knows, by table and primary key; whole, also where it may read less.

    Args:
        principal: Whose.
        keys: Primary keys by table.
        dialog_table: The table whose rows are the dialogs.
        dialog_columns: Column that holds the dialog's id, by table.
    """

    def __init__(
        self,
        principal: Principal,
        *,
        keys: Mapping[str, Sequence[str]],
        dialog_table: str,
        dialog_columns: Mapping[str, str],
    ) -> None:
        self.principal = principal
        self.rows: dict[str, dict[Key, Row]] = {table: {} for table in keys}
        self._keys = keys
        self._dialog_table = dialog_table
        self.dialog_columns = dialog_columns

    def read(self, rows: Mapping[str, Mapping[Key, Row]]) -> None:
        """Read everything again, as at the start and on ``resync``."""
        self.rows = {table: dict(found) for table, found in rows.items()}

    def receive(self, effects: Sequence[Effect], now: Mapping[str, Mapping[Key, Row]]) -> list[str]:
        """Apply what this principal is told, and return what it told the client wrongly.

        Args:
            effects: What one change caused, in order.
            now: What the client gets when it reads, after the change.
        """
        wrong: list[str] = []
        moved: set[object] = set()
        resync = False
        for effect in effects:
            if isinstance(effect, Resync):
                resync = resync or self.principal in effect.principals
            if not isinstance(effect, Deliver):
                continue
            for delivery in effect.deliveries:
                if self.principal in delivery.principals:
                    wrong += self._apply(effect.event, delivery)
                    if effect.event.table == self._dialog_table and delivery.view.action != "UPDATE":
                        moved.add(effect.event.dialog_id)
        if resync:
            self.read(now)
        for dialog in moved:
            self._read_dialog(dialog, now)
        return wrong

    def _apply(self, event: RowEvent, delivery: Delivery) -> list[str]:
        known, key = self.rows[event.table], self._keys[event.table]
        action = delivery.view.action
        gone = tuple(event.key[column] for column in key)
        if action == "DELETE":
            return [] if known.pop(gone, None) is not None else [f"DELETE of {gone}, which it never saw"]
        assert event.new is not None
        here = tuple(event.new[column] for column in key)
        wrong = []
        if action == "INSERT" and here in known:
            wrong.append(f"INSERT of {here}, which it has")
        if action == "UPDATE":
            if event.old is not None:
                gone = tuple(event.old[column] for column in key)
            if known.pop(gone, None) is None:
                wrong.append(f"UPDATE of {gone}, which it never saw")
        known[here] = event.new
        return wrong

    def _read_dialog(self, dialog: object, now: Mapping[str, Mapping[Key, Row]]) -> None:
        """Read the rows of a dialog that came into sight or left it."""
        for table, column in self.dialog_columns.items():
            if table == self._dialog_table:
                continue
            known = self.rows[table]
            for rows in (known, now[table]):
                for key, row in list(rows.items()):
                    if str(row.get(column)) == dialog:
                        if key in now[table]:
                            known[key] = now[table][key]
                        else:
                            known.pop(key, None)
