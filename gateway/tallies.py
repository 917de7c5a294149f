"""Counters and histograms for one thread: a dictionary and two additions, turned into Prometheus' families when scraped.

prometheus_client's own take a lock per sample and walk every bucket: six samples cost a request 10 µs, these 2. The exposition
stays the library's. Must not know which metrics there are.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Tallies(Collector):
    """A counter by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._counts: dict[tuple[str, ...], int] = {}

    def count(self, *labels: str) -> int:
        """One more of these; how many there are now."""
        count = self._counts[labels] = self._counts.get(labels, 0) + 1
        return count

    def describe(self) -> Iterable[Metric]:
        yield CounterMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterable[Metric]:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, count in self._counts.items():
            family.add_metric(labels, float(count))
        yield family


class Spans(Collector):
    """A histogram of seconds by labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str], *, bounds_s: Sequence[float]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._bounds_s = bounds_s
        self._buckets: dict[tuple[str, ...], list[float]] = {}
        """Per bucket how many, one more for what is beyond them all, and at the end the sum of seconds."""

    def observe(self, span_s: float, *labels: str) -> None:
        buckets = self._buckets.get(labels)
        if buckets is None:
            buckets = self._buckets[labels] = [0.0] * (len(self._bounds_s) + 2)
        buckets[bisect_left(self._bounds_s, span_s)] += 1
        buckets[-1] += span_s

    def describe(self) -> Iterable[Metric]:
        yield HistogramMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(floatToGoString, self._bounds_s), "+Inf"]
        for labels, (*counts, sum_s) in self._buckets.items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), sum_s)
        yield family
