"""Comments that go into one transaction: each is as if it had come by itself, after those before it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from collab_server.domain.comments import NO_MENTIONS, AddComment, CommentFacts
from collab_server.domain.ids import uuid7
from collab_server.domain.inbox import Reason
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.domain.search import said_text
from collab_server.domain.topics import Topic, content_topic
from collab_server.errors import ClientError, Paused
from collab_server.services.commands.joining import Asked
from collab_server.services.commands.once import Request
from collab_server.services.comments import commit_together
from collab_server.storage import comment_seqs
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.harness.world import TestDatabase

TOPIC = content_topic("F" * 32, "D" * 32)
Addition = Asked[AddComment, CommentFacts]


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    yield reached
    await reached.stop()


def added(
    name: str,
    text: str,
    *,
    to: UUID | None = None,
    id: UUID | None = None,
    on: Topic = TOPIC,
    tells: str | None = None,
) -> Addition:
    session = AuthoritySession(name, None, is_delegated=True)
    who = Identity(User(name, name, name[0]), session, False, datetime.now(UTC))
    mentioned = {} if tells is None else {tells: Reason("mention", "mentioned you", tells)}
    facts = CommentFacts(on, text, said_text(text), NO_MENTIONS, mentioned, reply_to=to, id=id)
    return Asked(who, AddComment(topic=on.name, text=text), facts)


async def together(db: Database, *asked: Addition, waits: bool = True) -> list[Any]:
    """What each is answered: the comment, or the code of an error."""
    since = asyncio.get_running_loop().time()
    answers, _ = await commit_together(db, asked, [None] * len(asked), since, waits=waits)
    return [
        answer.code if isinstance(answer, ClientError) else json.loads(answer)["comment"]
        for answer in answers
    ]


def told(database: TestDatabase) -> set[tuple[str, ...]]:
    """Who is told of whose comment, and why."""
    rows = database.sql(
        "SELECT user_id || ' ' || (by_user::json ->> 'id') || ' ' || kind FROM collab.notifications ORDER BY 1"
    )
    return {tuple(row.split()) for row in str(rows).splitlines()}


async def test_whoever_replies_is_told_of_the_replies_that_come_after_theirs(
    db: Database, database: TestDatabase
) -> None:
    [root] = await together(db, added("ann", "Root"))
    of = UUID(root["id"])
    replies = await together(db, *(added(name, "Reply", to=of) for name in ("bob", "carol", "bob")))
    assert [reply["seq"] for reply in replies] == [2, 3, 4]
    assert told(database) == {
        ("ann", "bob", "reply"),
        ("ann", "carol", "reply"),
        ("bob", "carol", "reply"),
        ("carol", "bob", "reply"),
    }


@pytest.mark.parametrize("is_reply", [False, True], ids=["plain ones", "replies"])
async def test_of_two_that_choose_one_id_the_second_is_refused_and_all_others_are_stored(
    db: Database, *, is_reply: bool
) -> None:
    [root] = await together(db, added("ann", "Root"))
    to = UUID(root["id"]) if is_reply else None
    id = uuid7()
    one, two, three, four = await together(
        db,
        added("ann", "First", to=to, id=id),
        added("bob", "Second", to=to, id=id),
        added("carol", "Third", to=to),
        added("ann", "Root's", to=to, id=UUID(root["id"])),
    )
    assert (one["id"], one["text"]) == (str(id), "First")
    assert (two, four) == ("conflict", "conflict")
    assert three["seq"] == one["seq"] + 1


@pytest.mark.parametrize("tells", [None, "dan"], ids=["plain ones", "one that mentions somebody"])
async def test_what_waits_for_no_lock_stores_all_but_what_is_on_locked_topics(
    db: Database, database: TestDatabase, *, tells: str | None
) -> None:
    locked, free, new = [content_topic("F" * 32, letter * 32) for letter in "ABC"]
    before = await together(db, added("ann", "First", on=locked), added("ann", "First", on=free))
    assert [comment["seq"] for comment in before] == [1, 1]
    stranger = await asyncpg.connect(**database.connect_arguments())
    asked = [
        added("ann", "Second", on=locked),
        added("bob", "Second", on=free, tells=tells),
        added("bob", "Third", on=locked),
        added("carol", "First", on=new),
        added("carol", "Third", on=free),
    ]
    try:
        async with stranger.transaction():
            # Somebody else has changed it: to make its row once more would wait for them, too.
            await stranger.execute("UPDATE collab.topics SET comments = 7 WHERE name = $1", locked.name)
            one, two, three, four, five = await together(db, *asked, waits=False)
    finally:
        await stranger.close()
    assert (one, three) == ("paused", "paused")
    assert [(stored["text"], stored["seq"]) for stored in (two, four, five)] == [
        ("Second", 2),
        ("First", 1),
        ("Third", 3),
    ]
    [again, third] = await together(db, asked[0], asked[2], waits=False)
    assert [(stored["text"], stored["seq"]) for stored in (again, third)] == [("Second", 2), ("Third", 3)]
    log = database.sql("SELECT string_agg(seq::text, ' ' ORDER BY topic_id, seq) FROM collab.events")
    assert log == "1 2 3 1 2 3 1"


async def test_what_is_stored_is_answered_so_where_an_earlier_answer_beside_it_cannot_be_read(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request("ann", id, id.encode()) for id in ("before", "new")]

    async def answers(*asked: Addition) -> list[Any]:
        since = asyncio.get_running_loop().time()
        found, _ = await commit_together(db, asked, requests[: len(asked)], since, waits=True)
        return found

    async def is_away(*_: Any) -> Any:
        raise Paused

    once = added("ann", "Once")
    [first] = await answers(once)
    monkeypatch.setattr(comment_seqs, "filled_in", is_away)
    again, new = await answers(once, added("ann", "New"))
    assert isinstance(again, Paused)
    assert json.loads(new)["seq"] == 2
    monkeypatch.undo()
    assert await answers(once, added("ann", "New")) == [first, new]
