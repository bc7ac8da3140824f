"""How a part of somebody else's begins and ends, and how it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

__all__ = ["AlwaysThere", "Life", "Queues"]


class Life(Protocol):
    """How something of another's begins and ends, and how it is. Whoever inherits from this writes what it needs."""

    @property
    def problem(self) -> str | None:
        """Why it is not available, for an administrator and without a secret; None if it is."""
        return None

    @property
    def latency_seconds(self) -> float | None:
        """How long an answer took lately; None if that is not known."""
        return None

    async def start(self) -> None:
        """Make ready, and come back at once, whatever is there or not."""
        return

    async def stop(self) -> None:
        """End everything, within 3 s."""
        return


class AlwaysThere(Life):
    """Of what needs nothing: it is never away."""


@runtime_checkable
class Queues(Protocol):
    """What such a part may be besides, where something waits in it: `/metrics` tells how much that is."""

    def waiting(self) -> Mapping[str, int]:
        """How many wait now, by the name of the queue, of which there are only a few."""
        ...
