"""Waiting for a condition, with a deadline; and how long something took.

Times are counted as the machine gives them: while the thread of the tests gets a processor for a quarter of the time
that it could use one, a second takes four. So a deadline says what it says on a machine with nothing else to do, and
does not fail a test because others compute, too. `Stopwatch` is what a test compares with a promise.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVERY_SECONDS = 0.015
MOST_TIMES_SLOWER = 8

RunTimes = tuple[int, int]
"""Nanoseconds run, and waited for a processor"""

_COUNTED = Path("/proc/thread-self/schedstat")


class Stopwatch:
    """Seconds since it was made, of a machine that does nothing else. Made and read by one thread.

    What this thread ran and what it waited to be let run is counted by Linux; where it is not, nothing is allowed for.
    Nor is more than `MOST_TIMES_SLOWER`.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, run_times: Callable[[], RunTimes] | None = None
    ) -> None:
        self._clock = clock
        self._run_times = run_times or of_this_thread
        self._began = clock()
        self._ran, self._waited = self._run_times()

    @property
    def seconds(self) -> float:
        """How long it would have taken."""
        elapsed = self._clock() - self._began
        ran, waited = self._run_times()
        ran, waited = ran - self._ran, waited - self._waited
        slower = (ran + waited) / ran if ran else 1
        return elapsed / min(slower, MOST_TIMES_SLOWER)


def of_this_thread() -> RunTimes:
    """For how long this thread has run, and has waited for a processor."""
    try:
        ran, waited, _ = _COUNTED.read_text().split()
    except (OSError, ValueError):
        return 0, 0
    return int(ran), int(waited)


async def until(condition: Callable[[], Any], timeout: float = 10, what: str | Callable[[], str] = "") -> Any:
    """The first truthy value of `condition()`, awaited if need be. Fails the test after `timeout` seconds.

    `what` says what was waited for; as a function it is asked when the wait has failed. An `AssertionError`
    of the condition means "not yet", and so does looking at what is not there, the last of an empty list or one of
    none; the last such error is shown when time is up.
    """
    watch, deadline = Stopwatch(), time.monotonic() + timeout
    while True:
        reason: Exception | None = None
        try:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
        except (AssertionError, LookupError, ValueError) as error:
            reason = error
        if time.monotonic() > deadline and watch.seconds > timeout:
            waited_for = what() if callable(what) else what
            raise AssertionError(f"not within {timeout:g} s: {waited_for or 'the condition'}") from reason
        await asyncio.sleep(EVERY_SECONDS)


async def seconds_until(condition: Callable[[], object], timeout: float = 10) -> float:
    """Wait until `condition()` holds, as `until` does; how many seconds of a `Stopwatch` it took."""
    watch = Stopwatch()
    await until(condition, timeout)
    return watch.seconds
