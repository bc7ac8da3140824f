"""The pulse of the event loop: for how long one of its turns kept everybody else waiting, in CPU time.

What it promises: it counts what the loop's own thread has computed, so that a machine busy with other things changes
nothing. A turn is what happens between two looks at the network; what one callback took is never more than its turn.
While the loop is quiet a beat comes every `BEAT_SECONDS` and costs some microseconds; after one that found the loop
busy, every turn is measured by itself until it is quiet again.

What runs concurrently: one timer of the loop's, from `start` to `stop`. Everything is called on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

BEAT_SECONDS = 0.02
BUSY_SECONDS = 0.004
"""More CPU time than this since the last beat, and the next turn is measured by itself."""
WINDOW_SECONDS = 10.0
LONG_SECONDS = 0.5
"""A turn that took more is a line in the log: everybody has waited."""
BOUNDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

log = logging.getLogger(__name__)


class Pulse:
    """How long turns of the loop have taken, in seconds of CPU time.

    `longest` is the longest since the start, `recent` of the last 10 to 20 seconds, `counts` how many were longer than
    each of `BOUNDS`; these only grow, so that the difference of two readings tells what was between them. `cpu_clock`
    counts what this thread has computed, `clock` tells the time.
    """

    def __init__(
        self,
        *,
        cpu_clock: Callable[[], float] = time.thread_time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cpu_clock = cpu_clock
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next: asyncio.Handle | None = None
        self._last = 0.0
        self._counts = [0] * len(BOUNDS)
        self._window_began = clock()
        self._in_window = self._in_window_before = 0.0
        self.longest = 0.0

    def start(self) -> None:
        """Begin to measure the loop that runs now; the beats have to come on its thread."""
        self._loop = asyncio.get_running_loop()
        self._last = self._cpu_clock()
        self._next = self._loop.call_later(BEAT_SECONDS, self._beat)

    def stop(self) -> None:
        """Measure no more."""
        if self._next is not None:
            self._next.cancel()

    def _beat(self) -> None:
        assert self._loop is not None
        now = self._cpu_clock()
        used, self._last = now - self._last, now
        if used > BUSY_SECONDS:
            self.note(used)
            self._next = self._loop.call_soon(self._beat)
        else:
            self._next = self._loop.call_later(BEAT_SECONDS, self._beat)

    def note(self, seconds: float) -> None:
        """Count a turn that has taken so long."""
        self._turn_window()
        if seconds > LONG_SECONDS:
            log.warning("one turn of the loop took long", extra={"seconds": round(seconds, 2)})
        self.longest = max(self.longest, seconds)
        self._in_window = max(self._in_window, seconds)
        for number, bound in enumerate(BOUNDS):
            if seconds <= bound:
                break
            self._counts[number] += 1

    @property
    def recent(self) -> float:
        """The longest of this window and the one before."""
        self._turn_window()
        return max(self._in_window, self._in_window_before)

    @property
    def counts(self) -> Mapping[float, int]:
        """How many turns were longer than each of `BOUNDS`, since the start."""
        return dict(zip(BOUNDS, self._counts, strict=True))

    def _turn_window(self) -> None:
        now = self._clock()
        if now - self._window_began >= WINDOW_SECONDS:
            is_next = now - self._window_began < 2 * WINDOW_SECONDS
            self._in_window_before = self._in_window if is_next else 0.0
            self._in_window = 0.0
            self._window_began = now
