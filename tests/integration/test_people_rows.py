"""What people are called, as rows: the latest that was heard stays, whichever node stores it last."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest_asyncio

from collab_server.domain.people import User
from collab_server.storage import people
from collab_server.storage.database import Database
from collab_server.storage.people import Met
from collab_server.storage.server import Server
from tests.harness.world import TestDatabase

AT = datetime(2026, 11, 29, 8, tzinfo=UTC)


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    yield reached
    await reached.stop()


async def test_a_name_that_was_heard_before_the_one_that_is_kept_does_not_replace_it(db: Database) -> None:
    """A node keeps what it heard while the database was away, and stores it when others have heard more."""

    async def called(minutes: int, name: str) -> str:
        met = [Met(User("A", name, name[0]), AT + timedelta(minutes=minutes))]
        await db.run(partial(people.store, met=met))
        return (await people.named(db, ["A", "B"]))["A"].name

    assert await called(2, "Ann Baker") == "Ann Baker"
    assert await called(1, "Ann Archer") == "Ann Baker"
    assert await called(3, "Ann Cook") == "Ann Cook"
    assert await called(4, "Ann Archer") == "Ann Archer"
