"""What was taken of the source and is still to be relayed: it comes before what the source has."""

from collections import deque

from bridge.events import Change, Event
from bridge.ports import Source


class Ahead:
    """Takes events of a source, and takes them back.

    Args:
        source: Has the next ones.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._events: deque[Event] = deque()

    def __bool__(self) -> bool:
        return bool(self._events)

    async def next_event(self) -> Event:
        """Return the next event, when there is one."""
        return self._events.popleft() if self._events else await self._source.next_event()

    def take(self) -> Event | None:
        """Return the next event if there is one without a wait."""
        return self._events.popleft() if self._events else self._source.take()

    def put_back(self, *events: Event | None) -> None:
        """Have these come next; None among them is nothing."""
        self._events.extendleft(event for event in reversed(events) if event is not None)

    def whole_ones(self, at_most: int) -> list[Change]:
        """Take the next changes, if each of them is a transaction by itself."""
        some: list[Change] = []
        events, take = self._events, self._source.take
        while len(some) < at_most:
            event = events.popleft() if events else take()
            if event.__class__ is not Change or (event.txid and not event.last):
                self.put_back(event)
                break
            some.append(event)
        return some

    def skip_changes(self) -> None:
        """Forget the changes that were put back."""
        self._events = deque(event for event in self._events if not isinstance(event, Change))
