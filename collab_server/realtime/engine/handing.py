"""Sessions and other nodes: what becomes of a request whose session is not here, and of one that came another way.

Requests of one client may take different ways to the node that has the session, and one that was sent a moment later
may come a moment earlier. Where that would show, what was sent first is given the time: what was said on a websocket,
beside a request of the same session or a second websocket, and the poll beside which the client has said goodbye.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from collab_server.realtime.engine.answers import TEXT, Answers
from collab_server.realtime.engine.last_words import LastWords
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.requests import HANDED, query_of
from collab_server.realtime.engine.session import (
    REASON,
    Elsewhere,
    Exchange,
    PassableWebSocket,
    Scope,
    Session,
    WebSocketCarrier,
)

OVERTAKEN_SECONDS = 1.0
MOST_OVERTAKEN = 1_000
ASIDE_SECONDS = 0.02
MOST_ASIDE = 50
"""So many times a poll steps aside for an answer that has not been passed on."""
_GOODBYE = b"1"


class HandingOver:
    """See the module. Without `elsewhere` there are no other nodes. What was handed over goes no further."""

    __slots__ = ("_answers", "_elsewhere", "_last_words", "_overtaken")

    def __init__(self, elsewhere: Elsewhere | None, answers: Answers, last_words: LastWords) -> None:
        self._elsewhere = elsewhere
        self._last_words = last_words
        self._answers = answers
        self._overtaken: OrderedDict[str, float] = OrderedDict()  # session → until when

    # --- what is not here

    def ask(self, exchange: Exchange) -> bool:
        """Say what was left to be said in a session that was here, or let another node answer a request that named one;
        False if it is of none."""
        scope = exchange.scope
        if self._last_words.tell(exchange):
            return True
        if self._elsewhere is None or scope["method"] not in ("GET", "POST"):
            return False
        query = query_of(scope)
        if query["transport"] != "polling":
            return False
        if self._overtaken and scope["method"] == "GET" and self._was_overtaken(query["sid"]):
            self._answers.respond(exchange, 200, TEXT, b"6")
            return True
        return HANDED not in scope and self._elsewhere.ask(query["sid"], exchange, self._answers.refuse)

    def carry(self, scope: Scope, websocket: WebSocketCarrier) -> bool:
        """Let a websocket that named a session go through to another node; False if none has it, or it cannot be let
        go."""
        if self._elsewhere is None or HANDED in scope or not isinstance(websocket, PassableWebSocket):
            return False
        query = query_of(scope)
        return query["transport"] == "websocket" and self._elsewhere.carry(query["sid"], scope, websocket)

    def may_be_for(self, scope: Scope) -> bool:
        """Whether a request's session may be on another node."""
        if self._elsewhere is None or HANDED in scope:
            return False
        return self._elsewhere.knows(query_of(scope).get("sid", ""))

    # --- what came another way

    def post(self, session: Session, carrier: Polling, exchange: Exchange) -> None:
        """Take a POST. If it says goodbye before the poll beside it has come, that still gets its answer."""
        body, is_beside_poll = exchange.body, carrier.has_poll
        carrier.post(exchange)
        if session.closing and not is_beside_poll and body == _GOODBYE and self._elsewhere is not None:
            self._overtaken[session.sid] = asyncio.get_running_loop().time() + OVERTAKEN_SECONDS
            if len(self._overtaken) > MOST_OVERTAKEN:
                self._overtaken.popitem(last=False)

    def _was_overtaken(self, sid: str) -> bool:
        until = self._overtaken.pop(sid, 0.0)
        return asyncio.get_running_loop().time() < until

    def step_aside(self, exchange: Exchange, session: Session, serve: Callable[[Exchange], None]) -> bool:
        """Let a poll wait for a moment beside a websocket that carries its session, or is about to: what the client
        has said on it before, or was told, may still be on its way. False if they have come the same way, or if it has
        waited already; and for what was posted, which a client sees answered before it goes on by the websocket.

        It also waits until the answer to the poll before it has been passed on: a balancer asks once more where the
        node that should have done that is dead, and nobody would know that what was in it is lost. If it was not, the
        session ends.
        """
        if exchange.scope["method"] != "GET":
            return False
        before = exchange.waiter if isinstance(exchange.waiter, _Aside) else None
        if session.untaken:
            if before is not None and before.times == MOST_ASIDE:
                session.owner.end(session, REASON.TRANSPORT_ERROR)
                return False
        else:
            if before is not None or not _is_another_way(session, exchange.scope):
                return False
        exchange.waiter = _Aside(exchange, serve, 1 if before is None else before.times + 1)
        return True

    def turn_away(self, scope: Scope, session: Session, websocket: WebSocketCarrier) -> None:
        """Turn away a second websocket of a session: where the two have not come the same way, once what the first was
        told before has had the time to come."""
        if _is_another_way(session, scope):
            asyncio.get_running_loop().call_later(ASIDE_SECONDS, websocket.turn_away)
        else:
            websocket.turn_away()


def _is_another_way(session: Session, scope: Scope) -> bool:
    """Whether a request beside a session's websocket may have overtaken what is on that, or its answer may."""
    return HANDED in scope or getattr(session.upgrading or session.carrier, "is_handed", False)


class _Aside:
    """Has a poll that waits for a moment, for the so-manieth time."""

    def __init__(self, exchange: Exchange, serve: Callable[[Exchange], None], times: int) -> None:
        self.times = times
        self._handle = asyncio.get_running_loop().call_later(ASIDE_SECONDS, serve, exchange)

    def cancel(self) -> None:
        self._handle.cancel()

    def let_go(self) -> None: ...
