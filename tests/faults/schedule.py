"""Which fault happens when: drawn from a seed, so that a run can be repeated.

A schedule deals the kinds of fault like cards, one whole deck after the other, so that each kind comes as often as
any other. Every eighth fault happens together with a second one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from typing_extensions import override

__all__ = [
    "ALL_KINDS",
    "ARRANGEMENTS",
    "BACK_IN_TIME",
    "EDGES",
    "HOWS",
    "OF_PROCESSES",
    "OF_WORKERS",
    "TOGETHER",
    "Arrangement",
    "Fault",
    "Step",
    "kinds_of",
    "make_schedule",
]

Arrangement = Literal["nodes", "workers", "vertical"]
"""Three nodes behind a balancer that keeps a client with its node; three nodes of two workers each behind one that does
not; one node of three workers, without Redis, behind the same."""
ARRANGEMENTS: tuple[Arrangement, ...] = get_args(Arrangement)

EDGES = ("postgres", "redis", "library", "client")
"""What a node is connected to; a proxy stands on each of these edges, for each node."""

HOWS = ("cut", "refuse", "delay", "stall", "half-open", "slow")

BACK_IN_TIME = "postgres back in time"
"""What was acknowledged last is lost; allowed, for nobody can help it, if the epoch is renewed."""

OF_PROCESSES = (
    "node kill",
    "node terminate",
    "node freeze",
    "postgres restart",
    "postgres kill",
    "postgres freeze",
    "postgres terminate backends",
    "postgres out of connections",
    "postgres lock",
    BACK_IN_TIME,
    "redis kill",
    "redis freeze",
    "redis kill subscriptions",
    "redis out of memory",
    "redis output limit",
    "redis forgets the channel",
    "nginx kill",
    "nginx freeze",
    "library away",
)

ALL_KINDS = (*(f"{edge} {how}" for edge in EDGES for how in HOWS), *OF_PROCESSES)
OF_WORKERS = ("worker kill", "worker freeze")
"""Of one process of a node, where it has several."""
TOGETHER = "two at once"

_AT_ONCE = ("cut", "half-open", "terminate backends", "kill subscriptions", "forgets the channel")
_SECOND_EVERY = 8


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its kind, the node it concerns (where it concerns one), how long it lasts."""

    kind: str
    node: int
    seconds: float

    @override
    def __str__(self) -> str:
        return f"{self.kind} (node {self.node + 1}, {self.seconds:.1f} s)"


@dataclass(frozen=True, slots=True)
class Step:
    """One entry of the schedule: a fault, or two that begin together. `number` counts from 1."""

    number: int
    faults: Sequence[Fault]

    @property
    def kind(self) -> str:
        """Under what the report counts it."""
        return self.faults[0].kind if len(self.faults) == 1 else TOGETHER

    @override
    def __str__(self) -> str:
        return f"#{self.number} " + " + ".join(str(fault) for fault in self.faults)


def kinds_of(arrangement: Arrangement) -> tuple[str, ...]:
    """The kinds of fault that there are in it."""
    if arrangement == "nodes":
        return ALL_KINDS
    kinds = (*ALL_KINDS, *OF_WORKERS)
    return kinds if arrangement == "workers" else tuple(kind for kind in kinds if _subject(kind) != "redis")


def make_schedule(
    seed: int, count: int, *, nodes: int = 3, kinds: Sequence[str] = ALL_KINDS, longest_seconds: float = 4.0
) -> list[Step]:
    """`count` steps; the same for the same arguments."""
    chance = random.Random(seed)
    deck: list[str] = []

    def deal(besides: str = "") -> Fault:
        """The next card; besides another fault one that strikes something else."""
        fits = [kind for kind in deck if _subject(kind) != _subject(besides)]
        if not fits:
            deck[:] = kinds
            chance.shuffle(deck)
            fits = [kind for kind in deck if _subject(kind) != _subject(besides)] or deck
        kind = fits[0]
        deck.remove(kind)
        is_short = kind.endswith(_AT_ONCE)
        seconds = chance.uniform(0.05, 0.3) if is_short else chance.uniform(0.5, longest_seconds)
        return Fault(kind, chance.randrange(nodes), round(seconds, 2))

    steps = []
    for number in range(1, count + 1):
        faults = [deal()]
        if number % _SECOND_EVERY == 0 and len({_subject(kind) for kind in kinds}) > 1:
            faults.append(deal(besides=faults[0].kind))
        steps.append(Step(number, tuple(faults)))
    return steps


def _subject(kind: str) -> str:
    """What a fault strikes; a node that is killed takes its workers with it."""
    return "node" if kind in OF_WORKERS else kind.partition(" ")[0]
