"""OpenTelemetry traces of a change's way, where the extra ``otel`` is installed and an endpoint is set.

    change                  from its commit to the outboxes
      ├── capture           commit to arrival: what Postgres and Realtime took, and waiting here
      ├── authorize         who sees it; questions to Postgres are in it
      └── fan-out           into the outboxes of those who do

Settings are OpenTelemetry's own (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``, ...).  Without
an endpoint nothing of it is imported, and the pipeline asks one ``is None``.  Spans hold the table and the
action, nothing of the row.
"""

import datetime as dt
import importlib.util
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import structlog

from bridge.clock import Clock
from bridge.events import Change

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

log: structlog.stdlib.BoundLogger = structlog.get_logger()

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

MAX_BEGUN = 1_000
"""Changes whose end is still to come; more are those of which it never will."""


class Tracing:
    """Tells a tracer provider of each change, once it has been delivered.

    Args:
        provider: Where spans go; it samples, batches and bounds them.
        clock: Source of time; the one that the changes' ``received_s`` are of.
    """

    def __init__(self, provider: "TracerProvider", clock: Clock) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("bridge")
        self._clock = clock
        self._begun: dict[int, tuple[float, float]] = {}

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], clock: Clock) -> Self | None:
        """Return what exports to the endpoint that is set; None if none is, or the extra is not installed."""
        endpoint = next((environ[name] for name in ENDPOINTS if environ.get(name)), None)
        if endpoint is None:
            return None
        if importlib.util.find_spec("opentelemetry") is None:
            hint = "pip install 'supabase-realtime-bridge[otel]', or unset OTEL_EXPORTER_OTLP_ENDPOINT"
            log.warning("tracing_unavailable", hint=hint)
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415 - an extra
            OTLPSpanExporter,
        )
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above

        name = environ.get("OTEL_SERVICE_NAME") or "supabase-realtime-bridge"
        provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        log.info("tracing_started")
        return cls(provider, clock)

    def begin(self, change: Change) -> None:
        """Take note that it is being found out who sees ``change``."""
        if len(self._begun) >= MAX_BEGUN:
            self._begun.clear()
        now_s = self._clock.monotonic_s()
        self._begun[change.id] = (now_s, now_s)

    def decided(self, change: Change) -> None:
        """Take note that it has been found out."""
        if change.id in self._begun:
            self._begun[change.id] = (self._begun[change.id][0], self._clock.monotonic_s())

    def delivered(self, change: Change) -> None:
        """Tell of ``change``: its events are in the outboxes."""
        begun_s, decided_s = self._begun.pop(change.id, (None, 0.0))
        if begun_s is None:
            return
        from opentelemetry.trace import set_span_in_context  # noqa: PLC0415 - an extra

        now_s, now = self._clock.monotonic_s(), self._clock.now()

        def at(moment_s: float) -> int:
            return _ns(now) - int((now_s - moment_s) * 1e9)

        attributes = {"db.collection.name": change.table, "db.operation.name": change.action}
        start = min(_committed(change) or at(change.received_s), at(change.received_s))
        whole = self._tracer.start_span("change", start_time=start, attributes=attributes)
        if not whole.is_recording():
            return  # not sampled
        inside = set_span_in_context(whole)
        for name, since, until in (
            ("capture", start, at(begun_s)),
            ("authorize", at(begun_s), at(decided_s)),
            ("fan-out", at(decided_s), at(now_s)),
        ):
            self._tracer.start_span(name, context=inside, start_time=since).end(end_time=until)
        whole.end(end_time=at(now_s))

    def close(self) -> None:
        """Export what is left; waits for the endpoint, so not on the loop."""
        self._provider.shutdown()


def _committed(change: Change) -> int | None:
    try:
        return _ns(dt.datetime.fromisoformat(change.commit_timestamp))
    except ValueError:
        return None


def _ns(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1e6) * 1000
