"""The metrics of one node: where parts count, and what `/metrics` answers.

What it promises
    Counting costs next to nothing: a counter is a number in a dictionary, a histogram a number in a list, found by
    bisection. What a part counts for itself anyway is read when somebody asks, and so is what is so now. A counter or
    histogram of prometheus_client takes ten times as long; it only spells out what is here, at `render`.
    Everything is defined (`definitions`): whoever counts something else fails when the node is built. Only what other
    packages' parts count may have any name. A part that fails to say how it is costs its own metric, not the page.
What runs
    Nothing. It belongs to one event loop.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import TypeVar

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from typing_extensions import override

from collab_server.telemetry.definitions import DEFINITIONS, PREFIX, Definition, Kind

__all__ = ["CONTENT_TYPE", "Count", "Histogram", "Histograms", "Labels", "Metrics"]

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGES_AT_ONCE, PAGES_PER_SECOND = 40.0, 4.0

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""What `Metrics.render` gives."""

Labels = tuple[str, ...]
"""The values of a metric's labels, in the order of its definition."""


class Histogram:
    """How long something took: so many times no longer than each of the bounds, and longer than the one before."""

    __slots__ = ("bounds", "buckets", "seconds")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """It took so long once more."""
        self.buckets[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds


class Count:
    """A counter, by the values of its labels."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values: dict[Labels, int] = {}

    def begin(self, *labels: str) -> None:
        """Tell this one from the beginning: Prometheus sees no rise in a series whose first value is not 0."""
        self.values[labels] = 0

    def add(self, *labels: str) -> None:
        """Once more."""
        self.values[labels] = self.values.get(labels, 0) + 1


class Histograms:
    """A histogram, by the values of its labels. Keep what `of` gives where that is asked for often."""

    __slots__ = ("_bounds", "values")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.values: dict[Labels, Histogram] = {}

    def of(self, *labels: str) -> Histogram:
        """The one of these labels; made at the first call."""
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = Histogram(self._bounds)
        return found


class Metrics(Collector):
    """See the module. Whoever asks for a metric that is not defined, or not of this kind, gets a `ValueError`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pages, self._looked_at = PAGES_AT_ONCE, clock()
        self._page = b""
        self._numbers: dict[str, list[Callable[[], Mapping[Labels, float]]]] = {}
        self._histograms: dict[str, list[Callable[[], Mapping[Labels, Histogram]]]] = {}
        self._counted: list[tuple[str, Callable[[], Mapping[str, int]]]] = []
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    # --- counting

    def count(self, name: str) -> Count:
        """The counter of this name, to add to."""
        count = Count()
        if not _defined(name, "counter").labels:
            count.begin()
        self._read_numbers(name, "counter", lambda: count.values)
        return count

    def time(self, name: str) -> Histograms:
        """The histogram of this name, to note seconds in."""
        histograms = Histograms(_defined(name, "histogram").bounds)
        self.read_histograms(name, lambda: histograms.values)
        return histograms

    def calls(self, name: str) -> Callable[[str, str, float], None]:
        """What counts the calls of another service: call it with the call, what came of it, and how long it took."""
        outcomes, times = self.count(f"{name}_requests"), self.time(f"{name}_request_seconds")

        def observe(call: str, outcome: str, seconds: float) -> None:
            outcomes.add(call, outcome)
            times.of(call).note(seconds)

        return observe

    # --- reading what others count

    def gauge(self, name: str, source: Callable[[], float]) -> None:
        """Read what is so now."""
        self._read_numbers(name, "gauge", lambda: {(): source()})

    def gauges(self, name: str, source: Callable[[], Mapping[Labels, float]]) -> None:
        """The same, by the values of the labels. Several may know of different ones."""
        self._read_numbers(name, "gauge", source)

    def counter(self, name: str, source: Callable[[], float]) -> None:
        """Read what somebody has counted."""
        self._read_numbers(name, "counter", lambda: {(): source()})

    def counters(self, name: str, source: Callable[[], Mapping[Labels, float]]) -> None:
        """The same, by the values of the labels; what several have counted is added up."""
        self._read_numbers(name, "counter", source)

    def read_histograms(self, name: str, source: Callable[[], Mapping[Labels, Histogram]]) -> None:
        """Read what somebody has measured."""
        _defined(name, "histogram")
        self._histograms.setdefault(name, []).append(source)

    def include(self, prefix: str, source: Callable[[], Mapping[str, int]]) -> None:
        """Read the counters of a part that may be another package's, as `{prefix}_{name}`."""
        self._counted.append((prefix, source))

    def included(self) -> dict[str, int]:
        """What `include` brought, by name."""
        return {
            f"{prefix}_{name}": value for prefix, source in self._counted for name, value in source().items()
        }

    def _read_numbers(self, name: str, kind: Kind, source: Callable[[], Mapping[Labels, float]]) -> None:
        definition = _defined(name, kind)
        sources = self._numbers.setdefault(name, [])
        if sources and not definition.labels:
            raise ValueError(f"the metric {name} is told already")
        sources.append(source)

    # --- telling

    @property
    def names(self) -> set[str]:
        """What is told here."""
        return {*self._numbers, *self._histograms, *self.included()}

    def render(self) -> bytes:
        """All of it, and of the process, in the text format of Prometheus (`CONTENT_TYPE`).

        It takes milliseconds, and anybody may ask: whoever asks more often than `PAGES_PER_SECOND`, after the first
        `PAGES_AT_ONCE`, gets the last one again.
        """
        now = self._clock()
        self._pages = min(PAGES_AT_ONCE, self._pages + (now - self._looked_at) * PAGES_PER_SECOND)
        self._looked_at = now
        if self._pages >= 1:
            self._pages -= 1
            self._page = generate_latest(self._registry)
        return self._page

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is is known only when everything is built."""
        return ()

    @override
    def collect(self) -> Iterator[Metric]:
        counted = self._read(self.included, "counted") or {}
        for name, definition in DEFINITIONS.items():
            if name in self._numbers or name in self._histograms:
                metric = self._read(partial(self._metric, definition), name)
                if metric is not None:
                    yield metric
            elif name in counted:
                yield CounterMetricFamily(PREFIX + name, definition.meaning, counted[name])
        for name in sorted(counted.keys() - DEFINITIONS.keys()):
            words = name.replace("_", " ")
            yield CounterMetricFamily(
                PREFIX + name, f"{words}, as another package's part counts", counted[name]
            )

    def _metric(self, definition: Definition) -> Metric:
        name, meaning, labels = PREFIX + definition.name, definition.meaning, tuple(definition.labels)
        if definition.kind == "histogram":
            family = HistogramMetricFamily(name, meaning, labels=labels)
            for source in self._histograms[definition.name]:
                for values, histogram in source().items():
                    bounds = (*map(str, histogram.bounds), "+Inf")
                    buckets = list(zip(bounds, accumulate(histogram.buckets), strict=True))
                    family.add_metric(values, buckets, histogram.seconds)
            return family
        numbers: dict[Labels, float] = {}
        for read in self._numbers[definition.name]:
            for values, number in read().items():
                numbers[values] = numbers.get(values, 0) + number
        kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
        simple = kind(name, meaning, labels=labels)
        for values, number in numbers.items():
            simple.add_metric(values, number)
        return simple

    def _read(self, source: Callable[[], T], name: str) -> T | None:
        try:
            return source()
        except Exception:
            log.exception("a metric cannot be told", extra={"metric": name})
            return None


def _defined(name: str, kind: Kind) -> Definition:
    definition = DEFINITIONS.get(name)
    if definition is None:
        raise ValueError(f"the metric {name} is not defined: see telemetry/definitions.py")
    if definition.kind != kind:
        raise ValueError(f"the metric {name} is defined as a {definition.kind}, not a {kind}")
    return definition
