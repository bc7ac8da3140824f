"""Brings the schema `collab` up to date: plain SQL files in dbmate's format, each applied once.

`migrations/0001_….sql` holds a part `-- migrate:up` and a part `-- migrate:down` (for operators; never run
from here). `-- migrate:up transaction:false` is for a single statement that may not run in a transaction,
such as CREATE INDEX CONCURRENTLY; any other file is applied with its record in one transaction. The record is
dbmate's table, `collab.schema_migrations`: `dbmate --migrations-table collab.schema_migrations` may be used
instead.

However many nodes start together, one applies and the others wait: by polling `pg_try_advisory_lock`, because
a session that waits inside `pg_advisory_lock` holds a snapshot, for which CREATE INDEX CONCURRENTLY waits in
turn. A node that freezes meanwhile loses lock and transaction by the session's idle limits. Versions in the
database that this node does not know are those of a newer node, and fine.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import asyncpg

if TYPE_CHECKING:
    from collab_server.storage.database import Connection, Database

__all__ = ["Migration", "MigrationError", "apply", "check", "pending", "read"]

log = logging.getLogger(__name__)

_LOCK = 0x636F6C6C6162  # "collab"; advisory locks are per database
_POLL_SECONDS = 0.2
_SESSION = {
    "statement_timeout": "0",  # an index on a large table takes its time
    "lock_timeout": "5000",  # whoever waits for an ALTER TABLE waits behind it, so it must not wait for long
    "idle_in_transaction_session_timeout": "10000",
    "transaction_timeout": "0",
}
_KNOWS_IDLE_SESSIONS = 14  # the version that brought `idle_session_timeout`


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why, in words for the administrator."""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of `migrations/`. `version` is the digits its name begins with; `up` the SQL to apply."""

    version: str
    name: str
    up: str = field(repr=False)
    in_transaction: bool


def read(folder: Path | None = None) -> list[Migration]:
    """All migrations this node knows, in order. `folder` is by default where they were installed.

    Raises `MigrationError` naming a file that is not in the format.
    """
    migrations = [_parsed(path) for path in sorted((folder or _installed()).glob("*.sql"))]
    if len({migration.version for migration in migrations}) != len(migrations):
        raise MigrationError("two migrations have the same version")
    return migrations


async def pending(database: Database, folder: Path | None = None) -> list[str]:
    """The names of the migrations that are not applied yet, in order. Changes nothing.

    Raises `MigrationError`, and what connecting raises.
    """
    connection = await database.session(_SESSION)
    try:
        missing = await _missing(connection, database, read(folder))
        if missing:
            await _check_encoding(connection, database)
        return [migration.name for migration in missing]
    finally:
        connection.terminate()


async def check(database: Database, folder: Path | None = None) -> None:
    """See whether what is not applied yet, if anything, could be, as far as that is known before. Changes nothing.

    Raises `MigrationError` where it could not, and what connecting raises.
    """
    connection = await database.session(_SESSION)
    try:
        if await _missing(connection, database, read(folder)):
            await _check_encoding(connection, database)
            await _check_rights(connection, database)
    finally:
        connection.terminate()


async def apply(database: Database, folder: Path | None = None) -> list[str]:
    """Apply what is not applied yet, and return the names in order; waits while another node does it.

    With nothing to do it only reads, and needs no privilege to change the schema. Ends early, with the error
    of a lost connection, when `database` is found to be away. Raises `MigrationError`, and what connecting
    raises.
    """
    known = read(folder)
    connection = await database.session(_SESSION)
    try:
        if connection.get_server_version().major >= _KNOWS_IDLE_SESSIONS:
            await connection.execute("SET idle_session_timeout = 10000")
        if not await _missing(connection, database, known):
            return []
        await _check_encoding(connection, database)
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            log.debug("Another node is applying migrations")
            await asyncio.sleep(_POLL_SECONDS)
        missing = await _missing(connection, database, known)  # another node may have been at work
        if missing:
            await _create_record(connection, database)
        for migration in missing:
            await _apply_one(connection, database, migration, known)
            log.info("Migration applied", extra={"migration": migration.name})
        return [migration.name for migration in missing]
    finally:
        connection.terminate()  # and with it the lock


def _installed() -> Path:
    """In the wheel `collab_server/_migrations`, in a checkout `migrations/` beside the package."""
    package = Path(__file__).parents[1]
    in_wheel = package / "_migrations"
    return in_wheel if in_wheel.is_dir() else package.parent / "migrations"


def _parsed(path: Path) -> Migration:
    text = path.read_text(encoding="utf-8")
    version = re.match(r"\d+", path.name)
    up = re.search(r"^-- *migrate:up([^\n]*)\n(.*?)(?=^-- *migrate:down|\Z)", text, re.DOTALL | re.MULTILINE)
    if version is None or up is None:
        raise MigrationError(f"{path.name}: expected digits in front and a line '-- migrate:up'")
    return Migration(version[0], path.stem, up[2], in_transaction="transaction:false" not in up[1])


async def _missing(connection: Connection, database: Database, known: list[Migration]) -> list[Migration]:
    schema = await connection.fetchrow(
        """
        SELECT has_schema_privilege(oid, 'USAGE') AS may_use
        FROM pg_namespace
        WHERE nspname = 'collab'
        """
    )
    if schema is None:
        return known
    if not schema["may_use"]:
        _refuse(database, 'may not use the schema "collab"', "USAGE, CREATE ON SCHEMA collab")
    if await connection.fetchval("SELECT to_regclass('collab.schema_migrations') IS NULL"):
        return known
    try:
        rows = await connection.fetch("SELECT version FROM collab.schema_migrations")
    except asyncpg.InsufficientPrivilegeError:
        _refuse(database, 'may not read the tables of "collab"', "ALL ON ALL TABLES IN SCHEMA collab")
    applied = {row["version"] for row in rows}
    return [migration for migration in known if migration.version not in applied]


async def _check_encoding(connection: Connection, database: Database) -> None:
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        name = database.server.database
        raise MigrationError(
            f'the database "{name}" has the encoding {encoding}, which cannot take every character: create it anew,'
            f" CREATE DATABASE \"{name}\" ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"
        )


async def _check_rights(connection: Connection, database: Database) -> None:
    found = await connection.fetchrow(
        """
        SELECT
          to_regnamespace('collab') IS NOT NULL AS is_there,
          has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
          has_schema_privilege(to_regnamespace('collab')::oid, 'CREATE') AS may_create_tables
        """
    )
    assert found is not None
    if not found["is_there"] and not found["may_create_schema"]:
        name = database.server.database
        what = f'may not create the schema "collab" in the database "{name}"'
        _refuse(database, what, f'CREATE ON DATABASE "{name}"')
    if found["is_there"] and not found["may_create_tables"]:
        _refuse(database, 'may not create tables in the schema "collab"', "USAGE, CREATE ON SCHEMA collab")


async def _create_record(connection: Connection, database: Database) -> None:
    await _check_rights(connection, database)
    if await connection.fetchval("SELECT to_regnamespace('collab') IS NULL"):
        await connection.execute("CREATE SCHEMA collab")
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS collab.schema_migrations (version varchar(128) PRIMARY KEY)"
    )


async def _apply_one(
    connection: Connection, database: Database, migration: Migration, known: list[Migration]
) -> None:
    record = "INSERT INTO collab.schema_migrations (version) VALUES ($1)"
    try:
        # First of all: an ALTER TABLE that waits for them lets nobody else at its table meanwhile.
        await _cut_off_indexes(connection)
        if migration.in_transaction:
            async with connection.transaction():
                await connection.execute(migration.up)
                await connection.execute(record, migration.version)
        else:
            # It waits by design, and could not be undone.
            await connection.execute("SET lock_timeout = 0")
            await connection.execute(migration.up)
            await _finish_indexes(connection, known)
            await connection.execute(record, migration.version)
            await connection.execute("RESET lock_timeout")
    except asyncpg.InsufficientPrivilegeError as error:
        raise MigrationError(
            f'the user "{database.server.user}" may not do what the migration {migration.name} asks: {error.args[0]}'
        ) from error
    except asyncpg.PostgresError as error:
        if connection.is_closed():
            raise
        raise MigrationError(f"the migration {migration.name} failed: {error.args[0]}") from error


async def _finish_indexes(connection: Connection, known: list[Migration]) -> None:
    """Build anew what a CREATE INDEX CONCURRENTLY has left that was cut off: it costs each write, and no query uses it.

    IF NOT EXISTS takes it for an index. What a REINDEX that was cut off has left is not needed, and goes first: where
    the disk is full, say, each try fails, and would leave one more. Those that no migration names are an
    administrator's own: where one cannot be built, the upgrade does not fail for it.
    """
    ours = {word for migration in known for word in re.findall(r"\w+", migration.up)}
    for index in await _cut_off_indexes(connection):
        if index["made_as"] not in ours:
            continue
        log.warning(
            "an index was cut off while it was built: it is built anew", extra={"index": index["name"]}
        )
        if index["is_left_over"]:
            await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index['name']}")
        else:
            await connection.execute(f"REINDEX INDEX CONCURRENTLY {index['name']}")


async def _cut_off_indexes(connection: Connection) -> list[asyncpg.Record]:
    """Those that are not valid, once nobody is at work on any of them.

    Whoever builds one, or drops it, waits for each snapshot that is held at their end: also for that of a session that
    waits for their lock, and is cancelled then. So it is waited for without one.
    """
    is_told = False
    while True:
        found = await connection.fetch(
            r"""
            SELECT format('%I.%I', nspname, relname) AS name,
                   regexp_replace(relname, '_cc(new|old)\d*$', '') AS made_as,
                   relname ~ '_cc(new|old)\d*$' AS is_left_over,
                   EXISTS (
                       SELECT
                         FROM pg_locks
                         JOIN pg_stat_activity USING (pid)
                        WHERE relation = indrelid
                          AND datname = current_database()
                          AND mode = 'ShareUpdateExclusiveLock'
                          AND granted
                          -- no autovacuum
                          AND usesysid IS NOT NULL
                       ) AS is_under_way
              FROM pg_index
              JOIN pg_class ON pg_class.oid = indexrelid
              JOIN pg_namespace ON pg_namespace.oid = relnamespace
             WHERE nspname = 'collab' AND NOT indisvalid AND pg_has_role(relowner, 'USAGE')
             ORDER BY is_left_over DESC
            """
        )
        under_way = [index["name"] for index in found if index["is_under_way"]]
        if not under_way:
            return found
        if not is_told:
            is_told = True
            log.info("somebody is at work on an index: the migration waits", extra={"index": under_way[0]})
        await asyncio.sleep(_POLL_SECONDS)


def _refuse(database: Database, what: str, grant: str) -> NoReturn:
    raise MigrationError(
        f'the user "{database.server.user}" {what}: GRANT {grant} TO "{database.server.user}"'
    ) from None
