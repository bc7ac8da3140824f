"""Long-polling: a session without a connection of its own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from collab_server.realtime.engine import frames

if TYPE_CHECKING:
    from collab_server.realtime.engine.engine import EngineServer, Session

Headers = list[tuple[bytes, bytes]]

PACKETS_PER_PAYLOAD = 16_384
PACKETS_PER_POLL = 16  # the clients of python-engineio disconnect when they get more at once
_SEPARATOR = "\x1e"
_CLOSE = frames.frame(frames.TEXT, b"1")
_NOOP = frames.frame(frames.TEXT, b"6")
SAFE: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""What every answer carries: they are for one client, and no page or script, whatever text is in them."""
SAFE_LINES = b"".join(b"%b: %b\r\n" % header for header in SAFE)
_TEXT: Headers = [(b"content-type", b"text/plain; charset=UTF-8")]


class Exchange(Protocol):
    """One HTTP request of a long-polling client, whole, and the way to answer it."""

    scope: dict[str, Any]
    body: bytes | bytearray
    cancelled: Callable[[], None] | None  # called if the client goes away before the answer
    is_trusted: bool  # of a session that is somebody's

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""


class Polling:
    """Carries a session: what is to be sent waits for the next poll, what comes is posted."""

    __slots__ = ("_backlog", "_backlog_bytes", "_greeting", "_post", "_server", "_session", "_waiting")
    name = "polling"

    def __init__(self, server: EngineServer, session: Session) -> None:
        self._server = server
        self._session = session
        self._waiting: Exchange | None = None  # the poll that is answered when there is something to send
        self._post: Exchange | None = None  # the one that is answered when more may come
        self._greeting: Headers = []
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0

    def greet(self, exchange: Exchange, headers: Headers) -> None:
        """The handshake waits as the first poll."""
        self._greeting = headers
        self.poll(exchange)

    def poll(self, exchange: Exchange) -> None:
        """A GET; a second one while the first waits ends the session."""
        if self._waiting is not None:
            self._server.end(self._session, self._server.reason.TRANSPORT_ERROR)
            self._server.refuse(exchange)
            return
        self._waiting = exchange
        exchange.cancelled = self._cancelled
        if self._backlog:
            self._answer()
        elif self._session.is_probed:
            self.release()

    def post(self, exchange: Exchange) -> None:
        """A POST: packets of the client. One that is none ends the session, and so does a second one while the first
        waits, as with the reference server: it would go past the bounds."""
        if self._post is not None or not self._receive(exchange.body):
            self._server.end(self._session, self._server.reason.TRANSPORT_ERROR)
            self._server.refuse(exchange)
        elif self._session.is_paused:
            self._post = exchange
        elif seconds := self._server.seconds_to_wait(self._session):
            self._post = exchange
            asyncio.get_running_loop().call_later(seconds, self._end_of_rest)
        else:
            self._server.respond(exchange, 200, _TEXT, b"ok")

    def _end_of_rest(self) -> None:
        if not self._session.is_paused:  # else when the inbox has room again
            self.resume_reading()

    def _receive(self, body: bytes | bytearray) -> bool:
        try:
            packets = body.decode().split(_SEPARATOR)
        except UnicodeDecodeError:
            return False
        if len(packets) > PACKETS_PER_PAYLOAD:
            return False
        return all(self._server.receive(self._session, packet) for packet in packets)

    def release(self) -> None:
        """Let a waiting poll go, with nothing for it."""
        if self._waiting is not None:
            self._backlog.append(_NOOP)
            self._answer()

    def take_backlog(self) -> list[bytes]:
        """Hand what was not sent to another carrier."""
        backlog, self._backlog, self._backlog_bytes = self._backlog, [], 0
        return backlog

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames; False if the client lets too much pile up."""
        had_some = bool(self._backlog)
        self._backlog += ready
        if self._waiting is not None:
            self._answer()
            return True
        self._backlog_bytes += sum(map(len, ready))
        if self._backlog_bytes <= self._server.outgoing_bytes:
            return True
        if not had_some:
            self._server.stalls.start(self._session)
        return not had_some

    @property
    def holds_too_much(self) -> bool:
        """More waits for a poll than may for long."""
        return self._backlog_bytes > self._server.outgoing_bytes

    def close(self, farewell: bytes) -> None:
        """Tell the waiting poll, if there is one."""
        if self._waiting is not None:
            self._backlog.append(farewell)
            self._answer()
        self.resume_reading()

    def abort(self) -> None:
        """Like `close`: a poll never has much to send."""
        self.close(_CLOSE)

    def pause_reading(self) -> None:
        """Nothing to do: the next POST is not answered."""

    def trust(self, most_bytes: int) -> None:
        """Nothing to do: each POST is judged at its head."""

    def resume_reading(self) -> None:
        """Answer the POST that was held back."""
        exchange, self._post = self._post, None
        if exchange is not None:
            self._server.respond(exchange, 200, _TEXT, b"ok")

    def _answer(self) -> None:
        exchange, self._waiting = self._waiting, None
        assert exchange is not None
        exchange.cancelled = None
        backlog, self._backlog = self._backlog[:PACKETS_PER_POLL], self._backlog[PACKETS_PER_POLL:]
        self._backlog_bytes = sum(map(len, self._backlog))
        headers, self._greeting = _TEXT + self._greeting, []
        self._server.respond(exchange, 200, headers, b"\x1e".join(map(_packet_of, backlog)))

    def _cancelled(self) -> None:
        self._waiting = None
        self._server.end(self._session, self._server.reason.TRANSPORT_ERROR)


def _packet_of(ready: bytes) -> bytes:
    payload = frames.payload_of(ready)
    return payload if frames.is_text(ready) else b"b" + base64.b64encode(payload)
