"""What changes something: a transaction, or one statement that is one by itself, begun again where repeating helps.

That is after a deadlock, a serialization failure, a lock timeout or a connection lost before COMMIT: up to three tries.
All of it ends by the deadline that the caller gives, a time of the loop.
Belongs to one event loop; any number of callers at once, and nothing runs here but them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import asyncpg

from collab_server.storage.condition import Knows
from collab_server.storage.failures import Contended, is_unusable, unknown
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

    async def run(self, work: Callable[[Transaction], Awaitable[T]], deadline: float) -> T:
        """See `Database.run`."""
        for _ in range(TRIES - 1):
            with contextlib.suppress(Contended):
                async with Transaction(self._pools, self._known, deadline) as tx:
                    result = await work(tx)
                return result
            await asyncio.sleep(self._chance() * RETRY_SECONDS)
        async with Transaction(self._pools, self._known, deadline) as tx:
            result = await work(tx)
        return result

    async def write(self, sql: str, arguments: tuple[Any, ...], deadline: float) -> list[Record]:
        """See `Database.write`."""
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
                # Cut while it waits for a lock again, nobody could tell whether it was committed: then rather not.
                has_time = deadline - loop.time() > LOCK_SECONDS + RETRY_SECONDS
                if not (isinstance(paused, Contended) and tries_left and has_time):
                    condition.raise_for(error, is_lost=False)
            else:
                pools.writes.give_back(connection)
                return rows
            finally:
                timer.cancel()
            await asyncio.sleep(self._chance() * RETRY_SECONDS)
        raise condition.refusal()
