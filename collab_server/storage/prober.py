"""The prober: on a connection of its own it asks every half second whether the database is there, and it alone judges.

A standby, or a server that is the primary no more, is not the database, nor is a pooler that does not keep sessions
whole; one that was started anew, or that had to be
connected to anew, may be another than a moment ago, which is told (`Condition.returned`). Runs as one task until it is
stopped; never waits longer than `PROBE_SECONDS` for the server.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from collab_server.storage.clock import ClockWatch
from collab_server.storage.condition import Condition
from collab_server.storage.failures import in_words
from collab_server.storage.poolers import SharesSessions, process_of, refuse_shared
from collab_server.storage.pools import Pools
from collab_server.storage.server import Server

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = ["Prober"]

PROBE_SECONDS = 1.0
PROBE_EVERY_SECONDS = 0.5
PROBE_GAP_SECONDS = 0.1  # however often the prober is woken
TRIES = 3
FULL_AGAIN_SECONDS = 10.0
"""Where the disk is found full again so soon, what was tried has said too little of it; at most so long until it is
believed again."""
STATEMENT_TIMEOUT = "2s"  # as the server spells that of `SESSION`


class Prober:
    """See the module. What it finds goes into `condition`; the connections in `pools` are dropped accordingly.

    `clock` is what it knows of the time there.
    """

    def __init__(self, server: Server, condition: Condition, pools: Pools) -> None:
        self._server = server
        self._condition = condition
        self._pools = pools
        self.clock = ClockWatch()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._server_started_at: datetime | None = None
        self._has_returned = False
        self._process = 0
        self._full_since: float | None = None
        self._room_at = -FULL_AGAIN_SECONDS
        self._full_seconds = 0.0

    def start(self) -> None:
        """Begin to look, and go on until stopped."""
        self._task = asyncio.create_task(self._watch(), name="database-prober")

    async def stop(self) -> None:
        """End it, within a second. What is known from then on is that the database is not there."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=1)
            self._task = None
        self._condition.problem = "stopped"
        self._set(False, self._condition.problem)
        self._drop()

    async def _watch(self) -> None:
        trouble = self._condition.trouble
        while True:
            trouble.clear()
            await self._probe()
            await asyncio.sleep(PROBE_GAP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS - PROBE_GAP_SECONDS):
                    await trouble.wait()

    async def _probe(self) -> None:
        """Ask the database how it is, and make the answer known. Never raises."""
        condition = self._condition
        try:
            await self._examine()
        except Exception as error:
            self._drop()
            self._set(False, in_words(error, self._server))
        else:
            self._set(True, condition.hindrance_in_words)
            if self._has_returned:
                self._has_returned = False
                condition.returned()

    async def _examine(self) -> None:
        # A lost connection may be all that was lost, so new ones decide. A stall of our own loop, which makes
        # every timer late, has to last for two probes to be mistaken for the database's.
        loop = asyncio.get_running_loop()
        last_try_at = loop.time() + 1.5 * PROBE_SECONDS
        for tries_left in reversed(range(TRIES)):
            try:
                was_read_only, is_asked_anew = self._condition.hindrance == "read-only", True
                if self._connection is None:
                    self._connection = await self._connect()
                    self._has_returned = True
                elif was_read_only:
                    is_asked_anew = await self._connect_anew()
                connection = self._connection
                is_read_only = await self._ask(connection) or not is_asked_anew
                await self._judge(connection, was_read_only=was_read_only, is_read_only=is_read_only)
                if not is_read_only:
                    await self._prepare_writes()
                await self._pools.prepare_reads(PROBE_SECONDS)
                return
            except Exception:
                self._drop()
                self._pools.suspect()
                if not tries_left or loop.time() > last_try_at:
                    raise

    async def _judge(self, connection: Connection, *, was_read_only: bool, is_read_only: bool) -> None:
        condition = self._condition
        if is_read_only:
            condition.hindrance = "read-only"
        elif was_read_only:
            condition.hindrance = None
            # The sessions of those may be read-only for as long as they last; of those that read it is no matter.
            self._pools.writes.replace_all()
        elif condition.hindrance == "full" and await self._has_room(connection):
            condition.hindrance = None

    async def _prepare_writes(self) -> None:
        condition = self._condition
        if not await self._pools.prepare_writes(PROBE_SECONDS):
            condition.hindrance = condition.hindrance or "crowded"
        elif condition.hindrance == "crowded":
            condition.hindrance = None

    async def _has_room(self, connection: Connection) -> bool:
        """Whether the disk takes something again. Believed ever more seldom where it was full all the same: the state
        would be another with each command."""
        now = asyncio.get_running_loop().time()
        if self._full_since is None:
            self._full_since = now
            is_again = now < self._room_at + FULL_AGAIN_SECONDS
            self._full_seconds = (
                min(max(1.0, 2 * self._full_seconds), FULL_AGAIN_SECONDS) if is_again else 0.0
            )
        if now < self._full_since + self._full_seconds or not await _can_write(connection):
            return False
        self._full_since, self._room_at = None, now
        return True

    async def _connect(self) -> Connection:
        """A connection to look on. Raises `SharesSessions` where a pooler does not keep it whole."""
        connection = await self._server.find(PROBE_SECONDS)
        timer = asyncio.get_running_loop().call_later(PROBE_SECONDS, connection.terminate)
        try:
            self._process = await process_of(connection)
            if self._process != connection.get_server_pid():
                connect = partial(self._server.connect, PROBE_SECONDS / 2)
                await refuse_shared(connection, connect, self._server.address)
        except BaseException:
            connection.terminate()
            raise
        finally:
            timer.cancel()
        return connection

    async def _connect_anew(self) -> bool:
        """Look on another connection from now on: of a role or a database only a new session is told, and the address
        may lead to another server. False where there is none to be had; the one there is stays, and reads go on."""
        try:
            connection = await self._connect()
        except asyncpg.TooManyConnectionsError:
            self._pools.make_room()
            return False
        self._drop()
        self._connection = connection
        return True

    async def _ask(self, connection: Connection) -> bool:
        """Whether it was told to take no writes. Raises where it is not the database, or not as it has to be."""
        loop = asyncio.get_running_loop()
        began, asked_at = loop.time(), perf_counter()  # the loop's clock may have steps of 1 ms
        our_time = time.time()
        timer = loop.call_later(PROBE_SECONDS, connection.terminate)
        try:
            found = await connection.fetchrow(
                "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,"
                " pg_is_in_recovery() AS is_standby,"
                " pg_postmaster_start_time() AS started_at,"
                " pg_backend_pid() AS process,"
                " current_setting('statement_timeout') AS statement_timeout,"
                " clock_timestamp() AS now"
            )
        except Exception as error:
            if loop.time() >= began + PROBE_SECONDS:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        answered_at = perf_counter()
        assert found is not None
        # Where several are named, one that takes no writes may be a former primary, and another one is looked for.
        is_read_only: bool = found["is_read_only"]
        if is_read_only and (found["is_standby"] or self._server.others):
            why = "it is a standby" if found["is_standby"] else "default_transaction_read_only is on there"
            raise ConnectionError(f"{self._server.address} is read-only: {why}")
        if found["process"] != self._process:
            raise SharesSessions(self._server.address)
        if found["statement_timeout"] != STATEMENT_TIMEOUT:
            raise ConnectionError(f"a session at {self._server.address} does not keep its statement_timeout")
        if found["started_at"] != self._server_started_at:
            if self._server_started_at is not None:
                self._pools.replace()
            self._server_started_at = found["started_at"]
            self._has_returned = True
        self._condition.latency_seconds = answered_at - asked_at
        self.clock.compare(our_time, found["now"].timestamp(), our_time + answered_at - asked_at)
        return is_read_only

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _set(self, is_reachable: bool, problem: str | None) -> None:
        was_reachable = self._condition.is_reachable
        self._condition.set(is_reachable, problem)
        if was_reachable and not is_reachable:
            self._pools.forget()


async def _can_write(connection: Connection) -> bool:
    """Whether the disk takes a page again. Leaves nothing behind."""
    timer = asyncio.get_running_loop().call_later(PROBE_SECONDS, connection.terminate)
    try:
        await connection.execute(
            "BEGIN; "
            "CREATE TEMPORARY TABLE collab_room (filler text) ON COMMIT DROP; "
            "INSERT INTO collab_room SELECT repeat('x', 1000) FROM generate_series(1, 1000); "
            "ROLLBACK"
        )
    except asyncpg.DiskFullError:
        await connection.execute("ROLLBACK")
        return False
    except asyncpg.InsufficientPrivilegeError:
        await connection.execute("ROLLBACK")  # may not make temporary tables: let the next command find out
    finally:
        timer.cancel()
    return True
