"""Engine.IO: python-engineio's server on a transport of its own, and what decides on requests.

What it promises
    `send_text`, `broadcast` and `close_transport` never wait and never raise for a client that is gone. Until a session
    is `trust`ed it may send packets of `stranger_bytes` only, and what is for no session is refused before its body is
    gathered.
Who does what
    `session.py` says who meets in a session. `Sessions` owns them from their beginning to their end; what goes out goes
    by `Sending`, what comes in by `Incoming`; `Deadlines` keeps the heartbeat and all other time-outs. A session is
    carried by long-polling (`polling.py`), by a websocket right on uvicorn's transport (`lean/websocket.py`), or by the
    websocket of any ASGI server (`asgi.py`).
How it stops
    `close_all` puts everybody out; `shutdown` ends the time-outs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import engineio

from collab_server.domain.chance import base64url, chance
from collab_server.domain.jsontext import json_list, json_shape, json_string
from collab_server.realtime.engine import asgi, frames
from collab_server.realtime.engine.admission import Admission
from collab_server.realtime.engine.answers import TEXT, Answers
from collab_server.realtime.engine.bonds import Bonds
from collab_server.realtime.engine.bounds import Bounds, KnownBy
from collab_server.realtime.engine.deadlines import Deadlines
from collab_server.realtime.engine.handing import HandingOver
from collab_server.realtime.engine.handlers import Handlers
from collab_server.realtime.engine.last_words import LastWords
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.requests import (
    BAD_METHOD,
    BAD_REQUEST,
    NO_ROOM,
    UNKNOWN_SID,
    environ_of,
    query_of,
    see_through_proxies,
    trace_header,
)
from collab_server.realtime.engine.sending import Sending
from collab_server.realtime.engine.session import (
    NOOP,
    UNWATCHED,
    Elsewhere,
    Exchange,
    Refusal,
    Scope,
    Session,
    Watcher,
    WebSocketCarrier,
)
from collab_server.realtime.engine.sessions import Sessions

_opening = json_shape("sid", "upgrades", "pingTimeout", "pingInterval", "maxPayload")


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """An `engineio.AsyncServer` on a transport of its own; same API, same events.

    JSONP, which no client of protocol 4 speaks, is not offered.

    Args:
        bounds: what one client may take.
        known_by: how clients are known again.
        accepts_handshakes: is asked at each; if not, new clients get 503.
        elsewhere: names sessions that begin by polling, takes requests of those of other nodes; None where it is alone.
        watcher: is told of what is kept of sessions, and of what is not read.
    """

    sockets: dict[str, Session]
    environ_of = staticmethod(environ_of)  # what connect handlers and the judge of origins know of a request
    asks_where = True  # a request has to say which address of this machine it came in at

    def __init__(
        self,
        *args: Any,
        bounds: Bounds | None = None,
        known_by: KnownBy | None = None,
        accepts_handshakes: Callable[[], bool] = lambda: True,
        elsewhere: Elsewhere | None = None,
        watcher: Watcher = UNWATCHED,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.bounds = bounds or Bounds()
        self.accepts_handshakes = accepts_handshakes
        self._new_sid = self.generate_id if elsewhere is None else elsewhere.new_id
        known = known_by or KnownBy()
        self._addresses, self._bonds = known.addresses, Bonds(known.bond_cookie)
        self._answers = Answers(
            self.compression_threshold if self.http_compression else None,
            None if self.cors_allowed_origins == [] else self._cors_headers,
        )
        last_words = LastWords(self._bonds, self._answers)
        self._handing_over = HandingOver(elsewhere, self._answers, last_words)
        self._registered = Handlers(self.handlers, self._trigger_event, self.logger)
        self._sending = Sending(self.sockets, self.logger)
        self._deadlines = Deadlines(self._sending, last_words, self.ping_interval, self.ping_timeout)
        origins_of: Any = lambda scope: self._cors_allowed_origins(self.environ_of(scope))  # noqa: E731
        origins_for = None if self.cors_allowed_origins == [] else origins_of
        self.admission = Admission(self.sockets, self.transports, origins_for, self._bonds, self._deadlines)
        self.sessions = Sessions(
            self.sockets,
            self.bounds,
            self._registered,
            self._sending,
            self._deadlines,
            watcher,
            self.logger,
        )

    # --- what is sent

    def send_text(self, eio_sid: str, text: str | bytes) -> None:
        """Send one Engine.IO message: `text` is a ready Socket.IO packet, without the leading `4`."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self._sending.send(session, frames.message_of(text))

    def broadcast(self, eio_sids: Iterable[str], text: str | bytes) -> None:
        """Send the same ready text to many."""
        self._sending.send_to(eio_sids, [frames.message_of(text)])

    def broadcast_packets(self, eio_sids: Iterable[str], packets: Iterable[str | bytes]) -> None:
        """Send a ready Socket.IO packet and its attachments to many, with nothing in between."""
        ready = [frames.message_of(p) if isinstance(p, str) else frames.frame_of(p) for p in packets]
        self._sending.send_to(eio_sids, ready)

    # --- who connects

    def serve(self, exchange: Exchange) -> None:
        """Answer an HTTP request, now or, if it is a poll, when there is something to say."""
        scope = exchange.scope
        method = scope["method"]
        if method == "OPTIONS":
            self._answers.respond(exchange, 200, TEXT, b"OK")
            return
        try:
            transport, session = self.admission.verify(scope)
            if transport != "polling":
                raise BAD_REQUEST
            exchange.is_trusted = session is not None and session.is_trusted
            if session is None:
                if method != "GET":
                    raise BAD_METHOD
                upgrades = ["websocket"] if self.allow_upgrades and "websocket" in self.transports else []
                refuse = partial(self._answers.refuse, exchange)
                self._open(scope, upgrades, partial(self._greet, exchange), refuse)
            elif session.is_unsettled and self._handing_over.step_aside(exchange, session, self.serve):
                pass
            elif not isinstance(session.carrier, Polling):
                raise BAD_REQUEST
            elif method == "GET":
                session.carrier.poll(exchange)
            elif method == "POST":
                self._handing_over.post(session, session.carrier, exchange)
            else:
                raise BAD_METHOD
        except Refusal as refusal:
            # They are raised again and again, and would keep all that this concerns.
            refusal.with_traceback(None)
            if refusal is not UNKNOWN_SID or not self._handing_over.ask(exchange):
                self._on_refused(scope, refusal)
                self._answers.refuse(exchange, refusal)

    def _on_refused(self, scope: Scope, refusal: Refusal) -> None:
        """A request is answered with an error; for those who derive from this."""

    async def let_upgrade(self, scope: Scope) -> None:
        """Give the packets of an upgrading websocket, sent before this request, the time to come through ASGI."""
        session = self.sockets.get(query_of(scope).get("sid", ""))
        if session is not None and session.upgrading is not None:
            await asyncio.sleep(0.01)

    def serve_websocket(self, scope: Scope, websocket: WebSocketCarrier) -> None:
        """Decide on a websocket handshake: a new session, or the upgrade of one; calls `accept` or `refuse`."""
        try:
            transport, session = self.admission.verify(scope)
            if transport != "websocket":
                raise BAD_REQUEST
            if session is None:
                welcome = partial(self.sessions.welcome, websocket=websocket)
                self._open(scope, [], welcome, websocket.refuse)
                return
            if not self.allow_upgrades:
                raise BAD_REQUEST
            if session.upgraded or session.upgrading is not None:
                self._handing_over.turn_away(scope, session, websocket)
                return
        except Refusal as refusal:
            refusal.with_traceback(None)
            if refusal is not UNKNOWN_SID or not self._handing_over.carry(scope, websocket):
                self._on_refused(scope, refusal)
                websocket.refuse(refusal)
            return
        self.sessions.begin_upgrade(session, websocket)

    def most_body_bytes(self, scope: Scope) -> int | None:
        """How much of a request's body is worth to be gathered, judged at its head; None if it is to be refused."""
        if scope["method"] != "POST":
            return 0
        session = self.sockets.get(query_of(scope).get("sid", ""))
        if session is None:  # of another node's, that judges
            return self.max_http_buffer_size if self._handing_over.may_be_for(scope) else None
        return None if session.closing else session.most_bytes

    def _open(
        self,
        scope: Scope,
        upgrades: list[str],
        accept: Callable[[Session], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        if not self.accepts_handshakes():
            raise NO_ROOM
        see_through_proxies(scope, self._addresses)
        stranger_bytes = self.bounds.stranger_bytes
        may_move = scope["type"] != "websocket"  # else nothing of it can come another way
        session = Session(
            self.sessions,
            self._new_sid() if may_move else self.generate_id(),
            most_bytes=stranger_bytes or self.max_http_buffer_size,
            pace=self.bounds.pace if stranger_bytes is None else self.bounds.pace_of_strangers,
            is_trusted=stranger_bytes is None,
        )
        if may_move or self._registered.is_async("connect"):
            session.carrier = Polling(session, self._answers)
        opening = frames.frame_of(_opening_of(self, session.sid, upgrades))
        self.sessions.open(session, opening, self.environ_of(scope), accept, refuse)

    def _greet(self, exchange: Exchange, session: Session) -> None:
        assert isinstance(session.carrier, Polling)
        headers = _cookie(self, session.sid) + self._bonds.bind(session, exchange.scope)
        session.carrier.greet(exchange, [trace_header(exchange.scope), *headers])

    # --- who may send much

    def trust(self, eio_sid: str) -> None:
        """A session is somebody's: packets of full size may come."""
        session = self.sockets.get(eio_sid)
        if session is not None and not session.is_trusted:
            session.judge(is_trusted=True, most_bytes=self.max_http_buffer_size, pace=self.bounds.pace)

    def distrust(self, eio_sid: str) -> None:
        """A session is nobody's any more."""
        session, most_bytes = self.sockets.get(eio_sid), self.bounds.stranger_bytes
        if session is not None and session.is_trusted and most_bytes is not None:
            session.judge(is_trusted=False, most_bytes=most_bytes, pace=self.bounds.pace_of_strangers)

    # --- the rest of python-engineio's API

    def on(self, event: str, handler: Any = None) -> Any:
        """Register a handler, as in the stock class.

        A plain function for `message` is called at once; it may return something to be waited for before the next.
        """
        register = super().on(event)  # refuses unknown events

        def set_handler(function: Any) -> Any:
            self._registered.note(event, function, may_overtake=self.async_handlers)
            return register(function)

        return set_handler if handler is None else set_handler(handler)

    def generate_id(self) -> str:
        """A new session id. Whoever knows one acts as its client: 128 bits of chance, where python-engineio has 96."""
        return base64url(chance(16))

    @property
    def overflows(self) -> int:
        """How many clients were put out because they did not read."""
        return self.sessions.overflows

    def close_transport(self, eio_sid: str, reason: str) -> None:
        """Close the connection below Socket.IO, so that official clients reconnect by themselves."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self.sessions.end(session, reason, farewell=NOOP)

    def abort_transport(self, eio_sid: str, reason: str) -> None:
        """The same at once: what was not sent is forgotten."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self.sessions.end(session, reason, farewell=NOOP, is_abrupt=True)

    def close_all(self, reason: str) -> None:
        """Close every connection, as `close_transport` does."""
        for session in list(self.sockets.values()):
            self.sessions.end(session, reason, farewell=NOOP)

    async def disconnect(self, sid: str | None = None) -> None:
        """Close a client, or all of them, and wait for the disconnect handlers."""
        sessions = list(self.sockets.values()) if sid is None else [s for s in [self.sockets.get(sid)] if s]
        await asyncio.gather(*(session.close() for session in sessions))

    async def handle_request(self, scope: Scope, receive: Any, send: Any) -> None:
        """Serve a request as a plain ASGI application: the same behaviour under any server, only slower."""
        if scope["type"] == "websocket":
            await asgi.serve_websocket(self, scope, receive, send)
        else:
            await asgi.serve_http(self, scope, receive, send)

    async def shutdown(self) -> None:
        """Stop the heartbeat."""
        self._deadlines.close()


def _cookie(server: EngineServer, sid: str) -> list[tuple[bytes, bytes]]:
    """python-engineio's own cookie, which holds the session's id, if the server is to set one."""
    if not server.cookie:
        return []
    simple = {"name": server.cookie, "path": "/", "SameSite": "Lax"}
    cookie = server._generate_sid_cookie(sid, server.cookie if isinstance(server.cookie, dict) else simple)
    return [(b"set-cookie", cookie.encode())]


def _opening_of(server: EngineServer, sid: str, upgrades: list[str]) -> str:
    """The packet that a session's client gets first."""
    text = _opening(
        sid=json_string(sid),
        upgrades=json_list(map(json_string, upgrades)),
        pingTimeout=round(server.ping_timeout * 1000),
        pingInterval=round((server.ping_interval + server.ping_interval_grace_period) * 1000),
        maxPayload=server.max_http_buffer_size,
    )
    return f"0{text}"
