"""Asking once: everybody who asks the same thing at the same time waits for one call.

Belongs to one event loop; waits for nothing itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeVar

__all__ = ["Flights"]

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
        # No shield, which since Python 3.14 logs a failure that nobody waits for any more.
        await asyncio.wait((task,))
        answer: T = task.result()
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
