"""Keeping sessions alive while somebody uses them, and ending those of ours that nobody needs.

Each session in use is checked on a schedule of its own with chance in it, often enough that an ended one is noticed
within 60 s; all clients of a session share that one check. Library may fall silent: no session ends before its time for
that.

Which sessions are logged out: only delegated ones, and of those only the surplus and, at the end, those that no resume
token was made of. A resume token seals its session, so any other node may be using it: such a session is left to lapse
by Library's own time-out. An auth token is somebody's browser session, and is never logged out.

In the background there are one timer per session in use, checks under way, and log-outs; `stop` ends all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from collab_server.authority.library.calls import Refused, SessionGone
from collab_server.authority.library.cookies import Cookies
from collab_server.authority.library.known import Known, KnownSessions, tell_ended
from collab_server.authority.library.replies import DEFAULT_SESSION_SECONDS
from collab_server.authority.library.turns import Turns
from collab_server.domain.people import AuthoritySession
from collab_server.errors import Unavailable
from collab_server.ports import Ended, SessionUse

__all__ = ["LogOuts", "Upkeep"]

log = logging.getLogger(__name__)

MOST_CHECKS_AT_ONCE = 16
MOST_LOGOUTS_AT_ONCE = 4
MOST_LOGOUTS_WAITING = 1000
SOONEST_CHECK = 0.88
"""Of the time between two checks, by chance: later than what is shown to somebody is asked about again, which is a use
of the session too and saves the check."""
STOP_SECONDS = 3.0


class Upkeep:
    """Keeps the sessions in use alive, each checked at the latest every `check_seconds`."""

    def __init__(
        self,
        known: KnownSessions,
        turns: Turns,
        *,
        check_seconds: float,
        chance: Callable[[float, float], float],
    ) -> None:
        self._known = known
        self._turns = turns
        self._check_seconds = check_seconds
        self._chance = chance
        self._turn = asyncio.Semaphore(MOST_CHECKS_AT_ONCE)
        self._checks: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    async def stop(self) -> None:
        """Check nothing any more."""
        self._is_stopping = True
        for known in self._known.in_use.values():
            if known.timer is not None:
                known.timer.cancel()
        for task in self._checks:
            task.cancel()
        await asyncio.gather(*self._checks, return_exceptions=True)

    def attach(
        self, session: AuthoritySession, remaining_seconds: float, on_ended: Callable[[Ended], None]
    ) -> SessionUse:
        """See `SignsIn.attach`."""
        use = SessionUse(on_ended, partial(self._detach, session))
        ended = self._known.why_ended(session)
        if ended is not None:
            asyncio.get_running_loop().call_soon(tell_ended, use, ended)
            return use
        known = self._known.find(session)
        if known is None:
            lives = max(remaining_seconds, 0.0)
            age = max(DEFAULT_SESSION_SECONDS - lives, 0.0)
            known = self._known.meet(session, max(DEFAULT_SESSION_SECONDS, lives), age)
        if not known.uses:
            self._known.take_up(known)
        known.uses.add(use)
        if known.timer is None:
            self._check_later(known)
        return use

    def _detach(self, session: AuthoritySession, use: SessionUse) -> None:
        known = self._known.in_use.get(session)
        if known is None:
            return
        known.uses.discard(use)
        if not known.uses:
            self._known.leave(known)
            if known.timer is not None:
                known.timer.cancel()
                known.timer = None

    def _check_later(self, known: Known, *, soon: bool = False) -> None:
        """Set the session's timer: never later than is promised, nor than the session would run out."""
        every = min(self._check_seconds, known.timeout_seconds / 3)
        delay = self._chance(SOONEST_CHECK, 1.0) * every * (0.2 if soon else 1.0)
        left = known.runs_out_at - self._known.clock()
        delay = min(delay, max(left / 2, 0.1)) if left > 0 else min(delay, 0.1)
        if known.timer is not None:
            known.timer.cancel()  # of whoever took it up while it was being checked
        known.timer = asyncio.get_running_loop().call_later(delay, self._start_check, known)

    def _start_check(self, known: Known) -> None:
        if self._is_stopping:
            return
        every = min(self._check_seconds, known.timeout_seconds / 3)
        age = self._known.clock() - known.confirmed_at
        if age < SOONEST_CHECK * every:  # Library was asked something else meanwhile, which is as good
            delay = self._chance(SOONEST_CHECK, 1.0) * every - age
            known.timer = asyncio.get_running_loop().call_later(delay, self._start_check, known)
            return
        _in_background(self._check(known), self._checks)

    async def _check(self, known: Known) -> None:
        was_silent = False
        try:
            async with self._turn, self._turns.take(self._turns.live) as api:
                await api.keep_alive(known.session)
        except SessionGone:
            self._known.end(known.session, "session_ended")
            return
        except Refused:
            pass  # no answer to the question: it says neither that the session lives nor that it is over
        except Unavailable:
            was_silent = True
        else:
            self._known.used(known.session)
        if known.runs_out_at <= self._known.clock():
            self._known.end(known.session, "session_expired")
        elif known.uses and not self._is_stopping:
            self._check_later(known, soon=was_silent)


class LogOuts:
    """Logs delegated sessions out in the background, `MOST_LOGOUTS_AT_ONCE` at a time."""

    def __init__(self, turns: Turns, cookies: Cookies) -> None:
        self._turns = turns
        self._cookies = cookies
        self._turn = asyncio.Semaphore(MOST_LOGOUTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, session: AuthoritySession) -> None:
        """Log it out if it is ours; where too many wait already, it lapses by itself."""
        if session.is_delegated and len(self._tasks) < MOST_LOGOUTS_WAITING:
            _in_background(self._log_out(session), self._tasks)

    async def stop(self) -> None:
        """Finish what waits, within 3 s."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _log_out(self, session: AuthoritySession) -> None:
        if self._turns.api is None:
            return
        async with self._turn:
            try:
                await self._turns.api.logout(session)
            except (Unavailable, Refused, SessionGone):
                log.debug("a surplus session was not logged out; Library will end it")
        self._cookies.forget(session)


def _in_background(work: Coroutine[Any, Any, None], where: set[asyncio.Task[None]]) -> None:
    task = asyncio.create_task(work)
    where.add(task)
    task.add_done_callback(partial(_finished, where))


def _finished(where: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    where.discard(task)
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("a background call to Library failed", exc_info=failure)
