"""Time-outs of thousands of connections with one timer.

All who wait equally long expire in the order in which they began, so each duration is a queue (a lane) of its own, and
only its head needs the clock. Starting and stopping cost no timer and are exact: no ticks, no wheel to turn.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_ASLEEP_SECONDS = 1.0
_AWAKE_SECONDS = 0.05


class Lane(Generic[T]):
    """Those who wait `seconds`; `expired(who, due)` is called for each who was not stopped before.

    `due` is the exact time on the loop's clock, so that a wait which follows another does not drift.
    """

    __slots__ = ("_expired", "_loop", "_timer", "_waiting", "_woke_late", "seconds")

    def __init__(self, seconds: float, expired: Callable[[T, float], None]) -> None:
        self.seconds = seconds
        self._loop: asyncio.AbstractEventLoop | None = None  # in which somebody waits
        self._expired = expired
        self._waiting: OrderedDict[T, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._woke_late = False

    def start(self, who: T, since: float | None = None) -> None:
        """Begin (or begin again) to wait, counted from `since` (now, if not given; never earlier than others)."""
        loop = self._loop
        if loop is None or self._timer is None or loop.is_closed():  # else it is the one that runs
            loop = asyncio.get_running_loop()
            if loop is not self._loop:  # whoever waited in another waits no more
                self._waiting.clear()
                self._timer = None
                self._loop = loop
        due = (loop.time() if since is None else since) + self.seconds
        self._waiting.pop(who, None)
        self._waiting[who] = due
        if self._timer is None:
            self._timer = loop.call_at(due, self._expire)

    def __len__(self) -> int:
        return len(self._waiting)

    def stop(self, who: T) -> bool:
        """Wait no more; False for one who did not wait."""
        return self._waiting.pop(who, None) is not None

    def is_overdue(self, who: T) -> bool:
        """True if the time of `who` is up, though the timer may not have come round to it.

        Not if that is long ago: then the process slept, and the timer reads first, then judges.
        """
        due = self._waiting.get(who)
        return due is not None and 0 <= asyncio.get_running_loop().time() - due <= _ASLEEP_SECONDS

    def close(self) -> None:
        """Forget everybody."""
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        loop, waiting = asyncio.get_running_loop(), self._waiting
        now = loop.time()
        first = next(iter(waiting.values()), now)
        if now - first > _ASLEEP_SECONDS and not self._woke_late:
            # The process was stopped or busy: what the waiting ones sent lies unread. Read first, then judge.
            self._woke_late = True
            self._timer = loop.call_at(now + _AWAKE_SECONDS, self._expire)
            return
        self._woke_late = False
        try:
            while waiting:
                who, due = next(iter(waiting.items()))
                if due > now:
                    break
                del waiting[who]
                self._expired(who, due)
        finally:
            self._timer = loop.call_at(next(iter(waiting.values())), self._expire) if waiting else None
