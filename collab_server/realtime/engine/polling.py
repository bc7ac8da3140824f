"""Long-polling: a session without a connection of its own."""

from __future__ import annotations

import asyncio
import base64
import re
import time

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.answers import TEXT, Answers
from collab_server.realtime.engine.session import NOOP, REASON, Exchange, Headers, Session

PACKETS_PER_PAYLOAD = 16_384
CLOCK_STANDS_SECONDS = 0.1
"""A clock that tells fractions of a second may stand still for less than that: Python's for 16 ms on Windows."""
PACKETS_PER_POLL = 16  # the clients of python-engineio disconnect when they get more at once
_SEPARATOR = "\x1e"
_FRACTION = re.compile(rb"[0-9]+\.[0-9]+")


class Polling:
    """Carries a session: what is to be sent waits for the next poll, what comes is posted."""

    __slots__ = (
        "_answers",
        "_asked",
        "_asked_at",
        "_backlog",
        "_backlog_bytes",
        "_first_mark",
        "_greeting",
        "_keeps_none_waiting",
        "_marks_differ",
        "_post",
        "_session",
        "_waiting",
    )
    name = "polling"

    def __init__(self, session: Session, answers: Answers) -> None:
        self._session = session
        self._answers = answers
        self._waiting: Exchange | None = None  # the poll that is answered when there is something to send
        self._post: Exchange | None = None  # the one that is answered when more may come
        self._keeps_none_waiting = False  # its client wants to go on by a websocket
        self._greeting: Headers = []
        self._backlog: list[bytes] = []
        self._backlog_bytes = 0
        self._asked = b""  # the query of the last poll
        self._asked_at = 0.0  # when it came first
        self._first_mark = b""
        self._marks_differ = False

    def greet(self, exchange: Exchange, headers: Headers) -> None:
        """The handshake waits as the first poll."""
        self._greeting = headers
        self._first_mark = _mark_of(exchange.scope["query_string"])
        self._wait(exchange)

    def poll(self, exchange: Exchange) -> None:
        """A GET; a second one while the first waits ends the session.

        So does one that comes once more: a balancer, or a browser, asks again where the connection was cut by which the
        answer went, and nobody would know that what was in it is lost.
        """
        query = exchange.scope["query_string"]
        if query != self._asked:
            self._marks_differ = self._asked != b""
            self._asked, self._asked_at = query, time.monotonic()
        elif self._comes_again(query):
            self._refuse(exchange)
            return
        if self._waiting is not None:
            self._refuse(exchange)
        else:
            self._wait(exchange)

    def _comes_again(self, query: bytes) -> bool:
        """Whether a poll like the one before is that one: clients mark each with another `t`. Some with the time of a
        clock, which may stand still between two, or with what is always the same."""
        mark = _mark_of(query)
        if mark.isdigit() or (_FRACTION.fullmatch(mark) and self._asked_seconds <= CLOCK_STANDS_SECONDS):
            return False
        return mark != b"" and (self._marks_differ or mark != self._first_mark)

    @property
    def _asked_seconds(self) -> float:
        """How long ago this poll came first."""
        return time.monotonic() - self._asked_at

    def _refuse(self, exchange: Exchange) -> None:
        self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)
        self._answers.refuse(exchange)

    def _wait(self, exchange: Exchange) -> None:
        self._waiting = exchange
        exchange.waiter = self
        if self._backlog:
            self._answer()
        elif self._keeps_none_waiting:
            self.release()

    @property
    def has_poll(self) -> bool:
        """Whether a poll waits."""
        return self._waiting is not None

    def post(self, exchange: Exchange) -> None:
        """A POST: packets of the client. One that is none ends the session, and so does a second one while the first
        waits, as with the reference server: it would go past the bounds."""
        if self._post is not None or not self._receive(exchange.body):
            self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)
            self._answers.refuse(exchange)
        elif self._session.inbox.is_paused:
            self._post = exchange
        elif seconds := self._session.allowance.seconds_to_wait():
            self._post = exchange
            asyncio.get_running_loop().call_later(seconds, self._end_of_rest)
        else:
            self._answers.respond(exchange, 200, TEXT, b"ok")

    def _end_of_rest(self) -> None:
        if not self._session.inbox.is_paused:  # else when the inbox has room again
            self.resume_reading()

    def _receive(self, body: bytes | bytearray) -> bool:
        try:
            packets = body.decode().split(_SEPARATOR)
        except UnicodeDecodeError:
            return False
        if len(packets) > PACKETS_PER_PAYLOAD:
            return False
        owner = self._session.owner
        return all(owner.receive(self._session, packet) for packet in packets)

    def let_polls_go(self, is_wanted: bool = True) -> None:
        """Answer polls at once from now on, or keep them waiting again."""
        self._keeps_none_waiting = is_wanted
        if is_wanted:
            self.release()

    def release(self) -> None:
        """Let a waiting poll go, with nothing for it."""
        if self._waiting is not None:
            self._backlog.append(NOOP)
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
        if self._backlog_bytes <= self._session.owner.outgoing_bytes:
            return True
        if not had_some:
            self._session.owner.stalls.start(self._session)
        return not had_some

    @property
    def holds_too_much(self) -> bool:
        """More waits for a poll than may for long."""
        return self._backlog_bytes > self._session.owner.outgoing_bytes

    def close(self, farewell: bytes) -> None:
        """Tell the waiting poll, if there is one."""
        if self._waiting is not None:
            self._backlog.append(farewell)
            self._answer()
        self.resume_reading()

    def abort(self) -> None:
        """Like `close`: a poll never has much to send. The client may come back."""
        self.close(NOOP)

    def pause_reading(self) -> None:
        """Nothing to do: the next POST is not answered."""

    def trust(self, most_bytes: int) -> None:
        """Nothing to do: each POST is judged at its head."""

    def resume_reading(self) -> None:
        """Answer the POST that was held back."""
        exchange, self._post = self._post, None
        if exchange is not None:
            self._answers.respond(exchange, 200, TEXT, b"ok")

    def _answer(self) -> None:
        exchange, self._waiting = self._waiting, None
        assert exchange is not None
        exchange.waiter = None
        backlog, self._backlog, self._backlog_bytes = self._backlog, [], 0
        if len(backlog) > PACKETS_PER_POLL:
            backlog, self._backlog = backlog[:PACKETS_PER_POLL], backlog[PACKETS_PER_POLL:]
            self._backlog_bytes = sum(map(len, self._backlog))
        headers = TEXT
        if self._greeting:
            headers, self._greeting = TEXT + self._greeting, []
        body = _packet_of(backlog[0]) if len(backlog) == 1 else b"\x1e".join(map(_packet_of, backlog))
        self._answers.respond(exchange, 200, headers, body)

    def let_go(self) -> None:
        """The connection of the poll that waits is about to end, and so is the session."""
        if self._waiting is not None:
            self._waiting.respond(200, TEXT, b"1")
        self.cancel()

    def cancel(self) -> None:
        """The client of the poll that waits has gone."""
        self._waiting = None
        self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)


def _mark_of(query: bytes) -> bytes:
    """The `t` of a query; empty without one."""
    _, _, rest = (b"&" + query).partition(b"&t=")
    return rest.partition(b"&")[0]


def _packet_of(ready: bytes) -> bytes:
    payload = frames.payload_of(ready)
    return payload if frames.is_text(ready) else b"b" + base64.b64encode(payload)
