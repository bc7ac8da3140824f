"""How many commands a person may give: a bucket per user that refills steadily."""

from __future__ import annotations

import time
from collections.abc import Callable

from collab_server.errors import RateLimited

FORGET_ABOVE = 10_000
"""How many buckets are kept before full ones, which say nothing, are dropped."""


class RateLimiter:
    """Allows each user `per_second` commands on the long run and `burst` at once, on this node, at either door."""

    def __init__(
        self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # user id → (tokens, at)

    def spend(self, user_id: str) -> None:
        """Take one command from the user's bucket.

        Raises `RateLimited`, with the seconds after which there is one again.
        """
        now = self._clock()
        tokens, at = self._buckets.get(user_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        if tokens < 1:
            self._buckets[user_id] = (tokens, now)
            raise RateLimited(
                f"expected at most {self._per_second:g} commands a second, {self._burst:g} at once",
                retry_after=round((1 - tokens) / self._per_second, 3),
            )
        self._buckets[user_id] = (tokens - 1, now)
        if len(self._buckets) > FORGET_ABOVE:
            self._forget_full(now)

    def _forget_full(self, now: float) -> None:
        self._buckets = {
            user: (tokens, at)
            for user, (tokens, at) in self._buckets.items()
            if tokens + (now - at) * self._per_second < self._burst
        }
