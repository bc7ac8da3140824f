"""How many commands a person may give: a bucket per user that refills steadily.

Each node has its own buckets and tells the others every second what was spent (`report`, `hear`), so that somebody
who uses three nodes has, a second later, what they would have on one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from collab_server.errors import RateLimited

FORGET_ABOVE = 10_000
"""How many buckets are kept before full ones, which say nothing, are dropped."""


class RateLimiter:
    """Allows each user `per_second` commands in the long run and `burst` at once, at either door."""

    def __init__(
        self, *, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # user id → (tokens, at)
        self._spent: dict[str, int] = {}  # since the last report

    def spend(self, user_id: str) -> None:
        """Take one command from the user's bucket.

        Raises `RateLimited`, with the seconds after which there is one again.
        """
        now = self._clock()
        tokens, at = self._buckets.get(user_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        if tokens < 1 - 1e-6:  # who waits for as long as they were told must not fail by a rounding
            self._buckets[user_id] = (tokens, now)
            raise RateLimited(
                f"expected at most {self._per_second:g} commands a second, {self._burst:g} at once",
                retry_after=round((1 - tokens) / self._per_second, 3),
            )
        self._buckets[user_id] = (tokens - 1, now)
        self._spent[user_id] = self._spent.get(user_id, 0) + 1
        if len(self._buckets) > FORGET_ABOVE:
            self._forget_full(now)

    def report(self) -> bytes | None:
        """What was spent here since the last report, for the other nodes; None if nothing was."""
        if not self._spent:
            return None
        spent, self._spent = self._spent, {}
        return json.dumps(spent, separators=(",", ":")).encode()

    def hear(self, report: bytes) -> None:
        """Take from the buckets what was spent on another node; a bucket owes at most one burst."""
        now = self._clock()
        for user_id, spent in json.loads(report).items():
            tokens, at = self._buckets.get(user_id, (self._burst, now))
            tokens = min(self._burst, tokens + (now - at) * self._per_second)
            self._buckets[user_id] = (max(tokens - spent, -self._burst), now)

    def _forget_full(self, now: float) -> None:
        self._buckets = {
            user: (tokens, at)
            for user, (tokens, at) in self._buckets.items()
            if tokens + (now - at) * self._per_second < self._burst
        }
