"""The way to PostgreSQL: transactions for commands, single reads, and the knowledge of whether it is there.

Promises:

* A command waits for nothing but Postgres and at most `COMMAND_SECONDS` in all: for what it reads before its
  transaction (`Patience`), for a connection, for locks, for the commit, and behind others that share the
  transaction. A read by itself waits as long. Whatever ends a wait early is `errors.Paused`: its `outcome` is
  `none` when nothing was stored, and `unknown` only where the COMMIT itself was cut.
* Once the database is known to be away, commands and reads are refused at once, without touching a socket.
* No connection that was open before an absence is used after it, nor one to the server before, once the address leads
  to another (a failover too quick to be an absence). Whoever has to look whether that one has all that was committed
  is told (`on_return`).
* Connections that the network forgot while they were idle (a firewall that swallows what comes on them) cost no
  command: one that was not used lately is asked first (`share`), and keep-alive packets let none be forgotten.
* What Postgres says about a statement (a violated constraint, a missing table) is raised as it is: it is a
  bug, or something the caller asked to know.

How waits end: a timer *terminates the connection*. Nothing is cancelled, nothing waits for a frozen server to
acknowledge, and what is left on the server's side ends by the session's own limits (`SESSION`), so that
neither a frozen node nor a lost packet can hold a topic for longer than two seconds.

What runs concurrently: any number of callers over two shares of connections (writes; reads, so that commands
that wait for locks do not starve them), and one task, the prober, on a connection of its own. The prober
alone judges whether the database is there; whoever has trouble wakes it. `stop` ends the prober and cuts all.

Why not `asyncpg.Pool`: it resets a session at every release (a round trip; sessions here have no state),
waits for frozen connections when it closes or expires them, and cannot forget all its connections at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, Self, TypeAlias, TypeVar

import asyncpg

from collab_server.errors import ClientError, Paused
from collab_server.storage.share import CONNECT_SECONDS, Share

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
    Record: TypeAlias = asyncpg.Record

__all__ = ["COMMAND_SECONDS", "LOCK_SECONDS", "Database", "Patience", "Reads", "Transaction"]

T = TypeVar("T")

log = logging.getLogger(__name__)

COMMAND_SECONDS = 1.8  # leaves a client that was promised an answer within 2 s a margin for the way back
LOCK_SECONDS = 0.8  # for one lock: twice that, and the pause between, is less than a command has
PROBE_SECONDS = 1.0
ASK_SECONDS = (
    0.5  # for a stale connection to say that it is alive: a new one still fits into a command after that
)
PROBE_EVERY_SECONDS = 0.5
PROBE_GAP_SECONDS = 0.1  # however often the prober is woken
TRIES = 3
RETRY_SECONDS = 0.1  # at most: two that were in each other's way come back one after the other

SESSION = {
    # All that is ours is named with its schema. Another role may own `public`, or a schema that is called like ours,
    # and a function of theirs that fits an argument better than the built-in one would run in our name.
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": "2000",
    "lock_timeout": f"{LOCK_SECONDS * 1000:.0f}",
    "idle_in_transaction_session_timeout": "2000",
    "TimeZone": "UTC",
    "jit": "off",  # every statement of ours is small
    "plan_cache_mode": "force_generic_plan",  # planning `comment.add` anew takes longer than carrying it out
}

# A connection plans its statements once, and on an empty database it plans to read whole tables. What changes something
# finds a few rows by an index, always; what only reads, many rows at a time, is better left to the planner.
_WRITING = {"enable_seqscan": "off"}

# Firewalls and NAT gateways forget what is silent for some minutes; what does not take our bytes is as good as gone.
_KEEP_ALIVE = {
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}

_AWAY = ("08", "57P", "58", "25P03", "25006", "53300")  # the server, or its connection, is gone or of no use
_CONTENDED = ("40", "55P03")  # repeat it: deadlock, serialization failure, lock timeout
_BUSY = ("53", "57014")
_FULL = "53100"
_ROLLED_BACK = ("23", "25P03", "40")  # answers to COMMIT after which surely nothing is stored


class _Contended(Paused):
    """Nothing was stored, and the same transaction may well succeed if it is begun again at once."""


class Reads(Protocol):
    """Where single statements that only read are answered: see `Database.fetch`."""

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]: ...

    async def fetchrow(self, sql: str, *arguments: Any) -> Record | None: ...

    async def fetchval(self, sql: str, *arguments: Any) -> Any: ...


class Transaction:
    """One transaction, READ COMMITTED; the body of `async with` runs in it. Statements one at a time.

    `recorded` collects what the services recorded; it may be told to others only after the block has been
    left without an error. Left with one, nothing is stored.
    """

    __slots__ = (
        "_connection",
        "_database",
        "_deadline",
        "_timer",
        "execute",
        "fetch",
        "fetchrow",
        "fetchval",
        "recorded",
    )

    def __init__(self, database: Database, deadline: float) -> None:
        self._database = database
        self._deadline = deadline
        self.recorded: list[Any] = []

    async def __aenter__(self) -> Self:
        connection, self._timer = await self._database._begin(self._deadline)
        self._connection = connection
        # The connection's own methods, so that a statement costs no call of ours.
        self.execute = connection.execute
        self.fetch = connection.fetch
        self.fetchrow = connection.fetchrow
        self.fetchval = connection.fetchval
        return self

    async def executemany(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """One statement for many rows, in one round trip."""
        await self._connection.executemany(sql, rows)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self._database._commit(self._connection)
            else:
                await self._database._roll_back(self._connection, error)
        finally:
            self._timer.cancel()
            # The connection is another's now: whoever kept this transaction must not reach it.
            del self.execute, self.fetch, self.fetchrow, self.fetchval, self._connection


class Database:
    """One Postgres database, which may come and go.

    Plain values; `ssl` is None for a connection in clear; `node` names this process in `pg_stat_activity`.
    `pool_size` connections serve transactions, `read_pool_size` single reads, one the prober.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        user: str,
        password: str | None,
        database: str,
        ssl: ssl.SSLContext | None = None,
        pool_size: int = 10,
        read_pool_size: int = 5,
        node: str = "",
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.user = user
        self.name = database
        self.address = f"{host}:{port}"
        self._connect_arguments: dict[str, Any] = {
            "host": host,
            "port": port,
            "user": user,
            "password": password,
            "database": database,
            "ssl": ssl if ssl is not None else False,
            "statement_cache_size": 500,
            "max_cached_statement_lifetime": 0,
        }
        self._application_name = f"collab {node}".strip()
        self._chance = chance
        self._writes = Share(partial(self._connect, settings=_WRITING), self._answers, pool_size)
        self._reads = Share(self._connect, self._answers, read_pool_size)
        self._sessions: set[Any] = set()
        self._prober: Connection | None = None
        self._prober_task: asyncio.Task[None] | None = None
        self._trouble = asyncio.Event()
        self._is_reachable = False
        self._is_full = False
        self._was_up = False  # what the callbacks were last told
        self._callbacks: list[Callable[[bool], None]] = []
        self._server_started_at: datetime | None = None
        self._has_returned = False
        self._return_callbacks: list[Callable[[], None]] = []
        self.problem: str | None = "no connection yet"
        self.latency_seconds: float | None = None

    # What is known

    @property
    def is_up(self) -> bool:
        """The last known: commands can be stored."""
        return self._is_reachable and not self._is_full

    @property
    def is_readable(self) -> bool:
        """The last known: reads are answered. Differs from `is_up` while only the disk is full.

        `problem` says in words what is wrong, `latency_seconds` how long the last good probe took.
        """
        return self._is_reachable

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call `callback(is_up)` on the event loop after each change of `is_up`. It must not wait."""
        self._callbacks.append(callback)

    def on_return(self, callback: Callable[[], None]) -> None:
        """Call `callback()` on the event loop whenever the server may be another than a moment ago.

        That is after the prober had to connect anew, or found that the server was started anew. It must not wait.
        """
        self._return_callbacks.append(callback)

    async def until_up(self) -> None:
        """Return once `is_up`; at once if it is."""
        if self.is_up:
            return
        came = asyncio.Event()

        def note(is_up: bool) -> None:
            if is_up:
                came.set()

        self._callbacks.append(note)
        try:
            await came.wait()
        finally:
            self._callbacks.remove(note)

    # Life

    async def start(self) -> None:
        """Begin to connect in the background, and go on for ever. Returns at once; see `until_up`."""
        self._prober_task = asyncio.create_task(self._watch(), name="database-prober")

    async def stop(self) -> None:
        """End the prober and terminate every connection. Waits for nobody; commands still running are cut."""
        if self._prober_task is not None:
            self._prober_task.cancel()
            await asyncio.wait([self._prober_task], timeout=1)
            self._prober_task = None
        self.problem = "stopped"
        self._set(False, self.problem)
        self._drop_prober()
        self._writes.terminate()
        self._reads.terminate()

    # What callers do

    def transaction(self) -> Transaction:
        """One transaction, tried once, for `async with`.

        Raises `Paused` as the module says. An error of the body leaves nothing stored and is raised on.
        """
        return Transaction(self, asyncio.get_running_loop().time() + COMMAND_SECONDS)

    async def run(self, work: Callable[[Transaction], Awaitable[T]], *, since: float | None = None) -> T:
        """Carry out `work` in a transaction, and begin it again where repeating helps.

        `since` is when its client began to wait for the database (time of the loop); now, if None.

        That is after a deadlock, a serialization failure, a lock timeout, a connection lost before COMMIT: up
        to three tries within one deadline, each with a new `Transaction`. Raises as `transaction` does.
        """
        deadline = _deadline(since)
        for _ in range(TRIES - 1):
            with contextlib.suppress(_Contended):
                async with Transaction(self, deadline) as tx:
                    result = await work(tx)
                return result
            await asyncio.sleep(self._chance() * RETRY_SECONDS)
        async with Transaction(self, deadline) as tx:
            result = await work(tx)
        return result

    async def write(self, sql: str, *arguments: Any, since: float | None = None) -> list[Record]:
        """One statement that is a transaction by itself, and what it returns; one round trip.

        Begun again where that helps, with the deadline of `run`. Raises as `transaction` does, but where the
        connection is lost under way nobody can tell whether the statement was committed: then the outcome is
        `unknown`.
        """
        loop = asyncio.get_running_loop()
        deadline = _deadline(since)
        tries_left = TRIES
        while self.is_up and loop.time() < deadline:
            tries_left -= 1
            connection = self._writes.take_idle() or await self._take(self._writes, deadline)
            timer = loop.call_at(deadline, self._give_up, connection)
            try:
                rows = await connection.fetch(sql, *arguments)
            except BaseException as error:
                if _is_lost(connection, error) or not isinstance(error, Exception):
                    self._writes.drop(connection)
                    self._trouble.set()
                    if not isinstance(error, Exception):
                        raise
                    raise _unknown() from error
                self._writes.give_back(connection)
                paused = self._as_paused(error, is_lost=False)
                # Cut while it waits for a lock again, nobody could tell whether it was committed: then rather not.
                has_time = deadline - loop.time() > LOCK_SECONDS + RETRY_SECONDS
                if not (isinstance(paused, _Contended) and tries_left and has_time):
                    self._raise(error, is_lost=False)
            else:
                self._writes.give_back(connection)
                return rows
            finally:
                timer.cancel()
            await asyncio.sleep(self._chance() * RETRY_SECONDS)
        raise self._refusal()

    async def fetch(self, sql: str, *arguments: Any) -> list[Record]:
        """Rows, outside of any transaction. Raises `Paused` when there is no answer within `COMMAND_SECONDS`."""
        return await self._read(_fetch, sql, arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Record | None:
        """The first row or None; otherwise as `fetch`."""
        return await self._read(_fetchrow, sql, arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        """The first column of the first row, or None; otherwise as `fetch`."""
        return await self._read(_fetchval, sql, arguments)

    async def session(self, settings: Mapping[str, str]) -> Connection:
        """A connection of the caller's own, for what is no command (migrations). The caller terminates it.

        It has no deadline, but it is cut too when the database is found to be away. `settings` override those
        of `SESSION`. Raises what asyncpg raises; `describe` puts that into words.
        """
        connection = await self._connect(CONNECT_SECONDS, settings)
        self._sessions.add(connection)
        connection.add_termination_listener(lambda _: self._sessions.discard(connection))
        return connection

    def describe(self, error: BaseException) -> str:
        """What went wrong, in words for the administrator. Contains no secret."""
        match error:
            case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
                return f'the database refuses the user "{self.user}": {error.args[0]}'
            case asyncpg.InvalidCatalogNameError():
                return f'there is no database "{self.name}" at {self.address}'
            case asyncpg.TooManyConnectionsError():
                return f"the database is out of connections: {error.args[0]}"
            case ConnectionRefusedError():
                return f"nothing listens at {self.address}"
            case TimeoutError():
                return f"{self.address} does not answer"
            case socket.gaierror():
                return f"the host of {self.address} cannot be found"
            case ssl.SSLError():
                return f"no TLS with {self.address}: {error.reason or 'handshake failed'}"
            case asyncpg.PostgresError() | OSError():
                return str(error.args[-1]) if error.args else type(error).__name__
            case _:
                return str(error) or type(error).__name__

    # Transactions

    async def _begin(self, deadline: float) -> tuple[Connection, asyncio.TimerHandle]:
        loop = asyncio.get_running_loop()
        while self.is_up and loop.time() < deadline:
            connection = self._writes.take_idle() or await self._take(self._writes, deadline)
            timer = loop.call_at(deadline, self._give_up, connection)
            try:
                await connection.execute("BEGIN")
            except BaseException as error:
                timer.cancel()
                is_lost = _is_lost(connection, error)
                self._writes.drop(connection)
                if not (is_lost and isinstance(error, Exception)):
                    self._raise(error, is_lost)
                self._trouble.set()  # it died while idle (a restart, pg_terminate_backend): take another
            else:
                return connection, timer
        raise self._refusal()

    async def _commit(self, connection: Connection) -> None:
        if connection.is_closed():
            self._writes.drop(connection)
            self._trouble.set()
            raise _Contended("the connection to the database was lost")  # COMMIT was never sent
        try:
            tag = await connection.execute("COMMIT")
        except BaseException as error:
            self._writes.drop(connection)
            self._trouble.set()
            if not isinstance(error, Exception) or _sqlstate(error).startswith(_ROLLED_BACK):
                self._raise(error, is_lost=False)
            raise _unknown() from error
        self._writes.give_back(connection)
        if tag != "COMMIT":
            raise RuntimeError("a statement failed and the service went on; the transaction was rolled back")

    async def _roll_back(self, connection: Connection, error: BaseException) -> None:
        is_lost = _is_lost(connection, error)
        if is_lost or not isinstance(error, Exception):
            self._writes.drop(connection)  # when cancelled, a statement may be under way
        else:
            try:
                await connection.execute("ROLLBACK")
            except Exception:
                self._writes.drop(connection)  # nothing is stored either way, and `error` says more
                self._trouble.set()
            except BaseException:
                self._writes.drop(connection)
                raise
            else:
                self._writes.give_back(connection)
        paused = self._as_paused(error, is_lost)
        if paused is not None:
            raise paused from error

    # Reads

    async def _read(
        self,
        method: Callable[[Connection, str, tuple[Any, ...]], Awaitable[T]],
        sql: str,
        arguments: tuple[Any, ...],
        *,
        since: float | None = None,
    ) -> T:
        loop = asyncio.get_running_loop()
        deadline = _deadline(since)
        while self._is_reachable and loop.time() < deadline:
            connection = self._reads.take_idle() or await self._take(self._reads, deadline)
            timer = loop.call_at(deadline, self._give_up, connection)
            try:
                result = await method(connection, sql, arguments)
            except BaseException as error:
                is_lost = _is_lost(connection, error)
                if is_lost and isinstance(error, Exception):
                    self._reads.drop(connection)
                    self._trouble.set()
                    continue  # a read may be repeated
                if isinstance(error, Exception):
                    self._reads.give_back(connection)
                else:
                    self._reads.drop(connection)
                self._raise(error, is_lost)
            else:
                self._reads.give_back(connection)
                return result
            finally:
                timer.cancel()
        raise self._refusal()

    # Connections and their errors

    async def _connect(
        self, timeout: float, settings: Mapping[str, str] = MappingProxyType({})
    ) -> Connection:
        connection: Connection = await asyncpg.connect(
            **self._connect_arguments,
            timeout=timeout,
            server_settings={**SESSION, **settings, "application_name": self._application_name},
        )
        _keep_alive(connection)
        return connection

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
            self._trouble.set()
            if is_silent:
                self._writes.drop_stale()
                self._reads.drop_stale()
            return False
        else:
            return True
        finally:
            timer.cancel()

    def _give_up(self, connection: Connection) -> None:
        """Nothing has come on this connection in time, so nothing may come on the idle ones either."""
        connection.terminate()
        self._suspect()

    def _suspect(self) -> None:
        self._writes.suspect()
        self._reads.suspect()

    async def _take(self, share: Share, deadline: float) -> Connection:
        try:
            return await share.take(deadline)
        except ClientError:
            raise
        except Exception as error:
            self._trouble.set()
            raise Paused() from error

    def _refusal(self) -> Paused:
        return Paused("the database has no space left" if self._is_full else "the database is away")

    def _raise(self, error: BaseException, is_lost: bool) -> NoReturn:
        """Raise what the caller may hear of `error`, or `error` itself where it is theirs."""
        paused = self._as_paused(error, is_lost)
        if paused is None:
            raise error
        raise paused from error

    def _as_paused(self, error: BaseException, is_lost: bool) -> Paused | None:
        if isinstance(error, ClientError) or not isinstance(error, Exception):
            return None
        state = _sqlstate(error)
        if state == _FULL:
            self._is_full = True
            self._set(self._is_reachable, "no space left on the database's disk")
            self._trouble.set()
            return self._refusal()
        if state.startswith(_CONTENDED) or isinstance(error, asyncpg.InvalidCachedStatementError):
            return _Contended("the database is busy")
        if state.startswith(_AWAY) or (is_lost and _is_loss(error)):
            self._trouble.set()
            return _Contended("the connection to the database was lost")
        if state.startswith(_BUSY):
            return Paused("the database is busy")
        return None

    # The prober

    async def _watch(self) -> None:
        while True:
            self._trouble.clear()
            await self._probe()
            await asyncio.sleep(PROBE_GAP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_EVERY_SECONDS - PROBE_GAP_SECONDS):
                    await self._trouble.wait()

    async def _probe(self) -> None:
        """Ask the database how it is, and make the answer known. Never raises."""
        try:
            await self._examine()
        except Exception as error:
            self._drop_prober()
            self._set(False, self.describe(error))
        else:
            self._set(True, None if not self._is_full else self.problem)
            if self._has_returned:
                self._has_returned = False
                _call(self._return_callbacks)

    async def _examine(self) -> None:
        # A lost connection may be all that was lost, so new ones decide. A stall of our own loop, which makes
        # every timer late, has to last for two probes to be mistaken for the database's.
        loop = asyncio.get_running_loop()
        last_try_at = loop.time() + 1.5 * PROBE_SECONDS
        for tries_left in reversed(range(TRIES)):
            try:
                if self._prober is None:
                    self._prober = await self._connect(PROBE_SECONDS)
                    self._has_returned = True
                prober = self._prober
                await self._ask(prober)
                if self._is_full:
                    self._is_full = not await self._can_write(prober)
                for share in (self._writes, self._reads):
                    if share.is_empty:
                        share.adopt(await share.connect(PROBE_SECONDS))  # one for the first who comes
                return
            except Exception:
                self._drop_prober()
                self._suspect()
                if not tries_left or loop.time() > last_try_at:
                    raise

    async def _ask(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        timer = loop.call_later(PROBE_SECONDS, connection.terminate)
        try:
            found = await connection.fetchrow(
                "SELECT current_setting('transaction_read_only') = 'on' AS is_read_only,"
                " pg_postmaster_start_time() AS started_at"
            )
        except Exception as error:
            if loop.time() >= began + PROBE_SECONDS:
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()
        assert found is not None
        if found["is_read_only"]:
            raise ConnectionError(f"{self.address} is read-only: a standby, or no longer the primary")
        if found["started_at"] != self._server_started_at:
            if self._server_started_at is not None:
                self._writes.replace_all()
                self._reads.replace_all()
            self._server_started_at = found["started_at"]
            self._has_returned = True
        self.latency_seconds = loop.time() - began

    async def _can_write(self, connection: Connection) -> bool:
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
            await connection.execute(
                "ROLLBACK"
            )  # may not make temporary tables: let the next command find out
        finally:
            timer.cancel()
        return True

    def _drop_prober(self) -> None:
        if self._prober is not None:
            self._prober.terminate()
            self._prober = None

    def _set(self, is_reachable: bool, problem: str | None) -> None:
        was_up, was_reachable = self._was_up, self._is_reachable
        self._is_reachable = is_reachable
        if problem != self.problem:
            self.problem = problem
            if problem is None:
                log.info("The database is up", extra={"database": self.name, "address": self.address})
            else:
                log.warning("The database is away: %s", problem, extra={"database": self.name})
        if was_reachable and not is_reachable:
            self._writes.forget_all()
            self._reads.forget_all()
            for session in list(self._sessions):
                session.terminate()
        self._was_up = self.is_up
        if self._was_up != was_up:
            _call([partial(callback, self._was_up) for callback in self._callbacks])


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


def _call(callbacks: Iterable[Callable[[], None]]) -> None:
    for callback in list(callbacks):
        try:
            callback()
        except Exception:
            log.exception("A listener for the state of the database failed")


def _deadline(since: float | None) -> float:
    return (asyncio.get_running_loop().time() if since is None else since) + COMMAND_SECONDS


def _keep_alive(connection: Connection) -> None:
    """Have the operating system notice, and prevent, that a silent connection leads nowhere."""
    transport = getattr(connection, "_transport", None)  # asyncpg has no public way to its socket
    ours = transport.get_extra_info("socket") if transport is not None else None
    if ours is None or ours.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for name, value in _KEEP_ALIVE.items():
        option = getattr(socket, name, None)  # not every system has all of them
        if option is not None:
            ours.setsockopt(
                socket.SOL_SOCKET if name.startswith("SO_") else socket.IPPROTO_TCP, option, value
            )


_LOSSES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


def _unknown() -> Paused:
    return Paused("the commit was cut; repeat it with the same requestId", outcome="unknown")


def _is_loss(error: Exception) -> bool:
    """Whether an error on a lost connection says just that. When the connection is terminated between two messages
    of one statement, asyncpg looks for its protocol and finds None.
    """
    return isinstance(error, _LOSSES) or (isinstance(error, AttributeError) and error.obj is None)


def _is_lost(connection: Connection, error: BaseException) -> bool:
    """Whether the connection can be used no more. Between a server's last words and the end of the connection,
    asyncpg answers any statement with an InternalClientError about its state.
    """
    return connection.is_closed() or isinstance(error, asyncpg.InternalClientError)


def _sqlstate(error: BaseException) -> str:
    """The SQLSTATE, that of the server's last words where it hung up, or an empty string."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and isinstance(
        error.__cause__, asyncpg.PostgresError
    ):
        error = error.__cause__
    return getattr(error, "sqlstate", None) or ""


def _fetch(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[list[Record]]:
    return connection.fetch(sql, *arguments)


def _fetchrow(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[Record | None]:
    return connection.fetchrow(sql, *arguments)


def _fetchval(connection: Connection, sql: str, arguments: tuple[Any, ...]) -> Awaitable[Any]:
    return connection.fetchval(sql, *arguments)
