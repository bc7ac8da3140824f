"""The other nodes as they have announced themselves to whoever hands something over: the homes of sessions.

Whoever asks for one that was never met waits for it a while, for one of the two may just have started. What they have
announced is read once in `MEETING_STEP_SECONDS`, however many ask, and a crowd that waits for one home is one that
looks. One that was there and has gone is remembered, so that nobody waits for it.

Belongs to one event loop. What runs concurrently: a task for each home that is waited for; `stop` ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from collab_server.domain.flights import Flights
from collab_server.ports import Bus
from collab_server.realtime.handover.places import Place, parse_all

__all__ = ["FACT", "Home", "Homes"]

FACT = "handover"
"""Under this name a node announces who it is in ids, and where it listens."""
MEETING_SECONDS = 2.0
"""So long a home is waited for that was never met."""
MEETING_STEP_SECONDS = 0.02
GONE_SECONDS = 120.0
"""So long it is remembered that a home is not there."""


@dataclass(frozen=True, slots=True)
class Home:
    """Another node, as it has announced itself."""

    node: str
    places: tuple[Place, ...]


class Homes:
    """See the module. `bus` tells who is there."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._seen: Mapping[bytes, Home] = {}
        self._seen_until = 0.0
        self._meetings = Flights()
        self._gone: dict[bytes, float] = {}  # homes that were there → until when that is remembered

    def there(self) -> Mapping[bytes, Home]:
        """Who is there, by what ids name them."""
        now = asyncio.get_running_loop().time()
        if now >= self._seen_until:
            self._seen, self._seen_until = self._announced(), now + MEETING_STEP_SECONDS
        return self._seen

    def _announced(self) -> Mapping[bytes, Home]:
        found = {}
        for node, peer in self._bus.nodes.items():
            told = peer.info.get(FACT)
            if not isinstance(told, Mapping):
                continue  # of a version that hands nothing over, or it has not begun to
            try:
                home = bytes.fromhex(str(told.get("home")))
            except ValueError:
                continue
            found[home] = Home(node, parse_all(told.get("at")))
        return found

    def may_be(self, home: bytes) -> bool:
        """False for one that was there and has gone."""
        return home not in self._gone or home in self.there()

    async def find(self, home: bytes) -> Home | None:
        """Where it is, waiting for a while if it was never met; None if it is not there."""
        return self.there().get(home) or await self._meetings.join(home, partial(self._meet, home))

    async def _meet(self, home: bytes) -> Home | None:
        ends_at = asyncio.get_running_loop().time() + MEETING_SECONDS
        while (known := self.there().get(home)) is None and asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(MEETING_STEP_SECONDS)
        if known is None:
            self.has_gone(home)
        return known

    def has_gone(self, home: bytes) -> None:
        """Remember that it is not there."""
        self._gone[home] = asyncio.get_running_loop().time() + GONE_SECONDS

    def look(self) -> None:
        """Forget who went long ago; now and then."""
        now = asyncio.get_running_loop().time()
        self._gone = {home: until for home, until in self._gone.items() if until > now}

    async def stop(self) -> None:
        """Wait for nobody any more."""
        await self._meetings.stop()
