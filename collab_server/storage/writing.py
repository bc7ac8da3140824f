"""What changes something: a transaction, or one statement that is one by itself, begun again where repeating helps.

That is after a deadlock, a serialization failure or a connection lost before COMMIT, up to three times; and where
something is locked, with the permits for it. All of it ends by the deadline that the caller gives, a time of the loop.
Belongs to one event loop; any number of callers at once, and nothing runs here but them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from collab_server.storage.condition import Knows
from collab_server.storage.failures import Contended, Locked, is_unusable, unknown
from collab_server.storage.pools import Pools
from collab_server.storage.server import LOCK_SECONDS
from collab_server.storage.transaction import Transaction

if TYPE_CHECKING:
    Record: TypeAlias = asyncpg.Record

__all__ = ["Writing"]

T = TypeVar("T")

TRIES = 3
RETRY_SECONDS = 0.1  # at most: two that were in each other's way come back one after the other


class Writing:
    """On the connections of `pools`, by what is `known` of the database."""

    __slots__ = ("_chance", "_known", "_pools")

    def __init__(self, pools: Pools, known: Knows, chance: Callable[[], float]) -> None:
        self._pools = pools
        self._known = known
        self._chance = chance

    async def run(self, work: Callable[[Transaction], Awaitable[T]], deadline: float, *, waits: bool) -> T:
        """See `Database.run`."""
        try:
            return await self._try(work, deadline)
        except Locked as locked:
            if not waits:
                raise
            name = locked.name
        return await self._pools.permits.wait(name, deadline, partial(self._try, work, deadline))

    async def write(
        self, sql: str, arguments: tuple[Any, ...], deadline: float, *, waits: bool
    ) -> list[Record]:
        """See `Database.write`."""
        try:
            return await self._try_statement(sql, arguments, deadline)
        except Locked:
            if not waits:
                raise

        async def work(tx: Transaction) -> list[Record]:
            return await tx.fetch(sql, *arguments)

        return await self._pools.permits.wait(None, deadline, partial(self._try, work, deadline))

    async def _try(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        deadline: float,
        lock_seconds: float | None = None,
    ) -> T:
        """Raises `Locked` at once: to wait for more is not up to us."""
        tries_left = TRIES
        while True:
            tries_left -= 1
            try:
                async with Transaction(self._pools, self._known, deadline, lock_seconds=lock_seconds) as tx:
                    result = await work(tx)
            except Contended as contended:
                if isinstance(contended, Locked) or not tries_left:
                    raise
            else:
                return result
            await asyncio.sleep(self._chance() * RETRY_SECONDS)

    async def _try_statement(self, sql: str, arguments: tuple[Any, ...], deadline: float) -> list[Record]:
        loop = asyncio.get_running_loop()
        condition, pools = self._known, self._pools
        tries_left = TRIES
        while condition.is_up and loop.time() < deadline:
            tries_left -= 1
            connection = pools.writes.take_idle() or await pools.take(pools.writes, deadline)
            timer = loop.call_at(deadline, pools.give_up, connection)
            try:
                rows = await connection.fetch(sql, *arguments)
            except BaseException as error:
                if is_unusable(connection, error) or not isinstance(error, Exception):
                    pools.writes.drop(connection)
                    condition.doubt()
                    if not isinstance(error, Exception):
                        raise
                    raise unknown() from error
                pools.writes.give_back(connection)
                paused = condition.paused_by(error, is_lost=False)
                # Cut while it is carried out again, nobody could tell whether it was committed: then rather not.
                has_time = deadline - loop.time() > LOCK_SECONDS + RETRY_SECONDS
                may_help = isinstance(paused, Contended) and not isinstance(paused, Locked)
                if not (may_help and tries_left and has_time):
                    condition.raise_for(error, is_lost=False)
            else:
                pools.writes.give_back(connection)
                return rows
            finally:
                timer.cancel()
            await asyncio.sleep(self._chance() * RETRY_SECONDS)
        raise condition.refusal()
