"""One emoji is one reaction, however it is spelled: what people send, and what is stored from before that."""

from __future__ import annotations

import json
import random
from uuid import UUID

import asyncpg

from collab_server.domain.emoji import one_each
from collab_server.domain.jsontext import JsonText, dumps
from collab_server.storage import migrations
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.harness.cluster import Cluster
from tests.harness.vectors import vectors
from tests.harness.world import TestDatabase
from tests.integration.doors import Door
from tests.integration.scene import ANN, BOB, added

SAME = vectors("emoji")["same"]
HEART = "\u2764"


async def test_who_spells_it_otherwise_joins_and_takes_back_the_same_reaction(
    cluster: Cluster, topic: str
) -> None:
    ann, bob = await Door.open(cluster, "socket", "ann", 0), await Door.open(cluster, "rest", "bob", 1)
    comment = {"commentId": (await added(ann, topic, "What?"))["id"]}
    assert await ann.call("comment.react", {**comment, "emoji": HEART + "\ufe0f"}) == {"seq": 2}
    assert await bob.call("comment.react", {**comment, "emoji": HEART}) == {"seq": 3}
    assert await bob.call("comment.react", {**comment, "emoji": HEART + "\ufe0e"}) == {"seq": 3}
    got = await ann.call("comment.get", comment)
    assert got["reactions"] == {HEART + "\ufe0f": [ANN, BOB]}
    assert await ann.call("comment.unreact", {**comment, "emoji": HEART}) == {"seq": 4}
    events = (await bob.call("topic.events", {"topic": topic, "after": 1}))["events"]
    assert {event["data"]["emoji"] for event in events} == {HEART + "\ufe0f"}


async def test_the_spelling_of_a_node_of_the_version_before_counts_as_the_one(
    cluster: Cluster, topic: str
) -> None:
    ann = await Door.open(cluster, "socket", "ann", 0)
    comment = {"commentId": (await added(ann, topic, "What?"))["id"]}
    written = json.dumps({HEART: [BOB], "👍": [ANN], HEART + "\ufe0f": [ANN]})
    cluster.database.sql(
        f"UPDATE collab.comments SET reactions = '{written}' WHERE id = '{comment['commentId']}'"
    )
    assert (await ann.call("comment.get", comment))["reactions"] == {
        HEART + "\ufe0f": [BOB, ANN],
        "👍": [ANN],
    }
    await ann.call("comment.unreact", {**comment, "emoji": HEART})
    assert (await ann.call("comment.get", comment))["reactions"] == {HEART + "\ufe0f": [BOB], "👍": [ANN]}


async def test_the_migration_makes_one_of_several_spellings(database: TestDatabase) -> None:
    chance = random.Random(7)
    written: dict[UUID, JsonText] = {}
    for number in range(450):
        same = chance.sample(SAME, 4) if number else SAME
        keys = [spelled for one in same for spelled in one["spelled"] if not number or chance.random() < 0.6]
        chance.shuffle(keys)
        written[UUID(int=number)] = dumps({key: chance.sample("ABCD", chance.randint(1, 4)) for key in keys})
    connection = await asyncpg.connect(**database.connect_arguments())
    db = Database(Server(**database.connect_arguments()))
    try:
        await connection.execute("INSERT INTO collab.topics (name) VALUES ('t')")
        await connection.executemany(
            """
            INSERT INTO collab.comments (
                   id, topic_id, seq, thread_id, author_id, author_name, author_initials, text, created_at, reactions)
            SELECT $1, id, $2, $1, 'A', 'A', 'A', 'text', now(), $3 FROM collab.topics
            """,
            [(id, id.int, reactions) for id, reactions in written.items()],
        )
        await connection.execute("DELETE FROM collab.schema_migrations WHERE version = '0016'")
        await db.start()
        await db.until_up()
        assert await migrations.apply(db) == ["0016_one_emoji_one_reaction"]
        rows = await connection.fetch("SELECT id, reactions FROM collab.comments")
        assert {row["id"]: row["reactions"] for row in rows} == {
            id: one_each(reactions) for id, reactions in written.items()
        }
        assert sum(one_each(reactions) != reactions for reactions in written.values()) > 400
    finally:
        await db.stop()
        await connection.close()
