"""Whoever loses a right gets nothing more: idle, in the middle of a stream, or coming back, on whatever node."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Event, Failed
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic
from tests.integration.doors import say, seqs
from tests.integration.scene import BOB, open_to, users

WATCH, LIBRARY = "collab_server.services.live.rights_watch", "collab_server.authority.library.library"
LIMITS = {"limits": {"connectionsPerUser": 500, "commandsPerSecond": 10_000, "commandsBurst": 10_000}}
LOOKING_OFTEN = hurried({WATCH: {"ROUND_SECONDS": 0.2, "RENEWED_AFTER_SECONDS": (0.5, 0.5)}})
ASKING_OFTEN_LOOKING_NEVER = hurried({WATCH: {"ROUND_SECONDS": 900}, LIBRARY: {"Timing": {"fresh": 0.2}}})
FORGETTING_SOON = hurried(
    {
        WATCH: {"ROUND_SECONDS": 0.2, "RENEWED_AFTER_SECONDS": (0.2, 0.2)},
        LIBRARY: {"Timing": {"fresh": 0.3, "memory": 2.0}},
    }
)


class Stream:
    """Somebody who writes on a topic for as long as the block lasts."""

    def __init__(self, writer: Client, topic: str) -> None:
        self._writer, self._topic = writer, topic
        self.head = 0

    async def __aenter__(self) -> Stream:
        self._task = asyncio.create_task(self._write())
        await until(lambda: self.head > 5, 10)
        return self

    async def _write(self) -> None:
        while True:
            self.head = (await say(self._writer, self._topic, "and on"))["seq"]

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def of_topic(client: Client, topic: str) -> list[Event]:
    """Everything the client got of a topic, signals too."""
    return [event for event in client.events if event.topic == topic]


async def closed(client: Client, topic: str, reason: str, timeout: float = 5) -> int:
    """Wait for the topic to be closed; how much of it the client has got by then."""
    await client.wait_for(lambda e: e.name == "topic.closed" and e.topic == topic, timeout=timeout)
    got = of_topic(client, topic)
    assert got[-1].name == "topic.closed"
    assert got[-1].data["reason"] == reason
    return len(got)


async def assert_shut_out(client: Client, topic: str, after: int) -> None:
    """Nothing of a topic is to be had by this client any more."""
    for command, payload in (
        ("topic.subscribe", {"topic": topic, "after": after}),
        ("topic.events", {"topic": topic, "after": after}),
        ("topic.comments", {"topic": topic}),
        ("comment.add", {"topic": topic, "text": "Let me in"}),
    ):
        with pytest.raises(Failed) as refusal:
            await client.call(command, payload)
        assert refusal.value.code == "not_found"


async def everywhere(cluster: Cluster, login: str, topic: str) -> list[Client]:
    """Somebody's clients, one on each node, subscribed."""
    clients = [await cluster.client(node, login) for node in range(len(cluster))]
    for client in clients:
        await client.call("topic.subscribe", {"topic": topic})
    return clients


async def come_back(cluster: Cluster, clients: Sequence[Client]) -> list[Client]:
    """The same people again, each on another node, with their resume tokens."""
    nodes = [*cluster.nodes[1:], cluster.nodes[0]]
    again = []
    for client, node in zip(clients, nodes, strict=True):
        await client.cut()
        again.append(await Client.connect(node.url, resume_token=client.hello["resumeToken"]))
    return again


async def test_content_that_is_closed_to_somebody_stops_reaching_all_their_sockets(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(nodes=3, overrides=LIMITS, env=LOOKING_OFTEN)
    busy, idle = fresh_topic(), fresh_topic()
    live, quiet = await everywhere(cluster, "bob", busy), await everywhere(cluster, "bob", idle)
    ann, carol = await cluster.client(0, "ann"), await cluster.client(1, "carol")
    await carol.call("topic.subscribe", {"topic": busy})
    async with Stream(ann, busy) as stream:
        for topic in (busy, idle):
            await open_to(cluster, topic, "ann", "carol")
        counts = [await closed(client, busy, "rights lost") for client in live]
        for client in quiet:
            await closed(client, idle, "rights lost")
        for node in cluster.nodes:
            lines = [line for line in node.log.splitlines() if "a right was lost" in line and BOB in line]
            assert {name for name in (busy, idle) if any(name in line for line in lines)} == {busy, idle}
        reached = stream.head
        await until(lambda: stream.head > reached + 20, 10)
        await say(ann, idle, "Bob must not see this")
        recovering = await come_back(cluster, live)
        for client in recovering:
            await assert_shut_out(client, busy, after=1)
            assert of_topic(client, busy) == []
            await client.close()
    assert [len(of_topic(client, busy)) for client in live] == counts
    assert [event.name for client in quiet for event in of_topic(client, idle)] == ["topic.closed"] * 3
    await carol.wait_for_seq(busy, stream.head)
    assert seqs(carol, busy)[: stream.head] == list(range(1, stream.head + 1))


async def test_one_refused_command_ends_the_deliveries_of_all_nodes_at_once(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(nodes=3, overrides=LIMITS, env=ASKING_OFTEN_LOOKING_NEVER)
    topic = fresh_topic()
    clients = await everywhere(cluster, "bob", topic)
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    await open_to(cluster, topic, "ann")

    async def is_refused() -> bool:
        try:
            await clients[0].call("topic.get", {"topic": topic})
        except Failed as refusal:
            return refusal.code == "not_found"
        return False

    await until(is_refused)
    for client in clients:
        await closed(client, topic, "rights lost", timeout=1)
    await say(ann, topic, "Among ourselves")
    await ann.wait_for_seq(topic, 1)
    await say(clients[0], fresh_topic(), "Something else")
    for client in clients:
        await client.call("me")
        assert seqs(client, topic) == []


async def test_a_removed_member_gets_nothing_more_on_any_node(make_cluster: MakeCluster) -> None:
    """Not even on a node that Redis does not reach, and however often they try to come back meanwhile."""
    cluster = await make_cluster(nodes=2, overrides=LIMITS)
    nobody_listens = ("127.0.0.1", 9)
    deaf = cluster.add_node(redis=nobody_listens, overrides=LIMITS)
    await deaf.start()
    ann = await cluster.client(0, "ann")
    made = await ann.call("discussion.create", {"name": "Plans", "members": users(BOB), "text": "Hello"})
    discussion, topic = made["discussion"]["id"], made["discussion"]["topic"]
    clients = await everywhere(cluster, "bob", topic)
    insistent = await cluster.client(1, "bob")
    caught: list[int] = []

    async def insist() -> None:
        while True:
            answer = await insistent.ask("topic.subscribe", {"topic": topic, "after": 0, "limit": 500})
            if not answer["ok"]:
                return
            caught.extend(event["seq"] for event in answer["data"]["events"])

    insisting = asyncio.create_task(insist())
    async with Stream(ann, topic) as stream:
        removed = (await ann.call("discussion.remove", {"discussionId": discussion, "userId": BOB}))["seq"]
        for client in clients:
            await closed(client, topic, "removed", timeout=3)
        async with asyncio.timeout(20):
            await insisting
        reached = stream.head
        await until(lambda: stream.head > reached + 20, 10)
        recovering = await come_back(cluster, clients)
        for client in recovering:
            await assert_shut_out(client, topic, after=1)
            assert of_topic(client, topic) == []
            await client.close()
    for client in clients:
        got = seqs(client, topic)
        assert got[-1] == removed
        assert got == list(range(got[0] or 0, removed + 1))
    assert max([*caught, *(seq or 0 for seq in seqs(insistent, topic))]) <= removed


async def test_when_library_stays_silent_nothing_is_delivered_for_ever(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    """What it said of content is believed for a while; then nobody knows, and who does not know says no."""
    cluster = await make_cluster(nodes=2, library=own_library, overrides=LIMITS, env=FORGETTING_SOON)
    topic = fresh_topic()
    clients = await everywhere(cluster, "bob", topic)
    made = await clients[0].call("discussion.create", {"name": "Plans", "members": []})
    discussion = made["discussion"]["topic"]
    for client in clients:
        await client.call("topic.subscribe", {"topic": discussion})
    own_library.stop()
    await say(clients[0], topic, "Still believed")
    for client in clients:
        await client.wait_for_seq(topic, 1)
        await closed(client, topic, "rights lost")
        answer = await client.ask("topic.subscribe", {"topic": topic})
        assert answer["error"]["code"] == "unavailable"
    head = (await say(clients[0], discussion, "Ours"))["seq"]
    for client in clients:
        await client.wait_for_seq(discussion, head)  # Library has no say in this
    own_library.start()

    async def may_again() -> bool:
        return bool((await clients[0].ask("topic.subscribe", {"topic": topic, "after": 1}))["ok"])

    await until(may_again)
