"""One request of a long-polling client right on uvicorn's HTTP protocol, and how to know one again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol, Self

from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.frames import beginning_of_body, looked_at
from collab_server.realtime.engine.requests import announced_bytes, note_size, note_trace
from collab_server.realtime.engine.session import Headers, Scope, Waiter
from collab_server.telemetry import traces

SWALLOWED_BYTES = 16_384  # of a body behind an answer, so that its client may use the connection again
LEARNED_BYTES = 8_192  # of a poll that is remembered, for as long as its connection lasts

# With nothing that stands for something else.
_LINE = re.compile(rb"GET [^ ?]+\?(?P<query>[^ %+]+) HTTP/1\.1\r\n")
# Without one it is a handshake, whose scope a connect handler gets and may change.
_SID = re.compile(rb"(?:\A|&)sid=([^&]+)")
_MARKED = re.compile(rb"(?:\A|&)t=([^&]*)")
_MARK, _NO_MARK = re.compile(rb"[0-9A-Za-z._-]*"), re.compile(rb"")
# What a load balancer calls each request by: always as long.
_NAMED = re.compile(rb"\r\n(?i:%b): *(%b)\r\n" % (traces.HEADER.encode(), traces.ID.pattern))


class Answering(Protocol):
    """Writes whole answers."""

    def answer(self, exchange: LeanExchange, status: int, headers: Headers, body: bytes) -> None:
        """Write one, and go on with what comes behind its request."""


class LeanExchange:
    """One request. Waits for its turn in uvicorn's `pipeline`, among uvicorn's own.

    Args:
        protocol: writes the answer.
        engine: decides what it is.
        scope: its head.
        keep_alive: whether the connection may go on behind it.
    """

    __slots__ = (
        "body",
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
        "waiter",
    )

    def __init__(self, protocol: Answering, engine: EngineServer, scope: Scope, keep_alive: bool) -> None:
        self.protocol = protocol
        self.engine = engine
        self.scope = scope
        self.body: bytes | bytearray = b""
        self.keep_alive = keep_alive
        self.is_decided = False  # whole, or to be refused by its head
        self.is_too_large = False
        self.is_trusted = False
        self.most_bytes = 0  # of the body; more is too large, and of 0 none is gathered
        self.response_complete = False
        self.disconnected = False
        self.waiter: Waiter | None = None

    def judge(self) -> None:
        """Decide, before a body is gathered, whether it is worth that."""
        if self.scope["method"] != "POST":
            return
        most_bytes = self.engine.most_body_bytes(self.scope)
        length = announced_bytes(self.scope) or 0
        self.most_bytes = most_bytes or 0
        if most_bytes is None:  # the answer is known; a short body may come behind it
            self.is_decided = True
            if length > SWALLOWED_BYTES:
                self.keep_alive = False
        elif length > most_bytes:
            self._refuse_size()
            if self.body:  # it has come whole
                self.body = beginning_of_body(self.body, most_bytes)

    def take(self, body: bytes) -> bool:
        """Gather a piece of the body. Whether it is decided now, for there is more than may be."""
        self.body += body
        if not self.is_too_large and len(self.body) > self.most_bytes:
            self._refuse_size()
        if self.is_too_large and len(self.body) >= looked_at(self.most_bytes):
            self.body = beginning_of_body(self.body, self.most_bytes)
            self.is_decided = True
        return self.is_decided

    def _refuse_size(self) -> None:
        """There is more of a body than may be: only its beginning is looked at."""
        self.keep_alive = False
        self.is_too_large = True
        note_size(self.scope, self.most_bytes + 1)

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""
        if self.response_complete or self.disconnected:
            return
        self.response_complete = True
        if status != HTTPStatus.OK:  # of those there may be any number
            self.is_trusted = False
        self.protocol.answer(self, status, headers, body)

    def lose(self) -> None:
        """The client has gone."""
        if not self.response_complete:
            self.disconnected = True
            if self.waiter is not None:
                self.waiter.cancel()


@dataclass(frozen=True, slots=True)
class LearnedPoll:
    """A poll that was parsed: one that differs from it in nothing but its mark, and the id of its trace, need not be.
    There is one exchange for all of them, for each comes when the one before it has its answer."""

    exchange: LeanExchange
    sid: str
    before: bytes  # all of it up to the mark …
    mark: re.Pattern[bytes]
    between: bytes  # … from there to the id …
    id_bytes: int
    behind: bytes  # … and all behind
    query_at: int
    behind_query: int

    @classmethod
    def of(cls, exchange: LeanExchange, data: bytes) -> Self | None:
        """What can be learned of a request that came in one read, if anything."""
        line = _LINE.match(data) if len(data) <= LEARNED_BYTES and exchange.keep_alive else None
        sids = _SID.findall(line["query"]) if line is not None else []
        if line is None or len(sids) != 1:
            return None
        at, end = line.span("query")
        marked = _MARKED.search(line["query"])
        before, marked_to = (at, at) if marked is None else (at + marked.start(1), at + marked.end(1))
        pattern = _NO_MARK if marked is None else _MARK
        named = _NAMED.search(data, end)
        id_at, behind = (marked_to, marked_to) if named is None else named.span(1)
        return cls(
            exchange,
            sids[0].decode(),
            data[:before],
            pattern,
            data[marked_to:id_at],
            behind - id_at,
            data[behind:],
            at,
            len(data) - end,
        )

    def again(self, data: bytes) -> bool:
        """Whether `data` is one more; then the exchange is about it."""
        if not (data.startswith(self.before) and data.endswith(self.behind)):
            return False
        behind = len(data) - len(self.behind)
        id_at = behind - self.id_bytes
        marked_to = id_at - len(self.between)
        if marked_to < len(self.before) or not data.startswith(self.between, marked_to):
            return False
        if self.mark.fullmatch(data, len(self.before), marked_to) is None:
            return False
        exchange = self.exchange
        if self.id_bytes:
            if traces.ID.fullmatch(data, id_at, behind) is None:
                return False
            note_trace(exchange.scope, data[id_at:behind])
        exchange.scope["query_string"] = data[self.query_at : len(data) - self.behind_query]
        exchange.response_complete = exchange.is_trusted = False
        exchange.waiter = None
        return True

    def serve(self) -> None:
        """Serve the one more."""
        exchange = self.exchange
        polling = exchange.engine.admission.let_in_again(exchange, self.sid)
        if polling is None:
            exchange.engine.serve(exchange)
        else:
            polling.poll(exchange)
