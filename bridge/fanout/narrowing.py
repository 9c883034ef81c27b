"""What a client experiences that does not want all dialogs."""

from collections.abc import Sequence

import msgspec

from bridge.events import RowEvent, View


def heard_live(dialogs: frozenset[str] | None) -> frozenset[str | None] | None:
    """Return the dialogs whose events a subscriber gets: rows that belong to none come to everybody."""
    return None if dialogs is None else dialogs | {None}


def after_leaving(view: View) -> View | None:
    """Return what a client experiences that was told, live, that the row had left its dialogs."""
    return None if view.action == "DELETE" else msgspec.structs.replace(view, action="INSERT")


def since_arrival(
    missed: Sequence[tuple[str, RowEvent]], dialog_table: str
) -> Sequence[tuple[str, RowEvent]]:
    """Return what somebody missed, without what was in a dialog before it came into their sight.

    Of that they see what is left of it, which they read when the dialog arrives, and not what was changed or
    deleted before.  A row that moved there stays in: it has left another dialog.
    """
    arrived = {
        event.dialog_id: place
        for place, (_, event) in enumerate(missed)
        if event.announced == "INSERT" and event.table == dialog_table
    }
    if not arrived:
        return missed
    return [
        one
        for place, one in enumerate(missed)
        if place >= arrived.get(one[1].dialog_id, 0) or one[1].old_dialog_id is not None
    ]


def narrowed(wanted: frozenset[str] | None, event: RowEvent, view: View) -> View | None:
    """Return what a client experiences that wants these dialogs only (None: all); None if nothing."""
    if wanted is None or event.dialog_id is None:
        return view
    if event.old_dialog_id is None or view.action == "INSERT":
        return view if event.dialog_id in wanted else None
    left = event.old_dialog_id in wanted
    if view.action == "DELETE":
        return view if left else None
    match left, event.dialog_id in wanted:
        case True, True:
            return view
        case False, True:
            return msgspec.structs.replace(view, action="INSERT")
        case True, False:
            return msgspec.structs.replace(view, action="DELETE")
        case _:
            return None
