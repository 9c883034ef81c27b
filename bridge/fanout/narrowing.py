"""What a client experiences that does not want all dialogs."""

import msgspec

from bridge.events import RowEvent, View


def heard_live(dialogs: frozenset[str] | None) -> frozenset[str | None] | None:
    """Return the dialogs whose events a subscriber gets: rows that belong to none come to everybody."""
    return None if dialogs is None else dialogs | {None}


def after_leaving(view: View) -> View | None:
    """Return what a client experiences that was told, live, that the row had left its dialogs."""
    return None if view.action == "DELETE" else msgspec.structs.replace(view, action="INSERT")


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
