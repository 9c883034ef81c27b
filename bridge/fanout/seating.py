"""Who of an audience is here, found once for as long as nobody comes, goes or wants something else."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bridge import metrics
from bridge.events import Principal
from bridge.fanout.flusher import Flusher
from bridge.fanout.frames import Frame
from bridge.fanout.subscriber import Sink, Subscriber

MAX_KEPT = 1_000_000
"""Principals of the audiences that are kept; beyond, all is forgotten and found again."""

_ENTRY = 32
"""What seats take by themselves, in the size of a principal."""

_NOBODY: tuple[Subscriber, ...] = ()


class Seats:
    """The subscribers of one audience.

    Attributes:
        audience: Whose they are.
        sinks: Those who take each frame as it is, all of them in one loop.
        packing: The same, of those who take it compressed.
        others: Those of whom each has to be looked at.
        present: Principals of the audience who are here.
    """

    __slots__ = ("audience", "others", "packing", "present", "sinks")

    def __init__(
        self, audience: Sequence[Principal], by_principal: Mapping[Principal, Sequence[Subscriber]]
    ) -> None:
        self.audience = audience
        self.sinks: list[Sink] = []
        self.packing: list[Sink] = []
        self.others: list[Subscriber] = []
        self.present = 0
        for here in map(by_principal.get, audience):
            if here is None:
                continue
            self.present += 1
            for subscriber in here:
                if subscriber.takes_all:
                    (self.packing if subscriber.sink.packs else self.sinks).append(subscriber.sink)
                elif subscriber.subscribed:
                    self.others.append(subscriber)

    def put(self, frame: Frame, flusher: Flusher) -> int:
        """Put a frame into the outboxes of all who take every one as it is; return how many these are."""
        if self.sinks:
            flusher.put(frame.wire, self.sinks)
        if self.packing:
            packed = frame.pack()
            flusher.put(packed.wire, self.packing)
            metrics.COMPRESSION_SAVED.counts[()] += packed.saved_bytes * len(self.packing)
        return len(self.sinks) + len(self.packing)


class Seating:
    """Subscribers by principal."""

    def __init__(self) -> None:
        self._by_principal: dict[Principal, list[Subscriber]] = {}
        self._kept: dict[int, Seats] = {}
        self._size = 0

    def __len__(self) -> int:
        return len(self._by_principal)

    def __contains__(self, principal: Principal) -> bool:
        return principal in self._by_principal

    def __iter__(self) -> Iterator[Principal]:
        return iter(self._by_principal)

    def add(self, subscriber: Subscriber) -> bool:
        """Add a subscriber; True if it is the first of its principal."""
        self.changed()
        known = self._by_principal.setdefault(subscriber.principal, [])
        known.append(subscriber)
        return len(known) == 1

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove a subscriber; True if it was the last of its principal."""
        self.changed()
        known = self._by_principal.get(subscriber.principal)
        if known is None or subscriber not in known:
            return False
        known.remove(subscriber)
        if known:
            return False
        del self._by_principal[subscriber.principal]
        return True

    def changed(self) -> None:
        """Look at everybody anew: what a subscriber wants, or can take, has changed."""
        self._kept.clear()
        self._size = 0

    def all(self, principals: Iterable[Principal] | None = None) -> Iterator[Subscriber]:
        """Give the subscribers of some principals; None: of everybody."""
        for principal in list(self._by_principal) if principals is None else principals:
            yield from self._by_principal.get(principal, _NOBODY)

    def of(self, audience: Sequence[Principal]) -> Seats:
        """Return the seats of an audience; it is the same as before if it is the same tuple."""
        if audience.__class__ is not tuple:
            return Seats(audience, self._by_principal)
        seats = self._kept.get(id(audience))  # which nothing else has, as it is kept alive here
        if seats is None:
            size = _ENTRY + len(audience)
            if self._size + size > MAX_KEPT:
                self.changed()
            self._size += size
            seats = self._kept[id(audience)] = Seats(audience, self._by_principal)
        return seats
