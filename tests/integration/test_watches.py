"""Counts of topics that are not open: told when they change, to whoever may know, and to nobody else."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, new_session
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic
from tests.integration.doors import BOARD, Door
from tests.integration.scene import BOB, CAROL, added, created, open_to

NEVER_FRESH = hurried(
    {
        "collab_server.services.live.watches": {"QUESTIONS_PER_MINUTE": 180, "QUESTIONS_AT_ONCE": 4},
        "collab_server.services.live.rights_watch": {"ROUND_SECONDS": 900},
        "collab_server.authority.library.library": {
            "Timing": {"fresh": 0.0, "refusal": 0.0, "memory": 900.0}
        },
    }
)


def told(client: Client, topic: str, skip: int = 0) -> list[dict[str, Any]]:
    """The summaries of a topic that were told to a client."""
    return [
        event.data
        for event in client.events[skip:]
        if event.name == "topic.summary" and event.data["topic"] == topic
    ]


async def summary(client: Client, topic: str) -> dict[str, Any] | None:
    """The summary as who asks finds it; None where they may not open it."""
    items = (await client.call("topic.summaries", {"topics": [topic]}))["items"]
    return items[0] if items else None


async def watch(client: Client, *topics: str) -> list[dict[str, Any]]:
    """The summaries in the answer."""
    items: list[dict[str, Any]] = (await client.call("topic.watch", {"topics": list(topics)}))["items"]
    return items


async def wait_told(client: Client, topic: str, *, timeout: float = 6) -> dict[str, Any]:
    """Wait until what was told last is what there is."""
    now = await summary(client, topic)
    assert now is not None
    await until(lambda: told(client, topic)[-1:] == [now], timeout, f"{topic} is told to be {now}")
    return now


async def test_whoever_watches_is_told_counts_and_no_events(cluster: Cluster, topic: str) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    phone, laptop = await cluster.client(1, "bob"), await cluster.client(2, "bob")
    other = fresh_topic()
    discussion = (await created(ann, BOB))["topic"]
    await phone.call("notification.count")  # what waits for the inbox is in it now
    for device in (phone, laptop):
        items = await watch(device, topic, other, discussion, f"inbox:{BOB}", topic)
        assert [item["topic"] for item in items] == [topic, other, discussion, f"inbox:{BOB}"]
        assert items == [await summary(device, name) for name in (topic, other, discussion, f"inbox:{BOB}")]
    marks = [len(device.events) for device in (phone, laptop)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    said = [await ann.call("comment.add", {"topic": topic, "text": str(number)}) for number in range(12)]
    await added(ann, discussion, "Among us")
    for device in (phone, laptop):
        assert (await wait_told(device, discussion))["unread"] == 1
    await phone.call("topic.read", {"topic": topic, "seq": said[3]["seq"]})
    await ann.call("comment.delete", {"commentId": said[5]["comment"]["id"]})
    for device, mark in zip((phone, laptop), marks, strict=True):
        now = await wait_told(device, topic)
        assert (now["seq"], now["comments"], now["unread"]) == (13, 11, 7)
        assert len(told(device, topic)) <= 2 + (loop.time() - began) / 2, "of a busy topic the newest"
        assert told(device, other, mark) == []
        names = {event.name for event in device.events[mark:] if event.topic == topic}
        assert names == {"topic.summary"}, "no events of a topic that is only watched"


async def test_the_next_watch_takes_the_place_of_the_one_before(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    other = fresh_topic()
    await watch(bob, topic)
    await watch(bob, other)
    with pytest.raises(Failed) as refusal:
        await watch(bob, topic, "x")
    assert (refusal.value.code, refusal.value.error["field"]) == ("invalid", "topics[1]")
    for name in (topic, other):
        await ann.call("comment.add", {"topic": name, "text": "Hello"})
    await wait_told(bob, other)
    assert told(bob, topic) == []
    assert await watch(bob) == []
    await ann.call("comment.add", {"topic": other, "text": "Again"})
    await watch(bob, topic)
    await ann.call("comment.add", {"topic": topic, "text": "Again"})
    await wait_told(bob, topic)
    assert [one["seq"] for one in told(bob, other)] == [1]
    with pytest.raises(Failed) as refusal:
        await watch(bob, *[topic] * 501)
    assert refusal.value.code == "too_large"


async def test_what_one_may_not_open_is_neither_shown_nor_told(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await Door.open(cluster, "rest", "bob")
    dan = await cluster.client(1, "dan")
    strange = (await created(bob, CAROL))["topic"]
    assert [item["topic"] for item in await watch(dan, BOARD, strange, f"inbox:{BOB}", topic)] == [topic]
    await ann.call("comment.add", {"topic": BOARD, "text": "Among us"})
    await added(bob, strange, "Among us")
    await ann.call("comment.add", {"topic": topic, "text": "For all"})
    await wait_told(dan, topic)
    assert {event.topic for event in dan.events if event.name == "topic.summary"} == {topic}


async def test_who_is_put_out_of_a_discussion_watches_it_no_more(cluster: Cluster) -> None:
    ann, bob = await Door.open(cluster, "rest", "ann"), await cluster.client(1, "bob")
    left, deleted, kept = [await created(ann, BOB, name=name) for name in ("left", "deleted", "kept")]
    await watch(bob, *(one["topic"] for one in (left, deleted, kept)))
    await ann.call("discussion.remove", {"discussionId": left["id"], "userId": BOB})
    await ann.call("discussion.delete", {"discussionId": deleted["id"]})
    for one, reason in ((left, "removed"), (deleted, "deleted")):
        assert await wait_closed(bob, one["topic"]) == reason
        assert told(bob, one["topic"]) == []
    await ann.call(
        "discussion.invite", {"discussionId": left["id"], "members": [{"kind": "user", "id": BOB}]}
    )
    for one in (left, kept):
        await added(ann, one["topic"], "Hello")
    await wait_told(bob, kept["topic"])
    assert told(bob, left["topic"]) == [], "it was ended"


async def test_nothing_is_told_without_the_right_nor_is_it_asked_for_too_often(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    """On nodes that believe nothing that was said before, so that each change is a question."""
    cluster = await make_cluster(nodes=2, library=own_library, env=NEVER_FRESH)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    lost, *topics = [fresh_topic() for _ in range(9)]
    await watch(bob, lost, *topics)
    await open_to(cluster, lost, "ann")
    await ann.call("comment.add", {"topic": lost, "text": "Bob must not know"})
    assert await wait_closed(bob, lost) == "rights lost"
    loop = asyncio.get_running_loop()
    before, began = await calls_about_objects(own_library), loop.time()
    for topic in topics:
        await ann.call("comment.add", {"topic": topic, "text": "Hello"})

    def told_of() -> set[str]:
        return {event.data["topic"] for event in bob.events if event.name == "topic.summary"}

    await until(lambda: len(told_of()) >= 4, 10)
    asked_of_bob = await calls_about_objects(own_library) - before - len(topics)
    assert asked_of_bob <= 4 + (loop.time() - began) * 3 + 1
    await until(lambda: told_of() == {*topics}, 10, "what could not be asked about at once is told later")


async def calls_about_objects(library: StandInLibrary) -> int:
    async with (
        new_session(keeps_cookies=False) as http,
        http.get(f"{library.root}/standin/calls") as answer,
    ):
        return int((await answer.json()).get("GET /objects/{id}", 0))


async def test_what_nodes_do_not_tell_each_other_is_found_in_the_database(make_cluster: MakeCluster) -> None:
    here, elsewhere = [await make_cluster(nodes=1, redis_url=None) for _ in range(2)]
    ann, bob = await elsewhere.client(0, "ann"), await here.client(0, "bob")
    away = await elsewhere.client(0, "bob")
    topic = fresh_topic()
    await watch(bob, topic)
    said = await ann.call("comment.add", {"topic": topic, "text": "Hello"})
    await away.call("topic.read", {"topic": topic, "seq": said["seq"]})
    assert (await wait_told(bob, topic))["unread"] == 0


async def test_no_change_is_lost_whatever_comes_at_once(cluster: Cluster) -> None:
    """Three people write, read and delete on three nodes while watches begin, are replaced and end."""
    chance = random.Random(20261128)
    topics = [fresh_topic() for _ in range(4)]
    logins = ("ann", "bob", "carol")
    writers = [await cluster.client(node, login) for node, login in enumerate(logins)]
    watchers = [
        await cluster.client((node + 1) % 3, login) for node, login in enumerate(logins) for _ in "ab"
    ]
    last: dict[tuple[int, str], dict[str, Any]] = {}
    written: list[str] = []

    async def write(client: Client) -> None:
        for _ in range(40):
            topic = chance.choice(topics)
            kind = chance.random()
            if kind < 0.6 or not written:
                answer = await client.ask("comment.add", {"topic": topic, "text": "x"})
                if answer["ok"]:
                    written.append(answer["data"]["comment"]["id"])
            elif kind < 0.8:
                await client.ask("topic.read", {"topic": topic, "seq": chance.randrange(40)})
            else:
                await client.ask("comment.delete", {"commentId": chance.choice(written)})

    async def begin(number: int, client: Client) -> None:
        for _ in range(4):
            await asyncio.sleep(chance.random() / 10)
            for item in await watch(client, *chance.sample(topics, 2), *topics):
                last[number, item["topic"]] = item

    marks = [len(client.events) for client in watchers]
    await asyncio.gather(
        *(write(client) for client in writers), *(begin(*numbered) for numbered in enumerate(watchers))
    )
    for number, (client, mark) in enumerate(zip(watchers, marks, strict=True)):
        for topic in topics:
            await wait_known(client, topic, last[number, topic], skip=mark)


async def wait_known(client: Client, topic: str, answered: dict[str, Any], *, skip: int) -> None:
    """Wait until a client knows what there is, by the last answer or by what it was told."""
    now = await summary(client, topic)
    await until(lambda: now in (answered, *told(client, topic, skip)[-1:]), 6, f"{topic} is known as {now}")


async def wait_closed(client: Client, topic: str) -> str:
    """Wait until the watch has ended; why."""
    closed = await client.wait_for(lambda e: e.name == "topic.closed" and e.topic == topic)
    return str(closed.data["reason"])
