"""Long-polling right on uvicorn's HTTP protocol: no ASGI events and no task per request.

`HttpProtocol` is uvicorn's httptools protocol with one difference: a request for a path of ours is answered by the
Engine.IO server directly. All others, their parsing, pipelining and keep-alive stay uvicorn's. A poll that differs from
one before it on its connection only in its query is not parsed again. Polls are not written to the access log: their
query holds the session's secret, and there are too many of them.
"""

from __future__ import annotations

import asyncio
import http
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from collab_server.realtime.transport.polling import Headers
from collab_server.realtime.transport.stock_httptools import StockHttpProtocol
from collab_server.realtime.transport.websocket import WebSocketProtocol, engine_for

if TYPE_CHECKING:
    from collab_server.realtime.engine import EngineServer

HEAD_BYTES = 65_536
LEARNED_BYTES = 8_192  # of a poll that is remembered, for as long as its connection lasts
HEADERS = 256  # each takes a hundred bytes, however short it is
REQUEST_SECONDS = 30.0
"""So long a request may take to come, from its first byte to its last; the first one from when the client connected."""
_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}

_GET = re.compile(rb"GET (/[!\"$-~]+) HTTP/1\.1\r\n")  # [!"$-~]: what is visible, but #
# Any other request is a handshake, whose scope a connect handler gets and may change.
_OF_SESSION = re.compile(rb"(?:\A|&)sid=[^&]")


class _Event:
    """What uvicorn sets when there is news for the task of a request: there is no task."""

    def set(self) -> None: ...


_NO_TASK = _Event()


class LeanExchange:
    """One request of a long-polling client. Stands in for uvicorn's RequestResponseCycle."""

    __slots__ = (
        "body",
        "cancelled",
        "disconnected",
        "engine",
        "is_too_large",
        "is_whole",
        "keep_alive",
        "protocol",
        "response_complete",
        "scope",
    )
    message_event = _NO_TASK
    more_body = False

    def __init__(
        self, protocol: HttpProtocol, engine: EngineServer, scope: dict[str, Any], keep_alive: bool
    ) -> None:
        self.protocol = protocol
        self.engine = engine
        self.scope = scope
        self.body = bytearray()
        self.keep_alive = keep_alive
        self.is_whole = False
        self.is_too_large = False
        self.response_complete = False
        self.disconnected = False
        self.cancelled: Callable[[], None] | None = None

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""
        if self.response_complete or self.disconnected:
            return
        self.response_complete = True
        self.protocol.answer(self, status, headers, body)


class HttpProtocol(StockHttpProtocol):
    """uvicorn's HTTP protocol, with a short way for long-polling."""

    _served: LeanExchange | None = None  # the latest whose turn has come
    _is_in_request = False
    _is_in_head = False  # or in the trailer behind a body, or in what may be one: a chunk's size has come
    _head_bytes = 0  # of the head or trailer that is being read, without the read that it began in
    _read_bytes = _read_requests = 0
    _learned: tuple[bytes, EngineServer, dict[str, Any]] | None = None  # what the latest poll was made of
    _deadline: asyncio.TimerHandle | None = None  # while a part of a request is there, or nothing yet

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has connected."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Also bounds what uvicorn does not: the head of a request, the trailer behind its body, and their time."""
        if self.transport.is_closing():
            return
        was_in_request = self._is_in_request
        line = None if was_in_request else _GET.match(data)
        rest = data[line.end() :] if line is not None else b""
        if line is not None and self._poll_again(line[1], rest):
            return
        self._read_bytes, self._read_requests = len(data), 0
        super().data_received(data)
        has_ended = was_in_request or self._read_requests > 0  # else nothing came but an empty line
        if self._is_in_request or not (has_ended or self._has_to_answer()):
            self._wait_for_the_rest(len(data))
            return
        self._stop_waiting()
        if line is not None and self._read_requests == 1:
            self._learn(rest)

    def _learn(self, rest: bytes) -> None:
        """Remember what the request that came in one read was made of, behind its first line."""
        exchange = self.cycle
        if (
            len(rest) <= LEARNED_BYTES
            and isinstance(exchange, LeanExchange)
            and exchange.keep_alive
            and not self.expect_100_continue
            and _OF_SESSION.search(exchange.scope["query_string"])
        ):
            self._learned = rest, exchange.engine, exchange.scope

    def _poll_again(self, target: bytes, rest: bytes) -> bool:
        """Serve a poll that differs from one before only in its query: the same bytes need not be parsed again.

        False if this is none, or if its turn has not come.
        """
        if self._learned is None or rest != self._learned[0] or self._has_to_answer():
            return False
        _, engine, learned = self._learned
        path, _, query = target.partition(b"?")
        if path != learned["raw_path"] or _OF_SESSION.search(query) is None:
            return False
        self._unset_keepalive_if_required()
        self._stop_waiting()
        exchange = LeanExchange(self, engine, {**learned, "query_string": query}, keep_alive=True)
        exchange.is_whole = True
        self.cycle = exchange  # type: ignore[assignment]
        self._serve(exchange)
        return True

    def _has_to_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait_for_the_rest(self, read_bytes: int) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        if self._is_in_head:
            self._head_bytes += read_bytes
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head too large.")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        if self.flow is not None and self.flow.read_paused:  # it is we who do not read
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        else:
            self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._is_in_request = True
        self._read_requests += 1
        self._is_in_head, self._head_bytes = True, -self._read_bytes
        super().on_message_begin()

    def on_chunk_header(self) -> None:
        """The size of a chunk: a piece of the body follows or, if it was 0, the trailer."""
        self._is_in_head, self._head_bytes = True, -self._read_bytes

    def on_headers_complete(self) -> None:
        """The head of a request is there: is it for us?"""
        self._is_in_head = False
        if len(self.headers) > HEADERS:
            raise ValueError("too many headers")  # uvicorn answers with 400
        self.headers = self.headers.copy()  # the scope keeps its own: nobody has checked what a trailer adds
        if self._has_offer():
            return
        engine = engine_for(self.app_state, self.url)
        if engine is None:
            super().on_headers_complete()
            return
        scope = self._whole_scope()
        has_to_wait = self._has_to_answer()
        keep_alive = scope["http_version"] != "1.0" and self.parser.should_keep_alive()
        exchange = LeanExchange(self, engine, scope, keep_alive)
        self.cycle = exchange  # type: ignore[assignment]
        if has_to_wait:
            self.flow.pause_reading()  # pipelined: its turn comes when the answer before it is out
            self.pipeline.appendleft((exchange, None))  # type: ignore[arg-type]
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _whole_scope(self) -> dict[str, Any]:
        parser = self.parser
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        path, _, query = self.url.partition(b"?")
        scope["method"] = parser.get_method().decode("ascii")
        scope["http_version"] = parser.get_http_version()
        scope["path"] = unquote(path.decode("latin-1"))
        scope["raw_path"] = path
        scope["query_string"] = query.partition(b"#")[0]
        return scope

    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        self._is_in_head = False
        exchange = self.cycle
        if not isinstance(exchange, LeanExchange):
            super().on_body(body)
        elif not exchange.is_too_large:
            exchange.body += body
            if len(exchange.body) > exchange.engine.max_http_buffer_size:
                exchange.body = bytearray()
                exchange.keep_alive = False
                exchange.is_too_large = True
                if not self.pipeline:
                    self._serve(exchange)

    def on_message_complete(self) -> None:
        """A whole request is there."""
        if self.parser.should_upgrade():
            return  # its head: it is taken, or read again
        self._is_in_request = self._is_in_head = False
        exchange = self.cycle
        if not isinstance(exchange, LeanExchange):
            super().on_message_complete()
        elif not exchange.is_whole and not exchange.is_too_large:
            exchange.is_whole = True
            if not self.parser.should_keep_alive():  # a trailer may say so, too
                exchange.keep_alive = False
            if not self.pipeline:
                self._serve(exchange)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start a request whose turn has come."""
        if not isinstance(cycle, LeanExchange):
            super()._start_asgi_task(cycle, app)
        elif cycle.is_whole or cycle.is_too_large:  # else when the rest of it is there
            asyncio.get_running_loop().call_soon(self._serve, cycle)

    def _serve(self, exchange: LeanExchange) -> None:
        if exchange.disconnected:
            return
        self._served = exchange
        if exchange.is_too_large:
            exchange.respond(413, [], b"")
        else:
            exchange.engine.serve(exchange)  # type: ignore[arg-type]

    def answer(self, exchange: LeanExchange, status: int, headers: Headers, body: bytes) -> None:
        """Write a whole answer at once."""
        parts = [_STATUS[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not exchange.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if exchange.scope["method"] != "HEAD":
            parts.append(body)
        self.transport.write(b"".join(parts))
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def on_response_complete(self) -> None:
        """An answer is out: the next request has to wait while the client does not read."""
        super().on_response_complete()
        if self.flow.write_paused:
            self.flow.pause_reading()

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    def handle_websocket_upgrade(self) -> None:
        """Hand an upgrade of ours over without writing the request again for another parser."""
        self._is_in_request = False
        if self._has_to_answer():
            self.send_400_response("The request before has no answer yet.")
            return
        engine = engine_for(self.app_state, self.url)
        assert engine is not None  # or the offer was not taken
        self.connections.discard(self)
        protocol = WebSocketProtocol(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        scope = self._whole_scope()
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if self.scheme == "https" else "ws"
        self.transport.set_protocol(protocol)
        protocol.begin(engine, scope)
        self.parser = self.cycle = self._served = self.flow = None  # type: ignore[assignment]  # or a cycle keeps them alive

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed; a poll that waits ends its session."""
        waiting = [self._served, self.cycle, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        self._stop_waiting()
        self.cycle = self._served = None  # type: ignore[assignment]  # they hold us
        for exchange in waiting:
            if isinstance(exchange, LeanExchange) and not exchange.response_complete:
                exchange.disconnected = True
                if exchange.cancelled is not None:
                    exchange.cancelled()

    def shutdown(self) -> None:
        """uvicorn stops gracefully: a poll that waits is let go, and its connection with it."""
        exchange = self._served
        super().shutdown()
        if exchange is not None and exchange.cancelled is not None:
            exchange.keep_alive = False
            exchange.respond(200, [(b"content-type", b"text/plain; charset=UTF-8")], b"1")
            exchange.cancelled()
