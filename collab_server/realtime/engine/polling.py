"""Long-polling: a session without a connection of its own."""

from __future__ import annotations

import asyncio
import base64
import functools
from collections.abc import Callable
from functools import partial

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.answers import TEXT, Answers
from collab_server.realtime.engine.marks import Marks
from collab_server.realtime.engine.requests import held_bytes
from collab_server.realtime.engine.session import NOOP, REASON, Exchange, Headers, Session

PACKETS_PER_PAYLOAD = 16_384
PACKETS_PER_POLL = 16  # the clients of python-engineio disconnect when they get more at once
HEARD_SECONDS = 3.0  # for a client to hear, by a poll, why what it posts is refused; it leaves then


class Polling:
    """Carries a session: what is to be sent waits for the next poll, what comes is posted."""

    __slots__ = (
        "_answers",
        "_backlog",
        "_backlog_bytes",
        "_greeting",
        "_keeps_none_waiting",
        "_marks",
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
        self._marks = Marks()

    def greet(self, exchange: Exchange, headers: Headers) -> None:
        """The handshake waits as the first poll."""
        self._greeting = headers
        self._marks.greet(exchange.scope["query_string"])
        self._wait(exchange)

    def poll(self, exchange: Exchange) -> None:
        """A GET; a second one while the first waits ends the session, and so does one that comes again (`marks`)."""
        if self._marks.come_again(exchange.scope["query_string"]) or self._waiting is not None:
            self._refuse(exchange)
        else:
            self._wait(exchange)
            self._be_weighed()

    def _be_weighed(self) -> None:
        if not self._session.is_trusted:
            self._session.owner.weigh(self._session)

    @property
    def held_bytes(self) -> int:
        """What the requests take that wait."""
        return sum([held_bytes(one.scope) for one in (self._waiting, self._post) if one is not None])

    def _refuse(self, exchange: Exchange) -> None:
        self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)
        self._answers.refuse(exchange)

    def _wait(self, exchange: Exchange) -> None:
        self._waiting = exchange
        exchange.waiter = self
        if self._backlog:
            self._answer(self.take_backlog())
        elif self._keeps_none_waiting:
            self.release()

    @property
    def has_poll(self) -> bool:
        """Whether a poll waits."""
        return self._waiting is not None

    def post(self, exchange: Exchange) -> None:
        """A POST: packets of the client. One that is none ends the session, and so does a second one while the first
        waits, as with the reference server: it would go past the bounds."""
        if exchange.is_too_large:
            self._turn_down(exchange)
        elif self._post is not None or not self._receive(exchange.body):
            self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)
            self._answers.refuse(exchange)
        elif self._session.inbox.is_paused:
            self._hold_back(exchange)
        elif seconds := self._session.allowance.seconds_to_wait():
            asyncio.get_running_loop().call_later(seconds, self._end_of_rest)
            self._hold_back(exchange)
        else:
            self._answers.respond(exchange, 200, TEXT, b"ok")

    def _turn_down(self, exchange: Exchange) -> None:
        """Where its client is told by a poll it ends the session, and fails once that can have been heard."""
        session = self._session
        begin, exchange.body = exchange.body.decode(errors="replace"), b""
        answer = partial(self._answers.respond, exchange, 413, TEXT, b"")
        if session.owner.turn_down(session, begin):
            session.owner.end(session, REASON.TRANSPORT_ERROR, farewell=NOOP)
            exchange.waiter = _Later(answer)
        else:
            answer()

    def _hold_back(self, exchange: Exchange) -> None:
        exchange.body = b""  # it is read
        self._post = exchange
        self._be_weighed()

    def _end_of_rest(self) -> None:
        if not self._session.inbox.is_paused:  # else when the inbox has room again
            self.resume_reading()

    def _receive(self, body: bytes | bytearray) -> bool:
        try:
            packets = body.decode().split(frames.SEPARATOR)
        except UnicodeDecodeError:
            return False
        if len(packets) > PACKETS_PER_PAYLOAD:
            return False
        self._marks.note_said(packets)
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
            self._answer([NOOP])

    def take_backlog(self) -> list[bytes]:
        """Hand what was not sent to another carrier."""
        backlog, self._backlog, self._backlog_bytes = self._backlog, [], 0
        return backlog

    def write(self, ready: list[bytes]) -> bool:
        """Take these frames; False if the client lets too much pile up."""
        if self._waiting is not None:  # so nothing else is to be sent
            self._answer(ready)
            return True
        had_some = bool(self._backlog)
        self._backlog += ready
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
            self._answer([farewell])
        self.resume_reading()

    def abort(self) -> None:
        """Like `close`: a poll never has much to send. The client may come back."""
        self.close(NOOP)

    def pause_reading(self) -> None:
        """Nothing to do: the next POST is not answered."""

    def trust(self, most_bytes: int) -> None:
        """Nothing to do: each POST is judged at its head."""

    def descriptor(self) -> int:
        """None: what is polled for is no frames."""
        return -1

    def resume_reading(self) -> None:
        """Answer the POST that was held back."""
        exchange, self._post = self._post, None
        if exchange is not None:
            self._answers.respond(exchange, 200, TEXT, b"ok")

    def _answer(self, ready: list[bytes]) -> None:
        """Answer the poll that waits with as many of these as it may get; the others wait for the next."""
        exchange, self._waiting = self._waiting, None
        assert exchange is not None
        exchange.waiter = None
        if len(ready) > PACKETS_PER_POLL:
            ready, self._backlog = ready[:PACKETS_PER_POLL], ready[PACKETS_PER_POLL:]
            self._backlog_bytes = sum(map(len, self._backlog))
        headers = TEXT
        if self._greeting:
            headers, self._greeting = TEXT + self._greeting, []
        self._answers.respond(exchange, 200, headers, payload_of(*ready))

    def let_go(self) -> None:
        """The connection of the poll that waits is about to end, and so is the session."""
        if self._waiting is not None:
            self._waiting.respond(200, TEXT, b"1")
        self.cancel()

    def cancel(self) -> None:
        """The client of the poll that waits has gone."""
        self._waiting = None
        self._session.owner.end(self._session, REASON.TRANSPORT_ERROR)


class _Later:
    """Answers a request after a while."""

    __slots__ = ("_answer", "_handle")

    def __init__(self, answer: Callable[[], None]) -> None:
        self._answer = answer
        self._handle = asyncio.get_running_loop().call_later(HEARD_SECONDS, answer)

    def cancel(self) -> None:
        """The client has gone."""
        self._handle.cancel()

    def let_go(self) -> None:
        """The connection is about to end."""
        self._handle.cancel()
        self._answer()


# One after the other is told the same.
@functools.lru_cache(1)
def payload_of(*ready: bytes) -> bytes:
    """The answer to a poll that says these frames."""
    return b"\x1e".join(map(_packet_of, ready))


def _packet_of(ready: bytes) -> bytes:
    payload = frames.payload_of(ready)
    return payload if frames.is_text(ready) else b"b" + base64.b64encode(payload)
