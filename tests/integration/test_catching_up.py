"""A client that was away, however long, gets all it has missed: in order, once, on any node."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from collab_client import fold
from collab_server.domain.hints import MAX_BODY_BYTES
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch, until
from tests.integration.doors import Door, say, seqs

FAT = "ü" * 10_000  # 20 kB each, more than a page of 500 can hold


def bring_up_to(cluster: Cluster, topic: str, seq: int) -> None:
    """Make the topic's log that long, by repeating its last event; that takes a second, ten thousand writes more."""
    cluster.database.sql(
        f"""
        WITH topic AS (
            UPDATE collab.topics SET last_seq = {seq} WHERE name = '{topic}' RETURNING id
        )
        INSERT INTO collab.events (topic_id, seq, type, at, actor, data, comment_id)
        SELECT topic.id, number, last.type, last.at, last.actor, last.data, last.comment_id
          FROM topic
          JOIN LATERAL (
               SELECT * FROM collab.events WHERE topic_id = topic.id ORDER BY seq DESC LIMIT 1
               ) AS last ON true
         CROSS JOIN generate_series(last.seq + 1, {seq}) AS number
        """
    )


async def caught_up(cluster: Cluster, client: Client, topic: str, after: int) -> list[int]:
    """Subscribe after `after` and fetch what the answer left out, each page from another node."""
    epoch = client.hello["epoch"]
    answer = await client.call("topic.subscribe", {"topic": topic, "after": after, "epoch": epoch})
    assert answer["recovered"]
    found = [event["seq"] for event in answer["events"]]
    readers = [await cluster.client(node, "carol") for node in range(len(cluster))]
    for page_number in range(1000):
        if not answer["more"] or found[-1] >= answer["seq"]:
            break
        reader = readers[page_number % len(readers)]
        page = await reader.call("topic.events", {"topic": topic, "after": found[-1], "limit": 500})
        assert page["events"], "a page is never empty while there is more"
        found += [event["seq"] for event in page["events"] if event["seq"] <= answer["seq"]]
    return found


@pytest.mark.parametrize("missed", [0, 1, 10, 10_000])
async def test_a_client_that_was_away_misses_nothing_on_any_node(
    cluster: Cluster, topic: str, missed: int
) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    for number in range(3):
        await say(ann, topic, f"{number}")
    await bob.wait_for_seq(topic, 3)
    known, token = seqs(bob, topic)[-1], bob.hello["resumeToken"]
    assert known == 3
    await bob.cut()
    if missed:
        await asyncio.to_thread(bring_up_to, cluster, topic, 3 + missed)
    is_over = asyncio.Event()

    async def go_on() -> int:
        last = 0
        while not is_over.is_set():
            last = (await say(ann, topic, "meanwhile"))["seq"]
        return last

    writing = asyncio.create_task(go_on())
    again = [await Client.connect(node.url, resume_token=token) for node in cluster.nodes]
    found = await asyncio.gather(*(caught_up(cluster, client, topic, known) for client in again))
    is_over.set()
    head = await writing
    for client, fetched in zip(again, found, strict=True):
        last = fetched[-1] if fetched else known
        if head > last:
            await client.wait_for_seq(topic, head)
        live = seqs(client, topic)
        assert [*fetched, *live] == list(range(4, head + 1))
        await client.close()


async def test_a_month_later_one_signs_in_anew_and_goes_on_where_one_was(
    cluster: Cluster, topic: str
) -> None:
    """The session, and the token to come back with, are long over; the `seq` and the epoch are not."""
    ann, bob = await cluster.client(1, "ann"), await cluster.client(1, "bob")
    await say(ann, topic, "Before")
    epoch = (await bob.call("topic.subscribe", {"topic": topic}))["epoch"]
    await bob.close()
    for number in range(10):
        await say(ann, topic, f"{number}")
    cluster.database.sql(
        "UPDATE collab.events SET at = at - interval '40 days' "
        f"WHERE topic_id = (SELECT id FROM collab.topics WHERE name = '{topic}') AND seq <= 5"
    )
    anew = await cluster.client(2, "bob")
    answer = await anew.call("topic.subscribe", {"topic": topic, "after": 1, "epoch": epoch})
    assert answer["recovered"]
    assert [event["seq"] for event in answer["events"]] == list(range(2, 12))


@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_large_events_come_in_smaller_pages(cluster: Cluster, topic: str, door: Any) -> None:
    """So that an answer never is more than may wait for a client that reads slowly."""
    ann = await cluster.client(0, "ann")
    await say(ann, topic, FAT)
    await asyncio.to_thread(bring_up_to, cluster, topic, 120)
    bob = await Door.open(cluster, door, "bob", node=1)
    found: list[int] = []
    pages = 0
    while not found or found[-1] < 120:
        page = await bob.call("topic.events", {"topic": topic, "after": len(found), "limit": 500})
        found += [event["seq"] for event in page["events"]]
        size = sum(len(event["data"]["comment"]["text"].encode()) for event in page["events"])
        assert 0 < size < 600_000
        assert page["more"] is (found[-1] < 120)
        pages += 1
    assert found == list(range(1, 121))
    assert 4 < pages < 10


async def test_a_slow_reader_catches_up_on_large_events(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(2, "bob")
    await say(ann, topic, FAT)
    await asyncio.to_thread(bring_up_to, cluster, topic, 200)
    answer = await bob.call("topic.subscribe", {"topic": topic, "after": 0})
    found = [event["seq"] for event in answer["events"]]
    while found[-1] < answer["seq"]:
        await say(ann, topic, FAT)  # live events go between the pages
        page = await bob.call("topic.events", {"topic": topic, "after": found[-1]})
        found += [event["seq"] for event in page["events"] if event["seq"] <= answer["seq"]]
    assert found == list(range(1, 201))
    await until(lambda: seqs(bob, topic) == list(range(201, 201 + len(seqs(bob, topic)))))
    assert bob.is_connected


async def test_an_event_too_large_for_the_bus_comes_from_the_database(cluster: Cluster, topic: str) -> None:
    """To other nodes only its number is told; it arrives there in its place all the same, and soon."""
    ann = await cluster.client(0, "ann")
    others = [await cluster.client(node, "bob") for node in (1, 2)]
    for client in (ann, *others):
        await client.call("topic.subscribe", {"topic": topic})
    large: dict[str, Any] = {"text": FAT, "viewState": {"filters": "f" * 60_000}}
    assert len(FAT.encode()) + 60_000 > MAX_BODY_BYTES
    for number in range(6):
        await say(ann, topic, f"{number}")
        watch = Stopwatch()
        await say(ann, topic, **large)
        for client in others:
            event = await client.wait_for_seq(topic, 2 * number + 2, timeout=2)
            assert event.data["data"]["comment"]["text"] == FAT
            assert event.data["data"]["comment"]["viewState"] == large["viewState"]
        assert watch.seconds < 1.5
    for client in (ann, *others):
        await client.wait_for_seq(topic, 12)
        assert seqs(client, topic) == list(range(1, 13))


async def test_what_is_read_holds_the_events_up_to_its_seq_and_none_behind(
    cluster: Cluster, topic: str
) -> None:
    """Whatever is read while others write, and at whatever moment."""
    ann, bob, reader = [
        await cluster.client(node, login) for node, login in ((0, "ann"), (1, "bob"), (1, "bob"))
    ]
    inbox = f"inbox:{bob.hello['user']['id']}"
    started_at = bob.hello["inboxSeq"]
    to_bob = f"@[Bob](user:{bob.hello['user']['id']})"
    root = (await ann.call("comment.add", {"topic": topic, "text": "root"}))["comment"]["id"]
    is_over = False

    async def write(client: Client, seed: int) -> None:
        chance = random.Random(seed)
        for number in range(8):
            text = f"{number} {to_bob}"
            reply = {"topic": topic, "text": text, "replyTo": root}
            comment = (await client.call("comment.add", reply))["comment"]["id"]
            await client.call("comment.react", {"commentId": chance.choice([root, comment]), "emoji": "👍"})
            await client.call("comment.unreact", {"commentId": root, "emoji": "👍"})
            if chance.random() < 0.3:
                await client.call("comment.delete", {"commentId": comment})
            elif chance.random() < 0.5:
                await client.call("comment.edit", {"commentId": comment, "text": f"not {number}"})
            if client is bob and chance.random() < 0.3:
                await bob.call("topic.read", {"topic": topic, "seq": 10_000})

    async def read() -> list[tuple[Any, Any, Any]]:
        found = []
        while not is_over:
            page = await reader.call("topic.comments", {"topic": topic, "limit": 200})
            told = await reader.call("notification.list", {"limit": 200})
            found.append((page, told, await reader.call("notification.count")))
        return found

    reading = asyncio.create_task(read())
    await asyncio.gather(write(ann, 1), write(bob, 2), write(ann, 3))
    is_over = True
    pages = await reading
    page = await reader.call("topic.comments", {"topic": topic, "limit": 200})
    log = (await reader.call("topic.events", {"topic": topic, "after": 0, "limit": 500}))["events"]
    told, count, news = await settled_inbox(reader, inbox, started_at)
    assert len({earlier["seq"] for earlier, _, _ in pages}) > 1
    for earlier, listed, counted in pages:
        comments = {comment["id"]: comment for comment in earlier["items"]}
        for event in log[earlier["seq"] :]:
            fold(comments, event)
        assert sorted(comments.values(), key=lambda comment: comment["seq"]) == page["items"]
        unread = counted["unread"]
        for event in news[counted["seq"] - started_at :]:
            data = event["data"]
            is_new = "notification" in data and not data["notification"]["readAt"]
            unread = data.get("unread", unread + is_new)
        assert unread == count["unread"]
        assert unread_of(topic, listed, news[listed["seq"] - started_at :]) == unread_of(topic, told, [])


async def settled_inbox(reader: Client, inbox: str, after: int) -> tuple[Any, Any, Any]:
    """The inbox, its badge, and its events after `after`, once all three are of one moment."""
    found: tuple[Any, Any, Any] = (None, None, None)

    async def is_settled() -> bool:
        nonlocal found
        found = (
            await reader.call("notification.list", {"limit": 200}),
            await reader.call("notification.count"),
            (await reader.call("topic.events", {"topic": inbox, "after": after, "limit": 500}))["events"],
        )
        listed, counted, events = found
        return bool(events) and listed["seq"] == counted["seq"] == events[-1]["seq"]

    await until(is_settled)
    return found


def unread_of(topic: str, listed: Any, news: Any) -> set[str]:
    """The ids of what is not read of a topic, by what was listed before these events."""
    unread = {one["id"] for one in listed["items"] if not one["readAt"] and one["topic"] == topic}
    for event in news:
        told = event["data"].get("notification")
        if told and not told["readAt"] and told["topic"] == topic:
            unread.add(told["id"])
        unread -= set(event["data"].get("ids", ()))
    return unread
