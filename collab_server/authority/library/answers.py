"""Believing for a while: answers that are kept. Belongs to one event loop; waits for nothing."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

__all__ = ["Answers", "Kept"]

Question = tuple[Any, ...]
"""What was asked; the first part is the id of the user who asks."""

ENTRY_BYTES = 400
"""What it takes to keep anything at all."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer (None: a refusal), how old it is, and whether it may be used without asking again."""

    value: Any
    is_fresh: bool
    age_seconds: float


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    said_at: float
    fresh_seconds: float
    kept_seconds: float
    weight: int


@dataclass(slots=True)
class _Share:
    """What is kept of one user, the least recently used first, and how heavy it is."""

    entries: OrderedDict[Question, _Entry] = field(default_factory=OrderedDict)
    weight: int = 0


class Answers:
    """What Library said, bounded in time and in bytes: `most_bytes` for all, `share_bytes` for each user. What is too
    much leaves, the least recently used first: of a user who has too much, and of the user who asked least recently.

    An answer is fresh for `fresh_seconds` and remembered for `memory_seconds` more, for when Library is silent;
    a refusal (None) is kept for `refusal_seconds` and replaces what was remembered. Questions begin with a user's id.
    """

    def __init__(
        self,
        *,
        fresh_seconds: float,
        refusal_seconds: float,
        memory_seconds: float,
        most_bytes: int,
        share_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._refusal_seconds = refusal_seconds
        self._memory_seconds = memory_seconds
        self._most_bytes = most_bytes
        self._share_bytes = share_bytes
        self._clock = clock
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._weight = 0

    @property
    def weight(self) -> int:
        """How many bytes all that is kept takes, roughly."""
        return self._weight

    def keep(
        self,
        question: Question,
        value: object,
        *,
        age_seconds: float = 0.0,
        only_seconds: float | None = None,
    ) -> None:
        """Keep what was said so long ago, unless something later is kept; at all `only_seconds`, if given."""
        said_at = self._clock() - age_seconds
        share = self._shares.get(question[0])
        if share is None:
            share = _Share()
        elif (earlier := share.entries.get(question)) is not None:
            if earlier.said_at > said_at:
                return
            self._drop(question)
        entry = self._entry(question, value, said_at, only_seconds)
        if entry.weight <= self._share_bytes:
            self._shares[question[0]] = share
            self._shares.move_to_end(question[0])
            share.entries[question] = entry
            share.weight += entry.weight
            self._weight += entry.weight
        while share.entries and (share.weight > self._share_bytes or self._is_over(share)):
            self._drop(next(iter(share.entries)))
        while self._shares and (self._weight > self._most_bytes or self._is_over(self._oldest())):
            self._drop(next(iter(self._oldest().entries)))

    def _entry(self, question: Question, value: object, said_at: float, only_seconds: float | None) -> _Entry:
        fresh = self._refusal_seconds if value is None else self._fresh_seconds
        kept = fresh if value is None else fresh + self._memory_seconds
        if only_seconds is not None:
            fresh, kept = min(fresh, only_seconds), min(kept, only_seconds)
        return _Entry(value, said_at, fresh, kept, ENTRY_BYTES + weight_of(question) + weight_of(value))

    def fresh(self) -> list[tuple[Any, Any, float]]:
        """Every answer that may be used without asking again, refusals left out: (question, value, age in seconds), the
        oldest first."""
        now = self._clock()
        found = [
            (question, entry.value, now - entry.said_at)
            for share in self._shares.values()
            for question, entry in share.entries.items()
            if entry.value is not None and now - entry.said_at < entry.fresh_seconds
        ]
        return sorted(found, key=lambda one: -one[2])

    def get(self, question: Question) -> Kept | None:
        """What is kept, None if nothing is."""
        share = self._shares.get(question[0])
        entry = None if share is None else share.entries.get(question)
        if share is None or entry is None:
            return None
        age_seconds = self._clock() - entry.said_at
        if age_seconds >= entry.kept_seconds:
            self._drop(question)
            return None
        share.entries.move_to_end(question)
        self._shares.move_to_end(question[0])
        return Kept(entry.value, age_seconds < entry.fresh_seconds, age_seconds)

    def forget(self, question: Question) -> None:
        """Forget it, if it is kept."""
        share = self._shares.get(question[0])
        if share is not None and question in share.entries:
            self._drop(question)

    def _oldest(self) -> _Share:
        return next(iter(self._shares.values()))

    def _is_over(self, share: _Share) -> bool:
        """Whether what is to leave first has had its time."""
        entry = next(iter(share.entries.values()))
        return self._clock() - entry.said_at >= entry.kept_seconds

    def _drop(self, question: Question) -> None:
        share = self._shares[question[0]]
        entry = share.entries.pop(question)
        share.weight -= entry.weight
        self._weight -= entry.weight
        if not share.entries:
            del self._shares[question[0]]


def weight_of(value: Any) -> int:
    """How many bytes a value takes that consists of dataclasses, tuples, strings and numbers."""
    if isinstance(value, tuple):
        return sys.getsizeof(value) + sum(map(weight_of, value))
    if is_dataclass(value):
        return sys.getsizeof(value) + sum(weight_of(getattr(value, one.name)) for one in fields(value))
    return sys.getsizeof(value)
