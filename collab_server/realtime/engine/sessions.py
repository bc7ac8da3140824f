"""The sessions of one server: how each begins, moves to a websocket, and ends.

What it promises
    A session has one carrier at any time, and what was not sent by one goes out first by the next. A client that does
    not read costs at most `outgoing_bytes`, then its transport is closed and counted, and it comes back by itself. One
    that breaks the protocol is put out at once. The disconnect handler is called once for each session whose connect
    handler agreed, behind the last message.
What runs concurrently
    A connect handler that is a coroutine function runs as a task, which is the session's worker until it has decided.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.bounds import Bounds
from collab_server.realtime.engine.deadlines import Deadlines
from collab_server.realtime.engine.handlers import Handlers
from collab_server.realtime.engine.incoming import Incoming
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.roster import Roster
from collab_server.realtime.engine.sending import Sending
from collab_server.realtime.engine.session import (
    CLOSE,
    NOOP,
    NOWHERE,
    REASON,
    Carrier,
    Refusal,
    Session,
    Watcher,
    WebSocketCarrier,
)

_CLIENT_HAS_GONE = (REASON.CLIENT_DISCONNECT, REASON.PING_TIMEOUT)
_PROBE_ANSWER = frames.frame(frames.TEXT, b"3probe")


class Sessions:
    """The owner of the sessions (`session.Owner`).

    Args:
        sessions: by their ids; only this adds and removes.
        bounds: what one client may take.
        handlers: are told of connects, disconnects and messages.
        sending: the way out.
        deadlines: what has to happen after a while.
        watcher: is told of what is kept of sessions, and of what is not read.
        logger: is told who was put out.
    """

    def __init__(
        self,
        sessions: dict[str, Session],
        bounds: Bounds,
        handlers: Handlers,
        sending: Sending,
        deadlines: Deadlines,
        watcher: Watcher,
        logger: logging.Logger,
    ) -> None:
        self._sessions = sessions
        self._bounds = bounds
        self._handlers = handlers
        self._sending = sending
        self._deadlines = deadlines
        self._incoming = Incoming(handlers, deadlines)
        self.receive = self._incoming.receive  # as it is: it is on the way of every packet
        self._watcher = watcher
        self._logger = logger
        self.overflows = 0  # clients put out because they did not read

    # What carriers tell, and those who work for the sessions: `session.Owner` says what is what.

    @property
    def outgoing_bytes(self) -> int:
        return self._bounds.outgoing_bytes

    @property
    def stalls(self) -> Lane[Session]:
        return self._deadlines.stalls

    @property
    def farewells(self) -> Lane[Carrier]:
        return self._deadlines.farewells

    def send_frame(self, session: Session, ready: bytes) -> None:
        self._sending.send(session, ready)

    def turn_down(self, session: Session, begin: str) -> bool:
        return (
            begin.startswith("4") and not session.closing and self._watcher.turn_down(session.sid, begin[1:])
        )

    def settle(self, session: Session) -> None:
        self._sending.settle(session)

    def reroute(self) -> None:
        self._sending.reroute()

    def weigh(self, session: Session) -> None:
        held_bytes = session.inbox.held_bytes + session.carrier.held_bytes
        if session.upgrading is not None:
            held_bytes += session.upgrading.held_bytes
        self._watcher.weigh(session.sid, held_bytes)

    def roster(self) -> Roster:
        """A new one, for those who are told the same again and again."""
        return self._sending.roster()

    # --- beginning

    def open(
        self,
        session: Session,
        opening: bytes,
        environ: dict[str, Any],
        accept: Callable[[Session], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        """Begin a session, if the connect handler agrees, and say so by `accept` or `refuse`, now or later.

        Its first frame, `opening`, is on its way before the handler runs.
        """
        self._sessions[session.sid] = session
        if self._handlers.is_async("connect"):
            self._sending.send(session, opening)
            loop = asyncio.get_running_loop()
            session.inbox.worker = loop.create_task(self._open_later(session, environ, accept, refuse))
            return
        session.out.append(opening)
        self._decide(session, self._handlers.call("connect", session.sid, environ), accept, refuse)
        if session.out:  # a websocket has taken it along; whoever polls waits for the others' turn to be over
            self._sending.send_soon(session)

    async def _open_later(
        self,
        session: Session,
        environ: Any,
        accept: Callable[[Session], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        answer = await self._handlers.run("connect", session.sid, environ)
        session.inbox.worker = None
        self._decide(session, answer, accept, refuse)

    def _decide(
        self,
        session: Session,
        answer: Any,
        accept: Callable[[Session], None],
        refuse: Callable[[Refusal], None],
    ) -> None:
        if session.closing or (answer is not None and answer is not True):
            self.forget(session)
            refuse(Refusal(401, answer or "Unauthorized"))
        else:
            self._deadlines.begin_heartbeat(session)
            accept(session)

    def welcome(self, session: Session, websocket: WebSocketCarrier) -> None:
        """A new session has come by a websocket, which carries it from now on."""
        ready = session.take_out()
        polling = session.carrier
        if not isinstance(polling, Polling):  # it was decided at once: nothing was written meanwhile
            session.carrier = websocket
            websocket.accept(session, ready)
            return
        websocket.accept(session, polling.take_backlog() + ready)
        self._carry_by(session, websocket)

    # --- from long-polling to a websocket

    def begin_upgrade(self, session: Session, websocket: WebSocketCarrier) -> None:
        """This websocket may become the session's carrier, by and by."""
        session.upgrading = websocket
        self._deadlines.await_upgrade(session)
        websocket.accept(session, [])

    def probe(self, session: Session, packet: str | bytes) -> None:
        """Take a packet from the websocket that may become the session's carrier."""
        websocket = session.upgrading
        assert websocket is not None
        session.allowance.left -= 1
        if packet == "2probe":
            websocket.write([_PROBE_ANSWER])
            assert isinstance(session.carrier, Polling)
            session.carrier.let_polls_go()
            return
        self.end_upgrade(session)
        if packet == "5":
            self._carry_by(session, websocket)
        else:
            websocket.close(CLOSE)

    def end_upgrade(self, session: Session) -> None:
        """The session's websocket carries it now, or never will."""
        session.upgrading = None
        self._deadlines.end_upgrade(session)
        if isinstance(session.carrier, Polling):
            session.carrier.let_polls_go(False)

    def _carry_by(self, session: Session, websocket: WebSocketCarrier) -> None:
        """Move a session from long-polling to a websocket, with what was not sent."""
        polling, session.carrier = session.carrier, websocket
        self.reroute()
        assert isinstance(polling, Polling)
        polling.release()
        polling.resume_reading()
        if backlog := polling.take_backlog():
            websocket.write(backlog)
        if session.inbox.is_paused:
            websocket.pause_reading()

    # --- ending

    def carrier_lost(self, session: Session, websocket: WebSocketCarrier) -> None:
        """A websocket was closed by its client or by the network."""
        if session.upgrading is websocket:
            self.end_upgrade(session)
        elif session.carrier is websocket:
            self.end(session, REASON.TRANSPORT_CLOSE)

    def overflow(self, session: Session) -> None:
        """Put out a client that does not read; it comes back and asks for what it has missed."""
        if not session.closing:
            self.overflows += 1
            self._logger.info("%s: does not read, closing its transport", session.sid)
            self.end(session, "outgoing queue full", is_abrupt=True)

    def end(self, session: Session, reason: str, *, farewell: bytes = CLOSE, is_abrupt: bool = False) -> None:
        """End a session: close its transport, then call the disconnect handler, behind its last message."""
        if session.closing:
            return
        session.closing = True
        self._deadlines.end_heartbeat(session)
        if session.upgrading is not None:
            session.upgrading.close(farewell)
            self.end_upgrade(session)
        ready = session.take_out()
        carrier, session.carrier = session.carrier, NOWHERE
        self.reroute()  # its descriptor may soon be another's
        if is_abrupt:
            carrier.abort()
        else:
            if ready:
                carrier.write(ready)
            carrier.close(farewell)
            if isinstance(carrier, Polling) and farewell is NOOP and reason not in _CLIENT_HAS_GONE:
                self._deadlines.last_words.keep(session, carrier.take_backlog())
        self._incoming.end(session, reason, is_abrupt=is_abrupt)

    def forget(self, session: Session) -> None:
        """Nothing is left to be done for a session."""
        session.closing = True
        session.carrier = NOWHERE
        session.inbox.messages = None
        self._sessions.pop(session.sid, None)
