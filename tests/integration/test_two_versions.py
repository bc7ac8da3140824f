"""A node of this version beside one of the next or the one before, on one database and one Redis.

What differs between versions and can be told without their code: a layout of the bus that one side does not know,
kinds of messages it has never heard of, longer rows in those it has, columns and tables that it does not use. What
needs the code of the version before takes it out of the history, and is skipped where that is not there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from collab_server.cluster.envelope import Kind, pack_envelope
from collab_server.demo.embedded import EmbeddedValkey
from tests.conftest import MakeCluster
from tests.harness.clients import Client
from tests.harness.cluster import ROOT, Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic
from tests.integration.doors import say, seqs
from tests.integration.scene import BOB, mention, users

BEFORE = "c98cc429d785637f9c53bdb3b81140ca0363befd"
"""The last commit of the version before."""

NEXT_LAYOUT = hurried({"collab_server.cluster.envelope": {"LAYOUT": 2}})

EXPANDED = """
    INSERT INTO collab.schema_migrations (version) VALUES ('9999');
    CREATE TABLE collab.of_the_next_version (id bigint PRIMARY KEY, topic_id bigint REFERENCES collab.topics);
    ALTER TABLE collab.topics ADD COLUMN next_version text;
    ALTER TABLE collab.comments ADD COLUMN next_version text NOT NULL DEFAULT '';
    ALTER TABLE collab.events ADD COLUMN next_version int;
    ALTER TABLE collab.notifications ADD COLUMN next_version jsonb;
    CREATE INDEX of_the_next_version_by_id ON collab.comments (next_version, id);
"""


@pytest.fixture(scope="session")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a node of the version before."""
    folder = tmp_path_factory.mktemp("before")
    try:
        taken = subprocess.run(["git", "-C", ROOT, "archive", BEFORE], capture_output=True, check=True)
        subprocess.run(["tar", "-x", "-C", folder], input=taken.stdout, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the code of the version before is not in the history here")
    assert Path(folder, "collab_server", "app.py").exists()
    return {"PYTHONPATH": str(folder)}


async def converse(one: Cluster, other: Cluster, *, within: float = 3.0) -> None:
    """People of either side hear each other, in order and once, in content, discussions and inboxes."""
    ann, bob = await one.client(0, "ann"), await other.client(0, "bob")
    topic = fresh_topic()
    made = await ann.call("discussion.create", {"name": "Plans", "members": users(BOB)})
    discussion = made["discussion"]["topic"]
    for client in (ann, bob):
        for name in (topic, discussion):
            await client.call("topic.subscribe", {"topic": name, "after": 0})
    for number in range(10):
        for client in (ann, bob):
            await say(client, topic, f"{number} {mention(BOB)}" if number == 9 else f"{number}")
            await say(client, discussion, f"{number}")
    head = (await bob.call("topic.get", {"topic": discussion}))["seq"]
    for client in (ann, bob):
        await client.wait_for_seq(topic, 20, timeout=within)
        await client.wait_for_seq(discussion, head, timeout=within)
        assert seqs(client, topic) == list(range(1, 21))
    await bob.wait_for(
        lambda e: e.name == "notification.added" and e.data["data"]["notification"]["kind"] == "mention",
        timeout=10,
    )
    repeated = {"topic": topic, "text": "Once", "requestId": secrets.token_hex(4)}
    assert await ann.call("comment.add", repeated) == await (await other.client(0, "ann")).call(
        "comment.add", repeated
    )


async def test_a_database_that_is_one_version_ahead(make_cluster: MakeCluster) -> None:
    """The next version expands; what this version writes and reads stays as it was."""
    running = await make_cluster(nodes=1)
    await asyncio.to_thread(running.database.sql, EXPANDED)
    started_after = await make_cluster(nodes=1)
    await converse(running, started_after)
    await converse(started_after, running)
    for cluster in (running, started_after):
        assert (await cluster[0].status())["state"] == "running"


async def test_the_version_before_beside_this_one(
    make_cluster: MakeCluster, version_before: dict[str, str]
) -> None:
    """With a Library whose side sets a cookie, of which the version before knows nothing."""
    with StandInLibrary(balanced=1) as library:
        before = await make_cluster(nodes=1, library=library, env=version_before)
        this = await make_cluster(nodes=1, library=library)
        for one, other in ((before, this), (this, before)):
            ann = await one.person("ann")
            ways: list[dict[str, Any]] = [
                {"identity_token": await ann.identity_token()},
                {"auth_token": ann.auth_token, "headers": {"Cookie": ann.cookie_header}},
            ]
            for way in ways:
                client = await Client.connect(one[0].url, **way)
                for cluster in (other, one, other):
                    token = client.hello["resumeToken"]
                    await client.close()
                    client = await Client.connect(cluster[0].url, resume_token=token)
                    assert client.hello["user"]["id"] == ann.id
                    assert (await client.call("topic.get", {"topic": fresh_topic()}))["seq"] == 0
                await client.close()
        await converse(before, this)
        await converse(this, before)


async def test_nodes_that_do_not_understand_each_other_find_everything_in_the_database(
    make_cluster: MakeCluster,
) -> None:
    this, following = await make_cluster(nodes=1), await make_cluster(nodes=1, env=NEXT_LAYOUT)
    await converse(this, following)
    await converse(following, this)
    for cluster in (this, following):
        status = await cluster[0].status(is_verbose=True)
        assert status["state"] == "running"
        assert status["counters"]["bus_unknown_version"] > 0
        assert status["counters"]["bus_handler_errors"] == 0


async def test_what_a_newer_node_says_disturbs_nobody(
    make_cluster: MakeCluster, valkey: EmbeddedValkey
) -> None:
    """Layouts, kinds, rows and events that this version has never heard of."""
    cluster = await make_cluster(nodes=2)
    ann = await cluster.client(0, "ann")
    epoch = ann.hello["epoch"]
    topic = fresh_topic()
    await ann.call("topic.subscribe", {"topic": topic})
    messages: list[tuple[int, bytes]] = [
        (Kind.CANARY, json.dumps({"version": "99", "state": "running", "news": [1]}).encode()),
        (77, b"\0\1\2"),
        (250, b""),
        (Kind.PRESENCE, json.dumps(["sings", topic, {"id": 1}]).encode()),
        (Kind.RIGHTS, json.dumps([["A" * 32, "B" * 32, "C" * 32, 55, "Name", 1.0, "more"]]).encode()),
    ]
    parts: list[bytes] = [
        pack_envelope(b"newernod", "newer", 0, messages),
        b"\2anything",
        b"",
        b"\1cut short",
    ]
    client: Any = redis.asyncio.from_url(valkey.url, retry=Retry(NoBackoff(), 0))
    async with client:
        for part in parts:
            assert await client.publish(f"collab:{epoch}:bus", part) >= 2

    async def has_heard() -> bool:
        counters = (await cluster[1].status(is_verbose=True))["counters"]
        return bool(counters["bus_unknown_version"] >= 3)

    await until(has_heard, 5)
    await say(ann, topic, "As ever")
    await ann.wait_for_seq(topic, 1)
    assert seqs(ann, topic) == [1]
    await converse_in(cluster)
    for node in cluster.nodes:
        assert (await node.status())["state"] == "running"
        assert (await node.status(is_verbose=True))["counters"]["bus_handler_errors"] == 0


async def converse_in(cluster: Cluster) -> None:
    """One event from each node to the other."""
    topic = fresh_topic()
    clients = [await cluster.client(0, "bob"), await cluster.client(1, "carol")]
    for client in clients:
        await client.call("topic.subscribe", {"topic": topic})
    for number, client in enumerate(clients, 1):
        await say(client, topic, f"{number}")
        for other in clients:
            await other.wait_for_seq(topic, number, timeout=3)
