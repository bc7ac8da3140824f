"""A websocket right on uvicorn's transport: no ASGI events, no task, no queue.

uvicorn makes one `WebSocketProtocol` for each upgrade request, whichever of its HTTP implementations is in use, and
hands it the request. One for a path of ours is carried from here on; any other goes to uvicorn's own class.
"""

from __future__ import annotations

import asyncio
import http
from base64 import b64decode
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from typing_extensions import override
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol
from websockets.utils import accept_key

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.polling import SAFE_LINES

if TYPE_CHECKING:
    from collab_server.realtime.engine.engine import EngineServer, Refusal, Session

STATE_KEY = "collab_server.engines"
"""In uvicorn's lifespan state: path prefix (bytes) → EngineServer."""

PIECE_BYTES = 4_096
"""So much is read at a time, before others may get their turn."""

_ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
)


def engine_for(app_state: dict[str, Any], target: bytes) -> EngineServer | None:
    """The Engine.IO server that a request target (path and query) is for, if any."""
    for prefix, engine in app_state.get(STATE_KEY, {}).items():
        if target.startswith(prefix):
            found: EngineServer = engine
            return found
    return None


class WebSocketProtocol(asyncio.Protocol):
    """Carries one session."""

    __slots__ = (
        "__weakref__",
        "_app_state",
        "_config",
        "_connections",
        "_is_closing",
        "_is_lingering",
        "_is_read_paused",
        "_key",
        "_reader",
        "_resting",
        "_server",
        "_server_state",
        "_session",
        "_stock",
        "_transport",
        "_unread",
    )
    name = "websocket"

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._config = config
        self._server_state = server_state
        self._connections = server_state.connections
        self._app_state: Any = app_state
        self._stock: Any = None  # uvicorn's own class, for a path that is not ours
        self._transport: Any = None
        self._server: EngineServer | None = None
        self._session: Session | None = None
        self._reader: frames.FrameReader | None = None
        self._key = ""
        self._is_closing = False  # our close frame is out, or the connection is no more
        self._is_read_paused = False
        self._resting: asyncio.TimerHandle | None = None  # until the client may go on …
        self._unread = b""  # … with what it had sent already
        self._is_lingering = False  # we send nothing more, but wait for the client to read and close

    # --- asyncio's side ---------------------------------------------------------------------------------------

    @override
    def connection_made(self, transport: Any) -> None:
        """uvicorn hands over the connection of an HTTP request."""
        self._transport = transport
        self._connections.add(self)

    @override
    def data_received(self, data: bytes) -> None:
        """First the request, then frames."""
        if self._resting is not None:
            self._unread += data  # came before reading was paused
        elif self._reader is not None:
            self._read(data)
        elif self._stock is not None:
            self._stock.data_received(data)
        elif self._server is None:
            self._begin(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        if self._stock is not None:
            self._stock.connection_lost(exc)
            return
        self._is_closing = True
        self._connections.discard(self)
        if self._resting is not None:
            self._resting.cancel()
            self._unread = b""
        if self._is_lingering:
            self._server.farewells.stop(self)  # type: ignore[union-attr]
        self._leave()

    @override
    def eof_received(self) -> bool | None:
        """The client sends nothing more: the transport closes itself."""
        return None

    @override
    def pause_writing(self) -> None:
        """The transport's buffer is filling up: `write` looks at it each time."""
        if self._stock is not None:
            self._stock.pause_writing()

    @override
    def resume_writing(self) -> None:
        """It has emptied."""
        if self._stock is not None:
            self._stock.resume_writing()

    def shutdown(self) -> None:
        """uvicorn stops gracefully: the client is to come back to another node."""
        if self._stock is not None:
            self._stock.shutdown()
        elif self._session is None:
            self._transport.close()
        elif self._session.carrier is self:
            self._session.server.end(self._session, "server shutdown")
        else:
            self._close(frames.GOING_AWAY)

    @property
    def transport(self) -> Any:
        """What carries the connection."""
        return self._transport

    def cut(self) -> None:
        """The client takes nothing: put it out."""
        if self._session is not None and self._session.carrier is self:
            self._session.server.overflow(self._session)
        else:
            self.abort()

    # --- The handshake ----------------------------------------------------------------------------------------

    def _begin(self, request: bytes) -> None:
        head = request.partition(b"\r\n\r\n")[0]
        first, *lines = head.split(b"\r\n")
        target = first.split(b" ")[1]
        server = engine_for(self._app_state, target)
        if server is None:
            self._give_to_stock_class(request)
            return
        path, _, query = target.partition(b"?")
        headers = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        transport = self._transport
        scope = {
            "type": "websocket",
            "http_version": "1.1",
            "method": first.split(b" ")[0].decode("latin-1"),
            "scheme": "wss" if is_ssl(transport) else "ws",
            "server": get_local_addr(transport),
            "client": get_remote_addr(transport),
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": headers,
        }
        self.begin(server, scope)

    def _give_to_stock_class(self, request: bytes) -> None:
        self._connections.discard(self)
        self._stock = AutoWebSocketsProtocol(  # type: ignore[misc]
            config=self._config, server_state=self._server_state, app_state=self._app_state
        )
        self._stock.connection_made(self._transport)
        self._stock.data_received(request)
        # uvicorn sets us as the transport's protocol when this returns; then the stock class takes our place.
        asyncio.get_running_loop().call_soon(self._transport.set_protocol, self._stock)

    def begin(self, server: EngineServer, scope: dict[str, Any]) -> None:
        """Answer the handshake of a request that is known to be for this server."""
        self._server = server
        self._config = self._server_state = self._app_state = None
        wanted = {b"sec-websocket-key": b"", b"sec-websocket-version": b""}
        for name, value in scope["headers"]:
            if name in wanted:
                wanted[name] = value
        self._key = wanted[b"sec-websocket-key"].decode("latin-1")
        if wanted[b"sec-websocket-version"] != b"13":
            self._refuse(426, b"", b"sec-websocket-version: 13\r\n")
        elif scope["method"] != "GET" or not _is_key(self._key):
            self._refuse(400, b"")
        else:
            server.serve_websocket(scope, self)

    def accept(self, session: Session, ready: list[bytes]) -> None:
        """Complete the handshake, with these frames; from now on hand in what comes for this session."""
        assert self._server is not None
        if self._transport.is_closing():  # it went away while the connect handler ran
            self._is_closing = True
            asyncio.get_running_loop().call_soon(session.server.carrier_lost, session, self)
            return
        self._session = session
        self._reader = frames.FrameReader(session.most_bytes)
        self._transport.write(b"".join([_ACCEPTED, accept_key(self._key).encode(), b"\r\n\r\n", *ready]))
        self._key = ""

    def turn_away(self) -> None:
        """Complete the handshake, then close at once."""
        assert self._server is not None
        self._transport.write(
            b"".join(
                [_ACCEPTED, accept_key(self._key).encode(), b"\r\n\r\n", frames.close_frame(frames.NORMAL)]
            )
        )
        self._linger()

    def refuse(self, refusal: Refusal) -> None:
        """Answer the handshake with an error."""
        self._refuse(refusal.status, refusal.body, b"content-type: application/json\r\n")

    def _refuse(self, status: int, body: bytes, headers: bytes = b"") -> None:
        self._is_closing = True
        if self._transport.is_closing():
            return
        phrase = http.HTTPStatus(status).phrase
        head = f"HTTP/1.1 {status} {phrase}\r\nconnection: close\r\ncontent-length: {len(body)}\r\n".encode()
        self._transport.write(head + SAFE_LINES + headers + b"\r\n" + body)
        self._transport.close()

    # --- The way in -------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read frames, a piece at a time, at the session's pace."""
        for start in range(0, len(data), PIECE_BYTES):
            self._read_piece(data[start : start + PIECE_BYTES])
            session = self._session
            if session is None:
                return
            if session.left < 0 and not self._is_closing:
                seconds = session.server.seconds_to_wait(session)
                if seconds:
                    self._unread = data[start + PIECE_BYTES :]
                    self._resting = asyncio.get_running_loop().call_later(seconds, self._read_on)
                    if not self._is_read_paused:
                        self._transport.pause_reading()
                    if not session.is_trusted and self._reader is not None and session.carrier is self:
                        session.server.holds(session, self._reader.held_bytes + len(self._unread))
                    return

    def _read_on(self) -> None:
        """The client may go on."""
        if self._resting is None:
            return
        self._resting.cancel()
        self._resting = None
        data, self._unread = self._unread, b""
        self._read(data)
        if self._resting is None and not (self._is_read_paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def _read_piece(self, data: bytes) -> None:
        reader, session = self._reader, self._session
        if session is None or reader is None:
            return
        server = session.server
        try:
            for opcode, payload in reader.feed(data):
                if opcode <= frames.BINARY:
                    if self._is_closing:
                        continue
                    if session.upgrading is self:
                        server.probe(session, payload)
                    elif not server.receive(session, payload):
                        server.end(session, server.reason.TRANSPORT_ERROR)
                    continue
                session.left -= 1
                if opcode == frames.CLOSE:
                    self._answer_close(payload)
                    return
                if opcode == frames.PING and not self._is_closing:
                    if not self.write([frames.frame(frames.PONG, payload)]):  # type: ignore[arg-type]
                        server.overflow(session)
            if not session.is_trusted and session.carrier is self:
                server.holds(session, reader.held_bytes)
        except frames.FrameError as error:
            self._fail(error.code)
        if reader.fragments_read:
            session.left -= reader.fragments_read
            reader.fragments_read = 0

    def _answer_close(self, payload: Any) -> None:
        try:
            answer = frames.close_answer(payload)
        except frames.FrameError as error:
            self._fail(error.code)
            return
        if not self._is_closing:
            self._transport.write(self._take_out() + answer)
        self._lose()

    def _take_out(self) -> bytes:
        """What was already sent to the client in this turn of the loop: it goes before our close frame."""
        session = self._session
        if session is None or session.carrier is not self:
            return b""
        ready, session.out = session.out, []
        return b"".join(ready)

    def _fail(self, code: int) -> None:
        """The client broke the protocol of websockets: say so and go."""
        if not self._is_closing:
            self._transport.write(self._take_out() + frames.close_frame(code))
        self._linger()

    def _linger(self) -> None:
        """Send nothing more, but take what still comes: closing on unread data would reset the connection, and the
        client would not get to see our close frame."""
        self._read_on()
        self.resume_reading()
        self._let_go()
        try:
            self._transport.write_eof()  # not over TLS
        except (OSError, NotImplementedError):
            self._transport.close()

    def _lose(self) -> None:
        self._let_go()
        self._transport.close()  # once the client has read everything

    def _let_go(self) -> None:
        """Leave the session; the client gets a while to read what was sent, and to close."""
        self._is_closing = True
        self._reader = None
        self._leave()
        self._is_lingering = True
        self._server.farewells.start(self)  # type: ignore[union-attr]

    def _leave(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.server.farewells.stop(self)
            session.server.carrier_lost(session, self)

    # --- The way out: what a carrier does ---------------------------------------------------------------------

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames in one write; False if the client lets too much pile up."""
        transport = self._transport
        if self._is_closing or transport.is_closing():  # the latter: lost, though we were not yet told
            return True
        data = ready[0] if len(ready) == 1 else b"".join(ready)
        piled_up = transport.get_write_buffer_size()
        if piled_up and piled_up + len(data) > self._server.outgoing_bytes:  # type: ignore[union-attr]
            return False
        transport.write(data)
        return True

    def close(self, farewell: bytes) -> None:
        """Close after what was written, by the closing handshake."""
        self._close(frames.NORMAL)

    def _close(self, code: int) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        self._read_on()
        self.resume_reading()  # for the client's close frame
        self._transport.write(frames.close_frame(code))
        self._server.farewells.start(self)  # type: ignore[union-attr]

    def abort(self) -> None:
        """Close at once, and forget what was not sent."""
        self._is_closing = True
        self._transport.abort()

    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on."""
        if self._reader is not None:
            self._reader.max_bytes = most_bytes

    def pause_reading(self) -> None:
        """Take no more messages for now."""
        if not self._is_read_paused:
            self._is_read_paused = True
            if self._resting is None:
                self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take messages again."""
        if self._is_read_paused:
            self._is_read_paused = False
            if self._resting is None:
                self._transport.resume_reading()


def _is_key(key: str) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except ValueError:  # no base64, or not even ASCII
        return False
