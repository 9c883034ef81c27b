"""What clients that come back get of the past, before live events go on.

Each event is decided anew, as of now.  Live ones are kept back meanwhile, for this client alone: one that
reads slowly is waited for by its own replay, and by nobody else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from bridge import metrics
from bridge.events import Principal, RowEvent, View
from bridge.fanout.entry import Entry
from bridge.fanout.frames import EventEncoder
from bridge.fanout.narrowing import after_leaving, narrowed, since_arrival
from bridge.fanout.seating import Seating
from bridge.fanout.subscriber import Subscriber

Decide: TypeAlias = Callable[[Principal, Sequence[RowEvent]], Awaitable[Sequence[View | None]]]
"""How a principal experiences events as of now; None for those not at all."""

REPLAY_AT_ONCE = 200
"""Past events that are decided before other clients have their turn."""

REPLAY_BYTES = 64 * 1024
"""Past events that a client may leave unread while more are offered to it."""


class Replay:
    """Offers past events.

    Args:
        decide: Asked how a client experiences them.
        encoder: Encodes views.
        seating: Looks anew at whom live events are kept back from.
    """

    def __init__(self, decide: Decide, encoder: EventEncoder, seating: Seating) -> None:
        self._decide = decide
        self._encoder = encoder
        self._seating = seating

    async def run(
        self, subscriber: Subscriber, entries: Sequence[Entry], covered: frozenset[str | None] | None
    ) -> None:
        """Offer what a client missed, but nothing that it has heard live.

        Args:
            subscriber: The client.
            entries: Of the history, from where it was.
            covered: Dialogs that it heard live; None for all.

        Raises:
            BridgeError: what the client experiences of them cannot be told; it has to read again.
        """
        user = subscriber.principal.user_id
        missed: Sequence[tuple[str, RowEvent]] = [
            (entry.cursor, event)
            for entry in entries
            if isinstance(event := entry.what, RowEvent)
            and (event.only is None or user in event.only)
            and (covered is not None and event.dialog_id not in covered)
        ]
        missed = since_arrival(missed, self._encoder.dialog_table)
        subscriber.hold()
        self._seating.changed()
        unread = 0
        for start in range(0, len(missed), REPLAY_AT_ONCE):
            some = missed[start : start + REPLAY_AT_ONCE]
            views = await self._decide(subscriber.principal, [event for _, event in some])
            for (cursor, event), view in zip(some, views, strict=True):
                wanted = None if view is None else narrowed(subscriber.dialogs, event, view)
                if wanted is not None and covered and event.old_dialog_id in covered - {None}:
                    wanted = after_leaving(wanted)
                if wanted is None:
                    continue
                frame = self._encoder.encode(event, wanted, cursor)
                subscriber.sink.offer(frame)
                metrics.REPLAYED.inc()
                unread += len(frame.wire)
                if unread > REPLAY_BYTES:
                    unread = 0
                    if not await subscriber.sink.room():
                        return
            await asyncio.sleep(0)
        # Not reached after a defect: live events must not overtake what is missing.
        self.end(subscriber)

    def end(self, subscriber: Subscriber) -> None:
        """Let live events go on."""
        subscriber.release()
        self._seating.changed()
