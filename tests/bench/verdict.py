"""Whether something became dearer, from pairs of figures that were measured in the same rounds.

A machine that is shared or warm moves both figures of a round, so only their ratio is looked at, and only its median
over the rounds. How sure that median is, is said by an interval made of the ratios themselves: no distribution is
assumed, and one round gone wrong moves neither. *Worse* is said where both hold: the median is above `TOLERATED`, and
the interval lies above 1. Fewer than `ROUNDS_TO_JUDGE` rounds are shown and not judged.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDS_TO_JUDGE = 7
TOLERATED = 1.05
CONFIDENCE = 0.90


@dataclass(frozen=True, slots=True)
class Comparison:
    """The median of the paired ratios now / before, its interval, and of how many rounds."""

    median: float
    low: float
    high: float
    rounds: int

    @property
    def can_be_judged(self) -> bool:
        """Whether there are rounds enough."""
        return self.rounds >= ROUNDS_TO_JUDGE

    @property
    def is_worse(self) -> bool:
        """Dearer by more than is tolerated, and not by chance."""
        return self.can_be_judged and self.median > TOLERATED and self.low > 1

    @property
    def is_unclear(self) -> bool:
        """Not worse, but so noisy that what is tolerated may be passed: more rounds would tell."""
        return self.can_be_judged and not self.is_worse and self.high > TOLERATED

    @property
    def words(self) -> str:
        """The verdict, as it stands in the table."""
        if not self.can_be_judged:
            return f"not judged: {self.rounds} rounds of {ROUNDS_TO_JUDGE}"
        if self.is_worse:
            return "**worse**"
        return "not worse, but unclear: more rounds" if self.is_unclear else "not worse"


def compare(before: Sequence[float], now: Sequence[float]) -> Comparison:
    """Compare figures of the same rounds, in the same order.

    Raises `ValueError` where there are none, where they do not pair, or where one is not above zero.
    """
    if not before or len(before) != len(now):
        raise ValueError(f"{len(before)} figures before and {len(now)} now do not pair")
    if min(*before, *now) <= 0:
        raise ValueError("a figure is not above zero, so it has no ratio")
    ratios = [mine / theirs for theirs, mine in zip(before, now, strict=True)]
    return Comparison(statistics.median(ratios), *interval(ratios), len(ratios))


def interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """An interval that holds the true median with this confidence: from the values' order alone.

    The d-th smallest and the d-th largest enclose the median with a probability that is binomial; between the two d
    whose probabilities enclose `confidence` it is interpolated as Hettmansperger and Sheather do. Where even the
    extremes are not sure enough (fewer than five values for 90 %), these are given.
    """
    ordered = sorted(values)
    count = len(ordered)

    def coverage(d: int) -> float:
        return 1 - 2 * sum(math.comb(count, k) for k in range(d)) / 2.0**count

    d = 1
    while d + 1 <= count // 2 and coverage(d + 1) >= confidence:
        d += 1
    if coverage(d) <= confidence or d + 1 > count // 2:
        return ordered[d - 1], ordered[count - d]
    share = (coverage(d) - confidence) / (coverage(d) - coverage(d + 1))
    weight = (count - d) * share / (d + (count - 2 * d) * share)
    return (
        (1 - weight) * ordered[d - 1] + weight * ordered[d],
        (1 - weight) * ordered[count - d] + weight * ordered[count - d - 1],
    )
