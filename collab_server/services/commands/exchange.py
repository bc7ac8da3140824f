"""What people have spent on this node of what they may do, told to the other nodes every second.

One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from collab_server.domain.hints import Kind
from collab_server.ports import Bus
from collab_server.services.commands.limiter import RateLimiter

TELL_SECONDS = 1.0


class LimitExchange:
    """Between the limiters of all nodes: those of one `Kind` count the same thing."""

    def __init__(self, bus: Bus, limiters: Mapping[Kind, RateLimiter]) -> None:
        self._bus = bus
        self._limiters = limiters
        for kind, limiter in limiters.items():
            bus.listen(kind, limiter.hear)

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await asyncio.sleep(TELL_SECONDS)
            for kind, limiter in self._limiters.items():
                report = limiter.report()
                if report is not None:
                    self._bus.publish(kind, report)
