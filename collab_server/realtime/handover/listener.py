"""The home's side: a listener for the other nodes, and what they hand over, put before the engine.

What it promises
    Nothing reaches the engine but requests of a session, and its websocket: nobody gets anywhere else by this way, or
    begins a session by it. Where the client comes from is what the node says that it has reached; who connects and does
    not know the installation's key says nothing to anybody, and takes little (`doorkeeper`).
What runs concurrently
    `run`, which the composition root owns: it begins to listen, says where, and ends what is silent.
How it stops
    When `run` ends, all connections do.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from typing_extensions import override

from collab_server import lookups
from collab_server.ports import Announcement
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.frames import beginning_of_body
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.requests import BAD_REQUEST, announced_bytes, query_of
from collab_server.realtime.engine.session import REASON, Exchange, Headers, Refusal, Scope, Session, Waiter
from collab_server.realtime.handover.channel import Accepted, Channel
from collab_server.realtime.handover.doorkeeper import Doorkeeper
from collab_server.realtime.handover.homes import FACT
from collab_server.realtime.handover.keys import HandoverKeys
from collab_server.realtime.handover.links import MOST_UNDER_WAY
from collab_server.realtime.handover.places import Place, address_towards
from collab_server.realtime.handover.tunnels import TunnelTransport
from collab_server.realtime.handover.words import (
    Answer,
    For,
    Garbled,
    Said,
    pack_answer,
    unpack_hello,
    unpack_number,
    unpack_request,
    unpack_scope,
)
from collab_server.realtime.lean import listening
from collab_server.realtime.lean.websocket import WebSocket
from collab_server.telemetry.metrics import Metrics

__all__ = ["Listener", "Where"]

log = logging.getLogger(__name__)

MOST_HELD_BYTES = 64_000_000
"""What may wait for one node to read it; a node that reads nothing is cut off."""
LOOK_SECONDS = 2.0
SILENT_LOOKS = 4
AGAIN_SECONDS = 3.0
_NOT_HERE = (errno.EADDRNOTAVAIL,)


@dataclass(frozen=True, slots=True)
class Where:
    """Where to listen: at `host`, or at the address by which one of `towards` is reached; at `port`, or any that is
    free if that is 0. `path` is for those on the same machine."""

    host: str | None = None
    port: int = 0
    towards: Sequence[tuple[str, int]] = ()
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What the others are told: by `announcement`, where `home` is, as whom session ids name this node."""

    announcement: Announcement
    home: bytes

    def note(self, places: Iterable[Place]) -> None:
        """It listens there."""
        told = {"home": self.home.hex(), "at": [str(place) for place in places]}
        self.announcement.note(**{FACT: told})


class Listener:
    """See the module.

    Args:
        engine: has the sessions.
        keys: what others prove themselves by.
        where: to listen.
        told: is what others learn of it.
    """

    def __init__(
        self,
        engine: EngineServer,
        keys: HandoverKeys,
        where: Where,
        told: Told,
        metrics: Metrics | None = None,
    ) -> None:
        self.home = told.home
        self.engine = engine
        self.places: tuple[Place, ...] = ()
        self.doorkeeper = Doorkeeper()
        self._keys = keys
        self._where = where
        self._told = told
        self._servers: list[asyncio.AbstractServer] = []
        self._asked: set[_Asked] = set()
        self._tunnels: set[Any] = set()
        self._problem = ""
        if metrics is not None:
            metrics.counter("handover_strangers", lambda: self.doorkeeper.strangers)

    # --- while it runs

    async def run(self) -> None:
        """Listen, until stopped."""
        loop = asyncio.get_running_loop()
        try:
            while not await self._listen():
                await asyncio.sleep(AGAIN_SECONDS)
            while True:
                planned = loop.time() + LOOK_SECONDS
                await asyncio.sleep(LOOK_SECONDS)
                if (
                    loop.time() - planned < LOOK_SECONDS
                ):  # else the process stood still, and nobody was silent
                    for asked in list(self._asked):
                        asked.look()
        finally:
            self._stop()

    async def _listen(self) -> bool:
        where = self._where
        try:
            places = []
            if where.path is not None:
                places.append(await self._at_path(where.path))
            if where.host is not None or where.towards:
                places.append(await self._at_address(where.host or await address_towards(where.towards)))
        except OSError as error:
            self._close_servers()
            if (problem := error.strerror or str(error)) != self._problem:
                self._problem = problem
                log.warning(
                    "cannot listen for what other nodes hand over: %s; long-polling needs a balancer that keeps clients"
                    " with their node meanwhile",
                    problem,
                )
            return False
        self.places = tuple(places)
        self._told.note(places)
        log.info("listening for what other nodes hand over", extra={"at": ", ".join(map(str, places))})
        return True

    async def _at_path(self, path: str) -> Place:
        loop = asyncio.get_running_loop()
        await self._serve(await loop.create_unix_server(self._accept, path, start_serving=False))
        return Place(path, is_path=True)

    async def _at_address(self, host: str) -> Place:
        loop, port = asyncio.get_running_loop(), self._where.port
        await lookups.find(host)
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            sockets = listening.sockets_of(host, found)
        except OSError as error:
            if error.errno not in _NOT_HERE or not port:
                raise
            # The address is another machine's, which passes on what comes to it.
            sockets = listening.everywhere(port)
        try:
            port = port or int(sockets[0].getsockname()[1])
            for sock in sockets:
                sock.listen()  # uvloop would tell nobody that it cannot
            while sockets:
                server = await loop.create_server(self._accept, sock=sockets[0], start_serving=False)
                del sockets[0]  # it is the server's
                await self._serve(server)
        finally:
            for sock in sockets:
                sock.close()
        return Place(host, port)

    async def _serve(self, server: asyncio.AbstractServer) -> None:
        """Let nodes in here: whatever becomes of that, the server is one of those that are closed."""
        self._servers.append(server)
        await server.start_serving()

    def _accept(self) -> Accepted:
        channel = Accepted(self._keys, self.doorkeeper)
        channel.hearer = _Newcomer(self, channel)
        return channel

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
        self._servers = []

    def _stop(self) -> None:
        self._close_servers()
        self.doorkeeper.close()
        for asked in list(self._asked):
            asked.channel.abort()
        for websocket in list(self._tunnels):
            websocket.transport.abort()

    # --- what nodes want

    def serve_requests(self, channel: Channel) -> None:
        """A node asks by this channel from now on."""
        asked = _Asked(self, channel)
        channel.hearer = asked
        self._asked.add(asked)

    def forget(self, asked: _Asked) -> None:
        """It does not any more."""
        self._asked.discard(asked)

    def serve_websocket(self, channel: Channel, scope: Scope) -> None:
        """A client's websocket goes through to here."""
        transport = TunnelTransport(channel)
        websocket = _HandedWebSocket(self.engine, transport, self._tunnels)
        transport.carry(websocket)
        websocket.begin(scope)


class _HandedWebSocket(WebSocket):
    """One whose client has reached another node, which may have to know how large a message may be."""

    __slots__ = ()
    is_handed = True

    @override
    def accept(self, session: Session, ready: list[bytes]) -> None:
        """Complete the handshake, with these frames."""
        self._transport.trust(session.most_bytes)
        super().accept(session, ready)

    @override
    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on."""
        super().trust(most_bytes)
        self._transport.trust(most_bytes)


class _Newcomer:
    """Hears the first message of a node, and what its websocket is."""

    def __init__(self, listener: Listener, channel: Channel) -> None:
        self._listener = listener
        self._channel = channel
        self._is_welcome = False

    def heard(self, kind: int, payload: bytes) -> None:
        try:
            if not self._is_welcome:
                self._welcome(kind, payload)
            else:
                self._open(kind, payload)
        except Garbled:
            self._channel.abort()

    def _welcome(self, kind: int, payload: bytes) -> None:
        if kind != Said.HELLO:
            raise Garbled("no hello")
        purpose, home = unpack_hello(payload)
        if home != self._listener.home:
            raise Garbled("meant for another node")
        self._is_welcome = True
        self._channel.send(Said.WELCOME)
        if purpose is For.REQUESTS:
            self._listener.serve_requests(self._channel)

    def _open(self, kind: int, payload: bytes) -> None:
        if kind != Said.OPEN:
            raise Garbled("nothing opened")
        scope = unpack_scope(payload, "websocket")
        if not query_of(scope).get("sid"):
            raise Garbled("of no session")
        self._listener.serve_websocket(self._channel, scope)

    def lost(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class _Asked:
    """What one node asks."""

    def __init__(self, listener: Listener, channel: Channel) -> None:
        self.channel = channel
        self._listener = listener
        self._engine = listener.engine
        self._under_way: dict[int, HandedExchange] = {}
        self._untaken: dict[int, Session] = {}  # whose poll was answered, and the answer not passed on yet
        self._silent_looks = 0
        self._said: Mapping[int, Callable[[bytes], None]] = {
            Said.REQUEST: self._request,
            Said.CANCEL: self._cancel,
            Said.LET_GO: self._let_go,
            Said.TAKEN: self._taken,
            Said.PING: lambda _: channel.send(Said.PONG),
        }

    def heard(self, kind: int, payload: bytes) -> None:
        """A message of the node."""
        said = self._said.get(kind)
        if said is None:
            return  # of a later version
        try:
            said(payload)
        except Garbled:
            self.channel.abort()

    def _request(self, payload: bytes) -> None:
        number, scope, body = unpack_request(payload)
        exchange = HandedExchange(scope, body, partial(self._answer, number))
        query = query_of(scope)
        if len(self._under_way) >= MOST_UNDER_WAY or number in self._under_way:
            raise Garbled("too many requests")
        self._under_way[number] = exchange
        if scope["method"] not in ("GET", "POST") or not query.get("sid"):
            _refuse(exchange, BAD_REQUEST)
            return
        most_bytes = self._engine.most_body_bytes(scope)
        if most_bytes is not None and (len(body) > most_bytes or len(body) < (announced_bytes(scope) or 0)):
            exchange.is_too_large = True  # also for the node that it has come to, which gives its beginning
            exchange.body = beginning_of_body(body, most_bytes)
        self._engine.serve(exchange)
        exchange.body = b""

    def _answer(
        self, number: int, exchange: HandedExchange, status: int, headers: Headers, body: bytes
    ) -> None:
        if self._under_way.pop(number, None) is None:
            return
        if self.channel.held_bytes > MOST_HELD_BYTES:
            self.channel.abort()
            return
        if exchange.scope["method"] == "GET" and status == 200:
            self._note_untaken(number, exchange)
        answer = Answer(number, status, exchange.is_trusted, headers, body)
        self.channel.send(Said.ANSWER, *pack_answer(answer))

    def _cancel(self, payload: bytes) -> None:
        number = unpack_number(payload)
        exchange = self._under_way.pop(number, None)
        if exchange is not None and exchange.waiter is not None:
            exchange.waiter.cancel()
        if (session := self._untaken.pop(number, None)) is not None:
            _lose(session)

    def _note_untaken(self, number: int, exchange: HandedExchange) -> None:
        """What a poll was answered may be lost until the other node has passed it on."""
        session = self._engine.sockets.get(query_of(exchange.scope)["sid"])
        if session is not None:
            session.untaken += 1
            self._untaken[number] = session

    def _taken(self, payload: bytes) -> None:
        session = self._untaken.pop(unpack_number(payload), None)
        if session is not None:
            session.untaken -= 1

    def _let_go(self, payload: bytes) -> None:
        exchange = self._under_way.get(unpack_number(payload))
        if exchange is None or exchange.waiter is None:
            return
        session = self._engine.sockets.get(query_of(exchange.scope)["sid"])
        if session is not None and isinstance(session.carrier, Polling):
            session.carrier.release()

    def lost(self) -> None:
        """The node has gone, and with it what its clients waited by."""
        self._listener.forget(self)
        untaken, self._untaken = self._untaken, {}
        for session in untaken.values():
            _lose(session)
        under_way, self._under_way = self._under_way, {}
        for exchange in under_way.values():
            if exchange.waiter is not None:
                exchange.waiter.cancel()

    def pause(self) -> None:
        """What waits is bounded by `_answer`."""

    def resume(self) -> None:
        """Nothing to do."""

    def look(self) -> None:
        """End it if the node says nothing, or its key is none any more."""
        self._silent_looks = 0 if self.channel.has_heard else self._silent_looks + 1
        self.channel.has_heard = False
        if self._silent_looks >= SILENT_LOOKS or not self.channel.is_good:
            self.channel.abort()


Respond = Callable[["HandedExchange", int, Headers, bytes], None]


class HandedExchange:
    """One request that another node has handed over."""

    __slots__ = ("_respond", "body", "is_too_large", "is_trusted", "scope", "waiter")

    def __init__(self, scope: Scope, body: bytes, respond: Respond) -> None:
        self.scope = scope
        self.body: bytes | bytearray = body
        self.waiter: Waiter | None = None
        self.is_too_large = False
        self.is_trusted = False
        self._respond = respond

    def respond(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer; never waits."""
        self._respond(self, status, list(headers), body)


def _refuse(exchange: Exchange, refusal: Refusal) -> None:
    exchange.respond(refusal.status, [(b"content-type", b"application/json")], refusal.body)


def _lose(session: Session) -> None:
    """What a session's client was told may not have come: it is to begin anew."""
    session.untaken -= 1
    session.owner.end(session, REASON.TRANSPORT_ERROR)
