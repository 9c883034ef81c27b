"""Counters and histograms for what happens to each change: without locks, as only the loop counts.

A counter of ``prometheus_client`` costs ten calls each time, which is more than a delivery does.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from typing_extensions import override


class Tally(Collector):
    """A counter with labels: count with ``tally.counts[values] += 1``.

    Args:
        name: With ``_total``.
        documentation: The help text.
        labels: Names of the labels.
        registry: Shows it.
    """

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry
    ) -> None:
        self.counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        """What was counted, by the values of the labels."""
        self._name = name
        self._documentation = documentation
        self._labels = labels
        registry.register(self)

    def expect(self, *values: str) -> None:
        """Show a series before there is anything to count."""
        self.counts[values] += 0

    @override
    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self.counts.items():
            family.add_metric(values, count)
        yield family


class Spread(Collector):
    """A histogram.

    Args:
        name: Of the metric.
        documentation: The help text.
        buckets: Upper bounds, in order.
        registry: Shows it.
    """

    def __init__(
        self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds = tuple(buckets)
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        """Count ``value``, so many times."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    @override
    def collect(self) -> Iterable[HistogramMetricFamily]:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            shown = "+Inf" if bound == float("inf") else str(float(bound))
            buckets.append((shown, total))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)
