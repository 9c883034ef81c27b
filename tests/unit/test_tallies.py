"""Counters and histograms without locks show what prometheus_client's own would."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from bridge.tallies import Spread, Tally


def test_they_are_exposed_as_those_of_the_library_are() -> None:
    """Line by line: buckets add up, a series is there before it counts."""
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("changes_total", "Changes.", ["table", "action"], registry=ours)
    spread = Spread("delay_seconds", "Delay.", buckets=(0.1, 1), registry=ours)
    counter = Counter("changes_total", "Changes.", ["table", "action"], registry=theirs)
    histogram = Histogram("delay_seconds", "Delay.", buckets=(0.1, 1), registry=theirs)

    tally.expect("public.a", "INSERT")
    counter.labels("public.a", "INSERT")
    tally.counts["public.b", "DELETE"] += 2
    counter.labels("public.b", "DELETE").inc(2)
    for value in (0.05, 0.1, 0.5, 0.5, 3.0):
        histogram.observe(value)
    for value, times in ((0.05, 1), (0.1, 1), (0.5, 2), (3.0, 1)):
        spread.observe(value, times)

    def lines(registry: CollectorRegistry) -> list[str]:
        return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]

    assert lines(ours) == lines(theirs)
