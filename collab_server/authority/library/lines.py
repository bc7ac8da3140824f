"""Whose turn it is to ask Library: so many calls at once, and a bounded number of those who wait.

A `Line` is for one kind of call; its places are its own, so that one kind cannot keep another waiting. Those who wait
are served in turns by whom they wait for: whoever has many waiting waits for himself. Each call costs us some
milliseconds, so there may also be a pace for one and the same. A full line is `Busy`, which is our doing and says
nothing about Library.

Belongs to one event loop; nothing runs in the background.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from collab_server.authority.library.words import busy

__all__ = ["Line", "Pace"]

FORGET_ABOVE = 10_000
"""Of so many the pace is kept before those that say nothing are dropped."""


class Pace:
    """How often a call may be made for one and the same: `burst` after a quiet time, `per_second` in the long run.

    Those that come too soon are due one after the other, none later than `most_seconds` from when it came.
    """

    def __init__(self, per_second: float, burst: int, most_seconds: float) -> None:
        self._step = 1 / per_second
        self._ahead = (burst - 1) / per_second
        self._most_seconds = most_seconds
        self._due: dict[str, float] = {}  # when the next would be due, had they never been quiet

    def seconds(self, whom: str, now: float) -> float:
        """In how many seconds the next call is due. Raises `Busy` when that is too late."""
        due = max(now, self._due.get(whom, now))
        wait = due - self._ahead - now
        if wait > self._most_seconds:
            raise busy()
        if len(self._due) > FORGET_ABOVE:
            self._due = {one: due for one, due in self._due.items() if due > now}
        self._due[whom] = due + self._step
        return max(0.0, wait)

    def count(self, whom: str) -> None:
        """One call more was made."""
        self._due[whom] = self._due.get(whom, 0.0) + self._step


class Line:
    """See the module.

    `at_once` calls, of which `each_at_once` for one and the same, at `each_pace`; at most `most_waiting` wait,
    `each_waiting` for one.
    """

    def __init__(
        self,
        at_once: int,
        *,
        each_at_once: int | None = None,
        each_pace: Pace | None = None,
        most_waiting: int = 10_000,
        each_waiting: int = 1000,
    ) -> None:
        self._free = at_once
        self._each_at_once = each_at_once or at_once
        self._each_pace = each_pace
        self._most_waiting = most_waiting
        self._each_waiting = each_waiting
        self._running: Counter[str] = Counter()
        # Those who may be served come in turn; those who have as many running as they may are left out meanwhile.
        self._turns: OrderedDict[str, None] = OrderedDict()
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    @asynccontextmanager
    async def turn(self, whom: str) -> AsyncIterator[None]:
        """A place for one call made for `whom`, for as long as the block lasts.

        Raises `Busy` when too many wait, and when who has waited has to go for somebody with fewer waiting.
        """
        if self._each_pace is not None:
            seconds = self._each_pace.seconds(whom, asyncio.get_running_loop().time())
            if seconds:
                await asyncio.sleep(seconds)
        if self._free and whom not in self._queues and self._running[whom] < self._each_at_once:
            self._take(whom)
        else:
            await self._wait(whom)
        try:
            yield
        finally:
            self._give_back(whom)
            self._serve()

    def _take(self, whom: str) -> None:
        self._free -= 1
        self._running[whom] += 1

    def _give_back(self, whom: str) -> None:
        self._free += 1
        self._running[whom] -= 1
        if not self._running[whom]:
            del self._running[whom]
        if whom in self._queues:
            self._turns.setdefault(whom)

    async def _wait(self, whom: str) -> None:
        queue = self._queues.get(whom, ())
        if len(queue) >= self._each_waiting:
            raise busy()
        if self._waiting >= self._most_waiting:
            self._make_room(len(queue))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(whom, deque()).append(place)
        self._waiting += 1
        if self._running[whom] < self._each_at_once:
            self._turns.setdefault(whom)
        try:
            await place
        except asyncio.CancelledError:
            if (
                place.done() and not place.cancelled() and place.exception() is None
            ):  # served in this very turn
                self._give_back(whom)
            else:
                self._leave(whom, place)
            self._serve()
            raise

    def _make_room(self, own: int) -> None:
        """Put the last out of those for whom most wait. Raises `Busy` if that is no more than of those who come."""
        longest = max(self._queues, key=lambda whom: len(self._queues[whom]))
        if len(self._queues[longest]) <= own + 1:
            raise busy()
        place = self._queues[longest][-1]
        self._leave(longest, place)
        if not place.done():
            place.set_exception(busy())

    def _leave(self, whom: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(whom)
        if queue is None or place not in queue:
            return
        queue.remove(place)
        self._waiting -= 1
        if not queue:
            del self._queues[whom]
            self._turns.pop(whom, None)

    def _serve(self) -> None:
        while self._free and self._turns:
            whom, _ = self._turns.popitem(last=False)
            place = self._queues[whom][0]
            self._leave(whom, place)
            if not place.done():  # who has stopped waiting may not have left yet
                self._take(whom)
                place.set_result(None)
            if whom in self._queues and self._running[whom] < self._each_at_once:
                self._turns[whom] = None
