"""The judge finds what is planted: events that are lost, in disorder or not the user's, and wrong pictures."""

from bridge.bench.judge import History, Recorded, Verdict, judge_events, judge_picture, recorded
from bridge.bench.page import Reread, Seen

ANN, BOB, CAT = "ann", "bob", "cat"
JOURNAL = [
    Recorded(1, "dialogs", "INSERT", "d", "d", ANN, 1.0),
    Recorded(2, "dialog_participants", "INSERT", "d bob", "d", BOB, 2.0),
    Recorded(3, "messages", "INSERT", "m", "d", None, 3.0),
    Recorded(4, "dialog_participants", "DELETE", "d bob", "d", BOB, 4.0),
    Recorded(5, "messages", "INSERT", "n", "d", None, 5.5),
]


def verdict(
    user: str,
    *ids: str,
    rereads: tuple[Reread, ...] = (Reread("", "v-1"),),
    at: float = 9.0,
    dialog: str = "d",
    further: tuple[Recorded, ...] = (),
    until: int = 5,
) -> Verdict:
    found = Verdict()
    seen = [Seen(f"s-{id_}", dialog, at) for id_ in ids]
    judge_events(found, History([*JOURNAL, *further]), user, seen, rereads, until=until)
    return found


def test_who_was_always_there_gets_everything():
    """But for what came before, and what was read instead."""
    assert verdict(ANN, "3", "5").lost == 0
    assert verdict(ANN, "3").lost == 1
    assert "id=5" in verdict(ANN, "3").examples["lost"]
    assert verdict(ANN, "3", rereads=(Reread("", "v-1"), Reread("v-3", "v-5"))).lost == 0
    assert verdict(ANN, "5", rereads=(Reread("", "v-1"), Reread("v-3", "v-5"))).lost == 1
    assert verdict(ANN, "5", rereads=(Reread("", "v-1"), Reread("v-5.2", "v-5"))).lost == 0  # 3 was a hole
    assert verdict(ANN, rereads=()).lost == 1


def test_what_a_transaction_did_to_a_row_again_is_not_missed():
    """It is told once, as it was at the end; what came and went in it is not told at all."""
    twice = tuple(Recorded(id_, "messages", "UPDATE", "m", "d", None, 3.0, "7") for id_ in (6, 7))
    gone = tuple(
        Recorded(id_, "messages", action, "o", "d", None, 3.0, "7")
        for id_, action in ((8, "INSERT"), (9, "DELETE"))
    )
    for further, *ids in ((twice, "7"), (twice, "6", "7"), (gone,)):
        assert verdict(ANN, "3", "5", *ids, further=further, until=9).lost == 0
    assert verdict(ANN, "3", "5", "6", further=twice, until=9).lost == 1


def test_who_comes_and_goes_is_judged_by_the_picture():
    """What it should have been sent depends on moments."""
    assert verdict(BOB).lost == 0


def test_an_event_of_a_dialog_that_the_user_is_not_in_is_a_leak():
    """Not what was written while it was there, or before, until it left; a withdrawal is not."""
    assert verdict(BOB, "3").leaked == 0
    assert verdict(BOB, "5").leaked == 1
    assert verdict(CAT, "3").leaked == 1
    assert verdict(BOB, "4.0a0b0c0d").leaked == 0
    assert verdict(BOB, "3", at=0.5).leaked == 1  # before it was a member
    overtaken = Recorded(6, "messages", "INSERT", "o", "d", None, 3.9)  # its id is the later one
    assert verdict(BOB, "6", further=(overtaken,)).leaked == 0
    after = Recorded(6, "messages", "INSERT", "o", "d", None, 4.1)
    assert verdict(BOB, "6", further=(after,)).leaked == 1


def test_an_event_of_nothing_that_was_committed_is_a_leak():
    """Rolled back, or told of another dialog than its own, or because of another user's membership."""
    assert verdict(ANN, "3", "6").leaked == 1
    assert verdict(ANN, "3", dialog="e").leaked == 1
    assert verdict(BOB, "2.0a0b0c0d").leaked == 0
    assert verdict(ANN, "2.0a0b0c0d").leaked == 1
    assert verdict(BOB, "3.0a0b0c0d").leaked == 1


def test_changes_of_one_row_come_in_their_order():
    """Whoever is told: also who was not always there.  Those of different rows may come in any order."""
    edits = tuple(Recorded(id_, "messages", "UPDATE", "m", "d", None, 3.0) for id_ in (6, 7))
    assert verdict(ANN, "5", "3", "6", "7", further=edits).disordered == 0
    assert verdict(ANN, "3", "5", "7", "6", further=edits).disordered == 1
    assert verdict(ANN, "6", "7", "3", "5", further=edits).disordered == 1
    early = (Recorded(0, "messages", "INSERT", "m", "d", None, 0.5),)
    assert verdict(BOB, "3", "0", further=early).disordered == 1
    found = verdict(ANN, "3", "5", "7", "6", further=edits)
    assert found.failed
    assert "id=6" in found.examples["disordered"]


def test_a_picture_is_what_select_shows():
    """Missing or stale rows are lost, rows too many leaked."""
    found = Verdict()
    judge_picture(found, ANN, {"a": {"x": 1}, "b": {"x": 1}}, {"b": {"x": 2}, "c": {"x": 1}}, kind="message")
    assert (found.lost, found.leaked) == (2, 1)
    assert set(found.examples) == {"lost", "leaked"}


def test_rows_of_the_journal_are_read_by_their_table():
    """A dialog is of itself, everything else of its dialog."""
    rows = recorded(
        [
            (1, "public.dialogs", "INSERT", {"id": "d", "owner_id": ANN}, 1.0, ""),
            (2, "public.dialog_participants", "INSERT", {"dialog_id": "d", "user_id": BOB}, 2.0, ""),
            (3, "public.messages", "INSERT", {"id": "m", "dialog_id": "d"}, 3.0, ""),
        ]
    )
    assert rows == JOURNAL[:3]


def test_who_was_in_a_dialog_that_was_deleted_was_there_until_then():
    """Its owner too, and nothing more of it is theirs; what they missed meanwhile is gone with it."""
    gone = Recorded(6, "dialogs", "DELETE", "d", "d", ANN, 6.0)
    assert verdict(ANN, "3", "5", "6", further=(gone,)).failed is False
    assert verdict(ANN, "3", further=(gone,)).lost == 0
    late = Recorded(7, "messages", "INSERT", "p", "d", None, 7.0)
    assert verdict(ANN, "7", further=(gone, late)).leaked == 1
