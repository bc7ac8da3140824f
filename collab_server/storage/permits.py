"""Permits: who may wait for a lock on a connection, so that those who wait for locks hold up nobody else.

A statement that changes something waits for no lock longer than PROMPT_SECONDS (`server`): that is enough where
others store something on the same topic, and costs nothing where nobody does. Whoever has to wait longer is rolled
back, gives the connection back, and waits here, outside the database, until it is time to begin again:

* Only with a *permit* may a transaction wait for a lock as long as that makes sense. There are as many as half of the
  connections, none where there is only one. They are given in the order in which they were asked for, first to those
  who had none yet; where few are left, it is for a shorter wait.
* Those who wait for the same thing - a topic that they have named before they lock it - stand *behind* each other: the
  first of them alone asks for a permit and tries, so however many want one topic, they take one permit. Whoever comes
  while it waits does not try at all (`is_waited_for`): those who come for the first time would overtake those who stand
  here, again and again. Once it is through, the next one tries at once, as whoever comes where nobody waits.
* Where more topics are waited for than there are connections, to wait even for PROMPT_SECONDS takes all of them: then
  whoever comes waits for next to nothing at first (`prompt_seconds`).
* Who has no permit yet *glances* now and then, ever more seldom: begins again, and waits for next to nothing. So what
  has become free is found though all permits are with those who wait for what stays locked. On a fifth of the
  connections only, and at least on one.

How it ends: every wait has a deadline, which is that of its command, and no more than MOST_WAITING wait. Nothing runs
here but its callers, any number of them on one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

from collab_server.errors import Paused
from collab_server.storage.failures import Locked
from collab_server.storage.server import LOCK_SECONDS, PROMPT_SECONDS

__all__ = ["GLANCE_SECONDS", "Permits"]

T = TypeVar("T")

MOST_WAITING = 4096
SHORT_SECONDS = 0.2
"""For one lock, where no more than half of the permits are left."""
GLANCE_SECONDS = 0.001
GLANCED_AGAIN_SECONDS = (0.02, 0.2)
"""After the first glance, then twice as long, at most so long."""
LEAST_SECONDS = 0.1
"""With less left before the deadline it is too late to begin again."""
PARTING_SECONDS = 0.1
"""At most: two that were in each other's way come back one after the other."""

Asked: TypeAlias = "asyncio.Future[None]"
"""A permit, once it is done."""
Place: TypeAlias = "asyncio.Future[bool]"
"""That of the first, once it is done; and whether the one before is through, so that the lock is free, more or less."""


class Permits:
    """See the module: those of so many connections."""

    __slots__ = (
        "_asked",
        "_asked_again",
        "_behind",
        "_chance",
        "_connections",
        "_free",
        "_glance_seconds",
        "_glances_left",
        "_most",
        "_waiting",
    )

    def __init__(self, connections: int, *, chance: Callable[[], float] = random.random) -> None:
        self._connections = connections
        self._free = self._most = connections // 2
        self._glance_seconds = GLANCE_SECONDS if self._free else PROMPT_SECONDS
        self._glances_left = max(1, connections // 5)
        self._chance = chance
        self._asked: deque[Asked] = deque()
        self._asked_again: deque[Asked] = deque()
        self._behind: dict[str, deque[Place]] = {}  # the first, and who stands behind it
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait for locks: outside the database, or with a permit."""
        return self._waiting

    @property
    def prompt_seconds(self) -> float | None:
        """How long who comes may wait for each lock; None for what a connection has by itself, PROMPT_SECONDS."""
        return GLANCE_SECONDS if len(self._behind) > self._connections else None

    def is_waited_for(self, name: str) -> bool:
        """Whether somebody waits for the lock of what is called so."""
        return name in self._behind

    async def wait(self, name: str | None, deadline: float, attempt: Callable[[float], Awaitable[T]]) -> T:
        """What an `attempt` returns, once it is not `Locked`; it is given how long it may wait for each lock.

        `name` is what was locked, None where nobody knows. Raises what an attempt raises, and `Paused` when there is
        no time left until the `deadline` (time of the loop).
        """
        if self._waiting >= MOST_WAITING:
            raise Paused("the database is busy")
        self._waiting += 1
        try:
            async with self._first_behind(name, deadline) as may_be_free:
                return await self._try(deadline, attempt, is_prompt=may_be_free)
        finally:
            self._waiting -= 1

    async def _try(self, deadline: float, attempt: Callable[[float], Awaitable[T]], *, is_prompt: bool) -> T:
        """Attempt it with a permit, and without one as long as there is none, or first of all where `is_prompt`."""
        if is_prompt:
            _left_until(deadline)
            with contextlib.suppress(Locked):
                return await attempt(PROMPT_SECONDS)
        pause_seconds, most_seconds = GLANCED_AGAIN_SECONDS
        asking = self._asked
        while True:
            asked = self._ask(asking)
            try:
                while not asked.done():
                    left = _left_until(deadline)
                    if self._glances_left:
                        with contextlib.suppress(Locked):
                            return await self._glance(attempt)
                    pause = pause_seconds * (0.5 + self._chance())  # those who came together part
                    await asyncio.wait((asked,), timeout=min(pause, left))
                    pause_seconds = min(2 * pause_seconds, most_seconds)
                _left_until(deadline)
                with contextlib.suppress(Locked):
                    return await attempt(LOCK_SECONDS if 2 * self._free > self._most else SHORT_SECONDS)
            finally:
                self._give_back(asked, asking)
            asking = self._asked_again
            await asyncio.sleep(self._chance() * PARTING_SECONDS)

    async def _glance(self, attempt: Callable[[float], Awaitable[T]]) -> T:
        self._glances_left -= 1
        try:
            return await attempt(self._glance_seconds)
        finally:
            self._glances_left += 1

    @contextlib.asynccontextmanager
    async def _first_behind(self, name: str | None, deadline: float) -> AsyncIterator[bool]:
        """Until the others who wait for that are through, or have given up; whether the last of them is through."""
        if name is None:
            yield False
            return
        may_be_free = is_through = False
        others = self._behind.get(name)
        if others is None:
            self._behind[name] = deque()
        else:
            may_be_free = await self._stand(name, others, deadline)
        try:
            yield may_be_free
            is_through = True
        finally:
            self._leave(name, is_through=is_through)

    async def _stand(self, name: str, others: deque[Place], deadline: float) -> bool:
        place: Place = asyncio.get_running_loop().create_future()
        others.append(place)
        try:
            async with asyncio.timeout_at(deadline - LEAST_SECONDS):
                return await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._leave(name, is_through=place.result())  # it came in the moment we gave up
            if isinstance(error, TimeoutError):
                raise Paused("the database is busy") from None
            raise

    def _leave(self, name: str, *, is_through: bool) -> None:
        """Let the next one be the first."""
        if not _pass_on(self._behind[name], is_through):
            del self._behind[name]

    def _ask(self, among: deque[Asked]) -> Asked:
        asked: Asked = asyncio.get_running_loop().create_future()
        if self._free:
            self._free -= 1
            asked.set_result(None)
        else:
            among.append(asked)
        return asked

    def _give_back(self, asked: Asked, among: deque[Asked]) -> None:
        """The permit, or its place among those who ask."""
        if not asked.done():
            among.remove(asked)
        elif not (_pass_on(self._asked, None) or _pass_on(self._asked_again, None)):
            self._free += 1


def _pass_on(waiting: deque[asyncio.Future[T]], told: T) -> bool:
    """Whether somebody has waited for it."""
    while waiting:
        first = waiting.popleft()
        if not first.done():
            first.set_result(told)
            return True
    return False


def _left_until(deadline: float) -> float:
    """In seconds, less what an attempt needs. Raises `Paused` when it is too late for one."""
    left = deadline - LEAST_SECONDS - asyncio.get_running_loop().time()
    if left <= 0:
        raise Paused("the database is busy")
    return left
