"""Long-polling right on uvicorn's HTTP protocol: no ASGI events and no task per request.

`HttpProtocol` is uvicorn's httptools protocol with one difference: a request for a path of ours is answered by the
Engine.IO server directly. All others, their parsing, pipelining and keep-alive stay uvicorn's. A plain one that came
whole, with nothing before it to be answered, needs no parser (`heads.py`), and a poll that differs from the one before
it on its connection only in its mark is not even read again. Polls are not written to the access log: their query holds
the session's secret, and there are too many of them.
"""

from __future__ import annotations

import asyncio
import functools
import http
from typing import Any
from urllib.parse import unquote

from typing_extensions import override
from uvicorn.protocols.utils import get_local_addr, is_ssl

from collab_server.realtime.engine.answers import SAFE_LINES, TEXT
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.requests import BY_NAME, HEAD_BYTES
from collab_server.realtime.engine.session import Headers, Scope
from collab_server.realtime.lean import heads
from collab_server.realtime.lean.exchange import SWALLOWED_BYTES, LeanExchange, LearnedPoll
from collab_server.realtime.lean.guard import Guarded
from collab_server.realtime.lean.handshake import engine_for
from collab_server.realtime.lean.late import LateHttpProtocol
from collab_server.realtime.lean.websocket import WebSocket

_STATUS = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus
}

LONGEST_BEGINNING = 69  # a method that is read here, and a path of ours


def _lines_of(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


class _Defaults:
    """The lines of what uvicorn puts before every answer: it makes that anew once a second."""

    def __init__(self) -> None:
        self._latest: tuple[Headers, bytes] = [], b""

    def lines(self, headers: Headers) -> bytes:
        """Those of these headers."""
        of, lines = self._latest
        if headers is not of:
            lines = _lines_of(headers)
            self._latest = headers, lines
        return lines


_DEFAULTS = _Defaults()
_TEXT_LINE = _lines_of(TEXT)


class HttpProtocol(LateHttpProtocol):
    """uvicorn's HTTP protocol, with a short way for long-polling."""

    _exchange: LeanExchange | None = None  # the latest request, if it is for us; else `cycle` is
    _served: LeanExchange | None = None  # the latest whose turn has come
    _has_to_queue = False  # while uvicorn begins a request behind one of ours that has no answer
    _learned: LearnedPoll | None = None  # on this connection
    _is_deaf = False  # nothing more is read: it is the rest of what is too large, which nobody wants
    _swallowed_bytes = 0  # of the latest request's body, behind what is known of it

    @override
    def data_received(self, data: bytes) -> None:
        """A plain request for us is served at once, anything else is read."""
        if self.transport.is_closing():
            return
        if self._is_deaf:
            self._hold(True)
            return
        latest = self.cycle if self._exchange is None else self._exchange
        is_next = (latest is None or latest.response_complete) and not (self._is_in_request or self._unread)
        if is_next and (self._poll_again(data) or self._serve_plain(data)):
            return
        super().data_received(data)

    def _poll_again(self, data: bytes) -> bool:
        """Serve a poll like the one that was learned; False if this is none."""
        if (learned := self._learned) is None or not learned.again(data):
            return False
        self._exchange = self._served = learned.exchange
        self.cycle = None
        learned.serve()
        if self._is_awaited or not self._is_trusted:
            self._settle()
        return True

    def _serve_plain(self, data: bytes) -> bool:
        """Serve a request for us that needs no parser; False if this is none."""
        engine = engine_for(self.app_state, data[:LONGEST_BEGINNING].partition(b" ")[2])
        if engine is None or (self.flow is not None and self.flow.write_paused):
            return False
        request = heads.read(data)
        if request is None:
            return False
        scope = _scope_of(engine, request, self.transport, self.client)
        if request.is_handshake:
            self._leave()
            self._become_websocket(engine, scope)
            return True
        exchange = LeanExchange(self, engine, scope, keep_alive=True)
        exchange.body = request.body
        if len(request.body) > (engine.bounds.stranger_bytes or 0):  # as much may come for any session
            exchange.judge()
        self._serve_whole(exchange)
        # Of strangers, and of what was refused, nothing is kept.
        if request.method == "GET" and (exchange.is_trusted or self._is_trusted):
            self._learned = LearnedPoll.of(exchange, data)
        return True

    def _serve_whole(self, exchange: LeanExchange) -> None:
        """Serve a request that came at once, with nothing before it to be answered."""
        exchange.is_decided = True
        self._exchange, self.cycle = exchange, None
        self._serve(exchange)
        if self._is_awaited or not self._is_trusted:
            self._settle()

    @override
    def _begin_request(self) -> None:
        """The head of a request is there: is it for us, and worth its body?"""
        engine = engine_for(self.app_state, self.url)
        if engine is None:
            self._is_trusted = False
            self._has_to_queue = self._exchange is not None and not self._exchange.response_complete
            super()._begin_request()
            self._has_to_queue, self._exchange = False, None
            return
        scope = _whole_scope(self.scope, self.parser, self.url)
        has_to_wait = self._has_to_answer()
        keep_alive = scope["http_version"] != "1.0" and self.parser.should_keep_alive()
        exchange = LeanExchange(self, engine, scope, keep_alive)
        exchange.body = bytearray()  # it comes in pieces
        self._exchange, self._swallowed_bytes = exchange, 0
        exchange.judge()
        if has_to_wait:
            self._queue(exchange, None)
            return
        self.cycle = None
        if exchange.is_decided:
            self._serve(exchange)
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _queue(self, exchange: Any, app: Any) -> None:
        """Pipelined: its turn comes when the answer before it is out."""
        self.flow.pause_reading()
        self.pipeline.appendleft((exchange, app))

    @property
    @override
    def _latest(self) -> Any:
        return self.cycle if self._exchange is None else self._exchange

    @override
    def _forget(self) -> None:
        self._exchange = self._served = None
        if self._is_awake:
            super()._forget()

    @override
    def on_body(self, body: bytes) -> None:
        """A piece of a request's body."""
        exchange = self._exchange
        if exchange is None:
            super().on_body(body)
            return
        self._is_in_head = False
        if exchange.is_decided or not exchange.most_bytes:
            self._swallowed_bytes += len(body)
            if self._swallowed_bytes > SWALLOWED_BYTES and exchange.response_complete:
                self.transport.close()
        elif exchange.take(body) and not self.pipeline:
            self._serve(exchange)

    @override
    def _end_request(self) -> None:
        """A whole request is there."""
        exchange = self._exchange
        if exchange is None:
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
        if self._has_to_queue:
            self._queue(cycle, app)
        elif not isinstance(cycle, LeanExchange):
            super()._start_asgi_task(cycle, app)
        elif cycle.is_decided:  # else when the rest of it is there
            asyncio.get_running_loop().call_soon(self._serve, cycle)

    def _serve(self, exchange: LeanExchange) -> None:
        if exchange.disconnected:
            return
        self._served = exchange
        exchange.engine.serve(exchange)
        if exchange.is_too_large and not exchange.response_complete and self.flow is not None:
            self._is_deaf = True
            self._hold(True)

    def answer(self, exchange: LeanExchange, status: int, headers: Headers, body: bytes) -> None:
        """Write a whole answer at once."""
        defaults = _DEFAULTS.lines(self.server_state.default_headers)
        lines = _TEXT_LINE if headers is TEXT else _lines_of(headers)
        whole = _whole_answer(status, defaults, lines, body, exchange.keep_alive, exchange.scope["method"])
        self._is_trusted = exchange.is_trusted
        self._learned = self._learned if self._is_trusted else None
        try:
            self.transport.write(whole)
        except RuntimeError:  # uvloop's way to say that the client has gone
            if not self.transport.is_closing():
                raise
        if not exchange.keep_alive:
            self.transport.close()
        flow = self.flow
        is_paused = flow is not None and flow.write_paused
        if self.pipeline or self._unread or is_paused or self.transport.is_closing():
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        if exchange is self._exchange and not self._is_in_request:
            self._forget()
        self._be_quiet()
        if flow is not None:
            flow.resume_reading()
        if not self._is_trusted:
            self._wait_as_a_stranger()

    @override
    def on_response_complete(self) -> None:
        """An answer is out: the next request has to wait while the client does not read."""
        super(Guarded, self).on_response_complete()
        self._forget_if_whole()
        if not self._is_trusted:
            self._wait_as_a_stranger()
        if self.pipeline or self._unread:
            self._go_on()
        if self.flow is not None and self.flow.write_paused:
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
        scope = _whole_scope(self.scope, self.parser, self.url)
        scope["type"] = "websocket"
        scope["scheme"] = "wss" if self.scheme == "https" else "ws"
        self._become_websocket(engine, scope)

    def _become_websocket(self, engine: EngineServer, scope: Scope) -> None:
        self._unset_keepalive_if_required()  # of the request before
        self.connections.discard(self)
        websocket = WebSocket(engine, self.transport, self.connections)
        self.transport.set_protocol(websocket)
        websocket.begin(scope)
        # Or a cycle of references keeps them alive.
        self.parser = self.cycle = self.flow = None
        self._exchange = self._served = self._learned = None

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed; a poll that waits ends its session."""
        waiting = [self._served, self._exchange, *(cycle for cycle, _ in self.pipeline)]
        super().connection_lost(exc)
        self._served = self._exchange = self._learned = None  # they hold us
        for exchange in waiting:
            if isinstance(exchange, LeanExchange):
                exchange.lose()

    @override
    def shutdown(self) -> None:
        """uvicorn stops gracefully: a poll that waits is let go, and its connection with it."""
        latest, waiting = self._exchange, self._served
        if latest is not None and not latest.response_complete:
            latest.keep_alive = False
        else:
            super().shutdown()
        if waiting is not None and waiting.waiter is not None:
            waiting.keep_alive = False
            waiting.waiter.let_go()


# One after the other is told the same.
@functools.lru_cache(1)
def _whole_answer(
    status: int, defaults: bytes, lines: bytes, body: bytes, keep_alive: bool, method: str
) -> bytes:
    """An answer as it is written; `defaults` are lines that are in every one."""
    parts = [_STATUS[status], SAFE_LINES, defaults, lines]
    if not keep_alive:
        parts.append(b"connection: close\r\n")
    parts.append(b"content-length: %d\r\n\r\n" % len(body))
    if method != "HEAD":
        parts.append(body)
    return b"".join(parts)


def _whole_scope(scope: Scope, parser: Any, target: bytes) -> Scope:
    """A scope that uvicorn has begun, of the request that the parser has read."""
    path, _, query = target.partition(b"?")
    scope["method"] = parser.get_method().decode("ascii")
    scope["http_version"] = parser.get_http_version()
    scope["path"] = unquote(path.decode("latin-1"))
    scope["raw_path"] = path
    scope["query_string"] = query.partition(b"#")[0]
    return scope


def _scope_of(engine: EngineServer, request: heads.PlainRequest, transport: Any, client: Any) -> Scope:
    path, _, query = request.target.partition(b"?")
    text = path.decode("ascii")
    scheme = "ws" if request.is_handshake else "http"
    scope = {
        "type": "websocket" if request.is_handshake else "http",
        "http_version": "1.1",
        "method": request.method,
        "scheme": f"{scheme}s" if is_ssl(transport) else scheme,
        "client": client,
        "path": unquote(text) if "%" in text else text,
        "raw_path": path,
        "query_string": query,
        "headers": request.headers,
        BY_NAME: request.by_name,
        HEAD_BYTES: request.head_bytes,
    }
    if engine.asks_where:
        scope["server"] = get_local_addr(transport)
    return scope
