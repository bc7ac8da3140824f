"""Whether what carries the bus works: proved by what comes back, not hoped for.

Each second a heartbeat leaves through one connection and comes in through the other, by the same way as everything
else. `DEAF_AFTER_SECONDS` without one mean that this node is deaf, however healthy its connections look: a half-open
one does so for hours. Before the epoch is known there is no heartbeat, and the answer to a PING has to do.

Nothing runs here.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from collab_server.cluster.counters import Counters

__all__ = ["Proof"]

log = logging.getLogger(__name__)

DEAF_AFTER_SECONDS = 2.5
MAX_UNDER_WAY = 8


class Proof:
    """What is known of what carries the bus, which the log calls `carried_by`. `problem` says in words why it is not
    available, or why a connection has just ended; None where all is well.
    """

    def __init__(self, counters: Counters, clock: Callable[[], float], carried_by: str = "Redis") -> None:
        self.deaf = f"nothing comes back from {carried_by}"
        self.problem: str | None = "not connected yet"
        self.latency_seconds: float | None = None
        self.is_available = False
        self.proved_at = 0.0
        self._carried_by = carried_by
        self._counters = counters
        self._clock = clock
        self._has_heard = False
        self._said: str | None = None  # in the log, since it was available last
        self._under_way: deque[tuple[int, float]] = deque(
            maxlen=MAX_UNDER_WAY
        )  # number of a heartbeat, sent at

    @property
    def is_hearing(self) -> bool:
        """Whether a heartbeat came through lately, and no connection was refused since."""
        return self.is_available and self._has_heard

    @property
    def is_under_way(self) -> bool:
        """Whether a heartbeat has been sent that has not come back."""
        return bool(self._under_way)

    def begin(self) -> None:
        """From now on something has to be heard."""
        self.proved_at = self._clock()

    def sent(self, number: int) -> None:
        """The message of this number is a heartbeat."""
        self._under_way.append((number, self._clock()))

    def came_back(self, up_to: int) -> bool:
        """All of our own before this number came in. True if it is the first heartbeat since we were deaf. An old one
        proves nothing.
        """
        now = self._clock()
        hears_again = False
        while self._under_way and self._under_way[0][0] < up_to:
            _, sent_at = self._under_way.popleft()
            if now - sent_at <= DEAF_AFTER_SECONDS:
                self.latency_seconds = now - sent_at
                hears_again |= not self._has_heard
                self._has_heard = True
                self.proved()
        return hears_again

    def proved(self) -> None:
        """It has just shown that it works."""
        self.proved_at = self._clock()
        self.problem = self._said = None
        if not self.is_available:
            self.is_available = True
            log.info("%s is available", self._carried_by)

    def failed(self, problem: str) -> None:
        """It has just shown that it does not."""
        if problem != self._said:
            log.warning("%s is unavailable: %s", self._carried_by, problem)
        self.problem = self._said = problem
        self._has_heard = False
        self.latency_seconds = None
        if self.is_available:
            self.is_available = False
            self._counters.outages += 1

    def lost_connection(self, problem: str) -> None:
        """One has ended, which is said where it was held. The next one may do: only silence makes it `failed`."""
        self.problem = problem

    def forget_heard(self) -> None:
        """What was heard was another channel."""
        self._has_heard = False

    def stood_still(self, seconds: float) -> None:
        """The whole process did: when we could not listen, nobody was silent."""
        self.proved_at += seconds

    def has_run_out(self) -> bool:
        """Whether the last proof is too old. Then that is said, and the next connections get as long."""
        now = self._clock()
        if now - self.proved_at <= DEAF_AFTER_SECONDS:
            return False
        self.proved_at = now
        self.failed(self.problem or self.deaf)
        return True
