"""Who still sees a row when the transaction that changed it has ended."""

from collections.abc import Mapping, Sequence

from bridge.authorization.experience import Deliver, Effect
from bridge.authorization.plan import Plan
from bridge.authorization.undecided import UndecidedError
from bridge.events import Delivery, Principal, RowEvent


def still_seen(effects: Sequence[Effect], plans_of: Mapping[str, Mapping[str, Plan]]) -> list[Effect]:
    """Return ``effects`` without what would be shown to somebody from whom the same transaction took the row.

    They were told, or are by a later change of the transaction, that the row is gone, or to read again.

    Args:
        effects: Of one change, decided as of that change.
        plans_of: Plans by role, by table, over the look-up rows as of the end of the transaction.
    """
    return [_still(effect, plans_of) if isinstance(effect, Deliver) else effect for effect in effects]


def _still(effect: Deliver, plans_of: Mapping[str, Mapping[str, Plan]]) -> Deliver:
    plans = plans_of.get(effect.event.table, {})
    rest = []
    for delivery in effect.deliveries:
        some = delivery.principals
        if delivery.view.action != "DELETE":
            some = [p for p in some if p.role in plans and _sees(plans[p.role], effect.event, p)]
        if some:
            rest.append(Delivery(view=delivery.view, principals=some))
    return Deliver(effect.event, tuple(rest))


def _sees(plan: Plan, event: RowEvent, principal: Principal) -> bool:
    try:
        return event.new is None or plan.visible(event.new, principal)
    except UndecidedError:
        return True  # Postgres has been asked, and it knows no state between two statements
