"""When requests begin that an ASGI application answers: so many a turn of the loop.

What came in one look at the network is read in one turn, and each request takes a part of a millisecond before it first
waits: of many at once nobody else would get a turn for as long as all of them take.

Belongs to one event loop. What runs concurrently: while requests come, one call a turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 8


class Starts:
    """See the module."""

    def __init__(self) -> None:
        self._begun = 0  # in this turn
        self._waiting: deque[Callable[[], None]] = deque()

    def begin(self, start: Callable[[], None]) -> None:
        """Call `start` now, or in one of the next turns, in the order of the calls."""
        if self._waiting or self._begun == AT_ONCE:
            self._waiting.append(start)
            return
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_turn)
        self._begun += 1
        start()

    def _next_turn(self) -> None:
        self._begun = 0
        if not self._waiting:
            return
        asyncio.get_running_loop().call_soon(self._next_turn)
        while self._waiting and self._begun < AT_ONCE:
            self._begun += 1
            self._waiting.popleft()()
