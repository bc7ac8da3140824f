"""One request of a long-polling client right on uvicorn's HTTP protocol, and how to know one again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol, Self

from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.requests import header
from collab_server.realtime.engine.session import Headers, Scope, Waiter

SWALLOWED_BYTES = 16_384  # of a body behind an answer, so that its client may use the connection again
LEARNED_BYTES = 8_192  # of a poll that is remembered, for as long as its connection lasts

# Any other request is a handshake, whose scope a connect handler gets and may change.
_OF_SESSION = re.compile(rb"(?:\A|&)sid=[^&]")


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
        announced = header(self.scope, b"content-length")
        length = int(announced[-20:]) if announced else 0
        self.most_bytes = most_bytes or 0
        if most_bytes is None:  # the answer is known; a short body may come behind it
            self.is_decided = True
            if length > SWALLOWED_BYTES:
                self.keep_alive = False
        elif length > most_bytes:
            self.refuse_size()

    def refuse_size(self) -> None:
        """There is more of a body than may be."""
        self.body = bytearray()
        self.keep_alive = False
        self.is_too_large = self.is_decided = True

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer; never waits."""
        if self.response_complete or self.disconnected:
            return
        self.response_complete = True
        self.protocol.answer(self, status, headers, body)

    def lose(self) -> None:
        """The client has gone."""
        if not self.response_complete:
            self.disconnected = True
            if self.waiter is not None:
                self.waiter.cancel()


@dataclass(frozen=True, slots=True)
class LearnedPoll:
    """A poll that was parsed: one that differs from it only in its query need not be."""

    rest: bytes  # all of it behind its first line
    engine: EngineServer
    scope: Scope

    @classmethod
    def of(cls, exchange: LeanExchange, rest: bytes) -> Self | None:
        """What can be learned of a request that came in one read, if anything."""
        is_one = (
            len(rest) <= LEARNED_BYTES
            and exchange.keep_alive
            and _OF_SESSION.search(exchange.scope["query_string"]) is not None
        )
        return cls(rest, exchange.engine, exchange.scope) if is_one else None

    def scope_for(self, target: bytes, rest: bytes) -> Scope | None:
        """The scope of a request for `target`, if it is the same but for its query."""
        if rest != self.rest:
            return None
        path, _, query = target.partition(b"?")
        if path != self.scope["raw_path"] or _OF_SESSION.search(query) is None:
            return None
        return {**self.scope, "query_string": query}
