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

from typing_extensions import override

from collab_server.realtime.engine.polling import SAFE_LINES, Headers
from collab_server.realtime.lean.guard import Guarded
from collab_server.realtime.lean.stock_httptools import StockHttpProtocol
from collab_server.realtime.lean.websocket import WebSocketProtocol, engine_for

if TYPE_CHECKING:
    from collab_server.realtime.engine.engine import EngineServer

SWALLOWED_BYTES = 16_384  # of a body behind an answer, so that its client may use the connection again
LEARNED_BYTES = 8_192  # of a poll that is remembered, for as long as its connection lasts
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
        "is_decided",
        "is_too_large",
        "is_trusted",
        "keep_alive",
        "most_bytes",
        "protocol",
        "response_complete",
        "scope",
        "swallowed_bytes",
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
        self.is_decided = False  # whole, or to be refused by its head
        self.is_too_large = False
        self.is_trusted = False
        self.most_bytes = 0  # of the body; more is too large, and of 0 none is gathered
        self.swallowed_bytes = 0
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
    _learned: tuple[bytes, EngineServer, dict[str, Any]] | None = None  # what the latest poll was made of

    @override
    def data_received(self, data: bytes) -> None:
        """A poll like one before it is served at once, anything else is read."""
        if self.transport.is_closing():
            return
        line = None if self._is_in_request or self._unread else _GET.match(data)
        rest = data[line.end() :] if line is not None else b""
        if line is not None and self._poll_again(line[1], rest):
            return
        super().data_received(data)
        if line is not None and self._read_requests == 1 and not (self._is_in_request or self._unread):
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
        exchange = LeanExchange(self, engine, {**learned, "query_string": query}, keep_alive=True)
        exchange.is_decided = True
        self.cycle = exchange
        self._serve(exchange)
        if self._deadline is not None or not self._is_trusted:
            self._settle()
        return True

    @override
    def _begin_request(self) -> None:
        """The head of a request is there: is it for us, and worth its body?"""
        engine = engine_for(self.app_state, self.url)
        if engine is None:
            self._is_trusted = False
            super()._begin_request()
            return
        scope = self._whole_scope()
        has_to_wait = self._has_to_answer()
        keep_alive = scope["http_version"] != "1.0" and self.parser.should_keep_alive()
        exchange = LeanExchange(self, engine, scope, keep_alive)
        self.cycle = exchange
        self._judge(exchange)
        if has_to_wait:
            self.flow.pause_reading()  # pipelined: its turn comes when the answer before it is out
            self.pipeline.appendleft((exchange, None))  # type: ignore[arg-type]
        elif exchange.is_decided:
            self._serve(exchange)
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _judge(self, exchange: LeanExchange) -> None:
        """Decide, before a body is gathered, whether it is worth that."""
        if exchange.scope["method"] != "POST":
            return
        most_bytes = exchange.engine.most_body_bytes(exchange.scope)
        announced = next(
            (value for name, value in exchange.scope["headers"] if name == b"content-length"), b""
        )
        length = int(announced[-20:]) if announced else 0
        exchange.most_bytes = most_bytes or 0
        if most_bytes is None:  # the answer is known; a short body may come behind it
            exchange.is_decided = True
            if length > SWALLOWED_BYTES:
                exchange.keep_alive = False
        elif length > most_bytes:
            self._refuse_size(exchange)

    def _refuse_size(self, exchange: LeanExchange) -> None:
        exchange.body = bytearray()
        exchange.keep_alive = False
        exchange.is_too_large = exchange.is_decided = True

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

    @override
    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        exchange = self.cycle
        if not isinstance(exchange, LeanExchange):
            super().on_body(body)
            return
        self._is_in_head = False
        if exchange.is_decided or not exchange.most_bytes:
            exchange.swallowed_bytes += len(body)
            if exchange.swallowed_bytes > SWALLOWED_BYTES and exchange.response_complete:
                self.transport.close()
        else:
            exchange.body += body
            if len(exchange.body) > exchange.most_bytes:
                self._refuse_size(exchange)
                if not self.pipeline:
                    self._serve(exchange)

    @override
    def _end_request(self) -> None:
        """A whole request is there."""
        exchange = self.cycle
        if not isinstance(exchange, LeanExchange):
            super()._end_request()
            return
        is_answered = exchange.response_complete  # by its head
        if not self.parser.should_keep_alive():  # a trailer may say so, too
            exchange.keep_alive = False
            if is_answered:
                self.transport.close()
        if not exchange.is_decided:
            exchange.is_decided = True
            if not self.pipeline:
                self._serve(exchange)

    @override
    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Start a request whose turn has come."""
        if not isinstance(cycle, LeanExchange):
            super()._start_asgi_task(cycle, app)
        elif cycle.is_decided:  # else when the rest of it is there
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
        parts = [_STATUS[status], SAFE_LINES]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        if not exchange.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"content-length: %d\r\n\r\n" % len(body))
        if exchange.scope["method"] != "HEAD":
            parts.append(body)
        self._is_trusted = exchange.is_trusted
        try:
            self.transport.write(b"".join(parts))
        except RuntimeError:  # uvloop's way to say that the client has gone
            if not self.transport.is_closing():
                raise
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()

    @override
    def on_response_complete(self) -> None:
        """An answer is out: the next request has to wait while the client does not read."""
        super(Guarded, self).on_response_complete()
        if not self._is_trusted:
            self._wait_as_a_stranger()
        if self.pipeline or self._unread:
            self._go_on()
        if self.flow.write_paused:
            self.flow.pause_reading()

    @override
    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()

    @override
    def handle_websocket_upgrade(self) -> None:
        """Hand an upgrade of ours over without writing the request again for another parser."""
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

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed; a poll that waits ends its session."""
        waiting = [self._served, self.cycle, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        self._served = None  # it holds us
        for exchange in waiting:
            if isinstance(exchange, LeanExchange) and not exchange.response_complete:
                exchange.disconnected = True
                if exchange.cancelled is not None:
                    exchange.cancelled()

    @override
    def shutdown(self) -> None:
        """uvicorn stops gracefully: a poll that waits is let go, and its connection with it."""
        exchange = self._served
        super().shutdown()
        if exchange is not None and exchange.cancelled is not None:
            exchange.keep_alive = False
            exchange.respond(200, [(b"content-type", b"text/plain; charset=UTF-8")], b"1")
            exchange.cancelled()
