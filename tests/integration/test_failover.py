"""The database goes back in time, or only moves: who notices, and what clients are left with."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres
from collab_server.errors import Paused
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, Rest
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.standby import Pair
from tests.harness.waiting import until
from tests.harness.world import TestDatabase, fresh_topic
from tests.integration.scene import BOB, mention, users

NOTICED_SECONDS = 5.0
SAID = "gone back in time"


@pytest.fixture
def pair(own_postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(own_postgres, tmp_path / "standby", dict(NOT_DURABLE))
    yield pair
    pair.close()


async def behind(pair: Pair, make_cluster: MakeCluster, nodes: int = 2, **more: Any) -> Cluster:
    """Nodes that reach whichever of the two is the primary."""
    database = TestDatabase(pair.primary, pair.primary.database)
    cluster = await make_cluster(start=False, nodes=0, database=database, **more)
    for _ in range(nodes):
        cluster.add_node(postgres=pair.address)
    return await cluster.start()


async def test_of_several_hosts_the_one_is_taken_that_is_the_primary(pair: Pair) -> None:
    """Whichever stands first, also beside a primary of before that nobody has stopped."""
    ours, theirs = pair.primary, pair.standby

    async def one_of(first: EmbeddedPostgres, second: EmbeddedPostgres) -> Database:
        target = TestDatabase(first, ours.database).connect_arguments()
        database = Database(Server(**target, others=((second.host, second.port),)))
        await database.start()
        return database

    async def is_at(database: Database, server: EmbeddedPostgres) -> bool:
        try:
            return bool(await database.fetchval("SELECT inet_server_port()") == server.port)
        except Paused:
            return False

    databases = [await one_of(theirs, ours), await one_of(ours, theirs)]
    try:
        for database in databases:
            await until(partial(is_at, database, ours), 10)
        pair.switch_over()
        for database in databases:
            await until(partial(is_at, database, theirs), 10)
        ours.start()
        databases.append(await one_of(ours, theirs))
        await until(partial(is_at, databases[-1], theirs), 10)
    finally:
        for database in databases:
            await database.stop()


def installation(server: EmbeddedPostgres) -> list[str]:
    """Epoch, renewals, timeline."""
    found = server.sql("SELECT epoch, renewals, timeline FROM collab.installation", database=server.database)
    return found.split("|")


async def write(rest: Rest, topic: str, *texts: str) -> None:
    """Comments, one after the other, each until it is acknowledged."""
    for text in texts:

        async def is_stored(text: str = text) -> bool:
            try:
                await rest.post(f"/topics/{topic}/comments", {"text": text, "requestId": f"{topic} {text}"})
            except Failed as error:
                if error.code != "paused":
                    raise
                return False
            return True

        await until(is_stored, 10, f"{text} is stored")


async def texts(rest: Rest, topic: str) -> list[str]:
    found = await rest.get(f"/topics/{topic}/comments")
    return sorted(comment["text"] for comment in found["items"])


async def subscribed(cluster: Cluster, node: int, login: str, *topics: str) -> Client:
    client = await cluster.client(node, login)
    for topic in topics:
        await client.call("topic.subscribe", {"topic": topic})
    return client


async def until_epoch(rest: Rest, topic: str, epoch: str) -> None:
    """Wait until the node has learned of this epoch."""

    async def knows() -> bool:
        return bool((await rest.get(f"/topics/{topic}"))["epoch"] == epoch)

    await until(knows, NOTICED_SECONDS, "the node has the new epoch")


async def come_back(
    cluster: Cluster, node: int, old: Client, topic: str, *, after: int
) -> tuple[str, bool, int]:
    """A client that was sent away returns as an official one does: the epoch, whether it may go on, the head."""
    await old.wait_until_closed(NOTICED_SECONDS)
    client = await Client.connect(cluster[node].url, resume_token=old.hello["resumeToken"])
    try:
        answer = await client.call(
            "topic.subscribe", {"topic": topic, "after": after, "epoch": old.hello["epoch"]}
        )
        return answer["epoch"], answer["recovered"], answer["seq"]
    finally:
        await client.close()


async def test_commits_that_a_failover_lost_renew_the_epoch_once(
    pair: Pair, make_cluster: MakeCluster
) -> None:
    cluster = await behind(pair, make_cluster)
    topic, quiet = fresh_topic(), fresh_topic()
    writer = await cluster.rest(0, "ann")
    await write(writer, topic, *(f"kept {n}" for n in range(3)))
    await write(writer, quiet, "kept")
    readers = [
        await subscribed(cluster, node, login, topic, quiet) for node, login in enumerate(("ann", "bob"))
    ]
    pair.wait_until_level()
    before = installation(pair.primary)
    pair.line.stall()
    await write(writer, topic, *(f"lost {n}" for n in range(10)))
    for reader in readers:
        await reader.wait_for_seq(topic, 13)
    pair.fail_over()
    await write(
        writer, topic, *(f"new {n}" for n in range(12))
    )  # more than were lost, before anybody notices
    found = [await come_back(cluster, node, reader, topic, after=13) for node, reader in enumerate(readers)]
    after = installation(pair.standby)
    assert after[0] != before[0]
    assert after[1] == "1"
    assert after[2].partition("/")[0] == before[2].partition("/")[0]
    assert after[2] != before[2]
    assert found == [(after[0], False, 15)] * 2
    assert len(await texts(writer, topic)) == 15
    assert sum(node.log.count(SAID) for node in cluster.nodes) == 1
    assert "10 events of 1 topics" in "".join(node.log for node in cluster.nodes)


async def test_lost_commits_are_noticed_where_nobody_follows_anything(
    pair: Pair, make_cluster: MakeCluster
) -> None:
    cluster = await behind(pair, make_cluster, nodes=1, redis_url=None)
    topic, made_and_lost = fresh_topic(), fresh_topic()
    writer = await cluster.rest(0, "ann")
    await write(writer, topic, "kept")
    pair.wait_until_level()
    before = installation(pair.primary)
    pair.line.stall()
    await write(writer, topic, "lost")
    await write(writer, made_and_lost, "lost")
    pair.fail_over()
    await write(writer, topic, "new 1", "new 2")
    await until(lambda: installation(pair.standby)[0] != before[0], NOTICED_SECONDS, "the epoch is new")
    assert installation(pair.standby)[1] == "1"
    assert await texts(writer, topic) == ["kept", "new 1", "new 2"]


async def test_a_failover_that_lost_nothing_disturbs_nobody(pair: Pair, make_cluster: MakeCluster) -> None:
    hurry = hurried({"collab_server.storage.installation": {"JUDGE_SECONDS": 1.0}})
    cluster = await behind(pair, make_cluster, env=hurry)
    topic = fresh_topic()
    writer = await cluster.rest(0, "ann")
    await write(writer, topic, "one")
    readers = [await subscribed(cluster, node, "bob", topic) for node in (0, 1)]
    before = installation(pair.primary)
    pair.switch_over()
    await write(writer, topic, "two")
    for reader in readers:
        await reader.wait_for_seq(topic, 2)
    await until(lambda: installation(pair.standby)[2] != before[2], NOTICED_SECONDS, "the timeline is noted")
    await cluster[1].stop()  # and a rolling restart after it
    await cluster[1].start()
    await write(writer, topic, "three")
    await readers[0].wait_for_seq(topic, 3)
    assert readers[0].is_connected
    assert installation(pair.standby)[:2] == before[:2]
    # What happens while no node runs, nobody has seen.
    await asyncio.gather(*(node.stop() for node in cluster.nodes))
    pair.standby.sql(
        f"UPDATE collab.installation SET timeline = '{before[2]}'", database=pair.standby.database
    )
    await cluster.start()
    after = installation(pair.standby)
    assert after[0] != before[0]
    assert after[1] == "1"
    assert sum("no node ran" in line for node in cluster.nodes for line in node.log.splitlines()) == 1


async def test_a_data_folder_put_back_under_running_nodes_renews_the_epoch(
    own_postgres: EmbeddedPostgres, make_cluster: MakeCluster, tmp_path: Path
) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    cluster = await make_cluster(nodes=2, database=target)
    topic = fresh_topic()
    writer = await cluster.rest(0, "ann")
    await write(writer, topic, "kept")
    own_postgres.stop()
    shutil.copytree(own_postgres.folder / "pgdata", tmp_path / "copy")
    own_postgres.start()
    await asyncio.gather(*(node.wait_until_ready() for node in cluster.nodes))
    reader = await subscribed(cluster, 1, "bob", topic)
    await write(writer, topic, "lost")
    await reader.wait_for_seq(topic, 2)
    before = installation(own_postgres)
    own_postgres.stop()
    shutil.rmtree(own_postgres.folder / "pgdata")
    shutil.copytree(tmp_path / "copy", own_postgres.folder / "pgdata")
    own_postgres.start()
    assert installation(own_postgres) == before  # the row itself tells nothing
    epoch, is_recovered, _ = await come_back(cluster, 1, reader, topic, after=2)
    assert epoch == installation(own_postgres)[0] != before[0]
    assert not is_recovered
    assert installation(own_postgres)[1] == "1"


async def test_a_restore_by_statements_is_noticed_too(
    database: TestDatabase, make_cluster: MakeCluster
) -> None:
    cluster = await make_cluster(nodes=2)
    topic = fresh_topic()
    writer = await cluster.rest(0, "ann")
    await write(writer, topic, "kept", "lost")
    reader = await subscribed(cluster, 1, "bob", topic)
    before = database.sql("SELECT epoch FROM collab.installation")
    database.sql(
        "BEGIN; DELETE FROM collab.events WHERE seq = 2; DELETE FROM collab.comments WHERE seq = 2;"
        " UPDATE collab.topics SET last_seq = 1; COMMIT"
    )
    epoch, is_recovered, head = await come_back(cluster, 1, reader, topic, after=2)
    assert (is_recovered, head) == (False, 1)
    assert epoch != before
    # An older row of the installation is put back with the rest: its epoch has ended once already.
    await until_epoch(writer, topic, epoch)
    reader = await subscribed(cluster, 0, "bob", topic)
    database.sql(f"UPDATE collab.installation SET epoch = '{before}', renewals = 0")
    third, _, _ = await come_back(cluster, 0, reader, topic, after=1)
    assert third not in (before, epoch)
    assert database.sql("SELECT epoch, renewals FROM collab.installation") == f"{third}|2"


async def test_what_is_removed_on_purpose_is_not_taken_for_lost(
    database: TestDatabase, make_cluster: MakeCluster
) -> None:
    cluster = await make_cluster(nodes=2)
    topic = fresh_topic()
    writer = await cluster.rest(0, "ann")
    reader = await subscribed(cluster, 1, "bob", topic)
    await write(writer, topic, "one", f"two {mention(BOB)}", "three")
    one, two, _ = (await writer.get(f"/topics/{topic}/comments"))["items"]
    await writer.call("PATCH", f"/comments/{two['id']}", {"text": "again"})
    await writer.call("PUT", f"/comments/{two['id']}/reactions/👍", {})
    await writer.call("PUT", f"/comments/{two['id']}/resolution", {})
    made = await writer.post("/discussions", {"name": "Plans", "members": users(BOB), "text": "hello"})
    await writer.call("PATCH", f"/discussions/{made['discussion']['id']}", {"name": "Other plans"})
    await writer.call("DELETE", f"/comments/{one['id']}")  # its words leave the log
    await reader.wait_for_seq(topic, 7)
    before = database.sql("SELECT epoch, renewals FROM collab.installation")
    database.sql("DELETE FROM collab.events WHERE seq = 2")  # as keeping events for a limited time would do
    database.sql("UPDATE collab.installation SET timeline = NULL")  # both nodes look at everything
    await until(
        lambda: database.sql("SELECT timeline FROM collab.installation") != "",
        NOTICED_SECONDS,
        "they have looked",
    )
    await write(writer, topic, "four")
    await reader.wait_for_seq(topic, 8)
    assert reader.is_connected
    assert database.sql("SELECT epoch, renewals FROM collab.installation") == before
