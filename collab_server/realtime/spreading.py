"""Connections that are closed one after another, so that their clients do not come back to the other nodes at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

__all__ = ["SPREAD_SECONDS", "STEP_SECONDS", "spread"]

T = TypeVar("T")

CLOSES_PER_SECOND = 400.0
"""Which the other nodes take in without making anybody wait."""
SPREAD_SECONDS = 2.5
STEP_SECONDS = 0.01


async def spread(leaving: Iterable[T], most_seconds: float = SPREAD_SECONDS) -> AsyncIterator[list[T]]:
    """Give those that are leaving now, each once, some at a time, when it is their turn; all within `most_seconds`, or
    sooner where they are few."""
    loop = asyncio.get_running_loop()
    waiting = list(leaving)
    random.shuffle(waiting)
    seconds = min(most_seconds, len(waiting) / CLOSES_PER_SECOND)
    began, given = loop.time(), 0
    while given < len(waiting):
        # By the clock: a pause after each would take many times as long on a machine that has much to do.
        share = (loop.time() - began) / seconds
        due = min(len(waiting), int(share * len(waiting)) + 1)
        yield waiting[given:due]
        given = due
        await asyncio.sleep(STEP_SECONDS)
