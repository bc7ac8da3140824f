"""Sessions that are told the same again and again, kept so that telling them costs little more than the kernel asks.

A delivery to one of them by itself looks a session up, appends to what goes out of it, and at the end of the turn asks
its carrier, which asks its transport: a dozen objects, and in a node with thousands of clients each of them has left
the processor's caches since the last event of the topic. What is told to a `Roster` is kept once for all on it, as a
`Round`, and written by one call that goes through the descriptors of those whose transports have nothing to do with it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from collab_server.realtime.engine.session import Session


class Round:
    """What those on a roster get at the end of this turn of the loop: `frames`, one behind the other.

    `apart`, by their ids, are those who were told something else in this turn, too: they find the same in their
    sessions' `out`, where it stands in the order of the calls.
    """

    __slots__ = ("apart", "frames", "roster")

    def __init__(self, roster: Roster) -> None:
        self.roster = roster
        self.frames: list[bytes] = []
        self.apart: dict[str, Session] = {}


@dataclass(frozen=True, slots=True)
class Ways:
    """How those on a roster are reached: by a descriptor each, in the order of the ids, or by what carries them.

    As of a `generation` of `Sending`: later ones have other ways.
    """

    generation: int
    direct: list[str]
    descriptors: array[int]
    others: list[str]


class Keeper(Protocol):
    """Who tells those on a roster; hears beforehand of each change while a round is under way."""

    def admit(self, round: Round, eio_sid: str) -> None:
        """Somebody is on the roster from now on: nothing of the round so far is for them."""

    def dismiss(self, round: Round, eio_sid: str) -> None:
        """Somebody is not on it any more: what the round has so far is for them, and no more."""


class Roster:
    """See the module. What is told to it reaches those who are on it then, whoever comes or goes until it is written.

    `keeper` writes: `ids`, `ways` and `round` are between the two.
    """

    __slots__ = ("_keeper", "ids", "round", "ways")

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self.ids: dict[str, None] = {}
        self.ways: Ways | None = None
        self.round: Round | None = None

    def add(self, eio_sid: str) -> None:
        """Put a session on it."""
        if eio_sid in self.ids:
            return
        if self.round is not None:
            self._keeper.admit(self.round, eio_sid)
        self.ids[eio_sid] = None
        self.ways = None

    def discard(self, eio_sid: str) -> None:
        """Take a session off it, if it is on it."""
        if eio_sid not in self.ids:
            return
        if self.round is not None:
            self._keeper.dismiss(self.round, eio_sid)
        del self.ids[eio_sid]
        self.ways = None

    def __contains__(self, eio_sid: object) -> bool:
        return eio_sid in self.ids

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)
