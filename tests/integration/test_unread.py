"""What is unread: per topic, per thread, per place of a dashboard; and how many statements it takes to say so."""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import PROJECT_ID, StandInLibrary, TestDatabase, fresh_topic
from tests.integration.doors import BOARD, Door, DoorName, heard_all
from tests.integration.scene import ANN, BOB, CAROL, added, created

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


async def doors(cluster: Cluster, door: DoorName, *logins: str) -> list[Door]:
    return [await Door.open(cluster, door, login, node % 3) for node, login in enumerate(logins)]


async def unread(door: Door, topic: str) -> int:
    """The unread count, which must be the same wherever it is told."""
    state = await door.call("topic.get", {"topic": topic})
    [summary] = (await door.call("topic.summaries", {"topics": [topic]}))["items"]
    assert (summary["unread"], summary["comments"], summary["seq"]) == (
        state["unread"],
        state["comments"],
        state["seq"],
    )
    anchors = await door.call("topic.anchors", {"topic": topic})
    assert sum(place["unread"] for place in anchors["items"]) == state["unread"]
    assert sum(thread["unread"] for thread in anchors["threads"]) == state["unread"]
    assert summary["readSeq"] == state["readSeq"]
    assert sum(place["total"] for place in anchors["items"]) == state["comments"]
    if topic.startswith("discussion:"):
        got = await door.call("discussion.get", {"discussionId": topic.partition(":")[2]})
        assert got["unread"] == state["unread"]
    if door.client is not None:
        subscribed = await door.client.call("topic.subscribe", {"topic": topic})
        assert (subscribed["unread"], subscribed["readSeq"]) == (state["unread"], state["readSeq"])
    count: int = state["unread"]
    me = (await door.call("me"))["user"]["id"]
    shown = (await door.call("topic.comments", {"topic": topic, "limit": 200}))["items"]
    beyond = [comment for comment in shown if comment["seq"] > state["readSeq"]]
    assert len([one for one in beyond if one["author"]["id"] != me and one["deletedAt"] is None]) == count
    return count


@BOTH
async def test_unread_is_exact_through_everything_that_happens(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")

    async def counts() -> list[int]:
        return await asyncio.gather(*(unread(one, topic) for one in (ann, bob)))

    first = await ann.call("comment.add", {"topic": topic, "text": "1"})
    assert await counts() == [0, 1]
    second = await bob.call("comment.add", {"topic": topic, "text": "2", "replyTo": first["comment"]["id"]})
    assert await counts() == [1, 1]
    await ann.call("comment.edit", {"commentId": first["comment"]["id"], "text": "1b"})
    await ann.call("comment.react", {"commentId": second["comment"]["id"], "emoji": "🎉"})
    await ann.call("thread.resolve", {"commentId": first["comment"]["id"]})
    assert await counts() == [1, 1]
    assert await bob.call("topic.read", {"topic": topic, "seq": first["seq"]}) == {"unread": 0}
    assert await counts() == [1, 0]
    third = await ann.call("comment.add", {"topic": topic, "text": "3"})
    assert await counts() == [1, 1]
    await ann.call("comment.delete", {"commentId": third["comment"]["id"]})
    assert await counts() == [1, 0]
    assert await ann.call("topic.read", {"topic": topic, "seq": 10**9}) == {"unread": 0}
    assert await bob.call("comment.add", {"topic": topic, "text": "4"})
    assert await counts() == [1, 0]


async def test_unread_is_what_lies_beyond_the_read_mark_whatever_was_done_before(
    cluster: Cluster, topic: str
) -> None:
    chance = random.Random(15)
    people = await doors(cluster, "rest", "ann", "bob", "carol")
    written: list[tuple[Door, str]] = []
    head = 0
    for _ in range(60):
        door = chance.choice(people)
        match chance.randrange(5):
            case 0 if written:
                author, id = written.pop(chance.randrange(len(written)))
                head = (await author.call("comment.delete", {"commentId": id}))["seq"]
            case 1 if written:
                author, id = chance.choice(written)
                head = (await author.call("comment.edit", {"commentId": id, "text": "Other"}))["seq"]
            case 2:
                left = await door.call("topic.read", {"topic": topic, "seq": chance.randint(0, head)})
                assert await unread(door, topic) == left["unread"]
            case _:
                answer = await door.call("comment.add", {"topic": topic, "text": "New"})
                written.append((door, answer["comment"]["id"]))
                head = answer["seq"]
    assert any([await unread(door, topic) for door in people])


@BOTH
async def test_the_read_mark_never_goes_back(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    for number in range(4):
        await added(ann, topic, str(number))
    assert await bob.call("topic.read", {"topic": topic, "seq": 3}) == {"unread": 1}
    assert await bob.call("topic.read", {"topic": topic, "seq": 1}) == {"unread": 1}
    assert await bob.call("topic.read", {"topic": topic, "seq": 0}) == {"unread": 1}
    assert await unread(bob, topic) == 1
    for wrong in (-1, "3", 1.5, None, 2**70):
        error = await bob.refusal("topic.read", {"topic": topic, "seq": wrong})
        assert (error["code"], error["field"]) == ("invalid", "seq")


@BOTH
async def test_reading_a_topic_of_which_nothing_is_known_yet(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    assert await bob.call("topic.read", {"topic": topic, "seq": 10}) == {"unread": 0}
    await added(ann, topic, "First")
    assert await unread(bob, topic) == 1


async def test_reading_nothing_is_no_event(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    inbox = f"inbox:{bob.hello['user']['id']}"
    await ann.call("comment.add", {"topic": topic, "text": "Unread"})
    await bob.call("notification.count")  # what waits for the inbox is in it now
    head = (await bob.call("topic.get", {"topic": inbox}))["seq"]
    assert await bob.call("topic.read", {"topic": topic, "seq": 0}) == {"unread": 1}
    assert (await bob.call("topic.get", {"topic": inbox}))["seq"] == head


async def test_a_second_device_learns_at_once_what_the_first_has_read(cluster: Cluster, topic: str) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    phone, laptop = await cluster.client(1, "bob"), await cluster.client(2, "bob")
    said = await ann.call("comment.add", {"topic": topic, "text": "Hello"})
    mark = await heard_all(phone, laptop)
    await phone.call("topic.read", {"topic": topic, "seq": said["seq"]})
    for device in (phone, laptop):
        event = await device.wait_for(
            lambda event: event.name == "topic.was_read" and event.data["data"]["topic"] == topic
        )
        assert event.topic == f"inbox:{BOB}"
        assert event.data["data"] == {"topic": topic, "seq": said["seq"], "unread": 0}
    await phone.call("topic.read", {"topic": topic, "seq": said["seq"]})
    await phone.call("topic.mute", {"topic": topic, "muted": False})
    await laptop.wait_for("topic.was_muted", skip=mark)
    heard = [event.name for event in laptop.events[mark:] if event.topic == f"inbox:{BOB}"]
    of_others = "notification.added"  # what was said to Bob before, elsewhere, may come only now
    assert [name for name in heard if name != of_others] == ["topic.was_read", "topic.was_muted"]


@BOTH
async def test_what_was_read_can_be_marked_unread_again(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    laptop = await cluster.client(2, "bob")
    seqs = [(await ann.call("comment.add", {"topic": topic, "text": str(n)}))["seq"] for n in range(4)]
    assert await bob.call("topic.unread", {"topic": topic, "fromSeq": 1}) == {"unread": 4}, "nothing was read"
    await bob.call("topic.read", {"topic": topic, "seq": seqs[3]})
    await added(bob, topic, "Mine")
    mark = await heard_all(bob, laptop)
    assert await bob.call("topic.unread", {"topic": topic, "fromSeq": 10**9}) == {"unread": 0}
    assert await bob.call("topic.unread", {"topic": topic, "fromSeq": seqs[2]}) == {"unread": 2}
    assert await unread(bob, topic) == 2
    assert await bob.call("topic.unread", {"topic": topic, "fromSeq": seqs[3]}) == {"unread": 2}, (
        "not forward"
    )
    assert await bob.call("topic.read", {"topic": topic, "seq": seqs[2]}) == {"unread": 1}
    assert await bob.call("topic.unread", {"topic": topic, "fromSeq": 0}) == {"unread": 4}
    assert await unread(bob, topic) == 4
    await laptop.wait_for(lambda e: e.name == "topic.was_unread" and e.data["data"]["seq"] == 0, skip=mark)
    marks = [e for e in laptop.events[mark:] if e.data.get("data", {}).get("topic") == topic]
    assert [(event.name, event.data["data"]["seq"], event.data["data"]["unread"]) for event in marks] == [
        ("topic.was_unread", seqs[1], 2),
        ("topic.was_read", seqs[2], 1),
        ("topic.was_unread", 0, 4),
    ]
    assert await unread(ann, topic) == 1, "of others nothing changes"
    for wrong in (-1, "3", 1.5, None, 2**70):
        error = await bob.refusal("topic.unread", {"topic": topic, "fromSeq": wrong})
        assert (error["code"], error["field"]) == ("invalid", "fromSeq")


# --- places


@BOTH
async def test_places_are_counted_each(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    here = {"pageKey": "p1", "visualizationKey": "v1"}
    root = await added(ann, topic, "At the chart", anchor={**here, "dataPoint": {"x": 1}})
    nowhere = await added(ann, topic, "Anywhere")
    page = await added(ann, topic, "On the page", anchor={"pageKey": "p1"})
    gone = await added(ann, topic, "Gone", anchor={"pageKey": "p2"})
    reply = await added(bob, topic, "A reply has no place of its own", replyTo=root["id"])
    await added(bob, topic, "A reply elsewhere", replyTo=nowhere["id"], anchor={"pageKey": "p3"})
    moved = await added(bob, topic, "A reply on the page only", replyTo=root["id"], anchor={"pageKey": "p4"})
    await ann.call("comment.delete", {"commentId": gone["id"]})
    await ann.call("thread.resolve", {"commentId": page["id"]})

    async def places(door: Door) -> dict[tuple[str | None, str | None], tuple[int, int, int]]:
        items = (await door.call("topic.anchors", {"topic": topic}))["items"]
        return {
            (item["pageKey"], item["visualizationKey"]): (item["open"], item["unread"], item["total"])
            for item in items
        }

    assert await places(ann) == {
        (None, None): (1, 0, 1),
        ("p1", None): (0, 0, 1),
        ("p1", "v1"): (1, 1, 2),
        ("p3", None): (0, 1, 1),
        ("p4", None): (0, 1, 1),
    }
    assert {place: counts[1] for place, counts in (await places(bob)).items()} == {
        (None, None): 1,
        ("p1", None): 1,
        ("p1", "v1"): 1,
        ("p3", None): 0,
        ("p4", None): 0,
    }
    found = await ann.call("topic.comments", {"topic": topic, "visualizationKey": "v1"})
    assert [item["id"] for item in found["items"]] == [root["id"], reply["id"]]
    threads = (await ann.call("topic.anchors", {"topic": topic}))["threads"]
    assert threads == [{"threadId": root["id"], "unread": 2}, {"threadId": nowhere["id"], "unread": 1}]
    assert moved["anchor"] == {"pageKey": "p4"}
    assert reply["anchor"] is None


# --- many topics


@BOTH
async def test_summaries_keep_the_order_and_leave_out_what_one_may_not_open(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob, dan = await doors(cluster, door, "ann", "bob", "dan")
    discussion = await created(ann, BOB)
    await added(ann, BOARD, "Among us")
    comment = await added(ann, topic, "For all")
    empty = fresh_topic()
    asked = [
        *(
            topic,
            empty,
            BOARD,
            discussion["topic"],
            f"discussion:{uuid4()}",
            f"inbox:{BOB}",
            f"inbox:{CAROL}",
        ),
        *(f"content:{PROJECT_ID}:{'0' * 32}", topic.lower(), topic),
    ]
    seen_by_bob = (await bob.call("topic.summaries", {"topics": asked}))["items"]
    assert [item["topic"] for item in seen_by_bob] == [
        *(topic, empty, BOARD, discussion["topic"], f"inbox:{BOB}"),
    ]
    assert seen_by_bob[0] == {
        "topic": topic,
        "seq": 1,
        "comments": 1,
        "readSeq": 0,
        "unread": 1,
        "lastAt": comment["createdAt"],
    }
    assert seen_by_bob[1] == {
        "topic": empty,
        "seq": 0,
        "comments": 0,
        "readSeq": 0,
        "unread": 0,
        "lastAt": None,
    }
    seen_by_dan = (await dan.call("topic.summaries", {"topics": asked}))["items"]
    assert [item["topic"] for item in seen_by_dan] == [topic, empty]


@BOTH
async def test_summaries_asked_for_wrongly(cluster: Cluster, topic: str, door: DoorName) -> None:
    [ann] = await doors(cluster, door, "ann")
    assert await ann.call("topic.summaries", {"topics": []}) == {"items": []}
    for topics, code, field in (
        ([topic] * 501, "too_large", "topics"),
        ([topic, "x"], "invalid", "topics[1]"),
        ([topic, 1], "invalid", "topics[1]"),
        (topic, "invalid", "topics"),
    ):
        error = await ann.refusal("topic.summaries", {"topics": topics})
        assert (error["code"], error["field"]) == (code, field)


async def test_many_topics_are_told_though_library_takes_its_time(
    make_cluster: MakeCluster, library: StandInLibrary
) -> None:
    """Each answer of Library comes within its 3 s; all of them together do not."""
    host, _, port = library.address.rpartition(":")
    with Proxy((host, int(port))) as slow:
        cluster = await make_cluster(nodes=0, redis_url=None, start=False)
        cluster.add_node(library=slow.address)
        await cluster.start()
        ann = await Door.open(cluster, "rest", "ann")
        await ann.call("me")
        topics = [fresh_topic() for _ in range(80)]
        slow.delay(0.4)
        answer = await ann.call("topic.summaries", {"topics": topics})
    assert [item["topic"] for item in answer["items"]] == topics


async def test_many_topics_take_two_statements_at_the_most(
    make_cluster: MakeCluster, database: TestDatabase
) -> None:
    """Counted in PostgreSQL's own log, on a node that nobody else uses."""
    log_all = f"ALTER DATABASE {database.name} SET log_statement = 'all'"
    database.server.sql(log_all, as_superuser=True)
    node = await make_cluster(nodes=1, redis_url=None)
    ann, bob = [await Door.open(node, "rest", login) for login in ("ann", "bob")]
    topics = [fresh_topic() for _ in range(180)]
    topics += [(await created(bob, ANN, name=str(number)))["topic"] for number in range(20)]
    for topic in topics[::40]:
        for place in ("a", "b"):
            await added(bob, topic, "Hello", anchor={"pageKey": place})

    async def statements(command: str, payload: dict[str, Any]) -> tuple[int, Any]:
        """The fewest of three times: the node's own work may fall into one of them."""
        await ann.call(command, payload)  # Library has answered once: what it said is kept
        return min([await once(command, payload) for _ in range(3)], key=lambda counted: counted[0])

    async def once(command: str, payload: dict[str, Any]) -> tuple[int, Any]:
        marks = [f"SELECT '{uuid4()}'" for _ in range(2)]
        connection = await asyncpg.connect(**database.connect_arguments())
        try:
            await connection.execute(marks[0])
            answer = await ann.call(command, payload)
            await connection.execute(marks[1])
        finally:
            await connection.close()

        def between() -> str | None:
            before, _, after = database.server.log_text().rpartition(marks[1])
            return before.rpartition(marks[0])[2] if after or before else None

        logged = await until(between)
        made = [
            line for line in logged.split(" LOG:  ") if line.startswith("execute") and "FROM collab." in line
        ]
        return len([line for line in made if not _is_in_the_background(line)]), answer

    count, answer = await statements("topic.summaries", {"topics": topics})
    assert 1 <= count <= 2
    assert [item["topic"] for item in answer["items"]] == topics
    assert sum(item["unread"] for item in answer["items"]) == 10
    count, answer = await statements("topic.anchors", {"topic": topics[0]})
    assert 1 <= count <= 2
    assert [item["unread"] for item in answer["items"]] == [1, 1]
    count, answer = await statements("discussion.list", {"limit": 200})
    assert 1 <= count <= 2
    assert len(answer["items"]) == 20


def _is_in_the_background(statement: str) -> bool:
    """What a node asks by itself: its epoch, its jobs, undelivered notifications, heads of followed topics."""
    return any(
        words in statement
        for words in ("collab.installation", "collab.jobs", "DISTINCT user_id", "last_seq\n      FROM")
    )
