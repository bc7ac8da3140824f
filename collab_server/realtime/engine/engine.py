"""Engine.IO: the connections of one node, and the one way by which anything leaves through them.

What it promises
    `send_text`, `broadcast` and `close_transport` never wait and never raise for a client that is gone. What is
    sent to one client arrives in the order of the calls, whichever of them (or stock `send`) was used. A client
    that does not read costs at most `outgoing_bytes`, then its transport is closed and counted, and it comes back
    by itself; one answer that is larger may wait for `STALLED_SECONDS`. A client that breaks the protocol is put
    out at once. Until a session is `trust`ed it may send packets of `stranger_bytes` only, and what is for no
    session is refused before its body is gathered. Where the client has shown that it keeps cookies, a session's
    id alone is worth nothing: it stands in access logs.
The way out
    Everything becomes a ready websocket frame, once, and is appended to the `out` list of each session it is for.
    At the end of the loop's turn each session that got something hands its list to its carrier, in one write: no
    task, queue or timer per connection or per delivery, and no rule of order to keep.
Carriers
    A session is carried by long-polling, by a websocket right on uvicorn's transport, or by the websocket of any
    ASGI server: `polling.py`, `lean/websocket.py`, `asgi.py`.
What runs concurrently
    Nothing by itself. While messages of a session wait for a coroutine handler, one task works them off in order,
    and ends. A few lanes (`lanes.py`) keep the heartbeat and other time-outs.
How it stops
    `close_all` puts everybody out; `shutdown` ends the lanes.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import hmac
import inspect
import json
import re
import secrets
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Protocol
from urllib.parse import parse_qsl

import engineio
from engineio import packet as eio_packet

from collab_server.domain.addresses import Addresses
from collab_server.realtime.engine import asgi, frames
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.pace import PACKET_BYTES, Pace
from collab_server.realtime.engine.polling import Exchange, Headers, Polling

DEFAULT_OUTGOING_BYTES = 1_000_000
UPGRADE_SECONDS = 10.0  # from a websocket's handshake to the upgrade by it
STALLED_SECONDS = 30.0  # for a poll to come for one answer that is more than may wait
FAREWELL_SECONDS = 3.0  # for a client to answer a websocket's close frame
_BOND_BYTES = 16
_BOND = re.compile(rb"[A-Za-z0-9_-]{22}")
_WAITING_MESSAGE_BYTES = 64  # what a message that waits costs besides its text

Scope = dict[str, Any]

_CLOSE = frames.frame(frames.TEXT, b"1")
_PING = frames.frame(frames.TEXT, b"2")
_PROBE_ANSWER = frames.frame(frames.TEXT, b"3probe")
_NOOP = frames.frame(frames.TEXT, b"6")

_TEXT: Headers = [(b"content-type", b"text/plain; charset=UTF-8")]
_JSON: Headers = [(b"content-type", b"application/json")]


class Refusal(Exception):
    """A request that is answered with an error: `status`, and `body` as JSON."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.status = status
        self.body = json.dumps(body, separators=(",", ":")).encode()


def _refusal(code: int, message: str, status: int = 400) -> Refusal:
    """A refusal in the words and numbers of the protocol's reference server."""
    return Refusal(status, {"code": code, "message": message})


_UNKNOWN_TRANSPORT = _refusal(0, "Transport unknown")
_UNKNOWN_SID = _refusal(1, "Session ID unknown")
_BAD_METHOD = _refusal(2, "Bad handshake method")
_BAD_REQUEST = _refusal(3, "Bad request")
_FORBIDDEN = _refusal(4, "Forbidden")
_UNSUPPORTED_VERSION = _refusal(5, "Unsupported protocol version")
_NO_ROOM = _refusal(3, "Try another node", status=503)


class Carrier(Protocol):
    """What carries a session's packets. A websocket is one, long-polling another."""

    name: str

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames; False if the client lets too much pile up."""

    def close(self, farewell: bytes) -> None:
        """Send what was taken, then close; long-polling says `farewell`."""

    def abort(self) -> None:
        """Close, and forget what was not sent."""

    def pause_reading(self) -> None:
        """Take no more messages for now."""

    def resume_reading(self) -> None:
        """Take messages again."""

    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on."""


class WebSocketCarrier(Carrier, Protocol):
    """A websocket whose handshake the server decides on."""

    def accept(self, session: Session, ready: list[bytes]) -> None:
        """Complete the handshake, with these frames; from now on hand in what comes for this session."""

    def refuse(self, refusal: Refusal) -> None:
        """Answer the handshake with an error."""

    def turn_away(self) -> None:
        """Complete the handshake, then close at once: a second websocket of one session."""


class _Nowhere:
    """Carries a session that has ended: whoever still writes to it does no harm."""

    name = "none"

    def write(self, ready: list[bytes]) -> bool:
        return True

    def close(self, farewell: bytes) -> None: ...

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def trust(self, most_bytes: int) -> None: ...


_NOWHERE = _Nowhere()


class Session:
    """One Engine.IO session. Stands in for python-engineio's socket where the inherited server looks at it."""

    __slots__ = (
        "_user_session",
        "bond",
        "carrier",
        "closed",
        "closing",
        "inbox",
        "inbox_bytes",
        "is_bound",
        "is_paused",
        "is_probed",
        "is_trusted",
        "left",
        "left_at",
        "most_bytes",
        "out",
        "server",
        "sid",
        "upgrading",
        "worker",
    )

    def __init__(self, server: EngineServer, sid: str) -> None:
        self.server = server
        self.sid = sid
        self.carrier: Carrier = Polling(server, self)
        self.out: list[bytes] = []  # ready frames of this loop turn
        self.inbox: deque[Any] | None = None  # messages that wait for their handler; made when first needed
        self.inbox_bytes = 0
        self.bond: bytes | None = (
            None  # the value of the cookie that its requests bring, if its client keeps any
        )
        self.is_bound = False  # it has
        self.is_trusted = server.stranger_bytes is None
        self.most_bytes: int = server.stranger_bytes or server.max_http_buffer_size  # of one packet
        self.is_paused = False  # no more messages until the inbox is worked off
        self.left = server.pace_of(self).burst  # packets that may come before others have their turn …
        self.left_at = 0.0  # … as of then
        self.worker: asyncio.Task[None] | None = None
        self.upgrading: WebSocketCarrier | None = None  # the websocket that may become the carrier
        self.is_probed = False  # it has been probed: polls are let go at once
        self.closing = False  # nothing goes in or out; the disconnect handler may still run
        self.closed = False
        self._user_session: dict[Any, Any] | None = None

    @property
    def session(self) -> dict[Any, Any]:
        """The dictionary that `get_session` gives; made when first needed."""
        if self._user_session is None:
            self._user_session = {}
        return self._user_session

    @session.setter
    def session(self, value: dict[Any, Any]) -> None:
        self._user_session = value

    @property
    def upgraded(self) -> bool:
        """True on a websocket."""
        return self.carrier.name == "websocket"

    async def send(self, packet: eio_packet.Packet) -> None:
        """Send a packet, as python-engineio's socket does."""
        self.server.send_frame(self, _frame_of(packet.encode()))

    async def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the session, as python-engineio's socket does, and wait for the disconnect handler."""
        self.server.end(self, reason or self.server.reason.SERVER_DISCONNECT)
        if wait and self.worker is not None and self.worker is not asyncio.current_task():
            await asyncio.wait([self.worker])


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """An `engineio.AsyncServer` on a transport of its own; same API, same events.

    JSONP, which no client of protocol 4 speaks, is not offered.

    Args:
        outgoing_bytes: the most that may wait for one client; above it the client's transport is closed.
        stranger_bytes: the largest packet or payload of a session that is not trusted; None to trust all.
        addresses: whose word is taken for where a client comes from.
        bond_cookie: the name of the cookie that binds a session to its client; None for none.
        pace: how fast the packets of a trusted session are taken.
        stranger_pace: the same of the others.
    """

    sockets: dict[str, Session]

    def __init__(
        self,
        *args: Any,
        outgoing_bytes: int = DEFAULT_OUTGOING_BYTES,
        stranger_bytes: int | None = None,
        addresses: Addresses | None = None,
        bond_cookie: str | None = None,
        pace: Pace | None = None,
        stranger_pace: Pace | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._pace = pace or Pace()
        self._stranger_pace = stranger_pace or self._pace
        self.bond_cookie = bond_cookie
        self.stranger_bytes = stranger_bytes
        self.addresses = addresses or Addresses()
        self._is_async = dict.fromkeys(self.event_names, False)
        self.outgoing_bytes = outgoing_bytes
        self.accepts_handshakes: Callable[[], bool] = lambda: True  # if not, new clients get 503
        self.on_held: Callable[[str, int], None] = lambda eio_sid, held_bytes: None
        self.overflows = 0  # clients put out because they did not read
        self.handshakes = 0  # sessions opened since start
        self._loop: asyncio.AbstractEventLoop | None = None
        self._touched: list[Session] = []  # sessions that got something in this loop turn
        self._is_flush_due = False

    # --- The way out ------------------------------------------------------------------------------------------

    def send_text(self, eio_sid: str, text: str | bytes) -> None:
        """Send one Engine.IO message: `text` is a ready Socket.IO packet, without the leading `4`."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self.send_frame(session, _message(text))

    def broadcast(self, eio_sids: Iterable[str], text: str | bytes) -> None:
        """Send the same ready text to many."""
        self._send_to(eio_sids, [_message(text)])

    def broadcast_packets(self, eio_sids: Iterable[str], packets: Iterable[str | bytes]) -> None:
        """Send a ready Socket.IO packet and its attachments to many, with nothing in between."""
        self._send_to(eio_sids, [_message(p) if isinstance(p, str) else _frame_of(p) for p in packets])

    def _send_to(self, eio_sids: Iterable[str], ready: list[bytes]) -> None:
        """Send the same ready frames to many: this is all that a delivery costs before the one write."""
        sessions, touched = self.sockets, self._touched
        for eio_sid in eio_sids:
            session = sessions.get(eio_sid)
            if session is not None:
                if not session.out:
                    touched.append(session)
                session.out += ready
        self._flush_soon()

    def send_frame(self, session: Session, ready: bytes) -> None:
        """Send one ready frame."""
        if not session.out:
            self._touched.append(session)
        session.out.append(ready)
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            (self._loop or asyncio.get_running_loop()).call_soon(self._flush)

    def _flush(self) -> None:
        """The end of the loop's turn: one write for each session that got something."""
        self._is_flush_due = False
        touched, self._touched = self._touched, []
        for session in touched:
            ready, session.out = session.out, []
            try:
                has_room = not ready or session.carrier.write(ready)
            except Exception:  # the others get theirs
                self.logger.exception("%s: cannot be written to", session.sid)
                has_room = False
            if not has_room:
                self.overflow(session)

    def overflow(self, session: Session) -> None:
        """Put out a client that does not read; it comes back and asks for what it has missed."""
        if not session.closing:
            self.overflows += 1
            self.logger.info("%s: does not read, closing its transport", session.sid)
            self.end(session, "outgoing queue full", is_abrupt=True)

    # --- The way in -------------------------------------------------------------------------------------------

    def receive(self, session: Session, packet: str | bytes) -> bool:
        """Take one packet of a client, from any carrier; False if it is none."""
        if session.closing:
            return True
        if isinstance(packet, bytes):
            self._hand_in(session, packet)
            return True
        kind = packet[:1]
        if kind == "4":
            self._hand_in(session, packet)
            return True
        session.left -= 1  # a message, when its turn comes
        if kind == "3":
            if self._pongs.stop(session):
                self._pings.start(session)
        elif kind == "b":
            try:
                self._hand_in(session, base64.b64decode(packet[1:]))
            except ValueError:
                return False
        elif kind == "1":
            self.end(session, self.reason.CLIENT_DISCONNECT, farewell=_NOOP)
        elif kind not in ("0", "5", "6"):  # known, and of no meaning here
            return False
        return True

    def _decode_message(self, packet: str) -> Any:
        """A message as python-engineio hands it to a handler: JSON decoded, where it is JSON."""
        try:
            return eio_packet.Packet(encoded_packet=packet).data
        except RecursionError:
            return packet[1:]

    def _hand_in(self, session: Session, message: str | bytes) -> None:
        """Give a message to its handler, behind those that came before it. There is no task where none has to wait.

        It waits as it came: decoded, it may take many times as much.
        """
        if session.worker is None:
            work = self._handle(session.sid, message)
            if self._spend(session, message) < 0 or work is not None:
                session.worker = asyncio.get_running_loop().create_task(self._work(session, work))
            return
        if session.inbox is None:
            session.inbox = deque()
        session.inbox.append(message)
        session.inbox_bytes += _weight(message)
        if session.inbox_bytes > session.most_bytes and not session.is_paused:
            session.is_paused = True
            session.carrier.pause_reading()

    async def _work(self, session: Session, work: Awaitable[Any] | None = None) -> None:
        """Finish what is under way, then work the inbox off, in order."""
        if work is not None:
            await self._finish(work)
        await self._keep_pace(session)
        while session.inbox:
            message = session.inbox.popleft()
            if isinstance(message, _Ended):
                await asyncio.sleep(0)  # handlers that run as tasks of their own begin before it
                await self._trigger_event("disconnect", session.sid, message.reason, run_async=False)
                self._forget(session)
                break
            session.inbox_bytes -= _weight(message)
            work = self._handle(session.sid, message)
            if work is not None:
                await self._finish(work)
            if self._spend(session, message) < 0:
                await self._keep_pace(session)
            if session.is_paused and session.inbox_bytes * 2 < session.most_bytes:
                session.is_paused = False
                session.carrier.resume_reading()
        session.worker = None

    def _handle(self, sid: str, packet: str | bytes) -> Awaitable[Any] | None:
        """Call the handler of messages; what is left to be waited for, if anything.

        A coroutine handler begins as a task of its own where handlers may overtake each other.
        """
        message = self._decode_message(packet) if isinstance(packet, str) else packet
        if self._is_async["message"] and self.async_handlers:
            return self._trigger_event("message", sid, message, run_async=True)  # type: ignore[no-any-return]
        work = self._call("message", sid, message)
        return work if inspect.isawaitable(work) else None

    def pace_of(self, session: Session) -> Pace:
        """How fast the packets of a session are taken."""
        return self._pace if session.is_trusted else self._stranger_pace

    def _spend(self, session: Session, message: str | bytes) -> float:
        session.left -= 1 + len(message) // PACKET_BYTES
        return session.left

    def seconds_to_wait(self, session: Session) -> float:
        """For how long nothing more is to be taken of a session."""
        if session.left >= 0:
            return 0.0
        pace, now = self.pace_of(session), asyncio.get_running_loop().time()
        refilled = max(session.left, -pace.burst) + (now - session.left_at) * pace.per_second
        session.left, session.left_at = min(pace.burst, refilled), now
        return max(0.0, -session.left / pace.per_second)

    async def _keep_pace(self, session: Session) -> None:
        if seconds := self.seconds_to_wait(session):
            await asyncio.sleep(seconds)  # also when it has gone: what it sent before costs as much

    async def _finish(self, work: Awaitable[Any]) -> None:
        try:
            await work
        except Exception:
            self.logger.exception("message handler error")

    def _call(self, event: str, *args: Any) -> Any:
        """Call a handler that is a plain function; False if it raises."""
        handler = self.handlers.get(event)
        try:
            return handler(*args) if handler is not None else None
        except Exception:
            self.logger.exception("%s handler error", event)
            return False

    def on(self, event: str, handler: Any = None) -> Any:
        """Register a handler, as in the stock class.

        A plain function for `message` is called at once; it may return something to be waited for before the next.
        """
        register = super().on(event)  # refuses unknown events

        def set_handler(function: Any) -> Any:
            self._is_async[event] = inspect.iscoroutinefunction(function)
            return register(function)

        return set_handler if handler is None else set_handler(handler)

    def most_body_bytes(self, scope: Scope) -> int | None:
        """How much of a request's body is worth to be gathered, judged at its head; None if it is to be refused."""
        if scope["method"] != "POST":
            return 0
        session = self.sockets.get(query_of(scope).get("sid", ""))
        return None if session is None or session.closing else session.most_bytes

    def trust(self, eio_sid: str) -> None:
        """A session is somebody's: packets of full size may come."""
        session = self.sockets.get(eio_sid)
        if session is not None and not session.is_trusted:
            self._set_trust(session, self.max_http_buffer_size)

    def distrust(self, eio_sid: str) -> None:
        """A session is nobody's any more."""
        session = self.sockets.get(eio_sid)
        if session is not None and session.is_trusted and self.stranger_bytes is not None:
            self._set_trust(session, self.stranger_bytes)

    def holds(self, session: Session, held_bytes: int) -> None:
        """So much is kept of a packet of a session that is not trusted."""
        self.on_held(session.sid, held_bytes)

    def _set_trust(self, session: Session, most_bytes: int) -> None:
        session.is_trusted = most_bytes == self.max_http_buffer_size
        session.most_bytes = most_bytes
        session.carrier.trust(most_bytes)
        if session.upgrading is not None:
            session.upgrading.trust(most_bytes)

    def generate_id(self) -> str:
        """A new session id. Whoever knows one acts as its client: 128 bits of chance, where python-engineio has 96."""
        return secrets.token_urlsafe(16)

    # --- The life of a session --------------------------------------------------------------------------------

    def serve(self, exchange: Exchange) -> None:
        """Answer an HTTP request, now or, if it is a poll, when there is something to say."""
        scope = exchange.scope
        method = scope["method"]
        if method == "OPTIONS":
            self.respond(exchange, 200, _TEXT, b"OK")
            return
        try:
            query, session = self._verify(scope)
            if query["transport"] != "polling":
                raise _BAD_REQUEST
            exchange.is_trusted = session is not None and session.is_trusted
            if session is None:
                if method != "GET":
                    raise _BAD_METHOD
                upgrades = ["websocket"] if self.allow_upgrades and "websocket" in self.transports else []
                self._open(scope, upgrades, partial(self._greet, exchange), partial(self.refuse, exchange))
            elif not isinstance(session.carrier, Polling):
                raise _BAD_REQUEST
            elif method == "GET":
                session.carrier.poll(exchange)
            elif method == "POST":
                session.carrier.post(exchange)
            else:
                raise _BAD_METHOD
        except Refusal as refusal:
            self.refuse(exchange, refusal.with_traceback(None))

    async def let_upgrade(self, scope: Scope) -> None:
        """Give the packets of an upgrading websocket, sent before this request, the time to come through ASGI."""
        session = self.sockets.get(query_of(scope).get("sid", ""))
        if session is not None and session.upgrading is not None:
            await asyncio.sleep(0.01)

    def serve_websocket(self, scope: Scope, websocket: WebSocketCarrier) -> None:
        """Decide on a websocket handshake: a new session, or the upgrade of one; calls `accept` or `refuse`."""
        try:
            query, session = self._verify(scope)
            if query["transport"] != "websocket":
                raise _BAD_REQUEST
            if session is None:
                self._open(scope, [], partial(self._welcome, websocket), websocket.refuse)
                return
            if not self.allow_upgrades:
                raise _BAD_REQUEST
            if session.upgraded or session.upgrading is not None:
                websocket.turn_away()
                return
        except Refusal as refusal:
            websocket.refuse(refusal.with_traceback(None))
            return
        session.upgrading = websocket
        self._upgrades.start(session)
        websocket.accept(session, [])

    def _verify(self, scope: Scope) -> tuple[dict[str, str], Session | None]:
        """The query of a request, and its session if it names one.

        Raises:
            Refusal: the request makes no sense here.
        """
        self._start_lanes()
        query = query_of(scope)
        if query.get("transport") not in self.transports:
            raise _UNKNOWN_TRANSPORT
        if (origin := header(scope, b"origin")) is not None and self.cors_allowed_origins != []:
            allowed = self._cors_allowed_origins(environ_of(scope))
            if allowed is not None and origin not in allowed:
                raise _FORBIDDEN
        sid = query.get("sid")
        if sid is None:
            if query.get("EIO") != "4":
                raise _UNSUPPORTED_VERSION
            return query, None
        session = self.sockets.get(sid)
        if session is not None and self._pongs.is_overdue(session):
            self._miss_pong(session, 0.0)
        if session is None or session.closing:
            raise _UNKNOWN_SID
        if session.bond is not None and not self._is_bond_kept(session, session.bond, scope):
            raise _UNKNOWN_SID
        return query, session

    def _is_bond_kept(self, session: Session, bond: bytes, scope: Scope) -> bool:
        """False for a request without the cookie that others of its session had.

        Whether a client keeps cookies shows at its first request behind the handshake.
        """
        shown = self._bond_of(scope)
        if shown is not None and hmac.compare_digest(shown, bond):
            session.is_bound = True
        elif not session.is_bound:
            session.bond = None
        else:
            return False
        return True

    def _bond_of(self, scope: Scope) -> bytes | None:
        """The value of our cookie in a request."""
        start = f"{self.bond_cookie}=".encode()
        for name, value in scope["headers"]:
            if name == b"cookie" and start in value:
                for part in value.split(b";"):
                    part = part.strip()
                    if part.startswith(start):
                        return bytes(part[len(start) :])
        return None

    def _bind(self, session: Session, scope: Scope) -> Headers:
        """Bind a new session to its client: by the cookie that it has, or by one that is set here."""
        if self.bond_cookie is None:
            return []
        shown = self._bond_of(scope)
        if shown is not None and _BOND.fullmatch(shown):
            session.bond, session.is_bound = shown, True
            return []
        session.bond = secrets.token_urlsafe(_BOND_BYTES).encode()
        # Without a path it is for that of this request, as the browser knows it, whatever proxies make of it.
        cookie = f"{self.bond_cookie}={session.bond.decode()}; HttpOnly; SameSite=Lax"
        if "https" in (scope.get("scheme"), header(scope, b"x-forwarded-proto")):
            cookie += "; Secure"
        return [(b"set-cookie", cookie.encode())]

    def _open(
        self,
        scope: Scope,
        upgrades: list[str],
        accept: Callable[[Session], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        """Begin a session, if the connect handler agrees; its first packet is on its way before the handler runs."""
        if not self.accepts_handshakes():
            raise _NO_ROOM
        if scope["client"]:
            peer = scope["client"][0]
            forwarded = [
                value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
            ]
            if (address := self.addresses.client(peer, forwarded)) != peer:
                scope["client"] = (address, 0)
        session = Session(self, self.generate_id())
        self.sockets[session.sid] = session
        self.send_frame(
            session, _frame_of("0" + json.dumps(self._opening(session.sid, upgrades), separators=(",", ":")))
        )
        environ = environ_of(scope)

        def decide(answer: Any) -> None:
            if session.closing or (answer is not None and answer is not True):
                self._forget(session)
                refuse(Refusal(401, answer or "Unauthorized"))
            else:
                self.handshakes += 1
                self._pings.start(session)
                accept(session)

        if self._is_async["connect"]:
            loop = asyncio.get_running_loop()
            session.worker = loop.create_task(self._open_later(session, environ, decide))
        else:
            decide(self._call("connect", session.sid, environ))

    async def _open_later(self, session: Session, environ: Any, decide: Callable[[Any], None]) -> None:
        answer = await self._trigger_event("connect", session.sid, environ, run_async=False)
        session.worker = None
        decide(answer)

    def _opening(self, sid: str, upgrades: list[str]) -> dict[str, Any]:
        return {
            "sid": sid,
            "upgrades": upgrades,
            "pingTimeout": round(self.ping_timeout * 1000),
            "pingInterval": round((self.ping_interval + self.ping_interval_grace_period) * 1000),
            "maxPayload": self.max_http_buffer_size,
        }

    def _greet(self, exchange: Exchange, session: Session) -> None:
        assert isinstance(session.carrier, Polling)
        session.carrier.greet(exchange, self._cookie(session.sid) + self._bind(session, exchange.scope))

    def _welcome(self, websocket: WebSocketCarrier, session: Session) -> None:
        ready, session.out = session.out, []
        polling = session.carrier
        assert isinstance(polling, Polling)
        websocket.accept(session, polling.take_backlog() + ready)
        self._carry_by(session, websocket)

    def _carry_by(self, session: Session, websocket: WebSocketCarrier) -> None:
        """Move a session from long-polling to a websocket, with what was not sent."""
        polling, session.carrier = session.carrier, websocket
        assert isinstance(polling, Polling)
        polling.release()
        polling.resume_reading()
        if backlog := polling.take_backlog():
            websocket.write(backlog)
        if session.is_paused:
            websocket.pause_reading()

    def probe(self, session: Session, packet: str | bytes) -> None:
        """Take a packet from the websocket that may become the session's carrier."""
        websocket = session.upgrading
        assert websocket is not None
        session.left -= 1
        if packet == "2probe":
            websocket.write([_PROBE_ANSWER])
            session.is_probed = True
            assert isinstance(session.carrier, Polling)
            session.carrier.release()
            return
        self._end_upgrade(session)
        if packet == "5":
            self._carry_by(session, websocket)
        else:
            websocket.close(_CLOSE)

    def _end_upgrade(self, session: Session) -> None:
        session.upgrading, session.is_probed = None, False
        self._upgrades.stop(session)

    def carrier_lost(self, session: Session, websocket: WebSocketCarrier) -> None:
        """A websocket was closed by its client or by the network."""
        if session.upgrading is websocket:
            self._end_upgrade(session)
        elif session.carrier is websocket:
            self.end(session, self.reason.TRANSPORT_CLOSE)

    def end(
        self, session: Session, reason: str, *, farewell: bytes = _CLOSE, is_abrupt: bool = False
    ) -> None:
        """End a session: close its transport, then call the disconnect handler, behind its last message."""
        if session.closing:
            return
        session.closing = True
        self._pings.stop(session)
        self._pongs.stop(session)
        if session.upgrading is not None:
            session.upgrading.close(farewell)
            self._end_upgrade(session)
        ready, session.out = session.out, []
        carrier, session.carrier = session.carrier, _NOWHERE
        if is_abrupt:
            carrier.abort()
        else:
            if ready:
                carrier.write(ready)
            carrier.close(farewell)
        if session.worker is None and not self._is_async["disconnect"]:
            self._call("disconnect", session.sid, reason)
            self._forget(session)
        else:
            session.is_paused = False
            if session.inbox is None:
                session.inbox = deque()
            session.inbox.append(_Ended(reason))
            if session.worker is None:
                session.worker = asyncio.get_running_loop().create_task(self._work(session))

    def _forget(self, session: Session) -> None:
        session.closing = session.closed = True
        session.carrier = _NOWHERE
        session.inbox = None
        self.sockets.pop(session.sid, None)

    # --- Heartbeat --------------------------------------------------------------------------------------------

    def _start_lanes(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop = loop
            self._pings: Lane[Session] = Lane(loop, self.ping_interval, self._ping)
            self._pongs: Lane[Session] = Lane(loop, self.ping_timeout, self._miss_pong)
            self._upgrades: Lane[Session] = Lane(loop, UPGRADE_SECONDS, self._miss_upgrade)
            self.stalls: Lane[Session] = Lane(loop, STALLED_SECONDS, self._miss_poll)
            self.farewells: Lane[Carrier] = Lane(loop, FAREWELL_SECONDS, lambda carrier, due: carrier.abort())

    def _ping(self, session: Session, due: float) -> None:
        self.send_frame(session, _PING)
        self._pongs.start(session, since=due)

    def _miss_pong(self, session: Session, due: float) -> None:
        # Its pong may lie behind messages that we do not take; those of who sends too many end it.
        if session.is_paused and not self.seconds_to_wait(session):
            self._pongs.start(session)
        else:
            self.end(session, self.reason.PING_TIMEOUT)

    def _miss_poll(self, session: Session, due: float) -> None:
        if isinstance(session.carrier, Polling) and session.carrier.holds_too_much:
            self.overflow(session)

    def _miss_upgrade(self, session: Session, due: float) -> None:
        if session.upgrading is not None:
            session.upgrading.close(_CLOSE)
            self._end_upgrade(session)

    # --- HTTP answers -----------------------------------------------------------------------------------------

    def respond(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """Answer a request, compressed and with CORS headers where it asks for them."""
        scope = exchange.scope
        if self.http_compression and len(body) >= self.compression_threshold:
            accepted = header(scope, b"accept-encoding") or ""
            if "gzip" in accepted:
                body, headers = gzip.compress(body, 1, mtime=0), [*headers, (b"content-encoding", b"gzip")]
            elif "deflate" in accepted:
                body, headers = zlib.compress(body, 1), [*headers, (b"content-encoding", b"deflate")]
        if self.cors_allowed_origins != [] and header(scope, b"origin") is not None:
            cors = self._cors_headers(environ_of(scope))
            headers = [*headers, *((name.encode(), value.encode()) for name, value in cors)]
        exchange.respond(status, headers, body)

    def refuse(self, exchange: Exchange, refusal: Refusal = _BAD_REQUEST) -> None:
        """Answer a request with an error."""
        headers = [*_JSON, (b"retry-after", b"1")] if refusal.status == 503 else _JSON
        self.respond(exchange, refusal.status, headers, refusal.body)

    def _cookie(self, sid: str) -> Headers:
        if not self.cookie:
            return []
        is_dict = isinstance(self.cookie, dict)
        attributes = self.cookie if is_dict else {"name": self.cookie, "path": "/", "SameSite": "Lax"}
        return [(b"set-cookie", self._generate_sid_cookie(sid, attributes).encode())]

    # --- The rest of python-engineio's API --------------------------------------------------------------------

    @property
    def open_connections(self) -> int:
        """How many sessions are open now."""
        return len(self.sockets)

    def close_transport(self, eio_sid: str, reason: str) -> None:
        """Close the connection below Socket.IO, so that official clients reconnect by themselves."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self.end(session, reason)

    def abort_transport(self, eio_sid: str, reason: str) -> None:
        """The same at once: what was not sent is forgotten."""
        session = self.sockets.get(eio_sid)
        if session is not None:
            self.end(session, reason, is_abrupt=True)

    def close_all(self, reason: str) -> None:
        """Close every connection, as `close_transport` does."""
        for session in list(self.sockets.values()):
            self.end(session, reason)

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
        if self._loop is not None:
            for lane in (self._pings, self._pongs, self._upgrades, self.stalls, self.farewells):
                lane.close()
            self._loop = None


class _Ended:
    """In an inbox: the session is over, once what came before is done."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


def _message(text: str | bytes) -> bytes:
    return frames.frame(frames.TEXT, b"4" + (text.encode() if isinstance(text, str) else text))


def _frame_of(packet: str | bytes) -> bytes:
    if isinstance(packet, str):
        return frames.frame(frames.TEXT, packet.encode())
    return frames.frame(frames.BINARY, bytes(packet))


def _weight(message: str | bytes) -> int:
    return _WAITING_MESSAGE_BYTES + len(message)


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, by its name in lower case."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def query_of(scope: Scope) -> dict[str, str]:
    """The query of a request; of a name that is given twice the last."""
    query = scope["query_string"].decode("latin-1")
    if "%" in query or "+" in query:
        return dict(parse_qsl(query))
    pairs = [pair.partition("=") for pair in query.split("&")]
    return {name: value for name, _, value in pairs if value}


def environ_of(scope: Scope) -> dict[str, Any]:
    """The request as python-engineio gives it to the connect handler: CGI names, and the ASGI scope."""
    query = scope["query_string"].decode("latin-1")
    client, server = scope.get("client") or ("", 0), scope.get("server") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "PATH_INFO": scope["path"],
        "QUERY_STRING": query,
        "RAW_URI": f"{scope['path']}?{query}" if query else scope["path"],
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "asgi",
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or 0),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "asgi.scope": scope,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ","  # HTTP/2 may bring the cookies one by one
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    environ["wsgi.url_scheme"] = environ.get("HTTP_X_FORWARDED_PROTO", _http_scheme(scope.get("scheme")))
    return environ


def _http_scheme(scheme: str | None) -> str:
    return {"ws": "http", "wss": "https"}.get(scheme or "http", scheme or "http")
