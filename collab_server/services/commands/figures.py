"""What became of commands, and how long they took: plain numbers, added to where it happens, read when somebody asks.

Both of one command are noted in one call, for every command is counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping

from collab_server.telemetry.definitions import DEFINITIONS
from collab_server.telemetry.metrics import Histogram, Labels, Metrics

BOUNDS = DEFINITIONS["command_seconds"].bounds
UNKNOWN = "unknown"
"""Stands for a command that there is not, or that was refused before it was read."""
DONE = "ok"
GIVEN_UP = "given up"
"""What becomes of a command, besides the code of its error; nobody waits any more for one that was given up."""


class Tally(Histogram):
    """The commands of one name that came through one door."""

    __slots__ = ("outcomes",)

    def __init__(self) -> None:
        super().__init__(BOUNDS)
        self.outcomes: dict[str, int] = {}

    def end(self, outcome: str, seconds: float) -> None:
        """One was over, after so long."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1


class Figures:
    """The tallies of a node, told by `metrics`: `of(door)` gives a door its own, by the commands' names."""

    def __init__(self, metrics: Metrics) -> None:
        self._doors: dict[str, dict[str, Tally]] = {}
        metrics.counters("commands", self._over)
        metrics.read_histograms("command_seconds", self._took)
        metrics.counters("errors", self._errors)

    def of(self, door: str) -> dict[str, Tally]:
        """What came through this door, by name; only what has come."""
        return self._doors.setdefault(door, {})

    def _over(self) -> Mapping[Labels, float]:
        return {
            (name, door, outcome): count
            for door, tallies in self._doors.items()
            for name, tally in tallies.items()
            for outcome, count in tally.outcomes.items()
        }

    def _took(self) -> Mapping[Labels, Histogram]:
        return {
            (name, door): tally for door, tallies in self._doors.items() for name, tally in tallies.items()
        }

    def _errors(self) -> Mapping[Labels, float]:
        errors: Counter[Labels] = Counter()
        for (_, door, outcome), count in self._over().items():
            if outcome not in (DONE, GIVEN_UP):
                errors[door, outcome] += int(count)
        return errors
