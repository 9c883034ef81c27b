"""Metrics: named by the Prometheus conventions, each with a help text, known from the start, and few."""

import re

from prometheus_client.parser import text_string_to_metric_families

from bridge import metrics
from tests.support.prometheus import promtool
from tests.support.stack import ROOT

OWN = [family for family in metrics.REGISTRY.collect() if family.name.startswith("bridge_")]


def test_the_exposition_parses_and_every_metric_says_what_it_means() -> None:
    """As Prometheus reads it; nothing beside them but the process's own."""
    families = list(text_string_to_metric_families(metrics.exposition().decode()))

    assert {"bridge_connections", "bridge_changes", "process_open_fds"} <= {f.name for f in families}
    for family in families:
        assert family.name.startswith(("bridge_", "process_"))
        assert family.documentation.endswith(".")


def test_times_are_in_seconds_and_counters_are_totals() -> None:
    """The unit stands in the name."""
    for family in OWN:
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name.endswith("_total")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def test_promtool_has_nothing_to_find_fault_with() -> None:
    """`promtool check metrics`, over everything that a worker exposes."""
    assert await promtool("check", "metrics", stdin=metrics.exposition()) == ""


def test_labels_are_few_and_none_is_of_a_client() -> None:
    """Tables, reasons and codes: what a client can choose, users and dialogs, would grow without bound."""
    labels = {label for family in OWN for sample in family.samples for label in sample.labels}
    declared = set(re.findall(r'\["(\w+)"(?:, "(\w+)")?\]', (ROOT / "bridge" / "metrics.py").read_text()))

    assert labels - {"le"} <= {name for pair in declared for name in pair}
    assert {name for pair in declared for name in pair if name} == {
        "action", "close_code", "code", "function", "reason", "recovered", "result", "state", "table", "transport", "type", "via",
    }  # fmt: skip


def test_a_counter_of_known_labels_exists_before_it_counts() -> None:
    """Else its first step is no increase to Prometheus, and no alert fires."""
    metrics.expect_tables(["public.expected"])
    text = metrics.exposition().decode()

    for series in (
        'bridge_gaps_total{reason="queue_overflow"}',
        'bridge_frames_skipped_total{reason="undecodable"}',
        'bridge_changes_undeliverable_total{reason="asked_timeout",table="public.expected"}',
        'bridge_visibility_asked_total{table="public.expected"}',
    ):
        assert f"{series} " in text


def test_a_close_code_that_a_client_chose_is_no_label() -> None:
    """It may choose one of two thousand; ours and those of the protocol are told apart."""
    for code in (1000, 1006, 1012, 4401, 4430, *range(3000, 4400), *range(4500, 5000)):
        metrics.note_closed(code)
    shown = {s.labels["close_code"] for s in _now("bridge_connections_closed")}

    assert {"1000", "1012", "4430", "other"} <= shown
    assert len(shown) < 30


def test_tokens_and_origins_that_are_refused_are_counted() -> None:
    """And no other errors."""
    before = metrics.exposition()
    metrics.note_refused("too_many")
    assert metrics.exposition().count(b"auth_failures_total{") == before.count(b"auth_failures_total{")
    count = metrics.AUTH_FAILURES.labels("token_expired")
    had = count._value.get()
    metrics.note_refused("token_expired")
    assert count._value.get() == had + 1


def test_upstream_is_in_one_state() -> None:
    """1 for that, 0 for the others."""
    metrics.show_upstream("catching_up")
    shown = {
        s.labels["state"]: s.value for f in OWN for s in _now(f.name) if f.name == "bridge_upstream_state"
    }
    metrics.show_upstream("down")

    assert shown == {"live": 0, "catching_up": 1, "down": 0}


def _now(name: str):
    return [s for f in metrics.REGISTRY.collect() if f.name == name for s in f.samples]


def test_every_metric_is_documented_with_its_unit_and_what_to_do() -> None:
    """docs/metrics.md has a row for each, and for no other; its labels are those of the code."""
    rows = {
        cells[1].strip().strip("`").partition("{")[0]: cells
        for line in (ROOT / "docs" / "metrics.md").read_text().splitlines()
        if (cells := line.split("|"))[1:2] and re.match(r"\s*`(bridge|process)_", cells[1])
    }
    names = {f.name + ("_total" if f.type == "counter" else ""): f for f in metrics.REGISTRY.collect()}
    assert set(rows) == set(names)
    for name, cells in rows.items():
        assert len(cells) == 7, name
        assert all(cell.strip() for cell in cells[1:6]), name
        documented = set(re.findall(r"\w+", cells[1].partition("{")[2]))
        found = {label for sample in names[name].samples for label in sample.labels} - {"le"}
        assert found <= documented, name
