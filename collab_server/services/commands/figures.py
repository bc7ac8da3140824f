"""What became of commands, and how long they took: plain numbers, added to where it happens, read by Prometheus.

A histogram of prometheus_client takes ten times as long to add to, and every command is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from typing_extensions import override

BOUNDS = (0.0025, 0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0)
UNKNOWN = "unknown"
"""Stands for a command that there is not, or that was refused before it was read."""
DONE = "ok"
GIVEN_UP = "given up"
"""What becomes of a command, besides the code of its error; nobody waits any more for one that was given up."""


class Tally:
    """The commands of one name that came through one door."""

    __slots__ = ("buckets", "outcomes", "seconds")

    def __init__(self) -> None:
        self.buckets = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0
        self.outcomes: dict[str, int] = {}

    def note(self, outcome: str, seconds: float) -> None:
        """One was over, after so long."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Figures(Collector):
    """The tallies of a node, for whoever asks `registry`: `of(door)` gives a door its own, by the commands' names."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._doors: dict[str, dict[str, Tally]] = {}
        registry.register(self)

    def of(self, door: str) -> dict[str, Tally]:
        """What came through this door, by name; only what has come."""
        return self._doors.setdefault(door, {})

    @override
    def collect(self) -> Iterator[Metric]:
        over = CounterMetricFamily(
            "collab_commands",
            "Commands that are over, by what became of them: ok, given up, or the code of their error",
            labels=("command", "door", "outcome"),
        )
        took = HistogramMetricFamily(
            "collab_command_seconds",
            "How long commands took from being read to their answer",
            labels=("command", "door"),
        )
        for door, tallies in self._doors.items():
            for name, tally in tallies.items():
                for outcome, count in tally.outcomes.items():
                    over.add_metric((name, door, outcome), count)
                counts = accumulate(tally.buckets)
                bounds = (*map(str, BOUNDS), "+Inf")
                took.add_metric((name, door), list(zip(bounds, counts, strict=True)), tally.seconds)
        yield over
        yield took
