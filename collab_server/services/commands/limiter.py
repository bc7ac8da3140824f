"""How much a person may ask of a node: a bucket per user that refills steadily.

What is in the buckets are units: an everyday command costs one, a dear one as many as it is worth (`weights.py`). A
command is let through while there is a unit left, and then costs all of its own, so that a bucket may owe some: what is
dear is never impossible, only rarer. Each node has its own buckets and tells the others every second what was spent
(`report`, `hear`), so that somebody who uses three nodes has, a second later, what they would have on one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from collab_server.errors import RateLimited

FORGET_ABOVE = 10_000
"""How many buckets are kept before full ones, which say nothing, are dropped."""
KEPT_AT_MOST = 100_000
"""How many are kept at all; of more, those are dropped that are the nearest to being full."""
FORGET_SECONDS = 1.0
REFUSALS_WAIT_SECONDS = 5.0
"""Nobody waits longer for a refusal, however many others of the same user do."""


class RateLimiter:
    """Allows each user `per_second` units in the long run and `burst` at once, at either door; `expected` says that."""

    def __init__(
        self,
        *,
        per_second: float,
        burst: float,
        expected: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._expected = expected or f"expected at most {per_second:g} commands a second, {burst:g} at once"
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # user id → (tokens, at)
        self._spent: dict[str, int] = {}  # since the last report
        self._refused_until: dict[str, float] = {}  # user id → when the next refusal is due
        self._forget_at = clock()

    def __len__(self) -> int:
        """How many buckets are kept."""
        return len(self._buckets)

    def spend(self, user_id: str, weight: int = 1) -> None:
        """Take a command of so many units from the user's bucket.

        Raises `RateLimited`, with the seconds after which there is one again.
        """
        now = self._clock()
        tokens = self._tokens(user_id, now)
        if tokens < 1 or len(self._buckets) > FORGET_ABOVE:
            self._spend(user_id, weight, needed=1)
            return
        # As `_take`, in one step: it is on the way of every command.
        self._buckets[user_id] = (max(tokens - weight, -self._burst), now)
        self._spent[user_id] = self._spent.get(user_id, 0) + weight

    def spend_whole(self, user_id: str, weight: int) -> None:
        """Take so many units, or none where there are less, or less than all that a bucket holds.

        Raises `RateLimited`, with the seconds after which there are as many.
        """
        if weight > 0:
            self._spend(user_id, weight, needed=min(weight, self._burst))

    def _spend(self, user_id: str, weight: int, *, needed: float) -> None:
        now = self._clock()
        tokens = self._tokens(user_id, now)
        if tokens < needed - 1e-6:  # who waits for as long as they were told must not fail by a rounding
            self._buckets[user_id] = (tokens, now)
            retry_after = max(0.001, round((max(1, needed) - tokens) / self._per_second, 3))
            raise RateLimited(self._expected, retry_after=retry_after)
        self._take(user_id, tokens, weight, now)

    def spend_more(self, user_id: str, weight: int, *, spent: int) -> None:
        """Take what a command costs besides the units that were `spent` on letting it in: only now it is known.

        Raises `RateLimited` where others have taken more than there was meanwhile, for many may be let in at once.
        """
        if weight > 0:
            self._spend(user_id, weight, needed=1 - spent)

    def charge(self, user_id: str, weight: int) -> None:
        """Take what a command that was let through has cost besides, as far as a bucket may owe."""
        if weight > 0:
            now = self._clock()
            self._take(user_id, self._tokens(user_id, now), weight, now)

    def take_if_there(self, user_id: str, weight: int) -> bool:
        """Take so many units if the bucket has as many; False if it has not."""
        now = self._clock()
        tokens = self._tokens(user_id, now)
        if tokens < weight:
            return False
        if len(self._buckets) > FORGET_ABOVE:
            self._take(user_id, tokens, weight, now)
        else:  # the same in one step
            self._buckets[user_id] = (tokens - weight, now)
            self._spent[user_id] = self._spent.get(user_id, 0) + weight
        return True

    def wait_seconds(self, user_id: str) -> float:
        """After how many seconds the user's bucket owes nothing; 0 if it owes nothing now."""
        return max(0.0, -self._tokens(user_id, self._clock()) / self._per_second)

    def share_left(self, user_id: str) -> float:
        """How much of what may be asked at once the user had left when something was last taken; 1 is all."""
        bucket = self._buckets.get(user_id)
        return 1.0 if bucket is None else bucket[0] / self._burst

    def refusal_seconds(self, user_id: str, seconds: float) -> float:
        """How long to wait with a refusal, or after it, that takes so many seconds: those of one user come one after
        the other, over whatever many connections, so that being refused keeps no node busy."""
        now = self._clock()
        if len(self._refused_until) > FORGET_ABOVE:
            self._refused_until = {user: until for user, until in self._refused_until.items() if until > now}
        until = max(now, self._refused_until.get(user_id, now)) + seconds
        self._refused_until[user_id] = until = min(until, now + REFUSALS_WAIT_SECONDS)
        return until - now

    def report(self) -> bytes | None:
        """What was spent here since the last report, for the other nodes; None if nothing was."""
        if not self._spent:
            return None
        spent, self._spent = self._spent, {}
        return json.dumps(spent, separators=(",", ":")).encode()

    def hear(self, _node: str, report: bytes) -> None:
        """Take from the buckets what was spent on another node."""
        now = self._clock()
        for user_id, spent in json.loads(report).items():
            self._set(user_id, self._tokens(user_id, now) - spent, now)
        self._forget(now)

    def _tokens(self, user_id: str, now: float) -> float:
        tokens, at = self._buckets.get(user_id, (self._burst, now))
        return min(self._burst, tokens + (now - at) * self._per_second)

    def _take(self, user_id: str, tokens: float, weight: int, now: float) -> None:
        self._set(user_id, tokens - weight, now)
        self._spent[user_id] = self._spent.get(user_id, 0) + weight
        self._forget(now)

    def _set(self, user_id: str, tokens: float, now: float) -> None:
        """A bucket owes at most one burst."""
        self._buckets[user_id] = (max(tokens, -self._burst), now)

    def _forget(self, now: float) -> None:
        if len(self._buckets) <= FORGET_ABOVE or now < self._forget_at:
            return
        self._forget_at = now + FORGET_SECONDS  # to look through all of them takes some milliseconds
        kept = {user: self._tokens(user, now) for user in self._buckets}
        kept = {user: tokens for user, tokens in kept.items() if tokens < self._burst}
        if len(kept) > KEPT_AT_MOST:
            kept = dict(sorted(kept.items(), key=lambda bucket: bucket[1])[:KEPT_AT_MOST])
        self._buckets = {user: (tokens, now) for user, tokens in kept.items()}
