"""What was taken of the source and is still to be relayed: it comes before what the source has."""

from collections import deque
from collections.abc import Container

from bridge.events import Change, Event, Paused, Resumed
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

    def inserts(self, tables: Container[str], at_most: int) -> list[Change]:
        """Take the next changes, if each is an INSERT into one of ``tables`` and a transaction by itself.

        Of what was put back, or else of what the source has: so that is used up now and then, and the source
        waited for.
        """
        some: list[Change] = []
        take = self._events.popleft if self._events else self._source.take
        for _ in range(min(at_most, len(self._events) or at_most)):
            event = take()
            if (
                event.__class__ is not Change
                or event.action != "INSERT"
                or event.table not in tables
                or (event.txid and not event.last)
            ):
                self.put_back(event)
                break
            some.append(event)
        return some

    def skip(self) -> None:
        """Forget what was put back, as all was loaded since; but not whether anything comes for now."""
        self._events = deque(event for event in self._events if isinstance(event, Paused | Resumed))
