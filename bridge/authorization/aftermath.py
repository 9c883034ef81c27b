"""Who still sees a row when the transaction that changed it has ended."""

from collections.abc import Mapping, Sequence

from bridge.authorization.experience import Deliver, Effect
from bridge.authorization.plan import Plan
from bridge.authorization.undecided import UndecidedError
from bridge.events import Delivery, Principal, Row, View


def still_seen(effects: Sequence[Effect], plans_of: Mapping[str, Mapping[str, Plan]]) -> list[Effect]:
    """Return ``effects`` without what would be shown to somebody from whom the same transaction took the row.

    They were told, or are by a later change of the transaction, that the row is gone, or to read again.
    A row that moved from where they still see it to where they do not is withdrawn: that a dialog leaves
    tells of the messages that they have in it, and they have this one in another.

    Args:
        effects: Of one change, decided as of that change.
        plans_of: Plans by role, by table, over the look-up rows as of the end of the transaction.
    """
    return [_still(effect, plans_of) if isinstance(effect, Deliver) else effect for effect in effects]


def _still(effect: Deliver, plans_of: Mapping[str, Mapping[str, Plan]]) -> Deliver:
    plans = plans_of.get(effect.event.table, {})
    rest = []
    for delivery in effect.deliveries:
        view, some = delivery.view, delivery.principals
        if view.action != "DELETE":
            here = [p for p in some if p.role in plans]
            some = [p for p in here if _sees(plans[p.role], effect.event.new, p)]
            if view.action == "UPDATE" and len(some) < len(here):
                left = set(here).difference(some)
                moved = [p for p in here if p in left and _has(plans[p.role], effect.event.old, p)]
                if moved:
                    withdrawn = View(action="DELETE", columns=view.columns)
                    rest.append(Delivery(view=withdrawn, principals=moved))
        if some:
            rest.append(Delivery(view=view, principals=some))
    return Deliver(effect.event, tuple(rest))


def _sees(plan: Plan, row: Row | None, principal: Principal) -> bool:
    try:
        return row is None or plan.visible(row, principal)
    except UndecidedError:
        return True  # Postgres has been asked, and it knows no state between two statements


def _has(plan: Plan, row: Row | None, principal: Principal) -> bool:
    """True if they saw the row before the change, and nothing of the transaction hid it as it was."""
    return row is not None and plan.row_columns <= row.keys() and _sees(plan, row, principal)
