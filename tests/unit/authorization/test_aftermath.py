"""Who is shown a row that was theirs for a part of a transaction."""

from bridge.authorization import Deliver, Resync
from bridge.authorization.aftermath import still_seen
from bridge.events import Delivery, RowEvent, View
from tests.support.catalogs import ANN, BOB, planset, table, user

PLANS = planset(table("notes", "id int, owner_id uuid", "(owner_id = auth.uid())"), watched=["notes"])
PLANS_OF = {"public.notes": {plan.role: plan for plan in PLANS.plans.values()}}


def test_a_row_is_shown_only_to_who_sees_it_at_the_end():
    """What withdraws a row goes to everybody it was meant for, and so does a request to read again."""
    ann, bob = user(ANN), user(BOB)
    event = RowEvent(
        table="public.notes",
        new={"id": 1, "owner_id": ANN},
        old=None,
        key={"id": 1},
        dialog_id=None,
        commit_timestamp="t",
        received_s=0,
    )
    shown = Delivery(view=View(action="UPDATE", columns=None), principals=[ann, bob])
    withdrawn = Delivery(view=View(action="DELETE", columns=None), principals=[ann, bob])
    again = Resync((bob,))
    rest, unchanged = still_seen([Deliver(event, (shown, withdrawn)), again], PLANS_OF)
    assert isinstance(rest, Deliver)
    assert [list(d.principals) for d in rest.deliveries] == [[ann], [ann, bob]]
    assert unchanged is again


def test_a_row_that_moved_to_where_it_is_not_seen_any_more_is_withdrawn():
    """Only from those who still have it where it was: the others lost that, too."""
    ann, bob = user(ANN), user(BOB)
    event = RowEvent(
        table="public.notes",
        new={"id": 1, "owner_id": None},
        old={"id": 1, "owner_id": ANN},
        key={"id": 1},
        dialog_id=None,
        commit_timestamp="t",
        received_s=0,
    )
    shown = Delivery(view=View(action="UPDATE", columns=frozenset({"id"})), principals=[ann, bob])
    (rest,) = still_seen([Deliver(event, (shown,))], PLANS_OF)
    assert isinstance(rest, Deliver)
    assert [(d.view.action, d.view.columns, list(d.principals)) for d in rest.deliveries] == [
        ("DELETE", frozenset({"id"}), [ann])
    ]
