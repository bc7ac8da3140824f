"""`requestId`: a command that is repeated takes effect once and gets the first answer again."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch
from tests.harness.world import TestDatabase, fresh_topic
from tests.integration.doors import BOARD, Door, DoorName

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


def request_id() -> str:
    return str(uuid4())


@BOTH
async def test_a_repeated_command_gets_the_first_answer(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    payload = {"topic": topic, "text": "Once", "requestId": request_id()}
    first = await ann.call("comment.add", payload)
    assert [await ann.call("comment.add", payload) for _ in range(3)] == [first] * 3
    for command, more in (("comment.edit", {"text": "Edited"}), ("comment.delete", {})):
        change = {"commentId": first["comment"]["id"], "requestId": request_id(), **more}
        changed = await ann.call(command, change)
        assert await ann.call(command, change) == changed
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 3


async def test_a_command_is_repeated_on_any_node_through_any_door(cluster: Cluster, topic: str) -> None:
    payload = {
        "topic": topic,
        "text": "Once",
        "anchor": {"pageKey": "p"},
        "viewState": {"b": 1, "a": [1.0, "ä"]},
    }
    payload["requestId"] = request_id()
    answers = []
    ways: list[tuple[int, DoorName]] = [
        (0, "socket"),
        (1, "rest"),
        (2, "socket"),
        (0, "rest"),
        (1, "socket"),
    ]
    for node, door in ways:
        ann = await Door.open(cluster, door, "ann", node)
        answers.append(await ann.call("comment.add", payload))
    assert answers == answers[:1] * 5
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 1


async def test_twenty_at_once_take_effect_once(cluster: Cluster, topic: str) -> None:
    doors = [await Door.open(cluster, door, "ann", node) for node in range(3) for door in ("socket", "rest")]
    payload = {"topic": topic, "text": "Once", "requestId": request_id()}
    answers = await asyncio.gather(*(doors[n % 6].call("comment.add", payload) for n in range(20)))
    assert answers == answers[:1] * 20
    log = await doors[0].call("topic.events", {"topic": topic})
    assert [event["seq"] for event in log["events"]] == [1]


async def test_of_twenty_deletions_at_once_none_finds_the_comment_deleted_already(
    cluster: Cluster, topic: str
) -> None:
    doors = [await Door.open(cluster, door, "ann", node) for node in range(3) for door in ("socket", "rest")]
    for _ in range(5):
        added = await doors[0].call("comment.add", {"topic": topic, "text": "Short-lived"})
        payload = {"commentId": added["comment"]["id"], "requestId": request_id()}
        answers = await asyncio.gather(*(doors[n % 6].call("comment.delete", payload) for n in range(20)))
        assert answers == [{"seq": added["seq"] + 1}] * 20


async def test_the_event_of_a_repeated_command_comes_once(cluster: Cluster, topic: str) -> None:
    bob = await cluster.client(2, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    for node in range(3):
        ann = await Door.open(cluster, "socket", "ann", node)
        await ann.call("comment.add", {"topic": topic, "text": "Once", "requestId": "a"})
    await ann.call("comment.add", {"topic": topic, "text": "The end"})
    await bob.wait_for_seq(topic, 2)
    assert [event.seq for event in bob.events_of(topic)] == [1, 2]


@BOTH
async def test_an_id_used_for_something_else_is_a_conflict(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    used = request_id()
    first = await ann.call("comment.add", {"topic": topic, "text": "One", "requestId": used})
    id = first["comment"]["id"]
    for command, payload in (
        ("comment.add", {"topic": topic, "text": "Two"}),
        ("comment.add", {"topic": topic, "text": "One", "viewState": {}}),
        ("comment.add", {"topic": topic, "text": "One", "replyTo": id}),
        ("comment.edit", {"commentId": id, "text": "One"}),
        ("comment.delete", {"commentId": id}),
        ("comment.add", {"topic": topic, "text": ""}),
    ):
        error = await ann.refusal(command, {**payload, "requestId": used})
        assert error["code"] == "conflict", payload
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 1


@BOTH
async def test_each_person_has_their_own_ids(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    used = request_id()
    seqs = [
        (await who.call("comment.add", {"topic": topic, "text": "Hello", "requestId": used}))["seq"]
        for who in (ann, bob)
    ]
    assert seqs == [1, 2]


@BOTH
async def test_refusals_are_not_remembered(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, dan = [await Door.open(cluster, door, login) for login in ("ann", "dan")]
    used = request_id()
    for who, payload, code in (
        (ann, {"topic": topic, "text": ""}, "invalid"),
        (ann, {"topic": topic, "text": "x", "replyTo": str(uuid4())}, "not_found"),
        (dan, {"topic": BOARD, "text": "x"}, "not_found"),
    ):
        assert (await who.refusal("comment.add", {**payload, "requestId": used}))["code"] == code
    for seq, who in enumerate((ann, dan), 1):
        answer = await who.call("comment.add", {"topic": topic, "text": "Fine", "requestId": used})
        assert answer["seq"] == seq
    root = await ann.call("comment.add", {"topic": topic, "text": "Root"})
    await ann.call("comment.delete", {"commentId": root["comment"]["id"]})
    other, reply = request_id(), {"topic": topic, "text": "Reply", "replyTo": root["comment"]["id"]}
    assert (await ann.refusal("comment.add", {**reply, "requestId": other}))["code"] == "conflict"
    assert (await ann.call("comment.add", {"topic": topic, "text": "Fine", "requestId": other}))["seq"] == 5


@BOTH
@pytest.mark.parametrize("used", ["x", "ä" * 128, "a b/c:d", "'; DROP TABLE"])
async def test_a_request_id_is_any_short_text(
    cluster: Cluster, topic: str, door: DoorName, used: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    own = (topic[-4:] + used)[:128]  # the ids of other tests must not get in the way
    payload = {"topic": topic, "text": "Hello", "requestId": own}
    first = await ann.call("comment.add", payload)
    assert await ann.call("comment.add", payload) == first


async def test_over_rest_the_id_may_be_in_the_body(cluster: Cluster, topic: str) -> None:
    rest = await cluster.rest(0, "ann")
    body = {"text": "Once", "requestId": request_id()}
    first = await rest.post(f"/topics/{topic}/comments", body)
    assert await rest.post(f"/topics/{topic}/comments", body) == first
    key = {"Idempotency-Key": body["requestId"]}
    assert await rest.post(f"/topics/{topic}/comments", {"text": "Once"}, headers=key) == first


async def test_an_id_beyond_ascii_is_the_same_through_both_doors(cluster: Cluster, topic: str) -> None:
    key = f"schlüssel-日本-{request_id()}"
    ann = await Door.open(cluster, "socket", "ann")
    first = await ann.call("comment.add", {"topic": topic, "text": "Once", "requestId": key})
    rest = await cluster.rest(1, "ann")
    url = f"/topics/{topic}/comments"
    assert await rest.post(url, {"text": "Once"}, headers={"Idempotency-Key": key}) == first


async def test_reading_takes_no_request_id(cluster: Cluster, topic: str) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    error = await ann.refusal("topic.get", {"topic": topic, "requestId": "x"})
    assert (error["code"], error["field"]) == ("invalid", "requestId")


async def quickest_refusal(who: Client, comment_id: str) -> float:
    """After how many seconds an edit is refused as paused: the least of three, for a machine that is busy."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        payload = {"commentId": comment_id, "text": "During", "requestId": request_id()}
        answer = await who.ask("comment.edit", payload)
        took.append(time.monotonic() - began)
        assert answer["error"]["code"] == "paused"
    return min(took)


async def test_a_silent_database_is_told_of_within_two_seconds(
    make_cluster: MakeCluster, database: TestDatabase, topic: str
) -> None:
    server = database.server
    with Proxy((server.host, server.port)) as proxy:
        cluster = await make_cluster(nodes=0, start=False)
        cluster.add_node(postgres=proxy.address)
        await cluster.start()
        ann = await cluster.client(0, "ann")
        added = await ann.call("comment.add", {"topic": topic, "text": "Before"})
        proxy.stall()
        assert await quickest_refusal(ann, added["comment"]["id"]) < 2
        proxy.heal()
        await cluster[0].wait_for_state("running")


async def test_a_slow_database_is_told_of_within_two_seconds_however_many_statements_a_command_takes(
    make_cluster: MakeCluster, database: TestDatabase, topic: str
) -> None:
    server = database.server
    with Proxy((server.host, server.port)) as proxy:
        cluster = await make_cluster(nodes=0, start=False)
        cluster.add_node(postgres=proxy.address)
        await cluster.start()
        ann = await cluster.client(0, "ann")
        added = await ann.call("comment.add", {"topic": topic, "text": "Before"})
        proxy.delay(0.3)  # each way: the node finds its database up, and three statements take 1.8 s
        assert await quickest_refusal(ann, added["comment"]["id"]) < 2
        proxy.heal()
        await cluster[0].wait_for_state("running")


async def test_whoever_waits_behind_a_locked_topic_is_told_within_two_seconds(
    cluster: Cluster, topic: str
) -> None:
    people = [await cluster.client(0, login) for login in ("ann", "bob", "carol") * 3]
    await people[0].call("comment.add", {"topic": topic, "text": "Before"})
    stranger = await asyncpg.connect(**cluster.database.connect_arguments())

    async def add(who: Client, number: int) -> tuple[dict[str, Any], float]:
        watch = Stopwatch()
        payload = {"topic": topic, "text": f"During {number}", "requestId": request_id()}
        answer = await who.ask("comment.add", payload)
        return answer, watch.seconds

    try:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM collab.topics WHERE name = $1 FOR UPDATE", topic)
            adding = []
            for number, who in enumerate(people):
                adding.append(asyncio.create_task(add(who, number)))
                await asyncio.sleep(0.2)  # one after the other, so that some come behind a batch that waits
            answers = await asyncio.gather(*adding)
    finally:
        await stranger.close()
    for number, (answer, _) in enumerate(answers):
        assert answer["error"]["code"] == "paused", (number, answer)
    assert min(took for _, took in answers) < 2
    assert max(took for _, took in answers) < 3, "2 s, and some for a busy machine"
    may_be_stored = {
        f"During {n}" for n, (answer, _) in enumerate(answers) if answer["error"]["outcome"] == "unknown"
    }
    assert len(may_be_stored) < len(answers)
    await people[0].call("comment.add", {"topic": topic, "text": "After"})
    listed = await people[0].call("topic.comments", {"topic": topic, "order": "oldest"})
    assert {comment["text"] for comment in listed["items"]} - {"Before", "After"} <= may_be_stored


async def test_nobody_who_comments_elsewhere_waits_behind_locked_topics(cluster: Cluster) -> None:
    topics, elsewhere = [[fresh_topic() for _ in range(8)] for _ in range(2)]
    people = [await cluster.client(0, "ann") for _ in elsewhere]
    bobs = [await cluster.client(0, "bob") for _ in topics]
    for bob, topic in zip(bobs, topics, strict=True):
        await bob.call("comment.add", {"topic": topic, "text": "Before"})
    held_up: list[asyncio.Task[dict[str, Any]]] = []
    stranger = await asyncpg.connect(**cluster.database.connect_arguments())
    try:
        async with stranger.transaction():
            await stranger.execute("SELECT FROM collab.topics WHERE name = ANY($1) FOR UPDATE", topics)
            for bob, topic, who, there in zip(bobs, topics, people, elsewhere, strict=True):
                asking = bob.ask("comment.add", {"topic": topic, "text": "During"})
                held_up.append(asyncio.create_task(asking))
                await who.call("comment.add", {"topic": there, "text": "During"})
            for _ in range(3):  # many that come at once, also where what is held up is tried again
                adding = [
                    who.call("comment.add", {"topic": there, "text": "During"})
                    for who, there in zip(people, elsewhere, strict=True)
                ]
                await asyncio.gather(*adding)
            assert not any(each.done() and each.result()["ok"] for each in held_up)
    finally:
        await stranger.close()
    answers = await asyncio.gather(*held_up)
    assert {answer["error"]["code"] for answer in answers if not answer["ok"]} <= {"paused"}
    seqs = [
        (await bob.call("topic.get", {"topic": topic}))["seq"]
        for bob, topic in zip(bobs, topics, strict=True)
    ]
    assert seqs == [2 if answer["ok"] else 1 for answer in answers]
