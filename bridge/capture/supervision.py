"""What frames, silence and the end of a connection mean for the stream: a machine without sockets or clocks.

    down ──opened──▶ joining ──Subscribed──▶ live ──lost──▶ down ──retry_in_s──▶ opened ...

Invariants: ``Live`` leaves it only when upstream confirms (the system message, a slot that streams); a
``Gap`` exactly once after each ``Live``; between a ``Gap`` and the next ``Live`` no change leaves it.
"""

import enum
from collections.abc import Callable

from bridge.backoff import full_jitter_s
from bridge.capture.decode import Closed, Frame, Other, RawChange, System
from bridge.events import Gap, GapReason, Live

BASE_WAIT_S = 0.2
"""Upper bound of the second wait; the first attempt after a loss is made at once."""

EARLY_CAP_S = 2.0
"""Longest wait while upstream has been away for a moment: back within seconds after a short restart."""

LATE_CAP_S = 10.0
"""Longest wait once it has been away for ``EARLY_S``."""

EARLY_S = 30.0

SETTLED_S = 5.0
"""A connection that was live for less has failed too: whoever accepts and drops us is not hammered."""


class Phase(enum.Enum):
    """Where the connection stands."""

    DOWN = "down"
    JOINING = "joining"
    LIVE = "live"


class Supervision:
    """Judges one connection after another.

    Methods that return an event, a change or None return what has to be queued.

    Args:
        silence_s: Without a frame for longer, the connection is given up.
        now_s: Seconds of the monotonic clock, as all times here.
        random: Returns a value in [0, 1), for jitter.
    """

    def __init__(self, *, silence_s: float, now_s: float, random: Callable[[], float]) -> None:
        self.phase = Phase.DOWN
        self.lost: GapReason | None = None
        """Why the latest connection has to be given up; None while it has not."""
        self.attempt = 0
        """Failures since a connection was live for ``SETTLED_S``."""
        self._silence_s = silence_s
        self._random = random
        self._heard_s = now_s
        self._down_since_s = now_s
        self._live_since_s: float | None = None

    def opened(self, now_s: float) -> None:
        """Start with a new connection, which will be asked to join."""
        self.phase, self.lost = Phase.JOINING, None
        self._heard_s = now_s

    def receive_noise(self, now_s: float) -> None:
        """Note a frame that nobody understands: upstream lives."""
        self._heard_s = now_s

    def joined(self, now_s: float) -> Live | None:
        """Note that upstream confirmed: what is committed from now on will arrive."""
        if self.phase is not Phase.JOINING:
            return None  # the answer to a refreshed token
        self.phase, self._live_since_s = Phase.LIVE, now_s
        return Live()

    def receive_frame(self, frame: Frame, now_s: float) -> RawChange | Live | Gap | None:
        """Judge one frame."""
        self._heard_s = now_s
        match frame:
            case RawChange():
                # Before the system message some would be missing, after a loss some are.
                return frame if self.phase is Phase.LIVE else None
            case System(subscribed=True):
                return self.joined(now_s)
            case System(ok=False):
                # The server closes the join that this frame speaks of, sooner or later.
                return self.lose("upstream_restarted", now_s)
            case Closed():
                return self.lose("upstream_restarted", now_s)
            case System() | Other():
                return None

    def receive_time(self, now_s: float) -> Gap | None:
        """Judge the silence."""
        if now_s - self._heard_s <= self._silence_s:
            return None
        return self.lose("upstream_silent", now_s)

    def lose(self, reason: GapReason, now_s: float) -> Gap | None:
        """Give the connection up; only the first reason counts."""
        if self.phase is Phase.DOWN:
            return None
        was_live = self.phase is Phase.LIVE
        self.phase, self.lost = Phase.DOWN, reason
        if self._live_since_s is not None:
            if now_s - self._live_since_s >= SETTLED_S:
                self.attempt = 0
            self._live_since_s = None
            self._down_since_s = now_s
        return Gap(reason=reason) if was_live else None

    def retry_in_s(self, now_s: float) -> float:
        """Count a failure and return how long to wait before the next connection, in seconds."""
        self.attempt += 1
        if self.attempt == 1:
            return 0.0
        cap_s = EARLY_CAP_S if now_s - self._down_since_s < EARLY_S else LATE_CAP_S
        return full_jitter_s(self.attempt - 2, base_s=BASE_WAIT_S, cap_s=cap_s, random=self._random())
