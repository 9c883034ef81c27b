"""What was taken and put back comes before what the source has."""

from bridge.ahead import Ahead
from bridge.events import Change, Live
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


def test_only_whole_transactions_are_taken_together():
    """Up to what is none of them, which comes next; and only so many."""
    whole = [insert(n, txid=str(n), last=True) for n in range(5)]
    begins = insert(5, txid="5")
    events = ahead(*whole, begins, Live())

    assert events.whole_ones(3) == whole[:3]
    assert events.whole_ones(3) == whole[3:]
    assert events.whole_ones(3) == []
    assert events.take() == begins
    assert events.whole_ones(3) == []
    assert events.take() == Live()


def test_changes_that_were_loaded_meanwhile_are_skipped():
    """And nothing else."""
    events = ahead(insert(3))
    events.put_back(insert(1), Live())
    events.skip_changes()

    assert [events.take(), events.take()] == [Live(), insert(3)]
