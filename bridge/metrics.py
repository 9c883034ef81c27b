"""Every metric of the bridge, in one place; names follow the Prometheus conventions.

The stages count here, the admin port shows it, docs/metrics.md says what a rise means.  Labels have few
values: tables, reasons, codes; never a user, a dialog or anything else that a client chooses.  A series that
can be known exists from the start, at 0: the first step of a counter that comes out of nothing is no increase
to Prometheus.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias, get_args

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from bridge.events import Action, GapReason, UpstreamState
from bridge.tallies import Spread, Tally

# A second series for each counter, which nobody asks for.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]

REGISTRY = CollectorRegistry()

ProcessCollector(registry=REGISTRY)  # memory, CPU, open files, start time

# Clients

CONNECTIONS = Gauge("bridge_connections", "Clients that are connected now.", ["transport"], registry=REGISTRY)
CONNECTIONS_LIMIT = Gauge(
    "bridge_connections_limit", "Clients that may be connected: BRIDGE_MAX_CONNECTIONS.", registry=REGISTRY
)
CONNECTIONS_CLOSED = Counter(
    "bridge_connections_closed_total",
    "WebSocket connections that ended, by close code; a rise of 44xx codes names a client problem.",
    ["close_code"],
    registry=REGISTRY,
)
POLLS = Counter(
    "bridge_polls_total",
    "Long polls that were answered, by code: ok, or why they were refused.",
    ["code"],
    registry=REGISTRY,
)
AUTH_FAILURES = Counter(
    "bridge_auth_failures_total",
    "Tokens and origins that were refused, by error code.",
    ["code"],
    registry=REGISTRY,
)
RESUMES = Tally(
    "bridge_resumes_total",
    "Subscriptions with a cursor; recovered=false clients have to read their rows again.",
    ["recovered"],
    registry=REGISTRY,
)
REPLAYED = Counter(
    "bridge_replayed_events_total", "Past events offered to clients that came back.", registry=REGISTRY
)
SLOW_CONSUMERS = Counter(
    "bridge_slow_consumers_total", "Clients cut off because they read too slowly (4430).", registry=REGISTRY
)

# Upstream

UPSTREAM_STATE = Gauge(
    "bridge_upstream_state",
    "1 for the state that upstream is in: live, catching_up (rows are being loaded) or down.",
    ["state"],
    registry=REGISTRY,
)
UPSTREAM_CONNECTS = Counter(
    "bridge_upstream_connects_total",
    "Attempts to join upstream, by result; failures rise while Realtime is away.",
    ["result"],
    registry=REGISTRY,
)
UPSTREAM_MESSAGES = Counter(
    "bridge_upstream_messages_total",
    "Changes that Realtime sent to this worker, which Supabase bills; none over WAL.",
    registry=REGISTRY,
)
GAPS = Counter(
    "bridge_gaps_total", "Times that changes may have been missed, by reason.", ["reason"], registry=REGISTRY
)
JOURNAL_ROWS = Tally(
    "bridge_journal_rows_total",
    "Rows of the journal by how they came first: stream, read (what it lost, or late brought: late), past.",
    ["via"],
    registry=REGISTRY,
)
JOURNAL_PRUNES = Counter(
    "bridge_journal_prunes_total",
    "Attempts to delete old rows of the journal, by result; without done ones it grows.",
    ["result"],
    registry=REGISTRY,
)
FRAMES_SKIPPED = Counter(
    "bridge_frames_skipped_total",
    "Upstream frames that could not be used, by reason; without the journal nobody hears of such a change.",
    ["reason"],
    registry=REGISTRY,
)
ROWS_REREAD = Counter(
    "bridge_rows_reread_total",
    "Rows read again by primary key because upstream left values out (413, unchanged TOAST, NaN).",
    ["result"],
    registry=REGISTRY,
)
RPC_DURATION = Histogram(
    "bridge_rpc_duration_seconds",
    "Calls of the bridge's functions in the database, from request to answer.",
    ["function"],
    buckets=(0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
RPC_FAILURES = Counter(
    "bridge_rpc_failures_total",
    "Calls of the bridge's functions that failed; they are tried again.",
    ["function"],
    registry=REGISTRY,
)

# Changes and their way

CHANGES = Tally(
    "bridge_changes_total", "Row changes received from upstream.", ["table", "action"], registry=REGISTRY
)
CHANGES_WAITING = Gauge(
    "bridge_changes_waiting", "Changes that have arrived and not been relayed yet.", registry=REGISTRY
)
DELIVERIES = Tally(
    "bridge_deliveries_total", "Events put into outboxes, one per client.", ["type"], registry=REGISTRY
)
DENIED = Tally(
    "bridge_denied_total",
    "Events that the policies kept from a connected user, one per user.",
    ["type"],
    registry=REGISTRY,
)
COMPRESSION_SAVED = Tally(
    "bridge_compression_saved_bytes_total",
    "Bytes that BRIDGE_COMPRESSION has kept from going to clients.",
    [],
    registry=REGISTRY,
)
UNDELIVERABLE = Counter(
    "bridge_changes_undeliverable_total",
    "Changes of watched tables that did not reach somebody whose sight could not be decided, by reason.",
    ["table", "reason"],
    registry=REGISTRY,
)
Undelivered: TypeAlias = Literal[
    "asked_timeout",
    "catalog_changed",
    "old_row_unknown",
    "old_viewers_unknown",
    "row_superseded",
    "rpc",
    "values_untold",
]
"""Reasons of :data:`UNDELIVERABLE`; docs/missing.md says of each who is told what."""

ASKED = Counter(
    "bridge_visibility_asked_total",
    "Pairs of a user and a row that only Postgres could decide, by the table that changed.",
    ["table"],
    registry=REGISTRY,
)
COMMIT_TO_RECEIVE = Spread(
    "bridge_commit_to_receive_seconds",
    "From the commit in Postgres to the arrival of the change here, by the wall clocks of both.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)
RECEIVE_TO_WRITE = Spread(
    "bridge_receive_to_write_seconds",
    "From the arrival of a change to its frames being written to the sockets of those who see it.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)

# Memory

LOOKUP_ROWS = Gauge(
    "bridge_lookup_rows", "Rows held in memory for the policies to look into.", ["table"], registry=REGISTRY
)
HISTORY_EVENTS = Gauge(
    "bridge_history_events", "Events held in memory for clients that resume.", registry=REGISTRY
)


def show_upstream(state: UpstreamState) -> None:
    """Show the state that upstream is in now, and that it is in no other."""
    for other in get_args(UpstreamState):
        UPSTREAM_STATE.labels(other).set(other == state)


def note_closed(close_code: int) -> None:
    """Count a WebSocket that ended; a client may choose a code of its own, and those are one label."""
    is_known = close_code < CHOSEN_CODES or close_code in OWN_CODES
    CONNECTIONS_CLOSED.labels(str(close_code) if is_known else "other").inc()


def expect_tables(tables: Iterable[str]) -> None:
    """Show the counters of watched tables before there is anything to count."""
    for table in tables:
        ASKED.labels(table)
        for action in get_args(Action):
            CHANGES.expect(table, action)
        for reason in get_args(Undelivered):
            UNDELIVERABLE.labels(table, reason)


def undelivered(table: str, reason: Undelivered) -> None:
    """Count a change that did not reach somebody."""
    UNDELIVERABLE.labels(table, reason).inc()


def note_refused(code: str) -> None:
    """Count a token or an origin that was refused; any other error is none."""
    if code in _AUTH_CODES:
        AUTH_FAILURES.labels(code).inc()


def connected() -> int:
    """Return how many clients are connected now, on either transport."""
    return int(sum(sample.value for family in CONNECTIONS.collect() for sample in family.samples))


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)


CHOSEN_CODES = 3000
"""From here on a close code means what the peers want it to (RFC 6455 section 7.4.2)."""

OWN_CODES = range(4400, 4500)

_AUTH_CODES = ("forbidden", "invalid_token", "token_expired")

_KNOWN: tuple[tuple[Counter | Gauge, tuple[str, ...]], ...] = (
    (AUTH_FAILURES, _AUTH_CODES),
    (CONNECTIONS, ("poll", "websocket")),
    (CONNECTIONS_CLOSED, ("1006", "1011", "4401", "4429", "4430")),
    (FRAMES_SKIPPED, ("too_large", "undecodable")),
    (GAPS, (*get_args(GapReason), "catalog_changed", "database_unreachable")),
    (JOURNAL_PRUNES, ("done", "failed")),
    (POLLS, ("ok",)),
    (ROWS_REREAD, ("failed", "gone", "read")),
    (RPC_FAILURES, ("bridge_catalog_marker", "bridge_journal_since", "bridge_visible")),
    (UPSTREAM_CONNECTS, ("failed", "joined")),
)
for _metric, _values in _KNOWN:
    for _value in _values:
        _metric.labels(_value)
COMPRESSION_SAVED.expect()
for _value in ("false", "true"):
    RESUMES.expect(_value)
for _value in ("late", "past", "read", "stream"):
    JOURNAL_ROWS.expect(_value)
show_upstream("down")
