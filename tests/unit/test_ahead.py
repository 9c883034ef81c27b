"""What was taken and put back comes before what the source has."""

import msgspec

from bridge.ahead import Ahead
from bridge.events import Change, Gap, Live, Paused
from tests.support.pipeline import Script, insert


def ahead(*events: Change | Live) -> Ahead:
    source = Script()
    source.tell(*events)
    return Ahead(source)


async def test_what_is_put_back_comes_first_and_in_order():
    """Both to who waits and to who takes what is there."""
    one, two, three = insert(1), insert(2), insert(3)
    events = ahead(three)
    events.put_back(one, two)

    assert events
    assert [await events.next_event(), events.take(), events.take(), events.take()] == [one, two, three, None]
    events.put_back(None)
    assert not events


NOTES = {"public.notes"}


def test_only_whole_inserts_are_taken_together():
    """Up to what is none of them, which comes next; and only so many."""
    whole = [insert(n, txid=str(n), last=True) for n in range(5)]
    begins = insert(5, txid="5")
    gone = msgspec.structs.replace(whole[0], action="DELETE", new=None, old=whole[0].new)
    others = [begins, gone, insert(6, name="public.others"), Live()]
    events = ahead(*whole, *others)

    assert events.inserts(NOTES, 3) == whole[:3]
    assert events.inserts(NOTES, 3) == whole[3:]
    for other in others:
        assert events.inserts(NOTES, 3) == []
        assert events.take() == other
    assert events.inserts(NOTES, 3) == []


def test_what_was_put_back_is_used_up_before_the_source_is_asked():
    """Else there always was something left of what stands in the way, and the source never waited for."""
    rows = [insert(n) for n in range(4)]
    events = ahead(rows[3])
    events.put_back(*rows[:3])

    assert events.inserts(NOTES, 2) == rows[:2]
    assert events.inserts(NOTES, 2) == rows[2:3]
    assert not events
    assert events.inserts(NOTES, 2) == rows[3:]


def test_what_was_loaded_meanwhile_is_skipped():
    """A Gap with it, whose Live may be gone; whether anything comes for now is still to be told."""
    events = ahead(insert(3))
    events.put_back(insert(1), Paused(), Gap(reason="journal_restarted"), Live())
    events.skip()

    assert [events.take(), events.take(), events.take()] == [Paused(), insert(3), None]
