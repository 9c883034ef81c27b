"""The last step of a change's way: effects go to the audience, times to metrics, traces and the log."""

import datetime as dt
from collections.abc import Sequence

import structlog

from bridge import metrics
from bridge.authorization import Effect, Resync
from bridge.clock import Clock
from bridge.events import Change
from bridge.ports import Audience
from bridge.reminders import Reminders
from bridge.tracing import Tracing

log: structlog.stdlib.BoundLogger = structlog.get_logger()

TIMEOUT_LOG_INTERVAL_S = 60.0
"""Seconds between two log lines about policies of one table that take too long."""


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
        self._timeout_logged_s: dict[str, float] = {}

    def begin(self, change: Change) -> None:
        """Take note that a change is going to be decided."""
        if self._tracing is not None:
            self._tracing.begin(change)
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

    def _log_timeout(self, table: str, late: Resync) -> None:
        now_s = self._clock.monotonic_s()
        logged_s = self._timeout_logged_s.get(table)
        if logged_s is None or now_s - logged_s >= TIMEOUT_LOG_INTERVAL_S:
            self._timeout_logged_s[table] = now_s
            log.warning(
                "question_timed_out", table=table, users=len(late.principals), reason=str(late.timeout)
            )
