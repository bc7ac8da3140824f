"""Which node a session is on, and the way there: what the engine asks where a session is not its own.

What it promises
    Whom a request is handed to is what its session's id says, which only nodes of the installation can make, and where
    that node is, is what it has announced on the bus: nobody can have a node connect to anything else. What is for a
    node that is gone, or that cannot be reached, is answered as what is for no session. Nothing here waits for another
    node.
What runs concurrently
    `run`, which the composition root owns: it connects to the nodes that are there before anybody needs it, looks
    after the links, and says which node cannot be reached. A task for each link that is being connected, and for each
    websocket on its way, of which there are `MOST_CONNECTING` at most.
How it stops
    `drain` has the homes of the websockets that go through here close them, spread over some seconds, and then answer
    the polls that wait here; when `run` ends, all links do.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from collab_server.ports import Bus
from collab_server.realtime.engine.requests import NO_ROOM, UNKNOWN_SID
from collab_server.realtime.engine.session import Exchange, PassableWebSocket, Scope
from collab_server.realtime.handover.channel import Channel
from collab_server.realtime.handover.dialling import Unreachable, dial
from collab_server.realtime.handover.homes import Home, Homes
from collab_server.realtime.handover.ids import HOME_BYTES, SealedIds
from collab_server.realtime.handover.keys import HandoverKeys
from collab_server.realtime.handover.links import Figures, Link, Refuse
from collab_server.realtime.handover.tunnels import Pipe
from collab_server.realtime.handover.words import For, Said, pack_scope
from collab_server.realtime.spreading import spread
from collab_server.telemetry.metrics import Metrics

__all__ = ["Elsewhere"]

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
AGAIN_SECONDS = 5.0
"""After which a home that could not be reached is tried again."""
SURE_SECONDS = 8.0
"""So long a home has to be there and not be reached before that is said: one that was killed is missed later."""
SAID_AGAIN_SECONDS = 600.0
MOST_CONNECTING = 256


@dataclass(slots=True)
class _Trouble:
    """A home could not be reached."""

    since: float
    again_at: float
    is_sure: bool = False
    said_at: float | None = None


class Elsewhere:
    """See the module. `bus` tells who is there; whoever has the installation's secrets gives them to `keys`."""

    def __init__(self, bus: Bus, metrics: Metrics | None = None) -> None:
        self.keys = keys = HandoverKeys()
        self.home = secrets.token_bytes(HOME_BYTES)
        """By which ids name this node."""
        self.ids = SealedIds(self.home, keys)
        self.figures = Figures()
        self._homes = Homes(bus)
        self._links: dict[bytes, Link] = {}
        self._pipes: set[Pipe] = set()
        self._connecting = 0
        self._is_leaving = False
        self._unreachable: dict[bytes, _Trouble] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        if metrics is not None:
            self._tell(metrics)

    # --- what the engine asks

    def new_id(self) -> str:
        """An id for a new session of this node."""
        return self.ids.new()

    def knows(self, sid: str) -> bool:
        """Whether a session may be on another node."""
        if not self.keys.ids:
            return self.ids.may_name_somebody(sid)
        home = self.ids.home_of(sid)
        return home is not None and home != self.home

    def ask(self, sid: str, exchange: Exchange, refuse: Refuse) -> bool:
        """Have another node answer a request; False if there is none to ask."""
        if not self.keys.ids and self.ids.may_name_somebody(sid):
            refuse(exchange, NO_ROOM)  # a balancer tries the next node
            return True
        link = self._link_of(sid)
        if link is None:
            return False
        link.ask(exchange, refuse)
        return True

    def carry(self, sid: str, scope: Scope, websocket: PassableWebSocket) -> bool:
        """Let a websocket go through to another node; False if there is none."""
        if not self.keys.ids and self.ids.may_name_somebody(sid):
            websocket.refuse(NO_ROOM)
            return True
        home = self.ids.home_of(sid)
        if home is None or home == self.home or not self._may_be_there(home):
            return False
        if self._connecting >= MOST_CONNECTING:
            self.figures.refused_full += 1
            websocket.refuse(NO_ROOM)
        else:
            self._connecting += 1
            self._spawn(self._carry(home, scope, websocket))
        return True

    async def _carry(self, home: bytes, scope: Scope, websocket: PassableWebSocket) -> None:
        try:
            known = await self._homes.find(home)
            if known is None:
                websocket.refuse(UNKNOWN_SID)
                return
            channel = await dial(known.places, self.keys, home, For.WEBSOCKET)
        except Unreachable as error:
            self.figures.refused_lost += 1
            websocket.refuse(UNKNOWN_SID)
            log.debug("a websocket was not handed over: %s", error)
            return
        finally:
            self._connecting -= 1
        pipe = _KnownPipe(channel, self._pipes)
        if channel.is_closing or not websocket.pass_on(pipe):
            channel.abort()
            websocket.refuse(UNKNOWN_SID)
            return
        self.figures.websockets += 1
        channel.send(Said.OPEN, pack_scope(scope))

    def _link_of(self, sid: str) -> Link | None:
        home = self.ids.home_of(sid)
        if home is None or home == self.home:
            return None
        link = self._links.get(home)
        if link is not None and not link.is_lost:
            return link
        return self._connect(home)

    # --- who is there

    def _may_be_there(self, home: bytes) -> bool:
        """False for one that was there and has gone, and for one that was just found unreachable."""
        trouble = self._unreachable.get(home)
        if trouble is not None and asyncio.get_running_loop().time() < trouble.again_at:
            return False
        return self._homes.may_be(home)

    def _connect(self, home: bytes) -> Link | None:
        """A link that is about to be connected; None if the home is not to be reached."""
        if not self._may_be_there(home):
            return None
        link = self._links[home] = Link(self.figures)
        if self._is_leaving:
            link.leave()
        self._spawn(self._open(home, link))
        return link

    async def _open(self, home: bytes, link: Link) -> None:
        known = await self._homes.find(home)
        if known is None:
            self._forget(home, link)
            return
        try:
            channel = await dial(known.places, self.keys, home, For.REQUESTS)
        except Unreachable as error:
            self._could_not_reach(home, known, str(error))
            self._forget(home, link)
            return
        if channel.is_closing or link.is_lost:
            channel.abort()
            self._forget(home, link)
            return
        link.use(channel)
        trouble = self._unreachable.pop(home, None)
        if trouble is not None and trouble.said_at is not None:
            log.info("sessions of %s are handed over again", known.node)

    def _forget(self, home: bytes, link: Link) -> None:
        if self._links.get(home) is link:
            del self._links[home]
        link.end()

    def _could_not_reach(self, home: bytes, known: Home, problem: str) -> None:
        """Try again later; say it where it is not one that is just going."""
        now = asyncio.get_running_loop().time()
        trouble = self._unreachable.setdefault(home, _Trouble(now, now))
        trouble.again_at = now + AGAIN_SECONDS
        trouble.is_sure = now - trouble.since >= SURE_SECONDS
        is_said = trouble.said_at is not None and now - trouble.said_at < SAID_AGAIN_SECONDS
        if is_said or not trouble.is_sure:
            return
        trouble.said_at = now
        log.warning(
            "%s cannot be reached to hand its sessions over (%s): long-polling through here needs a balancer that keeps"
            " clients with their node",
            known.node,
            problem,
        )

    # --- while it runs

    async def run(self) -> None:
        """Connect to those who are there, and look after it, until stopped."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                planned = loop.time() + LOOK_SECONDS
                await asyncio.sleep(LOOK_SECONDS)
                if self.keys.ids and loop.time() - planned < LOOK_SECONDS:
                    self._look()  # else the process stood still, and nobody was silent
        finally:
            for task in self._tasks:
                task.cancel()
            await self._homes.stop()
            for link in self._links.values():
                link.end()

    def _look(self) -> None:
        homes = self._homes.there()
        for home, link in list(self._links.items()):
            link.look()
            if link.is_lost:
                del self._links[home]
                if home not in homes:
                    self._homes.has_gone(home)
        for home in homes:
            if home not in self._links and home != self.home:
                self._connect(home)
        self._homes.look()
        self._unreachable = {home: one for home, one in self._unreachable.items() if home in homes}

    async def drain(self) -> None:
        """Have the websockets that go through here closed by their homes, spread over at most `SPREAD_SECONDS`, then
        the polls that wait here answered."""
        async for some in spread(self._pipes):
            for pipe in some:
                pipe.shutdown()
        self._is_leaving = True
        for link in self._links.values():
            link.leave()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("handing over failed", exc_info=error)

    def _tell(self, metrics: Metrics) -> None:
        figures = self.figures
        metrics.counters(
            "handed_over",
            lambda: {("request",): figures.requests, ("websocket",): figures.websockets},
        )
        metrics.counters(
            "not_handed_over", lambda: {("full",): figures.refused_full, ("lost",): figures.refused_lost}
        )
        metrics.gauges(
            "handed_over_current",
            lambda: {
                ("request",): sum(map(len, self._links.values())),
                ("websocket",): len(self._pipes),
            },
        )
        metrics.gauge("homes_reachable", lambda: sum(link.is_open for link in self._links.values()))
        metrics.gauge(
            "homes_unreachable", lambda: sum(trouble.is_sure for trouble in self._unreachable.values())
        )


class _KnownPipe(Pipe):
    """Is in `pipes` while it carries something."""

    def __init__(self, channel: Channel, pipes: set[Pipe]) -> None:
        super().__init__(channel)
        self._pipes = pipes

    @override
    def take(self, transport: Any, connections: set[Any]) -> None:
        """Carry this connection."""
        super().take(transport, connections)
        self._pipes.add(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        self._pipes.discard(self)
        super().connection_lost(exc)
