"""Order and fairness of one client's commands."""

from __future__ import annotations

import asyncio
import json

import asyncpg

from tests.harness.cluster import Cluster
from tests.harness.world import fresh_topic
from tests.integration.doors import Raw, seqs


async def raw(cluster: Cluster, login: str, node: int = 0) -> Raw:
    token = await (await cluster.person(login)).identity_token()
    return await Raw.open(cluster[node].url, {"identityToken": token})


def packet(ack_id: int, command: str, **payload: object) -> str:
    return f"42{ack_id}{json.dumps([command, payload])}"


async def test_a_hundred_writes_sent_at_once_take_effect_in_order(cluster: Cluster, topic: str) -> None:
    bob = await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    async with await raw(cluster, "ann") as ann:
        await ann.send(*(packet(n, "comment.add", topic=topic, text=f"{n}") for n in range(100)))
        for n, (id, answer) in enumerate(await ann.answers(100)):
            assert (id, answer["data"]["seq"], answer["data"]["comment"]["text"]) == (n, n + 1, f"{n}")
    await bob.wait_for_seq(topic, 100)
    assert [event.data["data"]["comment"]["text"] for event in bob.events_of(topic)] == [
        f"{n}" for n in range(100)
    ]


async def test_writes_to_different_topics_keep_their_order_too(cluster: Cluster) -> None:
    topics = [fresh_topic() for _ in range(5)]
    async with await raw(cluster, "ann") as ann:
        await ann.send(*(packet(n, "comment.add", topic=topics[n % 5], text=f"{n}") for n in range(50)))
        times = []
        for n, (id, answer) in enumerate(await ann.answers(50)):
            assert (id, answer["data"]["seq"]) == (n, n // 5 + 1)
            times.append(answer["data"]["comment"]["createdAt"])
        assert times == sorted(times)


async def test_the_first_comments_on_a_topic_are_numbered_too_when_all_nodes_add_one_at_once(
    cluster: Cluster,
) -> None:
    authors = [
        await cluster.client(number % 3, login) for number, login in enumerate(("ann", "bob", "carol") * 3)
    ]
    for _ in range(20):
        topic = fresh_topic()
        added = await asyncio.gather(
            *(who.call("comment.add", {"topic": topic, "text": f"{n}"}) for n, who in enumerate(authors))
        )
        assert sorted(answer["seq"] for answer in added) == list(range(1, len(authors) + 1))
        head = await authors[0].call("topic.get", {"topic": topic})
        assert (head["seq"], head["comments"]) == (len(authors), len(authors))


async def test_writes_that_follow_from_each_other_are_sent_without_waiting(
    cluster: Cluster, topic: str
) -> None:
    first = await (await cluster.client(1, "ann")).call("comment.add", {"topic": topic, "text": "One"})
    id = first["comment"]["id"]
    async with await raw(cluster, "ann") as ann:
        await ann.send(
            packet(1, "comment.edit", commentId=id, text="Two"),
            packet(2, "comment.edit", commentId=id, text=""),
            packet(3, "comment.edit", commentId=id, text="Three"),
            packet(4, "comment.delete", commentId=id),
            packet(5, "comment.edit", commentId=id, text="Four"),
            packet(6, "comment.get", commentId=id),
        )
        answers = [await ann.answer(n) for n in range(1, 7)]
        assert [answer["ok"] for answer in answers] == [True, False, True, True, False, True]
        assert [answers[n]["data"]["comment"]["revision"] for n in (0, 2)] == [2, 3]
        assert answers[4]["error"]["code"] == "conflict"
        assert answers[5]["data"]["deletedAt"]


async def test_a_read_sees_the_writes_sent_before_it(cluster: Cluster, topic: str) -> None:
    async with await raw(cluster, "ann") as ann:
        for round in range(10):
            first = 10 * round
            adds = [packet(first + n, "comment.add", topic=topic, text="x") for n in range(3)]
            reads = [
                packet(first + 3, "topic.get", topic=topic),
                packet(first + 4, "topic.comments", topic=topic, order="newest", limit=1),
                packet(first + 5, "topic.events", topic=topic, after=first),
                packet(first + 6, "topic.subscribe", topic=topic),
            ]
            await ann.send(*adds, *reads)
            written = 3 * (round + 1)
            assert (await ann.answer(first + 3))["data"]["seq"] == written
            ann.frames.clear()
            await ann.send(packet(first + 9, "topic.get", topic=topic))
            assert (await ann.answer(first + 9))["data"]["seq"] == written


async def test_reads_do_not_delay_writes(cluster: Cluster, topic: str) -> None:
    """Somebody holds up all reading of revisions; the commands sent after such reads take effect meanwhile."""
    async with await raw(cluster, "ann") as ann:
        await ann.send(packet(1, "comment.add", topic=topic, text="One"))
        id = (await ann.answer(1))["data"]["comment"]["id"]
        connection = await asyncpg.connect(**cluster.database.connect_arguments())
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE collab.comment_revisions IN ACCESS EXCLUSIVE MODE")
                reads = [packet(n, "comment.revisions", commentId=id) for n in (10, 11)]
                await ann.send(*reads, packet(2, "comment.add", topic=topic, text="Two"))
                [(id, answer)] = await ann.answers(1)
                assert (id, answer["data"]["seq"]) == (2, 2)
                await ann.send(packet(3, "topic.get", topic=topic))
                [(id, answer)] = await ann.answers(1)
                assert (id, answer["data"]["seq"]) == (3, 2)
        finally:
            await connection.close()
        for n in (10, 11):
            assert len((await ann.answer(n))["data"]["items"]) == 1


async def test_a_flood_of_one_client_does_not_hold_up_another(cluster: Cluster, topic: str) -> None:
    async with await raw(cluster, "ann") as ann:
        await ann.send(*(packet(n, "comment.add", topic=topic, text="x") for n in range(300)))
        bob = await cluster.client(0, "bob")
        await bob.call("me")
        done = await bob.call("comment.add", {"topic": fresh_topic(), "text": "In between"})
        assert done["seq"] == 1
        state = await bob.call("topic.get", {"topic": topic})
        assert state["seq"] < 300, "bob was served in the middle of ann's commands"
        for n in range(300):
            assert (await ann.answer(n, 30))["ok"]


async def test_commands_of_a_client_that_goes_are_carried_through_or_not_at_all(
    cluster: Cluster, topic: str
) -> None:
    bob = await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    async with await raw(cluster, "ann") as ann:
        await ann.send(*(packet(n, "comment.add", topic=topic, text=f"{n}") for n in range(50)))
        await ann.answer(0)
    async with asyncio.timeout(10):
        known = -1
        while known != (known := (await bob.call("topic.get", {"topic": topic}))["seq"]):
            await bob.wait_for_seq(topic, known)
    texts = [event.data["data"]["comment"]["text"] for event in bob.events_of(topic)]
    assert texts == [f"{n}" for n in range(len(texts))]
    assert seqs(bob, topic) == list(range(1, len(texts) + 1))
