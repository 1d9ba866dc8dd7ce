"""Counters and histograms that cost a fraction of a microsecond, for what happens per fire.

The client library takes a lock and walks the buckets on each observation. Everything here runs in
one thread, the event loop's, and is turned into the library's metric families when it is asked.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    HistogramMetricFamily,
    Metric,
)


class Counts:
    """A counter with labels."""

    def __init__(self, name: str, text: str, labels: Sequence[str]) -> None:
        self._name = name
        self._text = text
        self._labels = tuple(labels)
        self._values: dict[tuple[str, ...], float] = {}

    def start(self, *labels: str) -> None:
        """Show this series from the beginning, with zero."""
        self._values.setdefault(labels, 0)

    def add(self, labels: tuple[str, ...], amount: float = 1) -> None:
        """Count."""
        values = self._values
        values[labels] = values.get(labels, 0) + amount

    def collect(self) -> Iterator[Metric]:
        """As the client library's."""
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family


class Distribution:
    """A histogram without labels."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name = name
        self._text = text
        self._bounds = tuple(bounds)
        self._buckets = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._buckets[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: Iterable[float]) -> None:
        """Count some values."""
        bounds, buckets = self._bounds, self._buckets
        total = 0.0
        for value in values:
            buckets[bisect_left(bounds, value)] += 1
            total += value
        self._sum += total

    def collect(self) -> Iterator[Metric]:
        """As the client library's."""
        below = 0
        buckets = []
        for bound, count in zip((*self._bounds, float("inf")), self._buckets, strict=True):
            below += count
            buckets.append((_bound_text(bound), float(below)))
        family = HistogramMetricFamily(self._name, self._text)
        family.add_metric([], buckets, self._sum)
        yield family


def _bound_text(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))
