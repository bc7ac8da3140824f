"""A node of this version beside one of the next or the one before, on one database and one Redis.

What differs between versions and can be told without their code: a layout of the bus that one side does not know,
kinds of messages it has never heard of, longer rows in those it has, columns and tables that it does not use. What
needs the code of the version before takes it out of the history, and is skipped where that is not there.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import struct
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

import collab_client
from collab_server.cluster.envelope import pack_heard, pack_messages
from collab_server.cluster.seal import SENDER_BYTES, Seal
from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from collab_server.services.search import recut
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import Client, Rest
from tests.harness.cluster import ROOT, Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase, fresh_topic
from tests.integration.doors import say, seqs
from tests.integration.scene import ANN, BOB, CAROL, SALES, content_of, groups, mention, users

BEFORE = "c98cc429d785637f9c53bdb3b81140ca0363befd"
"""The last commit of the version before, which does not seal what it says on the bus."""

NEXT_LAYOUT = hurried({"collab_server.cluster.seal": {"LAYOUT": 3}})

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
    ann_there = await other.client(0, "ann")
    first, again = [await one.call("comment.add", repeated) for one in (ann, ann_there)]
    for answer in (first, again):
        answer["comment"].pop("seq", None)  # a node of the version before does not tell it
    assert first == again


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
        before = await make_cluster(nodes=1, library=library, env=version_before, is_warm=False)
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
        old = await before.client(0, "bob")
        shown = {"Authorization": f"Bearer {old.hello['resumeToken']}"}
        async with Rest.open(this[0].url) as rest:
            assert await rest.call("DELETE", "/session", headers=shown) == {}
            assert (await rest.request("GET", "/me", headers=shown))[0] == 401, "ended, though begun there"
        await converse(before, this)
        await converse(this, before)
        await look_for_each_other(before, this)
        await edit_on_either(before, this)
        await show_on_either(before, this)


async def look_for_each_other(before: Cluster, this: Cluster) -> None:
    """What nodes of both versions have indexed is found by both: in one cut, until the other is made anew."""
    old, new = await before.client(0, "ann"), await this.client(0, "ann")
    topic = fresh_topic()
    by_old = await say(old, topic, "обʼєкт old")
    by_new = await say(new, topic, "обʼєкт new")
    changed = await say(new, topic, "обʼєкт changed")
    await old.call("comment.edit", {"commentId": changed["comment"]["id"], "text": "обʼєкт edited"})
    ids = sorted((answer["comment"]["id"] for answer in (by_old, by_new, changed)), reverse=True)

    async def found(client: Client, q: str) -> list[str]:
        items = (await client.call("comments.search", {"q": q, "topic": topic}))["items"]
        return [item["comment"]["id"] for item in items]

    assert await found(new, "обʼєкт") == ids
    assert await found(old, "new") == [by_new["comment"]["id"]]
    assert await found(old, "edited") == await found(new, "edited") == [changed["comment"]["id"]]
    # A node does the job within seconds of its start, or a minute after it was done last.
    database = Database(Server(**this.database.connect_arguments()))
    await database.start()
    try:
        await database.until_up()
        await recut(database, rest=0)
    finally:
        await database.stop()
    assert await found(new, "об'єкт") == ids


async def edit_on_either(before: Cluster, this: Cluster) -> None:
    """A client says of what it has made an edit to nodes that know that; repeated on another it is the same edit."""
    old, new = await before.client(0, "ann"), await this.client(0, "ann")
    topic = fresh_topic()
    id = (await say(new, topic, "one"))["comment"]["id"]
    edit = {"commentId": id, "text": "two", "requestId": secrets.token_hex(4)}
    first = await new.call("comment.edit", {**edit, "ofRevision": 1})
    assert await old.call("comment.edit", edit) == first
    assert (await old.ask("comment.edit", {**edit, "ofRevision": 1}))["error"]["code"] == "invalid"
    # Its answer was lost when a node went: the next one is asked again, by what that knows.
    for text, ways in (
        ("*two*", ((old, {}), (new, {"format": "markdown"}))),
        ("two", ((new, {"format": "plain"}), (old, {}))),
    ):
        edit = {"commentId": id, "text": text, "requestId": secrets.token_hex(4)}
        first, again = [await client.call("comment.edit", {**edit, **more}) for client, more in ways]
        assert (again["seq"], again["comment"]["text"]) == (first["seq"], text)
    for cluster, text, revision in ((before, "**three**", 4), (this, "**four**", 5)):
        auth = collab_client.library(cluster.library.url, "ann", "ann")
        async with collab_client.Client(cluster[0].url, auth) as client:
            await client.live()
            change: Any = {"commentId": id, "text": text, "format": "markdown", "ofRevision": revision}
            edited = await client.change("comment.edit", change)
            assert edited["comment"]["text"] == text
    assert edited["comment"]["body"] is not None


async def show_on_either(before: Cluster, this: Cluster) -> None:
    """A client shows a topic in its order, and what is unread, also by a node that tells neither of comments their
    places nor how far one has read."""
    for cluster in (before, this):
        topic = fresh_topic()
        bob = await cluster.client(0, "bob")
        roots = [(await say(bob, topic, f"{number}"))["comment"]["id"] for number in range(3)]
        replies = [f"1.{number}" for number in range(60)]
        for text in replies:
            await bob.call("comment.add", {"topic": topic, "replyTo": roots[1], "text": text})
        auth = collab_client.library(cluster.library.url, "ann", "ann")
        async with collab_client.Client(cluster[0].url, auth) as client, client.topic(topic) as shown:

            async def shows(*expected: str, unread: int, shown: collab_client.Topic = shown) -> None:
                def is_shown() -> bool:
                    now = shown.snapshot
                    texts = [comment["text"] for thread in now.threads for comment in thread.comments]
                    return (texts, now.unread) == (list(expected), unread)

                await until(is_shown, 10, f"{len(expected)} comments are shown, {unread} of them unread")

            for root in roots:
                await shown.find(root)
            await shows("0", "1", *replies, "2", unread=63)
            await shown.add("2.0", reply_to=roots[2])
            await say(bob, topic, "3")
            await shows("0", "1", *replies, "2", "2.0", "3", unread=64)
            shown.read()
            await shows("0", "1", *replies, "2", "2.0", "3", unread=0)


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
    make_cluster: MakeCluster, database: TestDatabase, valkey: EmbeddedValkey
) -> None:
    """Layouts, kinds, rows and events that this version has never heard of; sealed as this version seals."""
    cluster = await make_cluster(nodes=2)
    ann = await cluster.client(0, "ann")
    epoch = ann.hello["epoch"]
    topic = fresh_topic()
    await ann.call("topic.subscribe", {"topic": topic})
    news: list[tuple[int, bytes]] = [
        (Kind.CANARY, json.dumps({"version": "99", "state": "running", "news": [1]}).encode()),
        (77, b"\0\1\2"),
        (250, b""),
        (Kind.PRESENCE, json.dumps(["sings", topic, {"id": 1}]).encode()),
        (Kind.RIGHTS, json.dumps([["A" * 32, "B" * 32, "C" * 32, 55, "Name", 1.0, "more"]]).encode()),
    ]
    channel = f"collab:{epoch}:bus"
    async with newer_node(database, valkey, epoch) as newer:
        await newer.hear_of(2)

        async def is_believed() -> bool:
            """What it says before it is known is not believed, so it says it again, as nodes do every second."""
            await newer.say(*news)
            report = await cluster[1].status(is_verbose=True)
            return any(node.get("news") == [1] for node in report["cluster"])

        await until(is_believed, 10, "the other node knows it, and its news")
        for part in (b"\3anything", b"", b"\1cut short"):
            assert await newer.redis.publish(channel, part) >= 2

        async def has_counted() -> bool:
            report = await cluster[1].status(is_verbose=True)
            return bool(report["counters"]["bus_unknown_version"] >= 3)

        await until(has_counted, 10, "what it cannot open is counted")
    await say(ann, topic, "As ever")
    await ann.wait_for_seq(topic, 1)
    assert seqs(ann, topic) == [1]
    await converse_in(cluster)
    for node in cluster.nodes:
        assert (await node.status())["state"] == "running"
        assert (await node.status(is_verbose=True))["counters"]["bus_handler_errors"] == 0


class NewerNode:
    """What a node of a later version says on the bus, of which only the seal is as in this one."""

    def __init__(self, client: Any, listener: Any, epoch: str, key: bytes) -> None:
        self.redis = client
        self._listener = listener
        self._channel = f"collab:{epoch}:bus"
        self._seal = Seal(secrets.token_bytes(SENDER_BYTES))
        self._seal.use(epoch, KeyRing.of(key))
        self._number = 0
        self._heard: dict[bytes, int] = {}

    async def say(self, *messages: tuple[int, bytes]) -> None:
        """To be believed by whoever has met it; with all that it has heard by now, so that others meet it soon."""
        for _ in range(1000):
            if not await self._hear(0):
                break
        heard = (Kind.HEARD, pack_heard(True, self._heard.items()), b"")
        inside = pack_messages("newer", [heard, *((kind, payload, b"") for kind, payload in messages)])
        await self.redis.publish(self._channel, self._seal.seal(self._number, inside))
        self._number += 1 + len(messages)

    async def hear_of(self, nodes: int) -> None:
        await self.say()
        async with asyncio.timeout(10):
            while len(self._heard) < nodes:
                await self._hear(1)

    async def _hear(self, timeout: float) -> bool:
        message = await self._listener.get_message(ignore_subscribe_messages=True, timeout=timeout)
        if message is None:
            return False
        opened = self._seal.open(message["data"])
        if opened.sender != self._seal.sender:
            count = struct.unpack_from(">I", opened.inside)[0]
            self._heard[opened.sender] = opened.first + count
        return True


@asynccontextmanager
async def newer_node(database: TestDatabase, valkey: EmbeddedValkey, epoch: str) -> AsyncIterator[NewerNode]:
    key = await asyncio.to_thread(database.sql, "SELECT encode(seal_key, 'hex') FROM collab.installation")
    client: Any = redis.asyncio.from_url(valkey.url, retry=Retry(NoBackoff(), 0))
    async with client, client.pubsub() as listener:
        await listener.subscribe(f"collab:{epoch}:bus")
        yield NewerNode(client, listener, epoch, bytes.fromhex(key.strip()))


async def test_nodes_that_seal_and_nodes_of_before_find_everything_in_the_database(
    make_cluster: MakeCluster, version_before: dict[str, str]
) -> None:
    """Events within 2 s, inboxes by the sweep; neither believes the other, crashes, or fills its log."""
    old = await make_cluster(nodes=2, env=version_before, is_warm=False)
    new = await make_cluster(nodes=1)
    lines = [len(node.log.splitlines()) for node in (*old.nodes, new[0])]
    await converse(old, new)
    await converse(new, old)
    for cluster in (old, new):
        status = await cluster[0].status(is_verbose=True)
        assert status["state"] == "running"
        assert status["counters"]["bus_unknown_version"] > 0
        assert status["counters"]["bus_handler_errors"] == 0
    assert (await new[0].status(is_verbose=True))["cluster"] == []
    assert len((await old[0].status(is_verbose=True))["cluster"]) == 1
    for node, count in zip((*old.nodes, new[0]), lines, strict=True):
        written = node.log.splitlines()[count:]
        assert len([line for line in written if "WARNING" in line or "ERROR" in line]) <= 2, written


async def test_nobody_is_shown_as_having_left_who_moves_to_a_node_that_seals(
    make_cluster: MakeCluster, version_before: dict[str, str], topic: str
) -> None:
    """To a node of before, people go with their node; it cannot hear that they have come to another one."""
    old = await make_cluster(nodes=2, env=version_before, is_warm=False)
    new = await make_cluster(nodes=1)
    ann, bob, carol = await old.client(0, "ann"), await old.client(1, "bob"), await new.client(0, "carol")
    for client in (ann, bob, carol):
        await client.call("topic.subscribe", {"topic": topic})

    async def sees(client: Client, *who: str) -> bool:
        present = (await client.call("topic.get", {"topic": topic}))["present"]
        return sorted(user["id"] for user in present) == sorted(who)

    await until(lambda: sees(bob, ANN, BOB), 10, "nodes of before know of each other's people")
    await until(lambda: sees(carol, CAROL), 10, "this one does not believe them")
    await old[0].stop()
    moved = await new.client(0, "ann")
    await moved.call("topic.subscribe", {"topic": topic})

    async def is_kept_up() -> bool:
        report = await old[1].status(is_verbose=True)
        return len(report["cluster"]) == 1

    await until(is_kept_up, what="heartbeats go on in the name of the one that has gone")
    later = asyncio.get_running_loop().time() + 6  # twice what it takes to be shown as having left
    while asyncio.get_running_loop().time() < later:
        await say(moved, topic, "Still here")
        await asyncio.sleep(0.5)
    left = [
        e.data for client in (bob, carol) for e in client.events if e.name == "presence" and e.data["left"]
    ]
    assert left == []
    await new.close_clients()
    await new[0].stop()
    await bob.wait_for(lambda e: e.name == "presence" and bool(e.data["left"]), timeout=15)


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


async def test_what_many_are_told_stands_where_older_nodes_look_for_it_until_there_are_none(
    make_cluster: MakeCluster, version_before: dict[str, str]
) -> None:
    older = await make_cluster(nodes=1, env=version_before, is_warm=False)
    newer = await make_cluster(nodes=1)
    topic = fresh_topic()
    ann = await newer.client(0, "ann")
    bob, carol = await older.client(0, "bob"), await newer.client(0, "carol")
    view_state = {"x": "y" * 1000}
    payload = {"content": content_of(topic), "recipients": groups(SALES), "viewState": view_state}

    async def tell(text: str) -> list[str]:
        """Share, look at what came live, in lists and logs; how many of the two rows name a notice."""
        assert await ann.call("share", {**payload, "message": text}) == {"shared": 2}
        for client, inbox in ((carol, CAROL), (bob, BOB)):
            event = await client.wait_for(
                lambda event: (
                    event.name == "notification.added" and event.data["data"]["notification"]["text"] == text
                ),
                timeout=15,
            )
            notification = event.data["data"]["notification"]
            assert notification["viewState"] == view_state
            assert (await client.call("notification.list"))["items"][0] == notification
            log = await client.call("topic.events", {"topic": f"inbox:{inbox}", "limit": 500})
            assert log["events"][-1] == event.data
        words = "SELECT count(notice_id), max(length(text)) FROM collab.notifications WHERE seq IS NOT NULL"
        return (await asyncio.to_thread(newer.database.sql, words)).split("|")

    text = f"To be read {'by everybody ' * 10}"
    assert await tell(f"{text} 1") == ["0", str(len(text) + 2)]
    await bob.close()
    await older[0].stop()
    bob = await newer.client(0, "bob")
    assert (await tell(f"{text} 2"))[0] == "2"
    assert await asyncio.to_thread(newer.database.sql, "SELECT count(*) FROM collab.notices") == "1"
