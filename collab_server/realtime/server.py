"""python-socketio's server with this product's commands behind it: what carries the Socket.IO door.

Whatever comes in goes to the door that it serves (`Receiver`), and what is told goes out through it (`tell`). It takes
a command apart only when the door has let it in by its size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import socketio
from typing_extensions import override

from collab_server.config.limits import Limits
from collab_server.domain.jsontext import JsonText, dumps, json_shape, json_string
from collab_server.errors import ClientError, Invalid, RateLimited, TooLarge
from collab_server.realtime.engine import requests
from collab_server.realtime.engine.bounds import Bounds, KnownBy
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.pace import Pace
from collab_server.realtime.engine.requests import header, see_through_proxies, trace_of
from collab_server.realtime.engine.roster import Roster
from collab_server.realtime.engine.session import Elsewhere, Refusal, Scope
from collab_server.realtime.sockets.manager import BusManager
from collab_server.realtime.sockets.packets import HEAD
from collab_server.realtime.sockets.server import SocketServer
from collab_server.realtime.strangers import StrangerLimits
from collab_server.services.origins import Origins
from collab_server.services.sign_in import SignIn
from collab_server.telemetry.journal import Journal, Whose, stranger
from collab_server.telemetry.metrics import Labels, Metrics

SIGN_IN_SECONDS = 10.0
PING_INTERVAL_SECONDS = 25.0
PING_TIMEOUT_SECONDS = 20.0
BOND_COOKIE = "collab_session"
TOKENS = ("identityToken", "authToken", "resumeToken")
COMMANDS = ("2", "50")
"""How the packet of a command begins, unless attachments follow: such a one is let in when it is whole."""
PACE = 2
"""So many times as many packets of a connection are taken as its user may send commands; others are read later."""
STRANGER_PACE = Pace(per_second=10, burst=50)
ORIGIN_CHARACTERS = 100  # of it are written


_connected = json_shape("sid")


class Receiver(Protocol):
    """Who takes what comes in: the door. `eio_sid` names a connection."""

    async def sign_in(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Say who this is, or refuse."""

    async def greet(self, eio_sid: str) -> None:
        """Somebody's sign-in has been answered."""

    def prove_at_once(self, environ: dict[str, Any], auth: Any) -> SignIn | None:
        """Who this is, if that is known and they may come in; None to ask `sign_in`."""
        ...

    def come_in(
        self, eio_sid: str, sid: str, environ: dict[str, Any], auth: Any, signed_in: SignIn
    ) -> Awaitable[None] | None:
        """Somebody who was proved at once has been answered; what is left to be waited for, if anything."""
        ...

    def forget(self, sid: str, reason: str = "unknown") -> None:
        """Somebody is gone. Waits for nothing."""

    def admit(self, eio_sid: str, text: str) -> None:
        """Let a packet in before it is decoded, or raise a `ClientError`."""

    def receive(
        self, eio_sid: str, ack_id: int | None, data: list[Any], size: int, *, is_admitted: bool
    ) -> bool:
        """Take a command; False if it was refused, for too many came."""
        ...

    def refuse(self, eio_sid: str, ack_id: int | None, error: ClientError) -> bool:
        """Refuse a command that was not even read; False if nobody is there."""
        ...

    def whose(self, eio_sid: str) -> tuple[Whose, str] | None:
        """Who is connected by it, if anybody is, and its trace."""
        ...

    def rest(self, eio_sid: str) -> Awaitable[None] | None:
        """What has to be waited for before more is read of a client that was refused something, if anything."""
        ...


class Readiness(Protocol):
    """Whether the node takes anybody in."""

    def accepts_clients(self) -> bool:
        """As of now."""
        ...


class TellingEngine(EngineServer):
    """Tells `journal` what it refuses."""

    environ_of = staticmethod(requests.what_is_asked_of)
    asks_where = False

    def __init__(self, *args: Any, journal: Journal, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._journal = journal

    @override
    def _on_refused(self, scope: Scope, refusal: Refusal) -> None:
        """A line, without the request's query, which may hold a session's id."""
        see_through_proxies(scope, self._addresses)
        client, origin = scope.get("client"), header(scope, b"origin")
        facts = {"why": refusal.message, "status": refusal.status, "trace": trace_of(scope)}
        if origin is not None:
            facts["origin"] = origin[:ORIGIN_CHARACTERS]
        facts["transport"] = "websocket" if scope["type"] == "websocket" else "polling"
        self._journal.line("a request was refused", stranger(client[0] if client else None), **facts)


class CollabServer(SocketServer):
    """One node's. Serves nobody before `serve` was called; `readiness` says whether new clients may come, `elsewhere`
    takes what is for sessions of other nodes."""

    _door: Receiver

    def __init__(
        self,
        manager: BusManager,
        limits: Limits,
        origins: Origins,
        readiness: Readiness,
        metrics: Metrics,
        journal: Journal,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        super().__init__(
            client_manager=manager,
            async_mode="asgi",
            cors_allowed_origins=partial(_is_allowed, origins),
            cors_credentials=True,
            ping_interval=PING_INTERVAL_SECONDS,
            ping_timeout=PING_TIMEOUT_SECONDS,
            max_http_buffer_size=limits.packetBytes,
            bounds=_bounds(limits),
            connect_seconds=SIGN_IN_SECONDS,
            strangers=stranger_limits(limits),
            known_by=KnownBy(origins.proxies, BOND_COOKIE),
            accepts_handshakes=readiness.accepts_clients,
            elsewhere=elsewhere,
            journal=journal,
            keeps_environ=False,
            namespaces=["/"],
            logger=False,
            engineio_logger=False,
        )
        self._journal = journal
        metrics.include("clients", self.counts)
        metrics.gauges("sessions", self._by_transport)
        strangers = self.newcomers.strangers
        metrics.gauges("strangers_current", lambda: {("session",): len(strangers)})
        metrics.counters("strangers_put_out", lambda: {("session",): strangers.put_out})

    def serve(self, door: Receiver) -> None:
        """Let this door have what comes in."""
        self._door = door
        self.on("disconnect", door.forget)

    def counts(self) -> Mapping[str, int]:
        """How many clients were put out because they did not read, since the node started."""
        return {"overflowed": self.eio.overflows}

    def _by_transport(self) -> Mapping[Labels, float]:
        return Counter((session.carrier.name,) for session in self.eio.sockets.values())

    @override
    def _engineio_server_class(self) -> type[EngineServer]:
        return TellingEngine

    # --- out

    def roster(self) -> Roster:
        """A new one, for connections that are told the same again and again: to be given to `tell`."""
        return self.eio.sessions.roster()

    def tell(self, connections: Iterable[str], name: str, data: JsonText) -> None:
        """Send an event or a signal to these. Never waits, never raises."""
        self.eio.broadcast(connections, f'2["{name}",{data}]')

    def close_all(self, reason: str) -> None:
        """Close every transport; official clients come back by themselves."""
        for eio_sid in list(self.eio.sockets):
            self.eio.close_transport(eio_sid, reason)

    # --- in

    @override
    def _begin_connect(self, eio_sid: str, namespace: str | None, data: Any) -> Awaitable[None] | None:
        """Whose token is known gets their answer in the same turn of the loop: nobody is waited for."""
        environ = self.environ[eio_sid]
        signed_in = self._door.prove_at_once(environ, data) if namespace in (None, "/") else None
        if signed_in is None:
            return super()._begin_connect(eio_sid, namespace, data)
        sid = self.manager.enter(eio_sid, "/")
        self.eio.send_text(eio_sid, f"0{_connected(sid=json_string(sid))}")
        self._welcome(eio_sid)
        try:
            return self._door.come_in(eio_sid, sid, environ, data, signed_in)
        except Exception:
            self.logger.exception("connect handler error")
            self.eio.close_transport(eio_sid, "internal error")
            return None

    @override
    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        """As the stock class, for one namespace whose one handler is known: the door."""
        if namespace not in (None, "/"):
            await super()._handle_connect(eio_sid, namespace, data)  # which refuses it
            return
        sid = self.manager.begin(eio_sid, "/")
        if sid is None:
            return
        try:
            await self._door.sign_in(sid, self.environ[eio_sid], data)
        except Exception as error:
            await self.manager.disconnect(sid, "/", ignore_queue=True)
            if isinstance(error, socketio.exceptions.ConnectionRefusedError):
                self.eio.send_text(eio_sid, f"4{dumps(error.error_args)}")
            else:
                self.logger.exception("connect handler error")
                await self._refuse(eio_sid, "/", "Internal error")
            return
        if self.manager.sid_from_eio_sid(eio_sid, "/") is None:
            return
        self.eio.send_text(eio_sid, f"0{_connected(sid=json_string(sid))}")
        self.manager.finish(sid, "/")
        self._welcome(eio_sid)
        await self._door.greet(eio_sid)  # so that it follows the CONNECT answer

    @override
    def _leave(self, eio_sid: str, reason: str) -> Awaitable[None] | None:
        """As the stock class, for one namespace whose one handler waits for nothing: without a task."""
        manager = self.manager
        sid = manager.sid_from_eio_sid(eio_sid, "/")
        try:
            if sid is not None and manager.is_connected(sid, "/"):
                self._door.forget(sid, reason)
        finally:
            if sid is not None:
                manager.basic_disconnect(sid, "/")
            self.environ.pop(eio_sid, None)
        return None

    @override
    def _handle_eio_message(self, eio_sid: str, data: Any) -> Awaitable[None] | None:
        if isinstance(data, str):
            try:
                self._door.admit(eio_sid, data)
            except ClientError as error:
                return self._refuse_unread(eio_sid, data, error)
        return super()._handle_eio_message(eio_sid, data)

    @override
    def _turn_down(self, eio_sid: str, packet: Any, why: str = "") -> bool:
        """Who hears nothing comes back and sends it again, for ever."""
        head = HEAD.match(packet) if isinstance(packet, str) and packet.startswith(COMMANDS) else None
        if head is None or not head["id"] or head["namespace"] not in (None, "/"):
            return False
        most = self.eio.max_http_buffer_size
        error = Invalid(why) if why else TooLarge(f"expected at most {most} bytes in a packet")
        return self._door.refuse(eio_sid, int(head["id"]), error)

    def _refuse_unread(self, eio_sid: str, text: str, error: ClientError) -> Awaitable[None] | None:
        """Answer a command without decoding it; what is none ends the connection. What comes after too many waits for
        as long as the transport's bounds say: then nothing more is read of this client."""
        session = self.eio.sockets.get(eio_sid)
        if session is None or session.closing:
            return None  # nobody is there to hear it
        head = HEAD.match(text)
        is_command = head is not None and text.startswith(COMMANDS)
        ack_id = int(head["id"]) if head is not None and head["id"] else None
        if not is_command or not self._door.refuse(eio_sid, ack_id, error):
            self._put_out_for(eio_sid, "not connected" if is_command else error.message)
            return None
        return self._door.rest(eio_sid) if isinstance(error, RateLimited) else None

    @override
    def _put_out_for(self, eio_sid: str, why: str) -> None:
        whose, trace = self._door.whose(eio_sid) or (self._stranger(eio_sid), "")
        self._journal.line("put out: it broke the protocol", whose, why=why, trace=trace)
        super()._put_out_for(eio_sid, why)

    @override
    def _put_out(self, eio_sids: list[str]) -> None:
        for eio_sid in eio_sids:
            self._journal.line("put out: another stranger came", self._stranger(eio_sid))
        super()._put_out(eio_sids)

    @override
    def _give_up(self, eio_sid: str) -> None:
        self._journal.line("put out: not signed in in time", self._stranger(eio_sid))
        super()._give_up(eio_sid)

    def _stranger(self, eio_sid: str) -> Whose:
        return stranger(self.environ.get(eio_sid, {}).get("REMOTE_ADDR"))

    @override
    def _credentials_of(self, data: Any) -> Any:
        return tokens_of(data)

    @override
    def _take_event(self, eio_sid: str, packet: Any) -> Awaitable[None] | None:
        is_admitted = not packet.attachment_count
        is_taken = self._door.receive(eio_sid, packet.id, packet.data, packet.size, is_admitted=is_admitted)
        return None if is_taken else self._door.rest(eio_sid)


def _is_allowed(origins: Origins, origin: str | None, environ: dict[str, Any]) -> bool:
    """Whether a page of this origin may connect, as python-engineio asks."""
    scope = environ["asgi.scope"]
    return origins.admits(origin, scope["headers"], scope["scheme"], scope.get("client"))


def _bounds(limits: Limits) -> Bounds:
    """What one client may take of the transport."""
    pace = Pace(PACE * limits.commandsPerSecond, limits.commandsBurst)
    return Bounds(outgoing_bytes=limits.outgoingBytes, pace=pace, stranger_pace=STRANGER_PACE)


def stranger_limits(limits: Limits) -> StrangerLimits:
    """What those may take who are not signed in, of sessions and, once more, of bare connections."""
    return StrangerLimits(
        most=limits.strangers,
        most_per_address=limits.strangersPerAddress,
        most_bytes=limits.strangersBytes,
        packet_bytes=min(limits.strangerPacketBytes, limits.packetBytes),
        tries=limits.signInTries,
    )


def tokens_of(auth: Any) -> Any:
    """The tokens of a CONNECT packet: what they are not, where they are none, and nothing else of it."""
    if not isinstance(auth, dict):
        return None
    return {
        name: value if isinstance(value, str) else False
        for name in TOKENS
        if (value := auth.get(name)) is not None
    }
