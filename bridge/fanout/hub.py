"""Who listens to what, and the way of an event into their outboxes.

The cost of an event is the size of its audience: subscribers are found by principal, each
distinct view is encoded once, and every recipient gets the same bytes.
"""

from collections.abc import Iterable
from typing import Protocol

from bridge import metrics
from bridge.errors import BridgeError
from bridge.events import Delivery, Principal, ResyncReason, RowEvent, UpstreamState, View
from bridge.fanout.arrival import Arrival
from bridge.fanout.entry import Entry
from bridge.fanout.flusher import Flusher
from bridge.fanout.frames import EventEncoder, Frame, notice
from bridge.fanout.history import History
from bridge.fanout.narrowing import heard_live, narrowed
from bridge.fanout.notices import Problem, Resync, Status, Subscribed, Unsubscribed
from bridge.fanout.replay import Decide, Replay
from bridge.fanout.seating import Seating
from bridge.fanout.subscriber import Sink, Subscriber
from bridge.position import Position

RECONNECTS_PER_S = 200
"""Clients that are asked to come back within a second of each other."""


class Roster(Protocol):
    """Wants to know who is here."""

    def add(self, principal: Principal, moment: int) -> None: ...

    def remove(self, principal: Principal) -> None: ...

    def since(self, principal: Principal) -> int:
        """Return the moment since which ``principal`` has been on the roster."""


class Hub:
    """Subscribers by principal, and the history.

    Args:
        history: Keeps events for those who come back.
        encoder: Encodes views.
        decide: Asked when a client resumes.
        roster: Told who is here.
        flusher: Writes what events leave in outboxes.
    """

    def __init__(
        self, *, history: History, encoder: EventEncoder, decide: Decide, roster: Roster, flusher: Flusher
    ) -> None:
        self.upstream: UpstreamState = "down"
        self._history = history
        self._encoder = encoder
        self._roster = roster
        self._flusher = flusher
        self._seating = Seating()
        self._replay = Replay(decide, encoder, self._seating)
        self._arrival = Arrival(history)
        metrics.HISTORY_EVENTS.set_function(lambda: len(history))

    @property
    def cursor(self) -> str:
        """Cursor of the newest event."""
        return self._history.cursor

    def connect(self, principal: Principal, sink: Sink) -> Subscriber:
        """Add a client; it gets notices from now on, and events once it subscribes."""
        subscriber = Subscriber(principal, sink)
        if self._seating.add(subscriber):
            self._roster.add(principal, self._history.moment)
        return subscriber

    def disconnect(self, subscriber: Subscriber) -> None:
        """Remove a client; doing it twice does nothing."""
        if self._seating.remove(subscriber):
            self._roster.remove(subscriber.principal)

    def renew(self, subscriber: Subscriber, principal: Principal) -> None:
        """Let a client speak for ``principal`` from now on: its token was renewed.

        With other claims it may see other rows than before, so it has to read again.
        """
        if principal == subscriber.principal:
            return
        # First the new one, so that the roster never misses the user.
        renewed = self.connect(principal, subscriber.sink)
        self.disconnect(subscriber)
        subscriber.principal = principal
        self._seating.add(subscriber)
        self._seating.remove(renewed)
        if subscriber.subscribed:
            subscriber.hand(notice(Resync("claims_changed", self.cursor)))

    async def subscribe(
        self,
        subscriber: Subscriber,
        *,
        dialogs: frozenset[str] | None,
        since: str | None,
        wait_s: float | None = None,
    ) -> bool:
        """Add to a client's subscription; its sink gets ``subscribed``, what it missed, then live events.

        Args:
            subscriber: The client.
            dialogs: Ids of further dialogs; None for all.
            since: Cursor of the last event it has seen; None for none.
            wait_s: How long it waits for this worker to come as far; it is not subscribed if that is not
                enough.  None for as long as it takes.

        Returns:
            False if something after ``since`` is not known any more: the client has to read again.  Where
            that shows only on the way, the sink gets ``resync``.
        """
        if since is not None and not await self._arrival.at(since, wait_s):
            return True  # another worker will go on from there, or this one when it is asked again
        before = subscriber.dialogs
        wanted = None if dialogs is None or before is None else before | dialogs
        missed = None if since is None else self._missed(since, subscriber.principal)
        recovered = since is None or missed is not None
        subscriber.seen = None if since is None or missed is None else self._history.ahead(since)
        # Until the replay is through, a client that is cut off again has to resume where it was.
        cursor = since if missed and since is not None else self.cursor
        shown = None if wanted is None else sorted(wanted)
        subscriber.sink.offer(notice(Subscribed(shown, cursor, recovered)))
        covered = heard_live(before) if subscriber.subscribed else frozenset[str | None]()
        subscriber.dialogs = wanted
        subscriber.subscribed = True
        self._seating.changed()
        if missed:
            try:
                await self._replay.run(subscriber, missed, covered)
            except BridgeError:
                # Only Postgres knows, and it does not answer, or cannot know it any more.
                recovered = False
                self._replay.end(subscriber)
                subscriber.sink.offer(notice(Resync("not_recovered", self.cursor)))
        if since is not None:
            metrics.RESUMES.counts["true" if recovered else "false",] += 1
        return recovered

    def leave(self) -> None:
        """Keep nobody waiting any more: those who come back to another worker are served there."""
        self._arrival.leave()

    @property
    def is_open(self) -> bool:
        """True while :attr:`cursor` is that of everything that was published."""
        return self._history.is_open

    def _missed(self, cursor: str, principal: Principal) -> list[Entry] | None:
        if principal not in self._seating:
            return None  # it left while it waited
        return self._history.since(cursor, principal, self._roster.since(principal))

    def unsubscribe(self, subscriber: Subscriber, *, dialogs: frozenset[str] | None) -> None:
        """Take dialogs (None: everything) out of a client's subscription and say what is left."""
        if dialogs is None:
            subscriber.dialogs = frozenset()
            subscriber.subscribed = False
        elif subscriber.dialogs is None:
            message = (
                "this connection is subscribed to all dialogs, single ones cannot be taken away: "
                "unsubscribe without dialogs, then subscribe to those that are wanted"
            )
            subscriber.sink.offer(notice(Problem("not_possible", message)))
            return
        else:
            subscriber.dialogs -= dialogs
            subscriber.subscribed = bool(subscriber.dialogs)
        self._seating.changed()
        subscriber.sink.offer(notice(Unsubscribed(sorted(subscriber.dialogs))))

    def begin(self, version: str, position: Position) -> None:
        """Start the history anew: cursors of ``version`` that lack nothing of ``position`` can be resumed.

        Not before ``open``: until then what is published is of the past.
        """
        self._history.begin(version, position)

    def open(self) -> None:
        """Let clients resume."""
        self._history.open()
        self._arrival.move()

    def close(self) -> None:
        """Have clients that come back wait for ``open``; what is kept stays."""
        self._history.close()

    def advance(self, id_: int, position: str) -> None:
        """Go on to a change: what is published next is of it."""
        self._history.advance(id_, position)
        if self._arrival.waiting and self._history.is_open:
            self._arrival.move()

    def publish(self, event: RowEvent, deliveries: Iterable[Delivery], *, is_last: bool = True) -> int:
        """Keep an event and put its views into the outboxes of those who see it; return how many got one.

        Args:
            event: The event.
            deliveries: Its views and who gets them.
            is_last: False if some of them may get another event of the same change.
        """
        entry = self._history.append(event, is_last=is_last)
        encoded: dict[View, Frame] = {}
        count = shown = 0
        for delivery in deliveries:
            seats = self._seating.of(delivery.principals)
            shown += seats.present
            if seats.sinks or seats.packing:
                frame = encoded.get(delivery.view)
                if frame is None:
                    frame = encoded[delivery.view] = self._encoder.encode(event, delivery.view, entry.cursor)
                count += seats.put(frame, self._flusher)
            if seats.others:
                count += self._hand(entry, event, delivery.view, seats.others, encoded)
        denied = len(self._seating) - shown
        if count or (denied and event.only is None):
            kind = (self._encoder.type_of(event.table, event.action),)
            metrics.DELIVERIES.counts[kind] += count
            if event.only is None and self._history.is_open:
                metrics.DENIED.counts[kind] += denied
        return count

    def _hand(
        self,
        entry: Entry,
        event: RowEvent,
        view: View,
        subscribers: Iterable[Subscriber],
        encoded: dict[View, Frame],
    ) -> int:
        """Hand an event to those who want some of it, or have some; return how many got it."""
        count = 0
        for subscriber in subscribers:
            if subscriber.seen is not None and entry.id in subscriber.seen:
                continue
            wanted = narrowed(subscriber.dialogs, event, view)
            if wanted is None:
                continue
            if wanted not in encoded:
                encoded[wanted] = self._encoder.encode(event, wanted, entry.cursor)
            subscriber.hand(encoded[wanted])
            count += 1
        return count

    def resync(
        self, principals: Iterable[Principal] | None, reason: ResyncReason, *, late: bool = False
    ) -> None:
        """Tell some clients (None: all) to read again; those who are away learn it when they resume.

        Args:
            principals: Whom.
            reason: Why, as a stable word.
            late: True if it is because of changes that have been published before.
        """
        told = list(self._seating) if principals is None else list(principals)
        if principals is not None:
            users: dict[str, set[str | None]] = {}
            for principal in told:
                users.setdefault(principal.role, set()).add(principal.user_id)
            for role, ids in users.items():
                self._history.mark(role, ids, told=False, late=late)
        frame = notice(Resync(reason, self.cursor))
        for subscriber in self._seating.all(told):
            if subscriber.subscribed:
                subscriber.hand(frame)

    def mark(self, role: str, users: Iterable[str | None] | None, *, told: bool) -> None:
        """Have users read again who come back from before now.

        Args:
            role: Their role.
            users: Their ids; None for everybody with this role.
            told: True if those who are here have been told in another way.
        """
        self._history.mark(role, users, told=told)

    def shift(self, role: str, users: Iterable[str | None] | None) -> None:
        """Note that these users (None: everybody with this role) may see other rows from now on."""
        self._history.shift(role, users)

    def send_reconnect(self) -> None:
        """Ask every client to connect again with its cursor: what it was let in with does not do any more."""
        for position, subscriber in enumerate(list(self._seating.all())):
            subscriber.sink.send_reconnect(position * 1000 // RECONNECTS_PER_S)

    def announce_status(self, state: UpstreamState) -> None:
        """Tell every client how things stand upstream, and those who come later."""
        self.upstream = state
        frame = notice(Status(state))
        for subscriber in self._seating.all():
            subscriber.hand(frame)

    def status(self) -> Frame:
        """Return how things stand upstream, for a client that has just connected."""
        return notice(Status(self.upstream))

    def forget_history(self) -> None:
        """Refuse to resume until ``begin``: something may be missing."""
        self._history.forget()
