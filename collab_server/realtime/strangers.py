"""Those who are not signed in: bounded in number and bytes, in all and per address.

Nobody is refused because it is full: the one who has been a stranger for longest has to go for those who come. Those
who have shown a token, which is being looked at, go after those who have not. Everything takes constant time.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

SHARE = 10
"""One address may take this part of the bytes: a tenth."""


@dataclass(frozen=True, slots=True)
class StrangerLimits:
    """What those may take who are not signed in. The defaults are for servers without signing in."""

    most: int = 10_000
    most_per_address: int = 10_000
    most_bytes: int = 1 << 40  # of all together
    packet_bytes: int | None = None  # of one packet or body; as for everybody, if not given
    tries: int | None = None  # CONNECT packets on one connection


@dataclass(slots=True)
class _Crowd(Generic[T]):
    """Strangers in the order in which they came: those who have shown nothing, and those who have."""

    silent: OrderedDict[T, None] = field(default_factory=OrderedDict)
    asking: OrderedDict[T, None] = field(default_factory=OrderedDict)
    size: int = 0
    bytes: int = 0

    def oldest(self) -> T:
        return next(iter(self.silent or self.asking))


@dataclass(slots=True)
class _Entry(Generic[T]):
    address: str | None
    weight: int
    crowds: tuple[_Crowd[T], ...]  # all, and those of its address


class Strangers(Generic[T]):
    """See the module.

    Args:
        most: so many, in all.
        most_per_address: so many of one address.
        most_bytes: what they may take together.
    """

    def __init__(self, *, most: int, most_per_address: int, most_bytes: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._most_bytes = most_bytes
        self._entries: dict[T, _Entry[T]] = {}
        self._all: _Crowd[T] = _Crowd()
        self._of: dict[str, _Crowd[T]] = {}
        self.put_out = 0
        """So many had to go, since the node started."""

    def __len__(self) -> int:
        return len(self._entries)

    def of(self, address: str) -> int:
        """How many are of this address."""
        crowd = self._of.get(address)
        return 0 if crowd is None else crowd.size

    def add(self, who: T, address: str | None, weight: int = 0) -> list[T]:
        """One more, who takes `weight` bytes; returns those who have to go and are no longer counted.

        Without an address (a proxy's connection, which may be anybody's) it counts in all only.
        """
        if who in self._entries:
            self.remove(who)
        everybody = self._all
        if address is None:
            crowds: tuple[_Crowd[T], ...] = (everybody,)
        else:
            share = self._of.get(address)
            if share is None:
                share = self._of[address] = _Crowd()
            crowds = (everybody, share)
        self._entries[who] = _Entry(address, weight, crowds)
        for crowd in crowds:
            crowd.silent[who] = None
            crowd.size += 1
            crowd.bytes += weight
        share = crowds[-1]
        is_too_much = (
            everybody.size > self._most
            or everybody.bytes > self._most_bytes
            or share.size > self._most_per_address
            or share.bytes > self._most_bytes // SHARE
        )
        return self._put_out_of(address) if is_too_much else []

    def weigh(self, who: T, weight: int) -> list[T]:
        """One takes so many bytes now; returns those who have to go, as `add` does. Of no meaning for others."""
        entry = self._entries.get(who)
        if entry is None:
            return []
        more, entry.weight = weight - entry.weight, weight
        for crowd in entry.crowds:
            crowd.bytes += more
        return self._put_out_of(entry.address)

    def _put_out_of(self, address: str | None) -> list[T]:
        """As many as are too many now, of an address and of all."""
        gone: list[T] = []
        if address is not None and (share := self._of.get(address)) is not None:
            while share.size > self._most_per_address or share.bytes > self._most_bytes // SHARE:
                gone.append(self._put_out(share))
        while self._all.size > self._most or self._all.bytes > self._most_bytes:
            gone.append(self._put_out(self._all))
        return gone

    def has_shown_a_token(self, who: T) -> None:
        """One goes later than those who have shown none."""
        entry = self._entries.get(who)
        if entry is not None:
            for crowd in entry.crowds:
                if who in crowd.silent:
                    del crowd.silent[who]
                    crowd.asking[who] = None

    def remove(self, who: T) -> bool:
        """One is signed in, or has gone; False for one who was not there."""
        entry = self._entries.pop(who, None)
        if entry is None:
            return False
        for crowd in entry.crowds:
            del (crowd.silent if who in crowd.silent else crowd.asking)[who]
            crowd.size -= 1
            crowd.bytes -= entry.weight
        if entry.address is not None and not crowd.size:
            del self._of[entry.address]
        return True

    def _put_out(self, crowd: _Crowd[T]) -> T:
        self.put_out += 1
        who = crowd.oldest()
        self.remove(who)
        return who
