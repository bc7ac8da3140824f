"""How fast one client is read: so many packets a second, large ones counted as several, whatever is in them.

Nothing is refused for coming too fast, it is read later. So a client costs no more than its pace, also by what is no
command and no limit on commands knows of.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf

PACKET_BYTES = 8_192
"""So many bytes count as a packet more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`burst` packets at once after a quiet time, `per_second` in the long run."""

    per_second: float = inf
    burst: float = inf


class Allowance:
    """What one client may still send before others have their turn: `left` packets; below 0 it has to wait."""

    __slots__ = ("_left_at", "left", "pace")

    def __init__(self, pace: Pace) -> None:
        self.pace = pace  # may change
        self.left = pace.burst
        self._left_at = 0.0  # `left` is as of then

    def spend(self, message: str | bytes) -> float:
        """A message was taken; returns what is left."""
        self.left -= 1 + len(message) // PACKET_BYTES
        return self.left

    def seconds_to_wait(self) -> float:
        """For how long nothing more is to be taken."""
        if self.left >= 0:
            return 0.0
        pace, now = self.pace, asyncio.get_running_loop().time()
        refilled = max(self.left, -pace.burst) + (now - self._left_at) * pace.per_second
        self.left, self._left_at = min(pace.burst, refilled), now
        return max(0.0, -self.left / pace.per_second)
