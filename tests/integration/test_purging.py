"""What deletion leaves of a discussion, and of comments that a version before deleted: no word in any table."""

from __future__ import annotations

from uuid import uuid4

from collab_server.services import purging
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.world import TestDatabase
from tests.integration.doors import Door
from tests.integration.test_comments import tables_with


async def reach(database: TestDatabase) -> Database:
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    return reached


async def test_a_deleted_discussion_leaves_no_word_in_any_table(
    make_cluster: MakeCluster, database: TestDatabase
) -> None:
    cluster = await make_cluster(nodes=1, redis_url=None)
    ann, bob = await Door.open(cluster, "socket", "ann"), await Door.open(cluster, "rest", "bob")
    people = [await cluster.person(login) for login in ("bob", "carol", "dan")]
    word = f"Secret{uuid4().hex}"
    discussion = (
        await ann.call(
            "discussion.create",
            {
                "name": word,
                "members": [{"kind": "user", "id": one.id} for one in people],
                "text": f"{word} @[{word}](user:{people[0].id})",
                "requestId": f"create-{uuid4()}",
            },
        )
    )["discussion"]
    topic = f"discussion:{discussion['id']}"
    for number in range(purging.COMMENTS_AT_ONCE + 3):
        await bob.call("comment.add", {"topic": topic, "text": f"{word} {number}", "requestId": f"r{number}"})
    await ann.call(
        "discussion.rename", {"discussionId": discussion["id"], "name": f"{word} 2", "requestId": "rename"}
    )
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": people[2].id})
    await bob.call("notification.list", {})
    held = tables_with(database, word).keys()
    assert held >= {"discussions", "events", "requests", "comments", "notifications"}
    await ann.call("discussion.delete", {"discussionId": discussion["id"]})

    reached = await reach(database)
    try:
        assert await purging.purge_discussions(reached) == 0, "it may still be on its way to somebody"
        assert await purging.purge_discussions(reached, older_than_seconds=0) == 1
        assert await purging.purge_discussions(reached, older_than_seconds=0) == 0
    finally:
        await reached.stop()
    assert tables_with(database, word) == {}
    listed = await bob.call("notification.list", {})
    assert all(word not in repr(item) for item in listed["items"])
    assert (await bob.refusal("discussion.get", {"discussionId": discussion["id"]}))["code"] == "not_found"


async def test_words_that_a_version_before_has_left_are_purged(
    make_cluster: MakeCluster, database: TestDatabase, topic: str
) -> None:
    cluster = await make_cluster(nodes=1, redis_url=None)
    ann = await Door.open(cluster, "socket", "ann")
    word = f"Secret{uuid4().hex}"
    comment = (await ann.call("comment.add", {"topic": topic, "text": "Words"}))["comment"]
    await ann.call("comment.delete", {"commentId": comment["id"]})
    id = comment["id"]
    database.sql(f"INSERT INTO collab.comment_revisions VALUES ('{id}', 1, '{word}', '[]', now())")
    database.sql(
        f"""UPDATE collab.comments SET anchor = '{{"pageKey":"p","dataPoint":"{word}"}}' WHERE id = '{id}'"""
    )
    reached = await reach(database)
    try:
        assert await purging.purge_tombstones(reached) == 1
        assert await purging.purge_tombstones(reached) == 0
    finally:
        await reached.stop()
    assert tables_with(database, word) == {}
    assert (await ann.call("comment.get", {"commentId": id}))["anchor"] == {"pageKey": "p"}
