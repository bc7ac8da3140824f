"""What commands do with the configured database."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from .arguments import load
from .outcome import Failure, print_problems

if TYPE_CHECKING:
    from collab_server.storage.database import Database

CONNECT_SECONDS = 10

T = TypeVar("T")


def with_database(arguments: argparse.Namespace, work: Callable[[Database], Awaitable[T]]) -> T:
    """The result of `work` on the configured database; what goes wrong there is a `Failure` in words."""
    from dataclasses import replace

    from collab_server.errors import ClientError
    from collab_server.storage.database import Database
    from collab_server.storage.migrations import MigrationError

    loaded = load(arguments)
    print_problems(loaded.warnings)
    section = replace(loaded.config.database, pool_size=1, read_pool_size=1)
    database = Database.of(section, node=arguments.command)

    async def run() -> T:
        return await work(database)

    try:
        return asyncio.run(run())
    except (Failure, MigrationError) as error:
        raise Failure(str(error)) from None
    except ClientError as error:
        raise Failure(database.problem or error.message) from None
    except Exception as error:
        if not _is_about_the_database(error):
            raise
        raise Failure(database.describe(error)) from None


def _is_about_the_database(error: Exception) -> bool:
    return isinstance(error, OSError) or type(error).__module__.startswith("asyncpg.")


async def up_to_date(database: Database, work: Callable[[Database], Awaitable[T]]) -> T:
    """Do something with a database that is up to date."""
    from collab_server.storage import migrations

    if await migrations.pending(database):
        raise Failure("the database is not up to date: run `collab-server migrate` first")
    await database.start()
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await database.until_up()
        return await work(database)
    except TimeoutError:
        raise Failure(database.problem or "the database does not answer") from None
    finally:
        await database.stop()
