"""Where PostgreSQL is, and how a session of ours begins there.

Keep-alive packets let no firewall forget a connection, and what is left on the server's side of one that was cut ends
by the session's own limits (`SESSION`), so that neither a frozen node nor a lost packet can hold a topic for longer
than two seconds and a half. Before PostgreSQL 17 one that is frozen with a statement half sent still can.

A session is asked for its limits as it begins. A pooler between (PgBouncer) refuses that, or takes it and forgets it:
where one is found, they are set once the session is there. That a pooler gives each *session* a connection of its own,
and not each transaction, is for the prober to find out (`poolers`).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from collab_server import lookups
from collab_server.config import certificates
from collab_server.config.values import DatabaseSection, HostAndPort, shown
from collab_server.storage.poolers import SharesSessions, is_behind_pooler, is_sign
from collab_server.storage.statements import Statements, TimedConnection

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = [
    "LOCK_SECONDS",
    "OLDEST",
    "PROMPT_SECONDS",
    "READING",
    "SESSION",
    "WRITING",
    "Server",
    "TooOld",
    "tell",
]

LOCK_SECONDS = 0.8  # for one lock: twice that, and the pause between, is less than a command has
PROMPT_SECONDS = 0.03  # for one lock without a permit: some transactions, where nothing is in their way

SESSION = {
    # All that is ours is named with its schema. Another role may own `public`, or a schema that is called like ours,
    # and a function of theirs that fits an argument better than the built-in one would run in our name.
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": "2000",
    "lock_timeout": f"{LOCK_SECONDS * 1000:.0f}",
    "idle_in_transaction_session_timeout": "2000",
    # asyncpg prepares a statement, and waits for the answer, before it sends what belongs to it. To PostgreSQL a node
    # that is frozen between the two is not idle, and the limits above do not end it; this one does. Longer than they
    # are, or they would not count, and than a command has.
    "transaction_timeout": "2500",
    "TimeZone": "UTC",
    "jit": "off",  # every statement of ours is small
    "plan_cache_mode": "force_generic_plan",  # planning `comment.add` anew takes longer than carrying it out
}

OLDEST = 13
"""The oldest version of PostgreSQL that has all that is asked of it."""
_KNOWN_SINCE = MappingProxyType({"transaction_timeout": 17})
"""Limits that older versions do not have, and do without."""

WRITING = MappingProxyType({"enable_seqscan": "off", "lock_timeout": f"{PROMPT_SECONDS * 1000:.0f}"})
"""For what changes something. A connection plans its statements once, and on an empty database it plans to read whole
tables. Such a statement finds a few rows by an index, always; what only reads, many rows at a time, is better left to
the planner. Who may wait for a lock for longer says so as the transaction begins (`permits`)."""
READING = MappingProxyType({"enable_seqscan": "on", "lock_timeout": SESSION["lock_timeout"]})
"""What a session that was for writing is told to be for reading."""

# Firewalls and NAT gateways forget what is silent for some minutes; what does not take our bytes is as good as gone.
_KEEP_ALIVE = {
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}


class TooOld(ConnectionError):
    """The server is of a version that is not enough; the message says which."""


@dataclass(slots=True)
class _Learned:
    """What the last connections have taught, and what the administrator has changed since."""

    takes_limits: bool = True
    password: str | None = None
    at: int = 0
    """Which of the hosts was the primary."""


@dataclass(frozen=True, slots=True)
class Server:
    """A database and who opens it. `tls` is None for a connection in clear; `node` names this process in
    `pg_stat_activity`. `others` are further hosts on which it may be, one of them being the primary.
    """

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    node: str = ""
    statements: Statements = field(default_factory=Statements, repr=False, compare=False)
    others: tuple[HostAndPort, ...] = ()
    _learned: _Learned = field(default_factory=_Learned, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        section: DatabaseSection,
        *,
        node: str,
        tls: ssl.SSLContext | None = None,
        statements: Statements | None = None,
    ) -> Server:
        """What the configuration says; `tls` takes the place of a context made of its files, `statements` notes how
        long each statement took.

        Raises `ConfigError` for certificates that cannot be read.
        """
        (host, port), *others = section.hosts
        return cls(
            host,
            port,
            section.username,
            section.password.get_secret_value() if section.password else None,
            section.database,
            tls or certificates.postgres_context(section),
            node,
            statements or Statements(),
            tuple(others),
        )

    @property
    def hosts(self) -> tuple[HostAndPort, ...]:
        """All of them, in the order of the configuration."""
        return ((self.host, self.port), *self.others)

    def use_password(self, password: str | None) -> None:
        """Open connections with this one from now on."""
        self._learned.password = password

    @property
    def address(self) -> str:
        return ", ".join(shown(host, port) for host, port in self.hosts)

    async def find(self, timeout: float) -> Connection:
        """A new connection to the primary, to which `connect` leads from then on. All hosts are tried at once.

        Where several take themselves for one, it is the one of the latest timeline. Raises as `connect`, and
        `ConnectionError` where those that answer are read-only.
        """
        if not self.others:
            return await self.connect(timeout)
        tries = [self._look_at(at, timeout) for at in range(len(self.hosts))]
        found = await asyncio.gather(*tries, return_exceptions=True)
        primaries = [one for one in found if not isinstance(one, BaseException) and one.timeline >= 0]
        best = max(
            primaries, key=lambda one: (one.timeline, one.at == self._learned.at, -one.at), default=None
        )
        for one in found:
            if not isinstance(one, BaseException) and one is not best:
                one.connection.terminate()
        if best is None:
            for one in found:
                if isinstance(one, BaseException) and not isinstance(one, OSError):
                    raise one
            if any(not isinstance(one, BaseException) for one in found):
                raise ConnectionError(f"{self.address}: of those that answer none is the primary")
            raise next(one for one in found if isinstance(one, BaseException))
        self._learned.at = best.at
        return best.connection

    async def _look_at(self, at: int, timeout: float) -> _Found:
        connection = await self.connect(timeout, at=at)
        timer = asyncio.get_running_loop().call_later(timeout, connection.terminate)
        try:
            timeline = await _timeline_of(connection)
        except BaseException:
            connection.terminate()
            raise
        finally:
            timer.cancel()
        return _Found(at, timeline, connection)

    async def connect(
        self, timeout: float, settings: Mapping[str, str] = MappingProxyType({}), *, at: int | None = None
    ) -> Connection:
        """A new connection within so many seconds; `settings` override those of `SESSION`.

        It is to the host that `find` has found, or to the one of this number. Raises what asyncpg does.
        """
        address = self.hosts[self._learned.at if at is None else at]
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        limits = {**SESSION, **settings}
        try:
            given = _known_to_all(limits) if self._learned.takes_limits else {}
            connection = await self._dial(address, timeout, given)
        except (asyncpg.ProtocolViolationError, asyncpg.UndefinedObjectError) as error:
            if not self._learned.takes_limits:
                raise
            # A pooler that does not let them through, or a server too old to know one of them.
            try:
                connection = await self._dial(address, deadline - loop.time(), {})
            except Exception:
                raise error from None
            self._learned.takes_limits = False
        timer = loop.call_at(deadline, connection.terminate)
        try:
            await _begin(connection, limits, is_limited=self._learned.takes_limits)
        except BaseException as error:
            connection.terminate()
            if isinstance(error, Exception) and loop.time() >= deadline:
                raise TimeoutError from error
            if is_sign(error):
                raise SharesSessions(self.address) from None
            raise
        finally:
            timer.cancel()
        return connection

    async def _dial(self, address: HostAndPort, timeout: float, limits: Mapping[str, str]) -> Connection:
        host, port = address
        loop = asyncio.get_running_loop()
        deadline = loop.time() + max(timeout, 0.01)
        try:
            async with asyncio.timeout_at(deadline):
                await lookups.find(host)
        except TimeoutError:
            raise socket.gaierror(socket.EAI_AGAIN, "its name is not found in time") from None
        connection: TimedConnection = await asyncpg.connect(
            connection_class=TimedConnection,
            host=host,
            port=port,
            user=self.user,
            password=self._learned.password or self.password,
            database=self.database,
            ssl=False if self.tls is None else self.tls,
            timeout=max(deadline - loop.time(), 0.01),
            statement_cache_size=500,
            max_cached_statement_lifetime=0,
            server_settings={**limits, "application_name": f"collab {self.node}".strip()},
        )
        connection.statements = self.statements
        _keep_alive(connection)
        return connection


@dataclass(frozen=True, slots=True)
class _Found:
    """Whom one of several hosts leads to; `timeline` is -1 where it is read-only."""

    at: int
    timeline: int
    connection: Connection


async def _timeline_of(connection: Connection) -> int:
    """That of a primary, 0 where it does not tell; -1 of what is read-only."""
    if await connection.fetchval(
        "SELECT current_setting('transaction_read_only') = 'on' OR pg_is_in_recovery()"
    ):
        return -1
    try:
        name = await connection.fetchval("SELECT pg_walfile_name(pg_current_wal_lsn())")
    except asyncpg.PostgresError:
        return 0
    return int(name[:8], 16)


async def _begin(connection: Connection, limits: Mapping[str, str], *, is_limited: bool) -> None:
    """See that the session has its limits, on a server that is new enough. Raises `TooOld`."""
    version = connection.get_server_version()
    if version.major < OLDEST:
        raise TooOld(f"PostgreSQL {OLDEST} or newer is needed, this is {version.major}.{version.minor}")
    left = {name: limits[name] for name, since in _KNOWN_SINCE.items() if version.major >= since}
    if not is_limited or await is_behind_pooler(connection):
        left |= _known_to_all(limits)
    if left:
        await tell(connection, left)


async def tell(connection: Connection, settings: Mapping[str, str]) -> None:
    """Have these settings in a session from now on."""
    # Named with their schema: the path may not be ours yet.
    calls = (f"pg_catalog.set_config('{name}', '{value}', false)" for name, value in settings.items())
    await connection.execute(f"SELECT {', '.join(calls)}")


def _known_to_all(limits: Mapping[str, str]) -> dict[str, str]:
    """Those that the oldest version knows, too."""
    return {name: value for name, value in limits.items() if name not in _KNOWN_SINCE}


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
