"""How many of something people have now: connections, requests that are not answered."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

__all__ = ["OwnTally", "Tally"]


class Tally(Protocol):
    """Counts by person."""

    def more(self, user_id: str) -> None:
        """One more of this person's."""

    def less(self, user_id: str) -> None:
        """One less."""

    def of(self, user_id: str) -> int:
        """How many there are."""
        ...


class OwnTally:
    """Counts what this process has."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def more(self, user_id: str) -> None:
        """One more of this person's."""
        self._counts[user_id] += 1

    def less(self, user_id: str) -> None:
        """One less."""
        self._counts[user_id] -= 1
        if not self._counts[user_id]:
            del self._counts[user_id]

    def of(self, user_id: str) -> int:
        """How many there are."""
        return self._counts[user_id]
