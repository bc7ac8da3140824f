"""Asking Library in time: whose turn it is, how long it may take, and whether Library is silent.

Three lines (`lines`): sign-ins, in turns by where they come from; questions about sessions in use and about what is
being shown to somebody; all others, in turns by the person who asks. None can keep another waiting. That a line is full
is `Busy`, and is never taken for Library's silence.

`Lookout` finds out how Library is when nobody else does: a question that needs no session is asked at the start, every
5 s while something is wrong, and when nothing else has been asked for 30 s. It is one task, ended by `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import DEADLINE_SECONDS, Refused, SessionGone, slow
from collab_server.authority.library.health import Health
from collab_server.authority.library.lines import Line, Pace
from collab_server.authority.library.words import busy, silent
from collab_server.errors import Unavailable
from collab_server.ports import MOST_CALLS_PER_USER, Origin, Silent

__all__ = ["Lookout", "Turns"]

log = logging.getLogger(__name__)

SIGN_INS_AT_ONCE, LIVE_AT_ONCE, QUESTIONS_AT_ONCE = 8, 20, 32
"""How many calls of each kind go on at once; with the log-outs, all connections that there are. Those about sessions in
use, and about what is being shown to somebody, are live: nothing that anybody asks for can keep them waiting."""
DISTRUSTED_AT_ONCE = 2
"""How many of the sign-ins at once may come from where too many tokens came from that were not accepted."""
QUESTIONS_PER_SECOND, QUESTIONS_BURST = 25, 100
"""How often one user may ask what is not known yet, in the long run and after a quiet time: a call takes a millisecond
of ours or two, and a command may be hundreds."""
WAIT_SECONDS = 1.3
"""How long a call waits for its turn, of the time that it has: what is left tells silence from our own crowd."""


class Turns:
    """See the module. `api` is None where no Library is configured; `where` names Library's host for the log."""

    def __init__(self, api: LibraryApi | None, health: Health, *, where: str) -> None:
        self.api = api
        self.health = health
        self.is_silent = False
        """Whether the last question got no answer at all."""
        self.suspicion = asyncio.Event()
        """Somebody got no answer: worth looking at."""
        self.is_known_to_be_wrong = False
        """That would be nothing new."""
        self.live = Line(LIVE_AT_ONCE)
        self.pace = Pace(QUESTIONS_PER_SECOND, QUESTIONS_BURST, WAIT_SECONDS)
        """Of each user's questions."""
        self.questions = Line(QUESTIONS_AT_ONCE, each_at_once=MOST_CALLS_PER_USER, each_pace=self.pace)
        self._sign_ins, self._distrusted = Line(SIGN_INS_AT_ONCE), Line(DISTRUSTED_AT_ONCE)
        self._where = where

    def waiting(self) -> dict[str, int]:
        """How many calls wait for their turn, by what they are for."""
        return {
            "library_sign_ins": self._sign_ins.waiting + self._distrusted.waiting,
            "library_questions": self.questions.waiting,
            "library_live": self.live.waiting,
        }

    def of(self, origin: Origin) -> list[Line]:
        """The lines that a sign-in from there stands in."""
        return [self._distrusted, self._sign_ins] if origin.is_distrusted else [self._sign_ins]

    @asynccontextmanager
    async def take(
        self, *lines: Line, whom: str = "", seconds: float = DEADLINE_SECONDS
    ) -> AsyncIterator[LibraryApi]:
        """Bound the work inside to 3 s, or to fewer `seconds`, and note whether Library is silent.

        Raises `Silent` when time is up, and `Busy` when the work had not begun after `WAIT_SECONDS`.
        """
        if self.api is None:
            raise Unavailable("no Library is configured (authorizationServerUrl)")
        has_begun = False
        try:
            async with asyncio.timeout(seconds), AsyncExitStack() as turn:
                async with asyncio.timeout(WAIT_SECONDS):
                    for line in lines:
                        await turn.enter_async_context(line.turn(whom))
                has_begun = True
                yield self.api
        except TimeoutError:
            if not has_begun:
                raise busy() from None
            self.is_silent = True
            self.health.failed("several calls", slow(self._where))
            self._suspect()
            raise silent() from None
        except Silent:
            self.is_silent = True
            self._suspect()
            raise
        except (Refused, SessionGone):
            self.is_silent = False
            raise
        else:
            self.is_silent = False

    def heard_silent(self) -> None:
        """Another worker of the node got no answer from Library."""
        self.is_silent = True
        self._suspect()

    def _suspect(self) -> None:
        if not self.is_known_to_be_wrong:
            self.suspicion.set()


class Lookout:
    """See the module. `look_seconds` between two looks, `idle_seconds` without a question before one is asked."""

    def __init__(
        self,
        turns: Turns,
        *,
        look_seconds: float,
        idle_seconds: float,
        chance: Callable[[float, float], float],
    ) -> None:
        self._turns = turns
        self._look_seconds = look_seconds
        self._idle_seconds = idle_seconds
        self._chance = chance
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="library-lookout")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        """Look; at once when the first call has gone wrong.

        That tells apart what is wrong with Library from what is wrong with one call, and so when it is over.
        """
        turns, health = self._turns, self._turns.health
        while True:
            turns.is_known_to_be_wrong = True  # what goes wrong meanwhile is looked at already
            turns.suspicion.clear()
            try:
                if health.problem is not None or health.silent_seconds > self._idle_seconds:
                    with contextlib.suppress(Unavailable):
                        async with turns.take(turns.live) as api:
                            await api.probe()
                health.look()
            except Exception:
                log.exception("looking after Library failed")
            turns.is_known_to_be_wrong = health.problem is not None
            pause = self._chance(0.8, 1.2) * self._look_seconds
            await asyncio.sleep(pause / 10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await turns.suspicion.wait()
