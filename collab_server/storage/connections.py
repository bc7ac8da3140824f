"""Some connections to PostgreSQL, lent to one caller each: the last used first, callers in order of arrival.

A connection that lay idle may have been forgotten by the network, which then swallows what is sent on it and tells
nobody. So one that is *stale* - idle for `ASK_AFTER_SECONDS`, or since before something gave reason to `suspect` - is
asked before anybody gets it. If it is silent, it is dropped with all that are stale like it: whatever the number of
connections, finding out costs one question, and no command is lost for it.

What runs concurrently: any number of callers on one event loop. A caller waits until its deadline for a connection, and
no more than `WAITING_LIMIT` wait. How it stops: `terminate`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from collab_server.errors import Paused

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

CONNECT_SECONDS = 1.0
ASK_AFTER_SECONDS = 2.0  # idle for longer, a connection is asked; what has always something to do never is
REFUSED_SECONDS = 1.0  # between attempts to get more connections from a server that has no more
WAITING_LIMIT = 4096  # callers that wait for a connection; more than can be served within their deadline


class Connections:
    """See the module: at most `limit` connections.

    `connect` opens one within so many seconds. `answers` asks one whether it is alive, until a deadline (time of the
    loop) at the latest; if not, it drops what it has to (see `drop_stale`).
    """

    __slots__ = (
        "_answers",
        "_idle",
        "_limit",
        "_members",
        "_opening",
        "_refused_until",
        "_trusted_since",
        "_waiting",
        "connect",
    )

    def __init__(
        self,
        connect: Callable[[float], Awaitable[Connection]],
        answers: Callable[[Connection, float], Awaitable[bool]],
        limit: int,
    ) -> None:
        self.connect = connect
        self._answers = answers
        self._limit = limit
        self._opening = 0
        self._refused_until = 0.0
        self._trusted_since = 0.0
        self._idle: list[
            tuple[float, Connection]
        ] = []  # since when, so the last is never older than the others
        self._members: set[Connection] = set()  # idle or lent out; the others that come back are terminated
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()

    @property
    def most(self) -> int:
        """How many there may be."""
        return self._limit

    @property
    def idle(self) -> int:
        """How many are not lent out."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many are lent out or being opened."""
        return max(0, len(self._members) - len(self._idle)) + self._opening

    @property
    def waiting(self) -> int:
        """How many callers wait for one."""
        return len(self._waiting)

    @property
    def is_last(self) -> bool:
        """Whether it has one connection, or none."""
        return self.is_empty or len(self._members) == 1

    @property
    def is_empty(self) -> bool:
        """Whether it has no connection at all, lent out ones included."""
        for entry in [entry for entry in self._idle if entry[1].is_closed()]:
            self._idle.remove(entry)
            self._members.discard(entry[1])
        return not self._members

    def take_idle(self) -> Connection | None:
        """An idle connection that is not stale if there is one, at no cost."""
        trusted_since = self._trusted_from()
        while self._idle and self._idle[-1][0] >= trusted_since:
            connection = self._idle.pop()[1]
            if not connection.is_closed():
                return connection
            self._members.discard(connection)
        return None

    def suspect(self) -> None:
        """One connection was silent: the others that are idle now are to be asked before they are used."""
        self._trusted_since = asyncio.get_running_loop().time()

    def drop_stale(self) -> None:
        """Drop all idle connections that are to be asked: one of their kind was silent."""
        trusted_since = self._trusted_from()
        stale = [entry for entry in self._idle if entry[0] < trusted_since]
        del self._idle[: len(stale)]
        for _, connection in stale:
            self.drop(connection)

    def _trusted_from(self) -> float:
        return max(self._trusted_since, asyncio.get_running_loop().time() - ASK_AFTER_SECONDS)

    async def take(self, deadline: float) -> Connection:
        """A connection: an idle one, which has answered if it was stale, a new or the next free one.

        Raises `Paused` when none is free until `deadline` (time of the loop), and whatever a failed attempt
        to connect raised.
        """
        loop = asyncio.get_running_loop()
        while True:
            if connection := self.take_idle():
                return connection
            if self._idle:
                stale = self._idle.pop()[1]
                if await self._is_alive(stale, deadline):
                    return stale
                continue
            may_open = loop.time() >= self._refused_until or not self._members
            if may_open and len(self._members) + self._opening < self._limit:
                try:
                    return await self._open(min(CONNECT_SECONDS, deadline - loop.time()))
                except asyncpg.TooManyConnectionsError:
                    if not self._members:
                        raise
                    self._refused_until = loop.time() + REFUSED_SECONDS  # go on with those there are
            if len(self._waiting) >= WAITING_LIMIT:
                raise Paused("the database is busy")
            waiter: asyncio.Future[Connection | None] = loop.create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    connection = await waiter
            except BaseException as error:
                if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                    self._pass_on(waiter.result())  # it came in the moment we gave up
                if isinstance(error, TimeoutError):
                    raise Paused("the database is busy") from None
                raise
            if connection is not None:
                if not connection.is_closed():
                    return connection
                self._members.discard(connection)

    def give_back(self, connection: Connection) -> None:
        """Return a connection in which nothing is under way."""
        if connection not in self._members or connection.is_closed():
            self.drop(connection)
        else:
            self._pass_on(connection)

    def drop(self, connection: Connection) -> None:
        """Return a connection that must not be used again. Its place is free at once."""
        connection.terminate()
        self._members.discard(connection)
        self._pass_on(None)

    def adopt(self, connection: Connection) -> None:
        """Take a new connection in; it is ended where callers have opened as many as there may be meanwhile."""
        if len(self._members) + self._opening >= self._limit:
            connection.terminate()
            return
        self._members.add(connection)
        self._pass_on(connection)

    def part_with(self, connection: Connection) -> None:
        """Of one that was taken: it is another's now, and does not come back."""
        self._members.discard(connection)

    def shed(self, *, least: int = 0) -> bool:
        """Terminate one, now or when it comes back, and open no other for a while. False: only `least` are there."""
        if len(self._members) <= least:
            return False
        if self._idle:
            connection = self._idle.pop(0)[1]
            connection.terminate()
        else:
            connection = next(iter(self._members))
        self._members.discard(connection)
        self._refused_until = asyncio.get_running_loop().time() + REFUSED_SECONDS
        return True

    def replace_all(self) -> None:
        """Terminate the idle connections at once, the others when they come back; new ones take their place."""
        for _, connection in self._idle:
            connection.terminate()
        self._idle.clear()
        self._members.clear()
        for _ in range(self._limit):
            self._pass_on(None)

    def forget_all(self) -> None:
        """As `replace_all`, but those who wait are refused."""
        for _, connection in self._idle:
            connection.terminate()
        self._idle.clear()
        self._members.clear()
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(Paused())

    def terminate(self) -> None:
        """Cut every connection, lent out or not."""
        for connection in self._members:
            connection.terminate()
        self.forget_all()

    async def _is_alive(self, connection: Connection, deadline: float) -> bool:
        """Ask a stale connection; it is dropped unless it answers."""
        is_alive = False
        try:
            is_alive = not connection.is_closed() and await self._answers(connection, deadline)
        finally:
            if not is_alive:
                self.drop(connection)
        return is_alive

    async def _open(self, timeout: float) -> Connection:
        self._opening += 1
        try:
            connection = await self.connect(timeout)
        except BaseException:
            self._opening -= 1
            self._pass_on(None)
            raise
        self._opening -= 1
        self._members.add(connection)
        return connection

    def _pass_on(self, connection: Connection | None) -> None:
        """To the first who waits; None tells them that a place is free."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        if connection is not None:
            self._idle.append((asyncio.get_running_loop().time(), connection))
