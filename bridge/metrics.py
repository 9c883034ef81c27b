"""Every metric of the bridge, in one place; names follow the Prometheus conventions.

The stages count here, the admin port shows it.  Help texts say what a rising value means.
"""

from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

CONNECTIONS = Gauge("bridge_connections", "Clients that are connected now.", ["transport"], registry=REGISTRY)
CONNECTIONS_CLOSED = Counter(
    "bridge_connections_closed_total",
    "WebSocket connections that ended, by close code; a rise of 44xx codes names a client problem.",
    ["close_code"],
    registry=REGISTRY,
)
AUTH_FAILURES = Counter(
    "bridge_auth_failures_total",
    "Tokens and origins that were refused, by error code.",
    ["code"],
    registry=REGISTRY,
)
CHANGES = Counter(
    "bridge_changes_total", "Row changes received from upstream.", ["table", "action"], registry=REGISTRY
)
FRAMES_SKIPPED = Counter(
    "bridge_frames_skipped_total",
    "Upstream frames that could not be used, by reason; each is a change nobody hears of.",
    ["reason"],
    registry=REGISTRY,
)
ROWS_REREAD = Counter(
    "bridge_rows_reread_total",
    "Rows read again by primary key because upstream left values out (413, unchanged TOAST, NaN).",
    ["result"],
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
DELIVERIES = Counter(
    "bridge_deliveries_total", "Events put into outboxes, one per client.", ["type"], registry=REGISTRY
)
UPSTREAM_LIVE = Gauge(
    "bridge_upstream_live", "1 while upstream is joined and nothing is missing, else 0.", registry=REGISTRY
)
UPSTREAM_CONNECTS = Counter(
    "bridge_upstream_connects_total",
    "Attempts to join upstream, by result; failures rise while Realtime is away.",
    ["result"],
    registry=REGISTRY,
)
GAPS = Counter(
    "bridge_gaps_total", "Times that changes may have been missed, by reason.", ["reason"], registry=REGISTRY
)
JOURNAL_ROWS = Counter(
    "bridge_journal_rows_total",
    "Rows of the journal by how they came first: stream, read (what it lost, or late brought: late), past.",
    ["via"],
    registry=REGISTRY,
)
RESUMES = Counter(
    "bridge_resumes_total",
    "Subscriptions with a cursor; recovered=false clients have to read their rows again.",
    ["recovered"],
    registry=REGISTRY,
)
SLOW_CONSUMERS = Counter(
    "bridge_slow_consumers_total", "Clients cut off because they read too slowly (4430).", registry=REGISTRY
)
LOOKUP_ROWS = Gauge(
    "bridge_lookup_rows", "Rows held in memory for the policies to look into.", ["table"], registry=REGISTRY
)
HISTORY_EVENTS = Gauge(
    "bridge_history_events", "Events held in memory for clients that resume.", registry=REGISTRY
)
CHANGE_TO_WRITE = Histogram(
    "bridge_change_to_write_seconds",
    "From the arrival of a change to its frames being in the outboxes.",
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=REGISTRY,
)
COMMIT_TO_RECEIVE = Histogram(
    "bridge_commit_to_receive_seconds",
    "From the commit in Postgres to the arrival of the change here, by the wall clocks of both.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
    registry=REGISTRY,
)


def undelivered(table: str, reason: Undelivered) -> None:
    """Count a change that did not reach somebody."""
    UNDELIVERABLE.labels(table, reason).inc()


def exposition() -> bytes:
    """Return all metrics in the Prometheus text format."""
    return generate_latest(REGISTRY)
