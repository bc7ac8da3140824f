"""What the upkeep removes is what nobody needs any more, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest
import pytest_asyncio

from collab_server.domain.ends import End
from collab_server.storage import ends, inbox, requests
from collab_server.storage.database import Database, Transaction
from collab_server.storage.server import Server
from tests.harness.world import TestDatabase

ANSWERS = """
    INSERT INTO collab.requests (user_id, request_id, fingerprint, answer, created_at)
    SELECT 'ann', called, '', '{}', now() - age::interval
      FROM (VALUES ('stays: of a week', '7 days 23 hours'), ('goes: older', '8 days 1 hour')) AS row (called, age)
"""

# Somebody's notifications, by what is said of them: how old, in the inbox since then or not, how often Library has said
# no, since when taken back.
WAITING = """
    INSERT INTO collab.notifications (
        id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq, refusals, taken_back_at
    )
    SELECT gen_random_uuid(), 'ann', gen_random_uuid(), 'mention', 'content:a:b', '{}', called, '[]', is_permitted,
           now() - age::interval, seq, refusals, now() - back::interval
      FROM (VALUES ('goes: refused, and old', '31 days', false, NULL, 1, NULL),
                   ('goes: taken back long ago', '90 days', false, NULL, 3, '31 days'),
                   ('stays: refused a short while ago', '29 days', false, NULL, 9, NULL),
                   ('stays: nobody has asked yet', '90 days', false, NULL, 0, NULL),
                   ('stays: is to be delivered', '90 days', true, NULL, 0, NULL),
                   ('stays: taken back lately', '90 days', false, NULL, 1, '29 days'),
                   ('stays: is in the inbox, after some refusals', '90 days', true, 7, 2, NULL)
           ) AS row (called, age, is_permitted, seq, refusals, back)
"""

NOTICES = """
    INSERT INTO collab.notices (id, text, created_at)
    SELECT gen_random_uuid(), called, now() - age::interval
      FROM (VALUES ('goes: nobody is told it', '32 days'), ('stays: somebody is told it', '32 days'),
                   ('stays: somebody still waits for it', '32 days'), ('stays: it may yet be named', '30 days')
           ) AS row (called, age);
    INSERT INTO collab.notifications (
        id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq, notice_id
    )
    SELECT gen_random_uuid(), 'ann', gen_random_uuid(), 'mention', 'content:a:b', '{}', '', '[]', true, now(),
           CASE WHEN text LIKE '%waits%' THEN NULL ELSE 1 END, id
      FROM collab.notices
     WHERE text LIKE 'stays: somebody%'
"""

SIGN_INS = """
    INSERT INTO collab.ended_sessions (mark, user_id, kept_until)
    SELECT sha256(called::bytea), called, now() + left_over::interval
      FROM (VALUES ('goes: opens nothing any more', '-1 second'), ('stays: might still be shown', '1 minute')
           ) AS row (called, left_over)
"""


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    yield reached
    await reached.stop()


async def test_what_was_ended_is_remembered_for_the_longest_it_was_ever_to_be(db: Database) -> None:
    """Each time its end is later, so that it ends what was begun before."""
    long, short = timedelta(hours=9), timedelta(hours=1)
    found: list[End] = []
    for kept in (short, long, short):
        found += await db.run(
            partial(ends.store, user_id="ann", marks=[b"m" * 32], kept=kept, most=9, person=b"p" * 32)
        )
    first, second, third = found
    assert first.at < second.at < third.at
    assert first.kept_until < second.kept_until == third.kept_until


@pytest.mark.parametrize(
    ("rows", "called", "forget"),
    [
        (ANSWERS, "request_id FROM collab.requests", requests.forget_old),
        (WAITING, "text FROM collab.notifications", inbox.forget_refused),
        (NOTICES, "text FROM collab.notices", inbox.forget_refused),
        (SIGN_INS, "user_id FROM collab.ended_sessions", ends.forget_old),
    ],
    ids=["answers", "what waits", "notices", "sign-ins that were ended"],
)
async def test_what_is_needed_stays_and_what_is_not_goes(
    db: Database,
    database: TestDatabase,
    rows: str,
    called: str,
    forget: Callable[[Transaction], Awaitable[int]],
) -> None:
    database.sql(rows)
    told = await db.fetch(f"SELECT {called}")
    all_of_them = {row[0] for row in told}
    needed = {name for name in all_of_them if name.startswith("stays: ")}
    assert needed < all_of_them
    gone = await db.run(forget)
    assert {row[0] for row in await db.fetch(f"SELECT {called}")} == needed
    assert gone == len(all_of_them - needed)
    assert await db.run(forget) == 0


FROM_TWO_SENDERS = """
    INSERT INTO collab.notifications (
        id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq, taken_back_at
    )
    SELECT gen_random_uuid(), person, gen_random_uuid(), 'mention', 'content:a:b', format('{"id":"%s"}', sender),
           called || ' ' || age, '[]', is_permitted, now() - age * interval '1 minute', seq, now() - back::interval
      FROM generate_series(1, 30) AS age,
           (VALUES ('ann', 'waits', 'eve', false, NULL, NULL),
                   ('ann', 'waits', 'bob', false, NULL, NULL),
                   ('ann', 'was taken back', 'eve', false, NULL, '1 minute'),
                   ('ann', 'is to be delivered', 'eve', true, NULL, NULL),
                   ('ann', 'is in the inbox', 'eve', true, 1, NULL),
                   ('dan', 'waits for another', 'eve', false, NULL, NULL)
           ) AS row (person, called, sender, is_permitted, seq, back)
"""


async def test_of_a_sender_of_whom_one_may_know_nothing_the_latest_wait_and_all_else_stays(
    db: Database, database: TestDatabase
) -> None:
    database.sql(FROM_TWO_SENDERS)
    left = "SELECT by_user::json ->> 'id', text FROM collab.notifications"
    before = {tuple(row) for row in await db.fetch(left)}
    assert len(before) == 6 * 30
    await db.run(partial(inbox.keep_latest, user_id="ann", senders=["eve"]))
    gone = {("eve", f"waits {age}") for age in range(inbox.SENDERS_ROWS + 1, 31)}
    assert {tuple(row) for row in await db.fetch(left)} == before - gone


async def test_what_library_says_no_to_waits_longer_each_time_and_nothing_else_does(
    db: Database, database: TestDatabase
) -> None:
    database.sql(
        """
        INSERT INTO collab.notifications (
            id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq
        )
        SELECT gen_random_uuid(), person, gen_random_uuid(), 'mention', topic, '{}', called, '[]', is_permitted,
               now(), seq
          FROM (VALUES ('ann', 'content:a:closed', 'refused', false, NULL),
                       ('ann', 'content:a:closed', 'in the inbox', true, 1),
                       ('ann', 'content:a:closed', 'to be delivered', true, NULL),
                       ('ann', 'content:a:open', 'of another topic', false, NULL),
                       ('bob', 'content:a:closed', 'of somebody else', false, NULL)
               ) AS row (person, topic, called, is_permitted, seq)
        """
    )
    waits: list[float] = []

    async def refuse(tx: Transaction) -> None:
        await inbox.refuse(tx, "ann", ["content:a:closed"])
        waits.append(
            await tx.fetchval(
                "SELECT extract(epoch FROM ask_at - now())::float FROM collab.notifications WHERE text = 'refused'"
            )
        )
        await tx.execute("UPDATE collab.notifications SET ask_at = now() WHERE text = 'refused'")

    for _ in range(16):
        await db.run(refuse)
    assert waits == [min(5.0 * 2**times, 6 * 3600.0) for times in range(16)]
    others = "SELECT DISTINCT refusals, ask_at FROM collab.notifications WHERE text <> 'refused'"
    assert [tuple(row) for row in await db.fetch(others)] == [(0, None)]
