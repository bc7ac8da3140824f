"""Whether a pooler between gives each session a connection of its own, as ours need.

A session of ours has limits, and statements that were prepared in it. A pooler that lends its connections for one
transaction each (PgBouncer's `pool_mode = transaction`) gives the next one another session's: commands then fail now
and then, and nothing ends those that hang. Found out by lending: while nothing is under way in one session, others
begin transactions; a pooler of that kind gives one of them the connection of the first, or the first another one. That
takes two of them whichever idle connection it prefers. Nothing runs here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

__all__ = ["SharesSessions", "is_behind_pooler", "is_sign", "process_of", "refuse_shared"]

OTHERS = 2


class SharesSessions(ConnectionError):
    """The pooler does not keep sessions whole; the message says what to do."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"a pooler at {address} lends its connections by the transaction, and sessions have to stay whole:"
            " let it pool by the session (PgBouncer: pool_mode = session), or connect to PostgreSQL itself"
        )


def is_sign(error: BaseException | None) -> bool:
    """Whether an error says that a session was not kept whole: statements that were prepared in another one, or no
    transactions at all. PgBouncer has one SQLSTATE for all that is its own, so there its words count.
    """
    if isinstance(error, asyncpg.ConnectionDoesNotExistError):
        error = error.__cause__  # its last words
    if isinstance(error, asyncpg.ProtocolViolationError):
        return "transaction blocks not allowed" in str(error)
    return isinstance(error, asyncpg.InvalidSQLStatementNameError | asyncpg.DuplicatePreparedStatementError)


async def is_behind_pooler(connection: Connection) -> bool:
    """Whether somebody else than the server has answered the greeting: it names another process."""
    return await process_of(connection) != connection.get_server_pid()


async def refuse_shared(
    first: Connection, connect: Callable[[], Awaitable[Connection]], address: str
) -> None:
    """Raise `SharesSessions` if `first`, in which no transaction is under way, shares its connection with others that
    `connect` makes. Raises besides what asyncpg raises.
    """
    others: list[Connection] = []
    try:
        own = await process_of(first)
        for _ in range(OTHERS):
            others.append(await connect())
            await others[-1].execute("BEGIN")
            its, still = (
                await process_of(others[-1]),
                await process_of(first),
            )  # which proves that it is still there
            if its == own or still != own:
                raise SharesSessions(address)
    except TimeoutError:
        raise ConnectionError(
            f"a pooler at {address} gives no further connection: let its pool be larger"
        ) from None
    except asyncpg.PostgresError as error:
        if is_sign(error):
            raise SharesSessions(address) from None
        raise
    finally:
        for other in others:
            other.terminate()


async def process_of(connection: Connection) -> int:
    """Which of the server's processes carries this out."""
    process: int = await connection.fetchval("SELECT pg_catalog.pg_backend_pid()")
    return process
