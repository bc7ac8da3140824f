"""Inboxes as rows: whom a sweep finds, and when what was refused is asked about again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from collab_server.storage import inbox
from collab_server.storage.database import Database, Transaction
from collab_server.storage.server import Server
from tests.harness.world import TestDatabase

TOPIC = "content:a:b"
ROWS = f"""
    INSERT INTO collab.notifications (
        id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq, ask_at
    )
    SELECT gen_random_uuid(), person, gen_random_uuid(), 'mention', '{TOPIC}', '{{}}', '', '', is_permitted, now(),
           seq, now() + wait::interval
      FROM (VALUES ('permitted', true, NULL, NULL),
                   ('connected', false, NULL, NULL),
                   ('connected, due again', false, NULL, '-1 second'),
                   ('connected, not due yet', false, NULL, '1 hour'),
                   ('not connected', false, NULL, NULL),
                   ('connected, and has it', true, 1, NULL)
           ) AS row (person, is_permitted, seq, wait);
    INSERT INTO collab.reviews (user_id, topic)
    VALUES ('to be looked at again', '{TOPIC}')
"""


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    database.sql(ROWS)
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    yield reached
    await reached.stop()


async def test_a_sweep_finds_all_for_whom_something_can_be_done_whoever_has_left_it(db: Database) -> None:
    people = {row["user_id"] for row in await db.fetch("SELECT user_id FROM collab.notifications")}
    connected = [name for name in people if name.startswith("connected")]
    found = await inbox.undelivered(db, connected, 100)
    assert sorted(found) == ["connected", "connected, due again", "permitted", "to be looked at again"]


async def test_the_more_often_something_was_refused_the_later_it_is_asked_about_again(db: Database) -> None:
    async def refused(tx: Transaction) -> float:
        for _ in range(2):  # of what is not due yet nothing is counted
            await inbox.refuse(tx, "connected", [TOPIC])
        waits = await tx.fetchval(
            "SELECT extract(epoch FROM ask_at - now())::float FROM collab.notifications WHERE user_id = 'connected'"
        )
        return float(waits)

    async def is_due(tx: Transaction) -> None:
        await tx.execute("UPDATE collab.notifications SET ask_at = now() WHERE user_id = 'connected'")

    waits = []
    for _ in range(20):
        waits.append(await db.run(refused))
        await db.run(is_due)
    assert waits[:4] == [5.0, 10.0, 20.0, 40.0]
    assert waits[-1] == 6 * 3600.0
