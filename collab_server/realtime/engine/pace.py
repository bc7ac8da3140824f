"""How fast one client is read: so many packets a second, large ones counted as several, whatever is in them.

Nothing is refused for coming too fast, it is read later. So a client costs no more than its pace, also by what is no
command and no limit on commands knows of.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

PACKET_BYTES = 8_192
"""So many bytes count as a packet more."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`burst` packets at once after a quiet time, `per_second` in the long run."""

    per_second: float = inf
    burst: float = inf
