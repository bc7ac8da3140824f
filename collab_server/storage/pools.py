"""All connections of a node to PostgreSQL but the prober's: for writes, for reads, and some that callers own.

Reads have connections of their own, so that what is written does not starve them; only so many of those for writes are
for waiting for locks (`permits`). A timer that gives one up
*terminates* it: nothing is cancelled, nothing waits for a frozen server to acknowledge. What one connection teaches
about the network - silence - holds for the idle ones of both kinds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from collab_server.errors import ClientError, Paused
from collab_server.storage.condition import Condition
from collab_server.storage.connections import CONNECT_SECONDS, Connections
from collab_server.storage.permits import Permits
from collab_server.storage.server import READING, WRITING, Server, tell
from collab_server.telemetry.metrics import Labels, Metrics

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = ["Pools"]

ASK_SECONDS = 0.5
"""For a stale connection to say that it is alive: a new one still fits into a command after that."""
TRIES = 3
GONE_SECONDS = 0.1
"""For a session that was ended to be gone: as long as it goes, PostgreSQL counts it."""


class Pools:
    """See the module. `condition` is told of trouble."""

    def __init__(
        self,
        server: Server,
        condition: Condition,
        *,
        writes: int,
        reads: int,
        permits: Permits | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`writes` and `reads` are how many connections there are of each, at the most; `permits` are those to wait on
        writing ones. `metrics` tell of them.
        """
        self._server = server
        self._condition = condition
        self.writes = Connections(partial(server.connect, settings=WRITING), self._answers, writes)
        self.reads = Connections(server.connect, self._answers, reads)
        self.permits = permits or Permits(writes)
        self._owned: set[Connection] = set()
        metrics = metrics or Metrics()
        times = metrics.time("database_wait_seconds")
        self._waits = {self.writes: times.of("writes"), self.reads: times.of("reads")}
        metrics.gauges("database_connections", self._states)
        metrics.gauges("database_connections_most", lambda: self._told("most"))
        metrics.gauges("database_waiting", lambda: self._told("waiting"))
        metrics.gauges("queue_length", lambda: {("locks",): self.permits.waiting})

    async def session(self, settings: Mapping[str, str]) -> Connection:
        """A connection of the caller's own, who terminates it; it is cut when the database is found to be away."""
        connection = await self._server.connect(CONNECT_SECONDS, settings)
        self._owned.add(connection)
        connection.add_termination_listener(lambda _: self._owned.discard(connection))
        return connection

    async def take(self, pool: Connections, deadline: float) -> Connection:
        """A connection, until `deadline` (time of the loop). Raises `Paused`."""
        began = perf_counter()
        try:
            return await pool.take(deadline)
        except ClientError:
            raise
        except Exception as error:
            self._condition.doubt()
            raise Paused() from error
        finally:
            self._waits[pool].note(perf_counter() - began)

    def _told(self, what: str) -> dict[Labels, float]:
        return {("writes",): getattr(self.writes, what), ("reads",): getattr(self.reads, what)}

    def _states(self) -> dict[Labels, float]:
        return {(*pool, what): n for what in ("in_use", "idle") for pool, n in self._told(what).items()}

    def give_up(self, connection: Connection) -> None:
        """Nothing has come on this connection in time, so nothing may come on the idle ones either."""
        connection.terminate()
        self.suspect()

    def suspect(self) -> None:
        """Let the idle ones be asked before they are used."""
        self.writes.suspect()
        self.reads.suspect()

    def replace(self) -> None:
        """The address leads to another server: use no connection any more that is open now."""
        self.writes.replace_all()
        self.reads.replace_all()

    def forget(self) -> None:
        """The database is away: use no connection any more that is open now, and let nobody wait."""
        self.writes.forget_all()
        self.reads.forget_all()
        for connection in list(self._owned):
            connection.terminate()

    def terminate(self) -> None:
        """Cut every connection, lent out or not."""
        self.writes.terminate()
        self.reads.terminate()

    def make_room(self) -> None:
        """Do with one connection less, as the server has no more and stores nothing now: whether it does again is asked
        on a new one. Reads keep theirs for as long as there are some for writes, and one in any case."""
        if not self.writes.shed():
            self.reads.shed(least=1)

    async def prepare_writes(self, seconds: float) -> bool:
        """Have one for the first who stores something: where the server has none, one of those for reads, but not the
        last. False where none of them is of use.

        That it has none is not believed at once: those that were lost may still be going, or somebody who stores
        something has just opened the last one, which is as good. Raises where there is none for those who read either.
        """
        tries_left = TRIES
        while self.writes.is_empty:
            if not tries_left:
                return await self._give(self.reads, self.writes, WRITING, seconds)
            tries_left -= 1
            try:
                self.writes.adopt(await self.writes.connect(seconds))
            except asyncpg.TooManyConnectionsError:
                if self.reads.is_empty:
                    raise
                await asyncio.sleep(GONE_SECONDS)
        return True

    async def prepare_reads(self, seconds: float) -> None:
        """Have one for the first who reads: where the server has none, one of those for writes."""
        if self.reads.is_empty:
            try:
                self.reads.adopt(await self.reads.connect(seconds))
            except asyncpg.TooManyConnectionsError:
                if not await self._give(self.writes, self.reads, READING, seconds):
                    raise

    async def _give(
        self, giving: Connections, to: Connections, settings: Mapping[str, str], seconds: float
    ) -> bool:
        """Have one of those among these, the next that is free: the same one, as what is ended to make room may be
        somebody else's then. False where there is none, it would be the last for reads, none is free in time, or it
        can only be read on.
        """
        if giving.is_empty or (giving.is_last and to is self.writes):
            return False
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            connection = await giving.take(deadline)
        except Paused:
            return False
        giving.part_with(connection)
        timer = loop.call_at(deadline, connection.terminate)
        try:
            await tell(connection, settings)
            # As PostgreSQL was told when the session began.
            is_read_only = await connection.fetchval("SELECT current_setting('transaction_read_only') = 'on'")
        except BaseException:
            connection.terminate()
            raise
        finally:
            timer.cancel()
        if is_read_only and to is self.writes:
            connection.terminate()
            return False
        to.adopt(connection)
        return True

    async def _answers(self, connection: Connection, deadline: float) -> bool:
        """Whether a connection that was idle still leads to the database. Where it is silent, no stale one does."""
        loop = asyncio.get_running_loop()
        is_silent = False

        def give_up() -> None:
            nonlocal is_silent
            is_silent = True
            connection.terminate()

        timer = loop.call_at(min(deadline, loop.time() + ASK_SECONDS), give_up)
        try:
            await connection.execute("SELECT 1")
        except Exception:
            self._condition.doubt()
            if is_silent:
                self.writes.drop_stale()
                self.reads.drop_stale()
            return False
        else:
            return True
        finally:
            timer.cancel()
