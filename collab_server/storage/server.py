"""Where PostgreSQL is, and how a session of ours begins there.

Keep-alive packets let no firewall forget a connection, and what is left on the server's side of one that was cut ends
by the session's own limits (`SESSION`), so that neither a frozen node nor a lost packet can hold a topic for longer
than two seconds.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from collab_server.config import certificates
from collab_server.config.values import DatabaseSection

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = ["LOCK_SECONDS", "SESSION", "WRITING", "Server"]

LOCK_SECONDS = 0.8  # for one lock: twice that, and the pause between, is less than a command has

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

WRITING = MappingProxyType({"enable_seqscan": "off"})
"""For what changes something. A connection plans its statements once, and on an empty database it plans to read whole
tables. Such a statement finds a few rows by an index, always; what only reads, many rows at a time, is better left to
the planner."""

# Firewalls and NAT gateways forget what is silent for some minutes; what does not take our bytes is as good as gone.
_KEEP_ALIVE = {
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": 30,
    "TCP_KEEPINTVL": 10,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 30_000,
}


@dataclass(frozen=True, slots=True)
class Server:
    """A database and who opens it. `tls` is None for a connection in clear; `node` names this process in
    `pg_stat_activity`.
    """

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    node: str = ""

    @classmethod
    def of(cls, section: DatabaseSection, *, node: str) -> Server:
        """What the configuration says. Raises `ConfigError` for certificates that cannot be read."""
        password = section.password.get_secret_value() if section.password else None
        tls = certificates.postgres_context(section)
        return cls(section.host, section.port, section.username, password, section.database, tls, node)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def connect(self, timeout: float, settings: Mapping[str, str] = MappingProxyType({})) -> Connection:
        """A new connection within so many seconds; `settings` override those of `SESSION`. Raises what asyncpg does."""
        name = f"collab {self.node}".strip()
        connection: Connection = await asyncpg.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=self.database,
            ssl=False if self.tls is None else self.tls,
            timeout=timeout,
            statement_cache_size=500,
            max_cached_statement_lifetime=0,
            server_settings={**SESSION, **settings, "application_name": name},
        )
        _keep_alive(connection)
        return connection


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
