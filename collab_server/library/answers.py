"""Asking once and believing for a while: calls in flight that are shared, and answers that are kept.

`Flights` lets everybody who asks the same thing at the same time wait for one call. `Answers` keeps what
was said. Both belong to one event loop; neither waits for anything itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from cachetools import TLRUCache

__all__ = ["Answers", "Flights", "Kept"]

T = TypeVar("T")


class Flights:
    """Calls in flight, one per question. A waiter who is cancelled does not cancel it for the others."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def join(self, question: Hashable, ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of the call in flight for `question`; where there is none, `ask()` becomes it.

        Raises what the call raises. `ask` has to bring its own time limit.
        """
        task = self._tasks.get(question)
        if task is None or task.done():  # one that has just landed is in flight no more: it is asked anew
            task = asyncio.create_task(ask())
            self._tasks[question] = task
            task.add_done_callback(lambda done: self._land(question, done))
        answer: T = await asyncio.shield(task)
        return answer

    def _land(self, question: Hashable, done: asyncio.Task[Any]) -> None:
        if self._tasks.get(question) is done:
            del self._tasks[question]
        if not done.cancelled():
            done.exception()  # looked at, so that a call whose waiters have all gone is not reported as a bug

    async def stop(self) -> None:
        """Cancel the calls in flight and wait until they are gone."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


class Answers:
    """What Library said, bounded in time and number; the least recently used ones leave first.

    An answer is fresh for `fresh_seconds` and remembered for `memory_seconds` more, for when Library is silent;
    a refusal (None) is kept for `refusal_seconds` and replaces what was remembered.
    """

    def __init__(
        self,
        *,
        fresh_seconds: float,
        refusal_seconds: float,
        memory_seconds: float,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._refusal_seconds = refusal_seconds
        self._memory_seconds = memory_seconds
        self._clock = clock
        self._entries: TLRUCache[Hashable, _Entry] = TLRUCache(most, self._ends_at, clock)

    def _ends_at(self, question: Hashable, entry: _Entry, now: float) -> float:
        if entry.value is None:
            return entry.said_at + self._refusal_seconds
        return entry.said_at + self._fresh_seconds + self._memory_seconds

    def keep(self, question: Hashable, value: object, *, age_seconds: float = 0.0) -> None:
        """Keep what was said so long ago, unless something later is kept."""
        said_at = self._clock() - age_seconds
        earlier = self._entries.get(question)
        if earlier is None or earlier.said_at <= said_at:
            self._entries[question] = _Entry(value, said_at)

    def fresh(self) -> list[tuple[Any, Any, float]]:
        """Every answer that may be used without asking again, refusals left out: (question, value, age in seconds)."""
        now = self._clock()
        return [
            (question, entry.value, now - entry.said_at)
            for question, entry in list(self._entries.items())
            if entry.value is not None and now - entry.said_at < self._fresh_seconds
        ]

    def get(self, question: Hashable) -> Kept | None:
        """What is kept, None if nothing is."""
        entry = self._entries.get(question)
        if entry is None:
            return None
        seconds = self._refusal_seconds if entry.value is None else self._fresh_seconds
        age_seconds = self._clock() - entry.said_at
        return Kept(entry.value, age_seconds < seconds, age_seconds)

    def forget(self, question: Hashable) -> None:
        """Forget it, if it is kept."""
        self._entries.pop(question, None)
