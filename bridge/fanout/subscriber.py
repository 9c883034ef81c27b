"""One client, as fan-out knows it."""

from collections.abc import Callable
from typing import Protocol

from bridge.events import Principal
from bridge.fanout.frames import Frame
from bridge.position import Position

MAX_HELD_BYTES = 4 * 1024 * 1024
"""Live frames that may wait for the end of one client's replay."""


class Sink(Protocol):
    """Where a subscriber's frames go.

    Attributes:
        wires: Takes frames as bytes, for a flusher to write; None where each has to be offered.
        packs: True if it takes them compressed.
    """

    wires: list[bytes] | None

    @property
    def packs(self) -> bool: ...

    def flush(self) -> None:
        """Write what ``wires`` has."""

    def offer(self, frame: Frame) -> None:
        """Take a frame and never wait; end the client if it already has too many."""

    async def room(self) -> bool:
        """Wait until the client has read most of what it was offered; False if it takes no more."""

    def send_reconnect(self, after_ms: int) -> None:
        """Ask the client to connect again in so many milliseconds, and end this connection."""

    def cut_off(self) -> None:
        """End a client that reads slower than events come."""


class Subscriber:
    """Who it is, where its frames go, what it wants."""

    __slots__ = ("_held", "_held_bytes", "dialogs", "hand", "principal", "seen", "sink", "subscribed")

    def __init__(self, principal: Principal, sink: Sink) -> None:
        self.principal = principal
        self.sink = sink
        self.subscribed = False
        self.dialogs: frozenset[str] | None = frozenset()
        """Ids of the dialogs it wants; None for all."""
        self.seen: Position | None = None
        """What it has seen, if some of that is still to come here: another worker had it in another order."""
        self._held: list[Frame] | None = None
        self._held_bytes = 0
        self.hand: Callable[[Frame], None] = sink.offer
        """Offers a frame, or keeps it until ``release``."""

    @property
    def takes_all(self) -> bool:
        """True if every event goes to it as it is, and at once."""
        return (
            self.subscribed
            and self.dialogs is None
            and self.seen is None
            and self._held is None
            and self.sink.wires is not None
        )

    def _keep(self, frame: Frame) -> None:
        held = self._held
        if held is None:
            raise RuntimeError("kept outside of hold() and release()")
        held.append(frame)
        self._held_bytes += len(frame.wire)
        if self._held_bytes > MAX_HELD_BYTES:
            held.clear()
            self._held_bytes = 0
            self.sink.cut_off()

    def hold(self) -> None:
        """Keep live frames back from now on: older ones come first."""
        self._held, self._held_bytes = [], 0
        self.hand = self._keep

    def release(self) -> None:
        """Offer what was kept back; from now on nothing is."""
        held, self._held = self._held, None
        self.hand = self.sink.offer
        for frame in held or ():
            self.sink.offer(frame)
