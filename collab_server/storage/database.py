"""The way to PostgreSQL: transactions for commands, single reads, and the knowledge of whether it is there.

Promises:

* A command waits for nothing but Postgres and at most `COMMAND_SECONDS` in all: for what it reads before its
  transaction (`Patience`), for a connection, for locks, for the commit, and behind others that share the
  transaction. A read by itself waits as long. Whatever ends a wait early is `errors.Paused`: its `outcome` is
  `none` when nothing was stored, and `unknown` only where the COMMIT itself was cut.
* Whoever waits for what somebody else has locked holds up nobody else (`permits`).
* Once the database is known to be away, commands and reads are refused at once, without touching a socket. So they are
  where it is there but not made ready, on a database that is `closed`: whoever asks too early, through a door or from
  the background, hears `Paused`, and never what Postgres says about tables that are not there.
* No connection that was open before an absence is used after it, nor one to the server before, once the address leads
  to another (a failover too quick to be an absence). Whoever has to look whether that one has all that was committed
  is told (`on_return`).
* Connections that the network forgot while they were idle (a firewall that swallows what comes on them) cost no
  command: one that was not used lately is asked first (`connections`), and keep-alive packets let none be forgotten.
* What Postgres says about a statement (a violated constraint, a missing table) is raised as it is: it is a
  bug, or something the caller asked to know.

How waits end: a timer *terminates the connection*. Nothing is cancelled, nothing waits for a frozen server to
acknowledge, and what is left on the server's side ends by the session's own limits (`server`).

The parts, downwards: `database` (this one: what callers do), `writing` (what is begun again), `transaction`, `prober`
(judges, in one task, whether the database is there), `pools` (all connections), `condition` (what is known),
`connections` (some, lent to one caller each), `permits` (who may wait for locks on them), `server` (where it is, how a
session begins), `failures` (what an error means). Any number of callers at once.
`stop` ends the prober and cuts all.

Why not `asyncpg.Pool`: it resets a session at every release (a round trip; sessions here have no state),
waits for frozen connections when it closes or expires them, and cannot forget all its connections at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import asyncpg

from collab_server.config.values import DatabaseSection
from collab_server.storage.condition import Condition, Knows, Readiness
from collab_server.storage.failures import in_words, is_unusable
from collab_server.storage.permits import Permits
from collab_server.storage.pools import Pools
from collab_server.storage.prober import Prober
from collab_server.storage.server import LOCK_SECONDS, Server
from collab_server.storage.statements import SpannedStatements, Statements
from collab_server.storage.transaction import Transaction
from collab_server.storage.writing import Writing
from collab_server.telemetry.metrics import Metrics
from collab_server.telemetry.spans import Spans

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Record: TypeAlias = asyncpg.Record

__all__ = ["COMMAND_SECONDS", "LOCK_SECONDS", "Database", "Patience", "Reads", "Runs", "Transaction"]

T = TypeVar("T")

COMMAND_SECONDS = 1.8  # leaves a client that was promised an answer within 2 s a margin for the way back


class Reads(Protocol):
    """Where single statements that only read are answered: see `Database.fetch`."""

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]: ...

    async def fetchrow(self, sql: str, *arguments: Any) -> Record | None: ...

    async def fetchval(self, sql: str, *arguments: Any) -> Any: ...


class Runs(Protocol):
    """What carries out transactions: see `Database.run`."""

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T: ...


class Database:
    """One Postgres database, which may come and go; see the module."""

    def __init__(
        self,
        server: Server,
        *,
        pool_size: int = 10,
        read_pool_size: int = 5,
        metrics: Metrics | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`pool_size` connections serve transactions, `read_pool_size` single reads, one the prober.

        `metrics` tell of them.
        """
        self.server = server
        self._condition = Condition(name=server.database, address=server.address)
        permits = Permits(pool_size, chance=chance)
        self._pools = Pools(
            server, self._condition, writes=pool_size, reads=read_pool_size, permits=permits, metrics=metrics
        )
        self._prober = Prober(server, self._condition, self._pools)
        if metrics is not None:
            metrics.gauge("database_clock_ahead_seconds", lambda: self._prober.clock.ahead_seconds)
        self._chance = chance
        self._go_by(self._condition)

    def _go_by(self, known: Knows) -> None:
        self._known = known
        self._writing = Writing(self._pools, known, self._chance)

    @classmethod
    def of(
        cls,
        section: DatabaseSection,
        *,
        node: str,
        tls: ssl.SSLContext | None = None,
        metrics: Metrics | None = None,
        spans: Spans | None = None,
    ) -> Database:
        """The database of the configuration; `tls` takes the place of a context made of its files.

        Raises `ConfigError` for certificates that cannot be read.
        """
        times = (metrics or Metrics()).time("statement_seconds")
        statements = Statements(times) if spans is None else SpannedStatements(times, spans)
        return cls(
            Server.of(section, node=node, tls=tls, statements=statements),
            pool_size=section.pool_size,
            read_pool_size=section.read_pool_size,
            metrics=metrics,
        )

    def closed(self) -> Database:
        """The same database, by the same connections, for whoever needs it to be made ready: refused before `open`."""
        closed = copy.copy(self)
        closed._go_by(Readiness(self._condition))
        return closed

    def open(self) -> None:
        """It has been made ready: let those in who use this one. Nothing changes where it never was `closed`."""
        if isinstance(self._known, Readiness):
            self._known.open()

    @property
    def is_open(self) -> bool:
        """Whether it was made ready, as far as that is needed: see `closed`."""
        return not isinstance(self._known, Readiness) or self._known.is_open

    # --- what is known

    @property
    def is_up(self) -> bool:
        """The last known: commands can be stored."""
        return self._known.is_up

    @property
    def is_readable(self) -> bool:
        """The last known: reads are answered. Differs from `is_up` while only nothing is stored there."""
        return self._known.is_reachable

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None while all is well."""
        return self._condition.problem

    @property
    def latency_seconds(self) -> float | None:
        """How long the last good look at it took."""
        return self._condition.latency_seconds

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback(is_up)` on the event loop whenever the server comes or goes. It must not wait."""
        self._condition.on_change(callback)

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call `callback()` on the event loop whenever the server may be another than a moment ago.

        That is after the prober had to connect anew, or found that the server was started anew. It must not wait.
        """
        self._condition.on_return(callback)

    async def until_readable(self) -> None:
        """Return once `is_readable`; at once if it is."""
        await self._known.until_reachable()

    async def until_up(self) -> None:
        """Return once `is_up`; at once if it is."""
        await self._known.until_up()

    def describe(self, error: BaseException) -> str:
        """What went wrong, in words for the administrator. Contains no secret."""
        return in_words(error, self.server)

    # --- life

    async def start(self) -> None:
        """Begin to connect in the background, and go on until stopped. Returns at once; see `until_up`."""
        self._prober.start()

    async def stop(self) -> None:
        """End the prober and terminate every connection. Waits for nobody; commands still running are cut."""
        await self._prober.stop()
        self._pools.terminate()

    async def session(self, settings: Mapping[str, str]) -> Connection:
        """A connection of the caller's own, for what is no command (migrations). The caller terminates it.

        It has no deadline, but it is cut too when the database is found to be away. `settings` override those
        of `SESSION`. Raises what asyncpg raises; `describe` puts that into words.
        """
        return await self._pools.session(settings)

    # --- writing

    def transaction(self) -> Transaction:
        """One transaction, tried once, for `async with`.

        Raises `Paused` as the module says. An error of the body leaves nothing stored and is raised on.
        """
        return Transaction(self._pools, self._known, _deadline(None), lock_seconds=LOCK_SECONDS)

    async def run(
        self,
        work: Callable[[Transaction], Awaitable[T]],
        *,
        since: float | None = None,
        waits: bool = True,
    ) -> T:
        """Carry out `work` in a transaction, and begin it again where repeating helps.

        `since` is when its client began to wait for the database (time of the loop); now, if None.

        That is after a deadlock, a serialization failure, a connection lost before COMMIT: up to three tries; and where
        something is locked, as often as `permits` say, or not at all unless it `waits`: then `Locked` is raised. All of
        it within one deadline, each time with a new `Transaction`. Raises as `transaction` does.
        """
        return await self._writing.run(work, _deadline(since), waits=waits)

    async def write(
        self, sql: str, *arguments: Any, since: float | None = None, waits: bool = True
    ) -> list[Record]:
        """One statement that is a transaction by itself, and what it returns; one round trip.

        Begun again where that helps, with the deadline and as long as it `waits`, as `run` does; in a transaction of
        several statements where something is locked. Raises as `transaction` does, but where the connection is lost
        under way nobody can tell whether the statement was committed: then the outcome is `unknown`.
        """
        return await self._writing.write(sql, arguments, _deadline(since), waits=waits)

    # --- reading

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """Rows, outside of any transaction. Raises `Paused` when there is no answer within `COMMAND_SECONDS`."""
        return await self._read(_fetch, sql, arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Record | None:
        """The first row or None; otherwise as `fetch`."""
        return await self._read(_fetchrow, sql, arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row, or None; otherwise as `fetch`."""
        return await self._read(_fetchval, sql, arguments)

    async def _read(
        self,
        method: Callable[[Connection, str, tuple[Any, ...]], Awaitable[T]],
        sql: str,
        arguments: tuple[Any, ...],
        *,
        since: float | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        condition, pools = self._known, self._pools
        deadline = _deadline(since)
        while condition.is_reachable and loop.time() < deadline:
            connection = pools.reads.take_idle() or await pools.take(pools.reads, deadline)
            timer = loop.call_at(deadline, pools.give_up, connection)
            try:
                result = await method(connection, sql, arguments)
            except BaseException as error:
                is_lost = is_unusable(connection, error)
                if is_lost and isinstance(error, Exception):
                    pools.reads.drop(connection)
                    condition.doubt()
                    continue  # a read may be repeated
                if isinstance(error, Exception):
                    pools.reads.give_back(connection)
                else:
                    pools.reads.drop(connection)
                condition.raise_for(error, is_lost=is_lost)
            else:
                pools.reads.give_back(connection)
                return result
            finally:
                timer.cancel()
        raise condition.refusal()


class Patience:
    """The database as one command reads it: all it does together waits no longer than one statement.

    Only waiting for the database counts, not what the command does in between: Library has limits of its own.
    """

    __slots__ = ("_database", "_spent_seconds")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._spent_seconds = 0.0

    @property
    def since(self) -> float:
        """When the command would have begun to wait, had it done nothing else (time of the loop)."""
        return asyncio.get_running_loop().time() - self._spent_seconds

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """As `Database.fetch`."""
        return await self._read(_fetch, sql, arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Record | None:
        """As `Database.fetchrow`."""
        return await self._read(_fetchrow, sql, arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """As `Database.fetchval`."""
        return await self._read(_fetchval, sql, arguments)

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """As `Database.run`."""
        with self._waiting() as since:
            return await self._database.run(work, since=since)

    async def _read(
        self,
        method: Callable[[Connection, str, tuple[Any, ...]], Awaitable[T]],
        sql: str,
        arguments: tuple[Any, ...],
    ) -> T:
        with self._waiting() as since:
            return await self._database._read(method, sql, arguments, since=since)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[float]:
        since = self.since
        try:
            yield since
        finally:
            self._spent_seconds = asyncio.get_running_loop().time() - since


def _deadline(since: float | None) -> float:
    return (asyncio.get_running_loop().time() if since is None else since) + COMMAND_SECONDS


def _fetch(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[list[Record]]:
    return connection.fetch(sql, *arguments)


def _fetchrow(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[Record | None]:
    return connection.fetchrow(sql, *arguments)


def _fetchval(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[Any]:
    return connection.fetchval(sql, *arguments)
