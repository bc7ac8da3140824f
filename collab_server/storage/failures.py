"""What goes wrong between a statement and its answer: what it means, and in words.

Postgres and asyncpg say it in five-digit states and in some twenty classes; here that becomes the few cases that
callers tell apart. Pure: nothing is remembered, nothing runs.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Any, Literal

import asyncpg

from collab_server.errors import Paused

if TYPE_CHECKING:
    from collab_server.storage.server import Server

__all__ = [
    "Contended",
    "Failure",
    "Hindrance",
    "Locked",
    "in_words",
    "is_rolled_back",
    "is_unusable",
    "meaning_of",
    "unknown",
]

_AWAY = ("08", "57P", "58", "25P03", "53300")  # the server, or its connection, is gone or of no use
_CONTENDED = ("40",)  # repeat it: deadlock, serialization failure
_LOCKED = "55P03"  # lock timeout
_BUSY = ("53", "57014")
_FULL = "53100"
_READ_ONLY = "25006"
_ROLLED_BACK = ("23", "25P03", "40")  # answers to COMMIT after which surely nothing is stored

_LOSSES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)

Hindrance = Literal["full", "read-only"]
"""Why nothing is stored though reads are answered: no space left on the disk, or the server was told to take no writes,
as some services do before the disk is full."""
Failure = Literal[Hindrance, "contended", "locked", "lost", "busy"]
"""Besides those: in another's way, locked by another, or the connection lost: begun again it may succeed;
too much to do."""


class Contended(Paused):
    """Nothing was stored, and the same transaction may well succeed if it is begun again at once."""


class Locked(Contended):
    """Nothing was stored: somebody else has locked something, for longer than was waited. `name` says what it was, None
    where nobody knows."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__("the database is busy")
        self.name = name


def unknown() -> Paused:
    """For a COMMIT that was cut."""
    return Paused("the commit was cut; repeat it with the same requestId", outcome="unknown")


def meaning_of(error: Exception, *, is_lost: bool) -> Failure | None:
    """What an error says about the database, and not about the statement; None where it is the statement's own.

    `is_lost`: its connection can be used no more.
    """
    state = _sqlstate(error)
    if state == _FULL:
        return "full"
    if state == _READ_ONLY:
        return "read-only"
    if state == _LOCKED:
        return "locked"
    if state.startswith(_CONTENDED) or isinstance(error, asyncpg.InvalidCachedStatementError):
        return "contended"
    if state.startswith(_AWAY) or (is_lost and _says_lost(error)):
        return "lost"
    return "busy" if state.startswith(_BUSY) else None


def is_rolled_back(error: Exception) -> bool:
    """Whether an answer to COMMIT says that surely nothing is stored."""
    return _sqlstate(error).startswith(_ROLLED_BACK)


def is_unusable(connection: asyncpg.Connection[Any], error: BaseException) -> bool:
    """Whether the connection can be used no more. Between a server's last words and the end of the connection,
    asyncpg answers any statement with an InternalClientError about its state.
    """
    return connection.is_closed() or isinstance(error, asyncpg.InternalClientError)


def _says_lost(error: Exception) -> bool:
    """Whether an error on a lost connection says just that. When the connection is terminated between two messages
    of one statement, asyncpg looks for its protocol and finds None.
    """
    return isinstance(error, _LOSSES) or (isinstance(error, AttributeError) and error.obj is None)


def _sqlstate(error: BaseException) -> str:
    """The SQLSTATE, that of the server's last words where it hung up, or an empty string."""
    if isinstance(error, asyncpg.ConnectionDoesNotExistError) and isinstance(
        error.__cause__, asyncpg.PostgresError
    ):
        error = error.__cause__
    return getattr(error, "sqlstate", None) or ""


def in_words(error: BaseException, server: Server) -> str:
    """What went wrong with `server`, for the administrator. Contains no secret."""
    match error:
        case asyncpg.InvalidPasswordError() | asyncpg.InvalidAuthorizationSpecificationError():
            return f'the database refuses the user "{server.user}": {error.args[0]}'
        case asyncpg.InvalidCatalogNameError():
            return f'there is no database "{server.database}" at {server.address}'
        case asyncpg.TooManyConnectionsError():
            return f"the database is out of connections: {error.args[0]}"
        case ConnectionRefusedError():
            return f"nothing listens at {server.address}"
        case TimeoutError():
            return f"{server.address} does not answer"
        case socket.gaierror():
            return f"the host of {server.address} cannot be found"
        case ssl.SSLCertVerificationError():
            return f"no TLS with {server.address}: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS with {server.address}: {error.reason or 'handshake failed'}"
        case asyncpg.InterfaceError() if isinstance(error.__context__, asyncpg.PostgresError):
            # It is of what was to be done after that one: to end a transaction on a connection that is gone.
            return in_words(error.__context__, server)
        case asyncpg.PostgresError() | OSError():
            return str(error.args[-1]) if error.args else type(error).__name__
        case _:
            return str(error) or type(error).__name__
