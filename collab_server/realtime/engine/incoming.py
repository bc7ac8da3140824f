"""The way in: what clients say, handed to its handlers in order, at each client's pace.

What it promises
    Messages of one client are handled one behind the other, and the end of its session behind the last of them. What
    waits, waits as it came: decoded, it may take many times as much. When that is more than one packet may be, no more
    is read of that client until half of it is worked off.
What runs concurrently
    One task for each session of which something has to be waited for: it works its inbox off, and ends.
"""

from __future__ import annotations

import asyncio
import base64
from collections import deque
from collections.abc import Awaitable
from typing import Any

from collab_server.realtime.engine.deadlines import Deadlines
from collab_server.realtime.engine.handlers import Handlers
from collab_server.realtime.engine.session import NOOP, REASON, Ended, Inbox, Session

_WAITING_MESSAGE_BYTES = 64  # what a message that waits costs besides its text


class Incoming:
    """See the module."""

    def __init__(self, handlers: Handlers, deadlines: Deadlines) -> None:
        self._handlers = handlers
        self._deadlines = deadlines

    def receive(self, session: Session, packet: str | bytes) -> bool:
        """Take one packet of a client, from any carrier; False if it is none."""
        if session.closing:
            return True
        if isinstance(packet, bytes):
            self._hand_in(session, packet)
            return True
        kind = packet[:1]
        if kind == "4":
            self._hand_in(session, packet)
            return True
        session.allowance.left -= 1  # a message, when its turn comes
        if kind == "3":
            self._deadlines.take_pong(session)
        elif kind == "b":
            try:
                self._hand_in(session, base64.b64decode(packet[1:]))
            except ValueError:
                return False
        elif kind == "1":
            session.owner.end(session, REASON.CLIENT_DISCONNECT, farewell=NOOP)
        elif kind not in ("0", "5", "6"):  # known, and of no meaning here
            return False
        return True

    def end(self, session: Session, reason: str, *, is_abrupt: bool = False) -> None:
        """Call the disconnect handler behind what came before, then forget the session.

        What a stranger who is put out has sent is not handled any more: it would take room for as long as their sign-in
        takes.
        """
        inbox = session.inbox
        if is_abrupt and not session.is_trusted and inbox.messages is not None:
            inbox.messages.clear()
            inbox.held_bytes = 0
        if inbox.worker is None and session.allowance.left >= 0:
            # Not in the midst of what ends it, nor before handlers that run as tasks of their own have begun.
            asyncio.get_running_loop().call_soon(self._part, session, reason)
            return
        self._end_behind(inbox, reason)
        if inbox.worker is None:
            inbox.worker = asyncio.get_running_loop().create_task(self._work(session))

    def _end_behind(self, inbox: Inbox, reason: str) -> None:
        inbox.is_paused = False
        if inbox.messages is None:
            inbox.messages = deque()
        inbox.messages.append(Ended(reason))

    def _part(self, session: Session, reason: str) -> None:
        if session.inbox.worker is not None:  # the message that has ended it is still being handled
            self._end_behind(session.inbox, reason)
            return
        work = self._handlers.part(session.sid, reason)
        if work is None:
            session.owner.forget(session)
        else:
            session.inbox.worker = asyncio.get_running_loop().create_task(self._finish_parting(session, work))

    async def _finish_parting(self, session: Session, work: Awaitable[Any]) -> None:
        await self._handlers.finish(work)
        session.owner.forget(session)
        session.inbox.worker = None

    def _hand_in(self, session: Session, message: str | bytes) -> None:
        """Give a message to its handler, behind those that came before it. There is no task where none has to wait."""
        inbox = session.inbox
        if inbox.worker is None:
            work = self._handlers.hand_in(session.sid, message)
            if session.allowance.spend(message) < 0 or work is not None:
                inbox.worker = asyncio.get_running_loop().create_task(self._work(session, work))
            return
        if inbox.messages is None:
            inbox.messages = deque()
        inbox.messages.append(message)
        inbox.held_bytes += _weight(message)
        if inbox.held_bytes > session.most_bytes and not inbox.is_paused:
            inbox.is_paused = True
            session.carrier.pause_reading()
        if not session.is_trusted:
            session.owner.weigh(session)

    async def _work(self, session: Session, work: Awaitable[Any] | None = None) -> None:
        """Finish what is under way, then work the inbox off, in order."""
        inbox = session.inbox
        if work is not None:
            await self._handlers.finish(work)
        await self._keep_pace(session)
        while inbox.messages:
            message = inbox.messages.popleft()
            if isinstance(message, Ended):
                await asyncio.sleep(0)  # handlers that run as tasks of their own begin before it
                work = self._handlers.part(session.sid, message.reason)
                if work is not None:
                    await self._handlers.finish(work)
                session.owner.forget(session)
                break
            inbox.held_bytes -= _weight(message)
            work = self._handlers.hand_in(session.sid, message)
            if work is not None:
                await self._handlers.finish(work)
            if session.allowance.spend(message) < 0:
                await self._keep_pace(session)
            if inbox.is_paused and inbox.held_bytes * 2 < session.most_bytes:
                inbox.is_paused = False
                session.carrier.resume_reading()
        inbox.worker = None

    async def _keep_pace(self, session: Session) -> None:
        if seconds := session.allowance.seconds_to_wait():
            await asyncio.sleep(seconds)  # also when it has gone: what it sent before costs as much


def _weight(message: str | bytes) -> int:
    return _WAITING_MESSAGE_BYTES + len(message)
