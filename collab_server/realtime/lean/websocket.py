"""A websocket right on uvicorn's transport: no ASGI events, no task, no queue.

The end of a connection's way: `handshake.py` and `http.py` give it those whose request is for a path of ours.
"""

from __future__ import annotations

import asyncio
import http
from binascii import a2b_base64, b2a_base64
from hashlib import sha1
from typing import Any

from typing_extensions import override
from websockets.utils import GUID

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.answers import SAFE_LINES
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.requests import header, subprotocol_of, trace_header
from collab_server.realtime.engine.session import REASON, Refusal, Scope, Session, Taker
from collab_server.realtime.lean.reading import Reading
from collab_server.realtime.lean.shortcut import Shortcut

_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
)


class WebSocket(Shortcut):
    """Carries one session.

    What goes out waits in the transport's buffer, which `write` looks at each time; what comes in, in `reading.py`.

    Args:
        engine: decides on the handshake.
        transport: uvicorn's, of a request that was read.
        connections: uvicorn's, of all that it has to close.
    """

    __slots__ = (
        "__weakref__",
        "_connections",
        "_engine",
        "_handshake",
        "_is_lingering",
        "_reading",
    )
    name = "websocket"

    def __init__(self, engine: EngineServer, transport: Any, connections: set[Any]) -> None:
        super().__init__(transport)
        self._engine = engine
        self._connections = connections
        self._reading: Reading | None = None  # from the handshake's end on
        self._handshake = b""  # how it is completed
        self._is_lingering = False  # we send nothing more, but wait for the client to read and close
        connections.add(self)

    # --- asyncio's and uvicorn's side

    @override
    def data_received(self, data: bytes) -> None:
        """Frames."""
        if self._reading is not None:
            self._reading.feed(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        self._shut()
        self._connections.discard(self)
        if self._is_lingering:
            self._engine.sessions.farewells.stop(self)
        self._leave()

    def shutdown(self) -> None:
        """uvicorn stops gracefully: the client is to come back to another node."""
        if self._session is None:
            self._transport.close()
        elif self._session.carrier is self:
            self._session.owner.end(self._session, "server shutdown")
        else:
            self._close(frames.GOING_AWAY)

    @property
    def transport(self) -> Any:
        """What carries the connection."""
        return self._transport

    @property
    def held_bytes(self) -> int:
        return 0 if self._reading is None else self._reading.held_bytes

    def cut(self) -> None:
        """The client takes nothing: put it out."""
        if self._session is not None and self._session.carrier is self:
            self._session.owner.overflow(self._session)
        else:
            self.abort()

    # --- the handshake

    def begin(self, scope: Scope) -> None:
        """Answer the handshake of this request."""
        key = header(scope, b"sec-websocket-key") or ""
        if header(scope, b"sec-websocket-version") != "13":
            self._refuse(426, b"", b"sec-websocket-version: 13\r\n")
        elif scope["method"] != "GET" or not _is_key(key):
            self._refuse(400, b"")
        else:
            offered = subprotocol_of(scope)
            chosen = f"sec-websocket-protocol: {offered}\r\n" if offered else ""
            accepted = b2a_base64(sha1((key + GUID).encode()).digest(), newline=False)
            head = _ACCEPTED + accepted + b"\r\n" + chosen.encode()
            self._handshake = head + b"%b: %b\r\n\r\n" % trace_header(scope)
            self._engine.serve_websocket(scope, self)

    def accept(self, session: Session, ready: list[bytes]) -> None:
        """Complete the handshake, with these frames; from now on hand in what comes for this session."""
        if self._transport.is_closing():  # it went away while the connect handler ran
            self.is_closing = True
            asyncio.get_running_loop().call_soon(session.owner.carrier_lost, session, self)
            return
        self._session = session
        self._reading = Reading(session, self._transport, self)
        self._transport.write(b"".join([self._handshake, *ready]))
        self._handshake = b""

    def turn_away(self) -> None:
        """Complete the handshake, then close at once."""
        if not self.is_closing:
            self._transport.write(self._handshake + frames.close_frame(frames.NORMAL))
            self._linger()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the handshake with an error."""
        self._refuse(refusal.status, refusal.body, b"content-type: application/json\r\n")

    def pass_on(self, taker: Taker) -> bool:
        """Let `taker` have the connection, whose handshake has no answer yet; False if it is no more."""
        if is_there := not self._transport.is_closing():
            self._connections.discard(self)
            taker.take(self._transport, self._connections)
        self.is_closing = True
        return is_there

    def _refuse(self, status: int, body: bytes, headers: bytes = b"") -> None:
        self.is_closing = True
        if self._transport.is_closing():
            return
        phrase = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n".encode()
        self._transport.write(head + SAFE_LINES + headers + b"\r\n" + body)
        self._transport.close()

    # --- the way in

    def take_frame(self, session: Session, opcode: int, payload: str | bytes) -> bool:
        """A message or control frame of the client; False behind its close frame."""
        if opcode <= frames.BINARY:
            if self.is_closing:
                return True
            if session.upgrading is self:
                session.owner.probe(session, payload)
            elif not session.owner.receive(session, payload):
                session.owner.end(session, REASON.TRANSPORT_ERROR)
            return True
        session.allowance.left -= 1
        if opcode == frames.CLOSE:
            self._answer_close(payload)
            return False
        if opcode == frames.PING and not self.is_closing:
            assert isinstance(payload, bytes)
            if not self.write([frames.frame(frames.PONG, payload)]):
                session.owner.overflow(session)
        return True

    def _answer_close(self, payload: Any) -> None:
        try:
            answer = frames.close_answer(payload)
        except frames.FrameError as error:
            self.fail(error.code)
            return
        if not self.is_closing:
            self._transport.write(self._take_out() + answer)
        self._let_go()
        self._transport.close()  # once the client has read everything

    def _take_out(self) -> bytes:
        """What was already sent to the client in this turn of the loop: it goes before our close frame."""
        session = self._session
        return b"" if session is None or session.carrier is not self else b"".join(session.take_out())

    def fail(self, code: int) -> None:
        """The client broke the protocol of websockets: say so and go."""
        if not self.is_closing:
            self._transport.write(self._take_out() + frames.close_frame(code))
        self._linger()

    def _linger(self) -> None:
        """Send nothing more, but take what still comes: closing on unread data would reset the connection, and the
        client would not get to see our close frame."""
        if self._reading is not None:
            self._reading.hurry()
        self._let_go()
        try:
            self._transport.write_eof()  # not over TLS
        except (OSError, NotImplementedError):
            self._transport.close()

    def _let_go(self) -> None:
        """Leave the session; the client gets a while to read what was sent, and to close."""
        self._shut()
        self._leave()
        self._is_lingering = True
        self._engine.sessions.farewells.start(self)

    def _leave(self) -> None:
        session, self._session = self._session, None
        if self._reading is not None:
            self._reading.stop()
            self._reading = None
        if session is not None:
            session.owner.farewells.stop(self)
            session.owner.carrier_lost(session, self)

    # --- the way out: what a carrier does

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames in one write; False if the client lets too much pile up."""
        transport = self._transport
        if self.is_closing or transport.is_closing():  # the latter: lost, though we were not yet told
            return True
        data = ready[0] if len(ready) == 1 else b"".join(ready)
        piled_up = transport.get_write_buffer_size()
        if piled_up and piled_up + len(data) > self._engine.bounds.outgoing_bytes:
            return False
        transport.write(data)
        return True

    def close(self, farewell: bytes) -> None:
        """Close after what was written, by the closing handshake."""
        self._close(frames.NORMAL)

    def _close(self, code: int) -> None:
        if self.is_closing:
            return
        self._shut()
        if self._reading is not None:
            self._reading.hurry()  # for the client's close frame
        self._transport.write(frames.close_frame(code))
        self._engine.sessions.farewells.start(self)

    def abort(self) -> None:
        """Close at once, and forget what was not sent."""
        self._shut()
        self._transport.abort()

    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on."""
        if self._reading is not None:
            self._reading.trust(most_bytes)

    def pause_reading(self) -> None:
        """Take no more messages for now."""
        if self._reading is not None:
            self._reading.pause()

    def resume_reading(self) -> None:
        """Take messages again."""
        if self._reading is not None:
            self._reading.resume()


def _is_key(key: str) -> bool:
    try:
        return len(a2b_base64(key, strict_mode=True)) == 16
    except ValueError:  # no base64, or not even ASCII
        return False
