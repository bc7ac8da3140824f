"""The plain ASGI way: the same sessions under any ASGI server, with the tasks and queues that ASGI asks for.

Used where the lean protocol classes are switched off or cannot be: other servers than uvicorn, or no lifespan.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Protocol

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.answers import SAFE
from collab_server.realtime.engine.asgi_bytes import CUT, STALLED_SECONDS, AsgiBytes, as_handshake
from collab_server.realtime.engine.both import Receive, Send, say, until_either_ends
from collab_server.realtime.engine.bounds import Bounds
from collab_server.realtime.engine.requests import (
    UNKNOWN_SID,
    announced_bytes,
    note_size,
    subprotocol_of,
    trace_header,
)
from collab_server.realtime.engine.session import (
    REASON,
    Exchange,
    Headers,
    Refusal,
    Scope,
    Session,
    Taker,
    Waiter,
    WebSocketCarrier,
)

EXTENSION = "collab_server.websocket"
"""In a websocket's scope, among the extensions: uvicorn's protocol that carries it (`lean/stock_websockets.py`)."""


class Engine(Protocol):
    """What decides on requests. `max_http_buffer_size` is how many bytes a packet may have."""

    bounds: Bounds
    max_http_buffer_size: int

    def most_body_bytes(self, scope: Scope) -> int | None:
        """How much of a request's body is worth to be gathered; None if it is to be refused."""

    async def let_upgrade(self, scope: Scope) -> None:
        """Wait for the packets of an upgrading websocket that were sent before this request."""

    def serve(self, exchange: Exchange) -> None:
        """Answer a request, now or when there is something to say."""

    def serve_websocket(self, scope: Scope, websocket: WebSocketCarrier) -> None:
        """Decide on a handshake; calls `accept`, `refuse` or `turn_away`, now or later."""


class AsgiExchange:
    """One request; the answer is a future that the request's task waits for."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.body: bytes | bytearray = bytearray()
        self.waiter: Waiter | None = None
        self.is_trusted = False
        self.is_too_large = False
        self.answer: asyncio.Future[tuple[int, Headers, bytes]] = asyncio.get_running_loop().create_future()

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""
        if not self.answer.done():
            self.answer.set_result((status, headers, body))


async def serve_http(server: Engine, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, as long as its client stays."""
    exchange = AsgiExchange(scope)
    most_bytes = server.most_body_bytes(scope)
    if most_bytes is None or await _read_body(exchange, receive, most_bytes):
        await server.let_upgrade(scope)
        server.serve(exchange)
        if not exchange.answer.done():
            await _wait(exchange, receive)
    if not exchange.answer.done():
        return
    status, headers, body = exchange.answer.result()
    headers = [*SAFE, *headers, (b"content-length", str(len(body)).encode())]
    if exchange.is_too_large:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(exchange: AsgiExchange, receive: Receive, max_bytes: int) -> bool:
    """Gather a body, and of one that is too large, as its head may say already, the beginning; False where the client
    has gone. None is gathered of 0 bytes."""
    exchange.is_too_large = 0 < max_bytes < (announced_bytes(exchange.scope) or 0)
    more = True
    while more:
        event = await receive()
        if event["type"] != "http.request":
            return False
        if max_bytes:
            exchange.body += event.get("body", b"")
        more = event.get("more_body", False)
        if len(exchange.body) > max_bytes:
            exchange.is_too_large = True
        if exchange.is_too_large:
            note_size(exchange.scope, max_bytes + 1)
            more = more and len(exchange.body) < frames.looked_at(max_bytes)
    if exchange.is_too_large:
        exchange.body = frames.beginning_of_body(exchange.body, max_bytes)
    return True


async def _wait(exchange: AsgiExchange, receive: Receive) -> None:
    """Until there is an answer or the client has gone. What more comes of the body nobody wants."""
    gone = asyncio.ensure_future(_disconnect(receive))
    either: list[asyncio.Future[Any]] = [gone, exchange.answer]
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not exchange.answer.done() and exchange.waiter is not None:
            exchange.waiter.cancel()


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class AsgiWebSocket:
    """Carries a session by the websocket of an ASGI server: its own task reads, another writes."""

    name = "websocket"
    is_handed = False
    held_bytes = 0  # here: the server gathers messages

    def __init__(self, scope: Scope, server: Engine) -> None:
        headers = [trace_header(scope)]
        self._accepted = {
            "type": "websocket.accept",
            "subprotocol": subprotocol_of(scope),
            "headers": headers,
        }
        self._protocol: Any = scope.get("extensions", {}).get(EXTENSION)
        self._server = server
        self.session: Session | None = None
        self.decided: asyncio.Future[Refusal | AsgiBytes | None] = asyncio.get_running_loop().create_future()
        self._ready: list[bytes] = []
        self._ready_bytes = 0
        self._in_flight_bytes = 0
        self._something = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closing_code = 0  # once it is to be closed
        self._tasks: list[asyncio.Task[None]] = []
        self.trust(server.bounds.stranger_bytes or server.max_http_buffer_size)  # until it is decided on

    def accept(self, session: Session, ready: list[bytes]) -> None:
        """The handshake may be completed; these frames come first."""
        self.session = session
        self.trust(session.most_bytes)
        self.write(ready)
        self.decided.set_result(None)

    def refuse(self, refusal: Refusal) -> None:
        """The handshake is to be answered with an error."""
        if not self.decided.done():
            self.decided.set_result(refusal)

    def pass_on(self, taker: Taker) -> bool:
        """Let `taker` have the bytes that this would be, were they seen; False if the handshake is decided on."""
        if self.decided.done():
            return False
        server = self._server
        self.decided.set_result(AsgiBytes(taker, server.bounds.pace, self.trust, server.max_http_buffer_size))
        return True

    def turn_away(self) -> None:
        """Complete the handshake, then close at once."""
        self._closing_code = frames.NORMAL
        if not self.decided.done():
            self.decided.set_result(None)

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames; False if the client lets too much pile up."""
        assert self.session is not None
        waited = self._ready_bytes + self._in_flight_bytes
        self._ready += ready
        self._ready_bytes += sum(map(len, ready))
        self._something.set()
        return not waited or self._ready_bytes + self._in_flight_bytes <= self.session.owner.outgoing_bytes

    def close(self, farewell: bytes) -> None:
        """Send what was taken, then close."""
        self._closing_code = self._closing_code or frames.NORMAL
        self._something.set()

    def abort(self) -> None:
        """Close, and forget what was not sent."""
        for task in self._tasks:
            task.cancel()

    def pause_reading(self) -> None:
        """Take no more messages for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Take messages again."""
        self._may_read.set()

    def trust(self, most_bytes: int) -> None:
        """Take packets of so many bytes from now on; under another server than uvicorn they are judged when whole."""
        if self._protocol is not None:
            # Strangers are told nothing.
            self._protocol.take(most_bytes, tells_begin=most_bytes >= self._server.max_http_buffer_size)

    def descriptor(self) -> int:
        """None: the server keeps it."""
        return -1

    async def shake_hands(self, send: Send) -> None:
        """Complete the handshake."""
        await send(self._accepted)

    async def serve(self, receive: Receive, send: Send) -> None:
        """Complete the handshake and carry, until either side closes."""
        try:
            await self.shake_hands(send)
            self._tasks = [
                asyncio.ensure_future(self._read(receive)),
                asyncio.ensure_future(self._write(send)),
            ]
            await until_either_ends(self._tasks)
        finally:
            self.abort()
            assert self.session is not None
            self.session.owner.carrier_lost(self.session, self)

    async def _read(self, receive: Receive) -> None:
        session = self.session
        assert session is not None
        owner = session.owner
        while True:
            await self._may_read.wait()
            event = await receive()
            if event["type"] != "websocket.receive":
                return
            if self._closing_code:
                continue
            packet = event.get("bytes")
            if packet is None:
                packet = event.get("text") or ""
            if session.upgrading is self:
                owner.probe(session, packet)
            elif len(packet) > session.most_bytes or CUT in event:
                self._closing_code = frames.TOO_BIG
                if isinstance(packet, str):
                    owner.turn_down(session, packet[: frames.BEGIN_BYTES])
                owner.end(session, REASON.TRANSPORT_ERROR)
            elif not owner.receive(session, packet):
                owner.end(session, REASON.TRANSPORT_ERROR)
            if session.allowance.left < 0 and (seconds := session.allowance.seconds_to_wait()):
                await asyncio.sleep(seconds)

    async def _write(self, send: Send) -> None:
        with contextlib.suppress(OSError):  # it has gone, or takes nothing
            await self._write_on(send)

    async def _write_on(self, send: Send) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            ready, self._ready = self._ready, []
            self._in_flight_bytes, self._ready_bytes = self._ready_bytes, 0
            for frame in ready:
                payload = frames.payload_of(frame)
                async with asyncio.timeout(STALLED_SECONDS):  # for the client to take what was sent before
                    if frames.is_text(frame):
                        await say(send, {"type": "websocket.send", "text": payload.decode()})
                    else:
                        await say(send, {"type": "websocket.send", "bytes": payload})
                self._in_flight_bytes -= len(frame)
            if self._closing_code and not self._ready:
                await say(send, {"type": "websocket.close", "code": self._closing_code})
                return


async def serve_websocket(server: Engine, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one websocket."""
    await receive()  # websocket.connect
    websocket = AsgiWebSocket(scope, server)
    server.serve_websocket(as_handshake(scope), websocket)
    decided = await websocket.decided
    if isinstance(decided, AsgiBytes):
        await _serve_passed(scope, decided, receive, send)
    elif decided is not None:
        await _refuse(scope, send, decided.status, decided.body)
    elif websocket.session is not None:
        await websocket.serve(receive, send)
    else:  # turned away
        await websocket.shake_hands(send)
        await send({"type": "websocket.close", "code": frames.NORMAL})


async def _serve_passed(scope: Scope, passed: AsgiBytes, receive: Receive, send: Send) -> None:
    leaving = asyncio.ensure_future(receive())  # nothing else may come before the answer
    leaving.add_done_callback(lambda left: None if left.cancelled() else passed.close())
    try:
        answer = await passed.answer()
        if leaving.done():
            # It has gone; servers complain of a handshake without an answer.
            with contextlib.suppress(OSError):
                await say(send, {"type": "websocket.close"})
            return
        leaving.cancel()
        if answer is None:
            await _refuse(scope, send, UNKNOWN_SID.status, UNKNOWN_SID.body)
        elif answer.status != frames.SWITCHING:
            await _refuse(scope, send, answer.status, answer.body)
        else:
            headers = answer.for_the_client
            await send({"type": "websocket.accept", "subprotocol": answer.subprotocol, "headers": headers})
            await passed.carry(receive, send)
    finally:
        leaving.cancel()
        passed.end()


async def _refuse(scope: Scope, send: Send, status: int, body: bytes) -> None:
    """Answer a handshake with an error, as far as the server can."""
    if "websocket.http.response" in scope.get("extensions", {}):
        headers = [*SAFE, (b"content-type", b"application/json")]
        await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})
    else:
        await send({"type": "websocket.close"})
