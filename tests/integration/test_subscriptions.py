"""Subscribing: no hole and no double, whatever happens beside it."""

from __future__ import annotations

import asyncio
import itertools
import json
from functools import partial
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch, until
from tests.harness.world import fresh_topic
from tests.integration.doors import BOARD, Raw, say, seqs

KEYS = [
    *("topic", "epoch", "seq", "events", "more", "recovered", "readSeq", "unread", "commenting", "rights"),
    "present",
]


async def fill(client: Client, topic: str, comments: int) -> None:
    await asyncio.gather(*(say(client, topic, f"Comment {number}") for number in range(comments)))


def got(answer: dict[str, Any]) -> list[int]:
    return [event["seq"] for event in answer["events"]]


# --- the answer


async def test_a_new_subscription_starts_at_the_head(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await fill(ann, topic, 3)
    answer = await bob.call("topic.subscribe", {"topic": topic})
    assert set(answer) == set(KEYS)
    assert (answer["topic"], answer["epoch"]) == (topic, bob.hello["epoch"])
    assert (answer["seq"], answer["events"], answer["more"]) == (3, [], False)
    assert answer["unread"] == 3
    assert {"comment.add", "topic.unsubscribe"} <= set(answer["rights"])
    await say(ann, topic, "Live")
    await bob.wait_for_seq(topic, 4)
    assert seqs(bob, topic) == [4]


@pytest.mark.parametrize(
    ("after", "limit", "expected", "more"),
    [
        (0, None, [1, 2, 3, 4, 5], False),
        (3, None, [4, 5], False),
        (5, None, [], False),
        (0, 2, [1, 2], True),
        (3, 2, [4, 5], False),
        (2, 1, [3], True),
    ],
)
async def test_catching_up(
    cluster: Cluster, topic: str, after: int, limit: int | None, expected: list[int], more: bool
) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await fill(ann, topic, 5)
    payload = {"topic": topic, "after": after} | ({} if limit is None else {"limit": limit})
    for epoch in ({}, {"epoch": bob.hello["epoch"]}):
        answer = await bob.call("topic.subscribe", {**payload, **epoch})
        assert (got(answer), answer["more"], answer["recovered"], answer["seq"]) == (expected, more, True, 5)
    log = await bob.call("topic.events", payload)
    assert log["events"] == answer["events"]


async def test_what_is_not_sent_at_once_is_fetched_while_live_events_go_on(
    cluster: Cluster, topic: str
) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(2, "bob")
    await fill(ann, topic, 30)
    answer = await bob.call("topic.subscribe", {"topic": topic, "after": 0, "limit": 7})
    assert (answer["seq"], answer["more"]) == (30, True)
    await fill(ann, topic, 5)
    found = got(answer)
    while found[-1] < answer["seq"]:
        page = await bob.call("topic.events", {"topic": topic, "after": found[-1], "limit": 7})
        found += [event["seq"] for event in page["events"] if event["seq"] <= answer["seq"]]
    await bob.wait_for_seq(topic, 35)
    assert found + seqs(bob, topic) == list(range(1, 36))


@pytest.mark.parametrize(
    "payload",
    [{"after": 3}, {"after": 10**9}, {"after": 0, "epoch": "another"}, {"after": 2, "epoch": ""}],
    ids=["beyond the head", "far beyond", "another epoch", "no epoch"],
)
async def test_a_client_of_another_time_starts_afresh(
    cluster: Cluster, topic: str, payload: dict[str, Any]
) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await fill(ann, topic, 2)
    answer = await bob.call("topic.subscribe", {"topic": topic, **payload})
    assert (answer["recovered"], answer["events"], answer["more"], answer["seq"]) == (False, [], False, 2)
    await say(ann, topic, "Live")
    await bob.wait_for_seq(topic, 3)
    assert seqs(bob, topic) == [3]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"after": -1}, "after"),
        ({"after": 2**53}, "after"),
        ({"after": 1.5}, "after"),
        ({"after": "1"}, "after"),
        ({"after": True}, "after"),
        ({"after": 0, "limit": 0}, "limit"),
        ({"after": 0, "limit": 501}, "limit"),
        ({"epoch": 7}, "epoch"),
        ({"topic": "nowhere"}, "topic"),
    ],
)
async def test_subscriptions_asked_for_wrongly(
    cluster: Cluster, topic: str, payload: dict[str, Any], field: str
) -> None:
    ann = await cluster.client(0, "ann")
    answer = await ann.ask("topic.subscribe", {"topic": topic, **payload})
    assert (answer["error"]["code"], answer["error"]["field"]) == ("invalid", field)
    with pytest.raises(Failed, match="not_found"):
        await ann.call("topic.unsubscribe", {"topic": topic})


async def test_nobody_subscribes_to_what_they_may_not_open(cluster: Cluster) -> None:
    ann, dan = await cluster.client(0, "ann"), await cluster.client(0, "dan")
    bob = await cluster.person("bob")
    await ann.call("topic.subscribe", {"topic": BOARD})
    for name in (BOARD, f"inbox:{bob.id}", "discussion:01a209c8-dc82-7177-a37f-7e27d8e6b282"):
        for more in ({}, {"after": -1}):
            answer = await dan.ask("topic.subscribe", {"topic": name, **more})
            assert answer["error"]["code"] == "not_found"
    said = await say(ann, BOARD, "Between us")
    await ann.wait_for_seq(BOARD, said["seq"])
    await dan.call("me")
    assert seqs(dan, BOARD) == []


# --- again and no more


async def test_after_unsubscribing_nothing_comes(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(0, "bob")
    for client in (ann, bob):
        await client.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "One")
    await bob.wait_for_seq(topic, 1)
    assert await bob.call("topic.unsubscribe", {"topic": topic}) == {}
    await say(ann, topic, "Two")
    await ann.wait_for_seq(topic, 2)
    await bob.call("me")
    assert seqs(bob, topic) == [1]
    with pytest.raises(Failed, match="not_found"):
        await bob.call("topic.unsubscribe", {"topic": topic})
    answer = await bob.call("topic.subscribe", {"topic": topic, "after": 1})
    assert got(answer) == [2]


async def test_subscribing_again_catches_up_and_changes_nothing_else(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    for _ in range(3):
        await bob.call("topic.subscribe", {"topic": topic})
    await fill(ann, topic, 2)
    await bob.wait_for_seq(topic, 2)
    answer = await bob.call("topic.subscribe", {"topic": topic, "after": 1})
    assert got(answer) == [2]
    await say(ann, topic, "Three")
    await bob.wait_for_seq(topic, 3)
    assert seqs(bob, topic) == [1, 2, 3]


async def test_a_failed_subscription_leaves_the_earlier_one_alone(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    assert (await bob.ask("topic.subscribe", {"topic": topic, "limit": 0}))["ok"] is False
    await say(ann, topic, "One")
    await bob.wait_for_seq(topic, 1)


async def test_either_spelling_is_the_same_subscription(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    lower = "content" + topic[7:].lower()
    assert (await ann.call("topic.subscribe", {"topic": lower}))["topic"] == topic
    await ann.call("topic.subscribe", {"topic": topic})
    await say(ann, lower, "One")
    await ann.wait_for_seq(topic, 1)
    await ann.call("topic.unsubscribe", {"topic": lower})
    await say(ann, topic, "Two")
    await ann.call("me")
    assert seqs(ann, topic) == [1]


async def test_subscribe_and_unsubscribe_sent_at_once_keep_their_order(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    person = await cluster.person("bob")
    async with await Raw.open(cluster[0].url, {"identityToken": await person.identity_token()}) as bob:
        payload = json.dumps({"topic": topic})
        lower = json.dumps({"topic": topic.lower()})
        names = ["topic.subscribe", "topic.unsubscribe"] * 5 + ["topic.subscribe"]
        await bob.send(
            *(f'42{number}["{name}",{lower if number % 3 else payload}]' for number, name in enumerate(names))
        )
        for number in range(len(names)):
            assert (await bob.answer(number))["ok"] is True
        await say(ann, topic, "One")
        while '"comment.added"' not in (frame := str(await bob.next())):
            pass
        assert json.loads(frame[2:])[1]["seq"] == 1
        await bob.send(f'421["topic.unsubscribe",{payload}]')
        assert (await bob.answer(1))["ok"] is True


# --- no hole, no double


async def test_every_client_sees_each_event_once_while_all_nodes_write(cluster: Cluster, topic: str) -> None:
    """Clients come, subscribe again and catch up in the middle of it, on every node."""
    writers = [await cluster.client(node, login) for node, login in enumerate(("ann", "bob", "carol"))]
    each, total = 60, 180
    is_over = asyncio.Event()

    async def write(writer: Client) -> None:
        for start in range(0, each, 5):
            await asyncio.gather(*(say(writer, topic, f"{start + n}") for n in range(5)))

    async def read(node: int, login: str) -> list[int]:
        """Subscribe again and again; put together what the answers and the events in between bring."""
        client = await cluster.client(node, login)
        known, turns = 0, 0
        while known < total:
            before = len(client.events)
            answer = await client.call("topic.subscribe", {"topic": topic, "after": known, "limit": 500})
            assert answer["recovered"]
            assert not answer["more"]
            # What came since the subscription was asked for and before its answer belongs to the one before.
            assert got(answer) == list(range(known + 1, answer["seq"] + 1))
            known = answer["seq"]
            turns += 1
            at_least = min(known + 3, total)
            if known < total:
                await client.wait_for(
                    partial(
                        lambda event, wanted: event.topic == topic and (event.seq or 0) >= wanted,
                        wanted=at_least,
                    ),
                    timeout=20,
                    skip=before,
                )
                live = [
                    event.seq or 0 for event in client.events[before:] if event.topic == topic and event.seq
                ]
                live = [seq for seq in live if seq > known]
                assert live == list(range(known + 1, known + 1 + len(live)))
                known = live[-1]
        assert turns > 1
        return [event.seq or 0 for event in client.events_of(topic)]

    async def watch(node: int) -> Client:
        client = await cluster.client(node, "eve")
        await client.call("topic.subscribe", {"topic": topic})
        return client

    watchers = [await watch(node) for node in range(3)]
    readers = [asyncio.create_task(read(n % 3, login)) for n, login in enumerate(("dan", "ann", "bob"))]
    await asyncio.gather(*(write(writer) for writer in writers))
    is_over.set()
    for watcher in watchers:
        await watcher.wait_for_seq(topic, total, timeout=20)
        assert seqs(watcher, topic) == list(range(1, total + 1))
    for reader in readers:
        live = await asyncio.wait_for(reader, 30)
        assert live == sorted(set(live)), "no event came twice or out of order"


async def test_no_event_of_the_topic_comes_between_subscribing_and_its_answer(
    cluster: Cluster, topic: str
) -> None:
    ann = await cluster.client(1, "ann")
    person = await cluster.person("bob")
    async with await Raw.open(cluster[0].url, {"identityToken": await person.identity_token()}) as bob:
        writing = asyncio.create_task(fill(ann, topic, 100))
        payload = json.dumps({"topic": topic, "after": 0})
        known = -1
        for ack_id in itertools.count(1):
            await bob.send(f'42{ack_id}["topic.subscribe",{payload}]')
            frames: list[str] = []
            while not (frame := str(await bob.next())).startswith(f"43{ack_id}["):
                frames.append(frame)
            # Events read here were on their way before the command was taken; nothing may be beyond its seq.
            head = json.loads(frame[len(f"43{ack_id}") :])[0]["data"]["seq"]
            before = [json.loads(sent[2:])[1]["seq"] for sent in frames if '"comment.added"' in sent]
            assert before == list(range(known + 1, known + 1 + len(before))) if known >= 0 else not before
            assert not before or before[-1] <= head
            known = head
            if head == 100:
                break
        await writing


async def test_several_who_subscribe_on_one_connection_share_its_events_without_gaps(
    cluster: Cluster, topic: str
) -> None:
    """While others write, they ask again and again, two at a time; the connection gets each event once, in order."""
    ann, bob = await cluster.client(0, "ann"), await cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})

    async def write() -> None:
        for number in range(60):
            await say(ann, topic, f"{number}")

    async def ask_again() -> None:
        while not writing.done():
            heard = max([event.seq or 0 for event in bob.events if event.topic == topic], default=0)
            answer = await bob.call("topic.subscribe", {"topic": topic, "after": heard})
            assert answer["seq"] >= heard

    writing = asyncio.create_task(write())
    await asyncio.gather(writing, ask_again(), ask_again())
    await bob.wait_for_seq(topic, 60)
    assert seqs(bob, topic) == list(range(1, 61))


async def test_many_topics_of_one_connection_are_kept_apart(cluster: Cluster) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    topics = [fresh_topic() for _ in range(20)]
    answers = await asyncio.gather(*(bob.call("topic.subscribe", {"topic": topic}) for topic in topics))
    assert [answer["topic"] for answer in answers] == topics
    await asyncio.gather(*(say(ann, topic, text) for text in ("One", "Two") for topic in topics))
    for topic in topics:
        await bob.wait_for_seq(topic, 2)
        assert seqs(bob, topic) == [1, 2]


async def test_a_poll_that_comes_late_brings_no_more_than_every_client_takes(
    cluster: Cluster, topic: str
) -> None:
    """The clients of python-engineio disconnect when a poll brings more than 16 packets."""
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    token = await (await cluster.person("bob")).identity_token()
    url = f"{cluster[0].url}/socket.io/?EIO=4&transport=polling"
    async with new_session(keeps_cookies=False) as http:

        async def poll() -> list[str]:
            async with http.get(url) as answer:
                assert answer.status == 200
                return (await answer.text()).split("\x1e")

        url += f"&sid={json.loads((await poll())[0][1:])['sid']}"
        async with http.post(url, data="40" + json.dumps({"identityToken": token})) as answer:
            assert answer.status == 200
        packets: list[str] = []
        while not any(packet.startswith('42["server.hello"') for packet in packets):
            packets += await poll()
        async with http.post(url, data=f'421["topic.subscribe",{{"topic":"{topic}"}}]') as answer:
            assert answer.status == 200
        while not any(packet.startswith("431[") for packet in packets):
            packets += await poll()
        await fill(ann, topic, 50)
        await ann.wait_for_seq(topic, 50)
        found: list[int] = []
        while len(found) < 50:
            packets = await poll()
            assert len(packets) <= 16
            found += [json.loads(p[2:])[1]["seq"] for p in packets if p.startswith('42["comment.added"')]
        assert found == list(range(1, 51))


# --- the inbox


async def test_everybody_is_subscribed_to_their_own_inbox_from_the_start(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    inbox = f"inbox:{ann.hello['user']['id']}"
    answer = await ann.call("topic.subscribe", {"topic": inbox, "after": ann.hello["inboxSeq"]})
    assert answer["recovered"]
    assert "comment.add" not in answer["rights"]


async def test_who_leaves_their_own_inbox_hears_no_more_of_it(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    me = bob.hello["user"]
    inbox = f"inbox:{me['id']}"
    assert await bob.call("topic.unsubscribe", {"topic": inbox}) == {}
    assert (await bob.ask("topic.unsubscribe", {"topic": inbox}))["error"]["code"] == "not_found"
    before = await bob.call("notification.count")
    await ann.call("comment.add", {"topic": topic, "text": f"@[{me['name']}](user:{me['id']}) look"})

    async def is_told() -> bool:
        return bool((await bob.call("notification.count")) != before)

    await until(is_told, what="the notification is in the inbox")
    answer = await bob.call("topic.subscribe", {"topic": inbox, "after": bob.hello["inboxSeq"]})
    assert "notification.added" in [event["type"] for event in answer["events"]]
    assert bob.events_of(inbox) == []


# --- without Redis


async def test_a_node_alone_needs_no_redis(make_cluster: MakeCluster, topic: str) -> None:
    cluster = await make_cluster(redis_url=None, nodes=1)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    await fill(ann, topic, 20)
    await bob.wait_for_seq(topic, 20)
    assert seqs(bob, topic) == list(range(1, 21))
    assert (await cluster[0].status())["scaling"] == "none"


async def test_nodes_that_know_nothing_of_each_other_find_each_others_events(
    make_cluster: MakeCluster, topic: str
) -> None:
    """Two nodes on one database and no Redis: what the other stored is found by reading, within some 2 s."""
    cluster = await make_cluster(redis_url=None, nodes=2)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    await fill(ann, topic, 20)
    since_stored = Stopwatch()
    await until(lambda: len(seqs(bob, topic)) == 20)
    assert since_stored.seconds < 4
    assert seqs(bob, topic) == list(range(1, 21))
