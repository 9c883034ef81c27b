"""Metrics: named by the Prometheus conventions, each with a help text."""

from prometheus_client.parser import text_string_to_metric_families

from bridge import metrics


def test_the_exposition_parses_and_every_metric_says_what_it_means() -> None:
    """As Prometheus reads it."""
    families = list(text_string_to_metric_families(metrics.exposition().decode()))

    assert {"bridge_connections", "bridge_changes", "bridge_changes_undeliverable"} <= {
        f.name for f in families
    }
    for family in families:
        if not family.name.endswith("_created"):
            assert family.name.startswith("bridge_")
            assert family.documentation.endswith(".")


def test_times_are_in_seconds_and_counters_are_totals() -> None:
    """The unit stands in the name."""
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            if family.type == "counter" and not sample.name.endswith("_created"):
                assert sample.name.endswith("_total")
        if family.type == "histogram":
            assert family.name.endswith("_seconds")
