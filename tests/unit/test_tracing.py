"""Traces: a change's way in three parts, at the times at which they were; nothing where nobody asks."""

import datetime as dt
import subprocess
import sys

import pytest
import structlog

from bridge.clock import ManualClock, rfc3339_ms
from bridge.events import Change
from bridge.tracing import MAX_BEGUN, Tracing

export = pytest.importorskip("opentelemetry.sdk.trace.export", reason="the extra otel is not installed")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")
sdk = pytest.importorskip("opentelemetry.sdk.trace")


def _change(clock: ManualClock, *, id_: int = 1, committed: dt.datetime | None = None) -> Change:
    return Change(
        table="public.messages",
        action="INSERT",
        new={"id": 1, "body": "canary"},
        old=None,
        commit_timestamp="" if committed is None else rfc3339_ms(committed),
        received_s=clock.monotonic_s(),
        id=id_,
    )


def _tracing(clock: ManualClock):
    spans = memory.InMemorySpanExporter()
    provider = sdk.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(spans))
    return Tracing(provider, clock), spans


def test_a_change_is_a_span_with_three_parts() -> None:
    """From its commit; the parts follow each other without holes; nothing of the row is in them."""
    clock = ManualClock()
    tracing, spans = _tracing(clock)
    committed = clock.now()
    clock.advance(0.25)
    change = _change(clock, committed=committed)
    clock.advance(0.5)
    tracing.begin(change)
    clock.advance(1)
    tracing.decided(change)
    clock.advance(2)
    tracing.delivered(change)
    told = {span.name: span for span in spans.get_finished_spans()}
    whole = told.pop("change")
    took = {name: round((span.end_time - span.start_time) / 1e9, 3) for name, span in told.items()}

    assert took == {"capture": 0.75, "authorize": 1, "fan-out": 2}
    assert whole.start_time == told["capture"].start_time
    assert whole.end_time == told["fan-out"].end_time
    assert {span.parent.span_id for span in told.values()} == {whole.context.span_id}
    assert dict(whole.attributes) == {"db.collection.name": "public.messages", "db.operation.name": "INSERT"}
    assert "canary" not in "".join(span.to_json() for span in spans.get_finished_spans())


def test_without_a_commit_time_it_begins_with_its_arrival() -> None:
    """And where the database's clock is ahead."""
    clock = ManualClock()
    tracing, spans = _tracing(clock)
    for committed in (None, clock.now() + dt.timedelta(seconds=9)):
        change = _change(clock, committed=committed)
        tracing.begin(change)
        tracing.decided(change)
        tracing.delivered(change)
    assert all(span.start_time == span.end_time for span in spans.get_finished_spans())


def test_changes_that_are_never_delivered_do_not_gather() -> None:
    """They were read again after a loss; and what was not begun is not told."""
    clock = ManualClock()
    tracing, spans = _tracing(clock)
    for id_ in range(MAX_BEGUN + 1):
        tracing.begin(_change(clock, id_=id_))
    assert len(tracing._begun) == 1
    tracing.delivered(_change(clock, id_=5))
    assert spans.get_finished_spans() == ()


def test_without_an_endpoint_nothing_is_imported() -> None:
    """Nor without the extra, which is said."""
    code = "import sys, bridge.service, bridge.cli; from bridge.tracing import Tracing; assert Tracing.from_environment({}, None) is None; assert not any(m.startswith('opentelemetry') for m in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_endpoint_without_the_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker runs; the line says what to install."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with structlog.testing.capture_logs() as logs:
        assert (
            Tracing.from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, ManualClock())
            is None
        )
    assert [line["event"] for line in logs] == ["tracing_unavailable"]
    assert "[otel]" in logs[0]["hint"]
