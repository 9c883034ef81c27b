"""The last step of a change's way: effects go to the audience, times to metrics, traces and the log."""

import datetime as dt
from collections.abc import Sequence

import structlog

from bridge import metrics
from bridge.authorization import Effect, Resync
from bridge.clock import Clock
from bridge.events import Change, UpstreamState
from bridge.ports import Audience
from bridge.reminders import Reminders
from bridge.tracing import Tracing
from bridge.trouble import SELDOM_S, Trouble

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Teller:
    """Tells what changes came to.

    Args:
        audience: Where effects go.
        clock: Source of time.
        tracing: Told of each change's way; None where nobody asks for that.
    """

    def __init__(self, audience: Audience, clock: Clock, tracing: Tracing | None) -> None:
        self.reminders = Reminders(audience.remind)
        self._audience = audience
        self._clock = clock
        self._tracing = tracing
        self._timeouts: dict[str, Trouble] = {}
        """By table."""
        self._noted_s = 0.0
        self.state: UpstreamState = "down"

    @property
    def traces(self) -> bool:
        """True if somebody asks for each change's way."""
        return self._tracing is not None

    def begin(self, change: Change) -> None:
        """Take note that a change is going to be decided, and of its age on arrival.

        Of changes that arrived together the first stands for all.
        """
        if self._tracing is not None:
            self._tracing.begin(change)
        if change.received_s == self._noted_s:
            return
        self._noted_s = change.received_s
        try:
            committed = dt.datetime.fromisoformat(change.commit_timestamp)
        except ValueError:
            return  # upstream did not say
        since_receipt_s = self._clock.monotonic_s() - change.received_s
        age_s = (self._clock.now() - committed).total_seconds() - since_receipt_s
        metrics.COMMIT_TO_RECEIVE.observe(max(0.0, age_s))

    def tell(self, change: Change, effects: Sequence[Effect]) -> None:
        """Hand over what users experience of a change; its position has been passed then."""
        if self._tracing is not None:
            self._tracing.decided(change)
        now: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Resync) and effect.may_wait:
                self.reminders.add(effect)
                continue
            if isinstance(effect, Resync) and effect.timeout is not None:
                self._log_timeout(change.table, effect)
            now.append(effect)
        self._audience.deliver(change, now)
        if self._tracing is not None:
            self._tracing.delivered(change)

    def show(self, state: UpstreamState) -> None:
        """Tell everybody how things stand upstream, if that is news."""
        if state == self.state:
            return
        log.info("upstream_state_changed", state=state, before=self.state)
        self.state = state
        metrics.show_upstream(state)
        self._audience.announce_status(state)

    def _log_timeout(self, table: str, late: Resync) -> None:
        if table not in self._timeouts:
            self._timeouts[table] = Trouble(self._clock, again_s=SELDOM_S)
        if self._timeouts[table].note("question_timed_out"):  # the words have figures in them
            log.warning(
                "question_timed_out", table=table, users=len(late.principals), reason=str(late.timeout)
            )
