"""Three nodes, one conversation: everything reaches everybody, once, in order."""

from __future__ import annotations

import asyncio
from functools import partial

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch, until
from tests.integration.doors import Door, DoorName, say, seqs
from tests.integration.official import OfficialClient

COMMENTS, WRITERS = 1000, 10
PEOPLE = ("ann", "bob", "carol", "dan", "eve")


async def test_a_thousand_comments_reach_every_client_once_in_order(cluster: Cluster, topic: str) -> None:
    """Ten writers at both doors of three nodes; readers on each node by every transport and both official clients."""
    readers: list[Client] = []
    for node in range(3):
        for transport in ("websocket", "polling"):
            readers.append(await cluster.client(node, PEOPLE[node], transport=transport))
    for reader in readers:
        await reader.call("topic.subscribe", {"topic": topic})
    token = {"identityToken": await (await cluster.person("eve")).identity_token()}
    kinds = (["websocket"], ["polling"], ["polling", "websocket"])
    official = await asyncio.gather(
        *(
            OfficialClient.start(cluster[node].url, token, transports=transports, topic=topic)
            for node, transports in enumerate(kinds)
        )
    )
    try:
        await asyncio.gather(*(client.hears("subscribed", 20) for client in official))
        doors: list[DoorName] = ["socket", "socket", "rest"]
        writers = [
            await Door.open(cluster, doors[n % 3], PEOPLE[n % 5], (n + n // 3) % 3) for n in range(WRITERS)
        ]

        async def write(number: int, writer: Door) -> list[int]:
            given = []
            for n in range(COMMENTS // WRITERS):
                answer = await writer.call("comment.add", {"topic": topic, "text": f"{number}/{n}"})
                given.append(answer["seq"])
            return given

        given = await asyncio.gather(*(write(number, writer) for number, writer in enumerate(writers)))
        everything = list(range(1, COMMENTS + 1))
        assert sorted(seq for own in given for seq in own) == everything
        assert all(own == sorted(own) for own in given), "each writer's comments are in the order of writing"
        for number, reader in enumerate(readers):
            await until(
                partial(lambda one: len(seqs(one, topic)) >= COMMENTS or one.closed_because, reader),
                40,
                partial(
                    lambda number, one: f"reader {number} has all; it has {len(seqs(one, topic))}",
                    number,
                    reader,
                ),
            )
            assert (number, reader.closed_because, seqs(reader, topic)) == (number, None, everything)
        texts = [event.data["data"]["comment"]["text"] for event in readers[0].events_of(topic)]
        for number in range(WRITERS):
            own = [text for text in texts if text.startswith(f"{number}/")]
            assert own == [f"{number}/{n}" for n in range(COMMENTS // WRITERS)]
        for client in official:
            await client.hears(
                lambda told: told.get("event") == "comment.added" and told["data"]["seq"] == COMMENTS, 20
            )
            assert client.seqs == everything
    finally:
        await asyncio.gather(*(client.close() for client in official))
    late = await cluster.client(2, "bob")
    answer = await late.call("topic.subscribe", {"topic": topic, "after": 0})
    caught_up = [event["seq"] for event in answer["events"]]
    while len(caught_up) < COMMENTS:
        page = await late.call("topic.events", {"topic": topic, "after": caught_up[-1]})
        caught_up += [event["seq"] for event in page["events"]]
    assert caught_up == everything


async def test_what_a_killed_node_has_stored_reaches_the_others(
    make_cluster: MakeCluster, topic: str
) -> None:
    """Killed in the middle of writing, perhaps between COMMIT and publish: nothing acknowledged is missing."""
    limits = {"commandsPerSecond": 100_000, "commandsBurst": 100_000}
    cluster = await make_cluster(nodes=3, overrides={"limits": limits})
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    acknowledged: list[int] = []

    async def write(number: int) -> None:
        answer = await ann.call(
            "comment.add", {"topic": topic, "text": f"{number}", "requestId": f"{number}"}
        )
        acknowledged.append(answer["seq"])

    writing = [asyncio.create_task(write(number)) for number in range(200)]
    async with asyncio.timeout(10):
        while len(acknowledged) < 30:
            await asyncio.sleep(0.001)
    await cluster[0].kill()
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    again = await Client.connect(cluster[2].url, resume_token=ann.hello["resumeToken"])
    async with again:
        for number in range(200):
            payload = {"topic": topic, "text": f"{number}", "requestId": f"{number}"}
            await again.call("comment.add", payload)
        state = await again.call("topic.get", {"topic": topic})
    assert state["seq"] == state["comments"] == 200, "each took effect once"
    assert set(acknowledged) <= set(range(1, 201))
    await bob.wait_for_seq(topic, 200, timeout=10)
    assert seqs(bob, topic) == list(range(1, 201))


async def test_a_frozen_node_holds_nobody_up_for_long(make_cluster: MakeCluster, topic: str) -> None:
    """Frozen in the middle of writing to a topic, it may hold the topic's lock: for two seconds at most."""
    cluster = await make_cluster(nodes=2)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    for client in (ann, bob):
        await client.call("topic.subscribe", {"topic": topic})
    writing = [
        asyncio.create_task(ann.ask("comment.add", {"topic": topic, "text": f"{n}"}, timeout=30))
        for n in range(100)
    ]
    await bob.wait_for_seq(topic, 5)
    cluster[0].freeze()
    since_frozen = Stopwatch()
    refusals: list[str | None] = []
    while True:
        try:
            answer = await say(bob, topic, "Meanwhile")
            break
        except Failed as refusal:
            refusals.append(refusal.code)
            assert since_frozen.seconds < 6
    assert since_frozen.seconds < 6
    assert set(refusals) <= {"paused"}
    await bob.wait_for_seq(topic, answer["seq"], timeout=6)
    cluster[0].thaw()
    done = await asyncio.gather(*writing)
    head = (await bob.call("topic.get", {"topic": topic}))["seq"]
    assert head == 1 + sum(answer["ok"] for answer in done) or any(
        answer["error"].get("outcome") == "unknown" for answer in done if not answer["ok"]
    )
    for client in (ann, bob):
        await client.wait_for_seq(topic, head, timeout=10)
        assert seqs(client, topic) == list(range(1, head + 1))
