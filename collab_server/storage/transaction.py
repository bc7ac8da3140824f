"""One transaction on one connection, from BEGIN to COMMIT.

What ends it: COMMIT, ROLLBACK, or its deadline, at which the connection is terminated. `Paused` with the outcome
`unknown` is raised only where the COMMIT itself was cut.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import asyncpg

from collab_server.storage.condition import Knows
from collab_server.storage.failures import Contended, Locked, is_rolled_back, is_unusable, unknown
from collab_server.storage.permits import GLANCE_SECONDS
from collab_server.storage.pools import Pools

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = ["Transaction"]

CUT_SECONDS = 0.05
"""So long before its deadline a transaction waits for no lock any more."""


class Transaction:
    """One transaction, READ COMMITTED; the body of `async with` runs in it. Statements one at a time.

    `recorded` collects what the services recorded; it may be told to others only after the block has been
    left without an error. Left with one, nothing is stored.
    """

    __slots__ = (
        "_condition",
        "_connection",
        "_deadline",
        "_lock_seconds",
        "_locking",
        "_pools",
        "_timer",
        "execute",
        "fetch",
        "fetchrow",
        "fetchval",
        "recorded",
    )

    def __init__(
        self, pools: Pools, condition: Knows, deadline: float, *, lock_seconds: float | None = None
    ) -> None:
        """`deadline` is a time of the loop; `lock_seconds` how long to wait for each lock, `Permits.prompt_seconds` if
        None."""
        self._pools = pools
        self._condition = condition
        self._deadline = deadline
        self._lock_seconds = lock_seconds
        self._locking: str | None = None
        self.recorded: list[Any] = []

    async def __aenter__(self) -> Self:
        connection, self._timer = await self._begin()
        self._connection = connection
        # The connection's own methods, so that a statement costs no call of ours.
        self.execute = connection.execute
        self.fetch = connection.fetch
        self.fetchrow = connection.fetchrow
        self.fetchval = connection.fetchval
        return self

    def is_to_lock(self, name: str) -> None:
        """Say what the next statement locks, so that those who wait for it can stand behind each other.

        Raises `Locked` where some do, so as not to overtake them.
        """
        self._locking = name
        if self._lock_seconds is None and self._pools.permits.is_waited_for(name):
            raise Locked(name)

    @property
    def glances(self) -> bool:
        """Whether it is to wait for next to nothing, so that what is locked is better passed over than waited for:
        PostgreSQL logs each wait that came to nothing as an error."""
        return self._seconds_for_locks == GLANCE_SECONDS

    @property
    def _seconds_for_locks(self) -> float | None:
        return self._pools.permits.prompt_seconds if self._lock_seconds is None else self._lock_seconds

    async def executemany(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """One statement for many rows, in one round trip."""
        await self._connection.executemany(sql, rows)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._commit(self._connection)
            else:
                await self._roll_back(self._connection, error)
        finally:
            self._timer.cancel()
            # The connection is another's now: whoever kept this transaction must not reach it.
            del self.execute, self.fetch, self.fetchrow, self.fetchval, self._connection

    async def _begin(self) -> tuple[Connection, asyncio.TimerHandle]:
        loop = asyncio.get_running_loop()
        condition, pools, deadline = self._condition, self._pools, self._deadline
        while condition.is_up and loop.time() < deadline:
            connection = pools.writes.take_idle() or await pools.take(pools.writes, deadline)
            timer = loop.call_at(deadline, pools.give_up, connection)
            try:
                await connection.execute(self._beginning(deadline - loop.time()))
            except BaseException as error:
                timer.cancel()
                is_lost = is_unusable(connection, error)
                pools.writes.drop(connection)
                if not (is_lost and isinstance(error, Exception)):
                    condition.raise_for(error, is_lost=is_lost)
                condition.doubt()  # it died while idle (a restart, pg_terminate_backend): take another
            else:
                return connection, timer
        raise condition.refusal()

    def _beginning(self, seconds_left: float) -> str:
        seconds = self._seconds_for_locks
        if seconds is None:
            return "BEGIN"
        # By the ten, for few texts; and over before the deadline, at which the connection would be cut.
        ms = int(100 * min(seconds, seconds_left - CUT_SECONDS)) * 10
        return f"BEGIN; SET LOCAL lock_timeout = {max(1, ms)}"

    async def _commit(self, connection: Connection) -> None:
        if connection.is_closed():
            self._pools.writes.drop(connection)
            self._condition.doubt()
            raise Contended("the connection to the database was lost")  # COMMIT was never sent
        try:
            tag = await connection.execute("COMMIT")
        except BaseException as error:
            self._pools.writes.drop(connection)
            self._condition.doubt()
            if not isinstance(error, Exception) or is_rolled_back(error):
                self._condition.raise_for(error, is_lost=False)
            raise unknown() from error
        self._pools.writes.give_back(connection)
        if tag != "COMMIT":
            raise RuntimeError("a statement failed and the service went on; the transaction was rolled back")

    async def _roll_back(self, connection: Connection, error: BaseException) -> None:
        is_lost = is_unusable(connection, error)
        if is_lost or not isinstance(error, Exception):
            self._pools.writes.drop(connection)  # when cancelled, a statement may be under way
        else:
            try:
                await connection.execute("ROLLBACK")
            except Exception:
                self._pools.writes.drop(connection)  # nothing is stored either way, and `error` says more
                self._condition.doubt()
            except BaseException:
                self._pools.writes.drop(connection)
                raise
            else:
                self._pools.writes.give_back(connection)
        paused = self._condition.paused_by(error, is_lost=is_lost)
        if isinstance(paused, Locked):
            paused.name = self._locking
        if paused is not None:
            raise paused from error
