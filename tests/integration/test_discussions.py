"""Private discussions: who is in them, what they learn, and what those who are out no longer do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from typing_extensions import override

from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.comments import GetComment, ListComments, ListRevisions
from collab_server.domain.discussions import GetDiscussion, ListDiscussions
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity, User
from collab_server.domain.search import SearchComments
from collab_server.domain.topics import GetTopic, ListAnchors, ListEvents
from collab_server.errors import NotFound, Paused
from collab_server.services import comments, discussions, search, topics
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.world import TestDatabase
from tests.integration.doors import BOARD, Door, DoorName, seqs
from tests.integration.scene import (
    ANN,
    BOB,
    CAROL,
    DAN,
    EVE,
    FINANCE,
    SALES,
    added,
    content_of,
    created,
    groups,
    mention,
    users,
)

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

KEYS = ["id", "topic", "name", "owner", "members", "about", "createdAt", "lastSeq", "unread", "muted"]


async def doors(cluster: Cluster, door: DoorName, *logins: str) -> list[Door]:
    return [await Door.open(cluster, door, login, node % 3) for node, login in enumerate(logins)]


async def log_of(door: Door, topic: str) -> list[tuple[str, str]]:
    """The topic's log as (type, who did it)."""
    events = (await door.call("topic.events", {"topic": topic}))["events"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return [(event["type"], event["actor"]["id"]) for event in events]


def member_ids(discussion: dict[str, Any]) -> list[str]:
    return [member["id"] for member in discussion["members"]]


# --- beginning


@BOTH
async def test_a_new_discussion_is_as_the_contract_says(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    payload = {
        "name": "Budget 💰",
        "members": [*users(BOB.lower()), *users(ANN), *users(BOB)],
        "about": content_of(topic.lower()),
        "text": f"Hello {mention(BOB)}",
    }
    answer = await ann.call("discussion.create", payload)
    assert list(answer) == ["discussion", "seq"]
    discussion = answer["discussion"]
    assert list(discussion) == KEYS
    person, other = await cluster.person("ann"), await cluster.person("bob")
    assert discussion == {
        "id": discussion["id"],
        "topic": f"discussion:{discussion['id']}",
        "name": "Budget 💰",
        "owner": {"id": ANN, "name": person.name, "initials": person.initials},
        "members": [
            {
                "id": ANN,
                "name": person.name,
                "initials": person.initials,
                "joinedAt": discussion["createdAt"],
            },
            {"id": BOB, "name": other.name, "initials": other.initials, "joinedAt": discussion["createdAt"]},
        ],
        "about": content_of(topic),
        "createdAt": discussion["createdAt"],
        "lastSeq": 2,
        "unread": 0,
        "muted": False,
    }
    got = await bob.call("discussion.get", {"discussionId": discussion["id"]})
    assert got == {**discussion, "unread": 1}
    events = (await bob.call("topic.events", {"topic": discussion["topic"]}))["events"]
    assert [event["type"] for event in events] == ["discussion.created", "comment.added"]
    assert {**events[0]["data"]["discussion"], "lastSeq": 2} == discussion
    assert events[1]["data"]["comment"]["text"] == payload["text"]


@BOTH
async def test_a_discussion_without_others_or_words_is_fine(cluster: Cluster, door: DoorName) -> None:
    [ann] = await doors(cluster, door, "ann")
    discussion = (await ann.call("discussion.create", {"name": "Notes", "members": []}))["discussion"]
    assert member_ids(discussion) == [ANN]
    assert (discussion["about"], discussion["lastSeq"]) == (None, 1)


@BOTH
@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": ""}, "invalid", "name"),
        ({"name": " \n"}, "invalid", "name"),
        ({"name": "x" * 201}, "too_large", "name"),
        ({"name": "a\0b"}, "invalid", "name"),
        ({"members": users("0" * 32)}, "invalid", "members[0].id"),
        ({"members": [*users(BOB), {"kind": "group", "id": BOB}]}, "invalid", "members[1].id"),
        ({"members": [{"kind": "role", "id": BOB}]}, "invalid", "members[0].kind"),
        ({"members": [{"kind": "user"}]}, "invalid", "members[0].id"),
        ({"members": users("bob")}, "invalid", "members[0].id"),
        ({"members": users(BOB) * 201}, "too_large", "members"),
        ({"text": " "}, "invalid", "text"),
        ({"text": "x" * 10_001}, "too_large", "text"),
        ({"text": mention("0" * 32)}, "invalid", "text"),
        ({"about": {"projectId": "x", "objectId": "y"}}, "invalid", "about.projectId"),
        ({"about": {"projectId": "0" * 32, "objectId": "0" * 32}}, "not_found", None),
    ],
)
async def test_discussions_that_are_refused(
    cluster: Cluster, door: DoorName, change: dict[str, Any], code: str, field: str | None
) -> None:
    [dan] = await doors(cluster, door, "dan")
    before = await dan.call("discussion.list")
    error = await dan.refusal("discussion.create", {"name": "Plans", "members": users(EVE), **change})
    assert (error["code"], error.get("field")) == (code, field)
    assert await dan.call("discussion.list") == before


async def test_one_cannot_begin_a_discussion_about_what_one_may_not_open(cluster: Cluster) -> None:
    [dan] = await doors(cluster, "rest", "dan")
    about = content_of(BOARD)
    error = await dan.refusal("discussion.create", {"name": "What?", "members": [], "about": about})
    assert error["code"] == "not_found"


@BOTH
async def test_inviting_a_group_invites_its_members(cluster: Cluster, door: DoorName) -> None:
    ann, dan = await doors(cluster, door, "ann", "dan")
    payload = {"name": "Sales", "members": [*groups(SALES), *users(BOB, DAN)]}
    discussion = (await ann.call("discussion.create", payload))["discussion"]
    assert member_ids(discussion) == [ANN, BOB, CAROL, DAN]
    invite = {"discussionId": discussion["id"], "members": groups(FINANCE)}
    answer = await ann.call("discussion.invite", invite)
    assert member_ids(answer["discussion"]) == [ANN, BOB, CAROL, DAN, EVE]
    [event] = (await dan.call("topic.events", {"topic": discussion["topic"], "after": 1}))["events"]
    assert (event["type"], event["seq"]) == ("member.added", answer["seq"])
    assert event["data"] == {"members": [answer["discussion"]["members"][4]]}


async def test_a_discussion_has_no_more_members_than_the_limit(make_cluster: MakeCluster) -> None:
    small = await make_cluster(nodes=1, redis_url=None, overrides={"limits": {"discussionMembers": 3}})
    [ann] = await doors(small, "rest", "ann")
    error = await ann.refusal("discussion.create", {"name": "Many", "members": users(BOB, CAROL, DAN)})
    assert (error["code"], error["field"]) == ("too_large", "members")
    discussion = await created(ann, BOB, CAROL)
    for members in (users(DAN), groups(FINANCE)):
        error = await ann.refusal("discussion.invite", {"discussionId": discussion["id"], "members": members})
        assert (error["code"], error["field"]) == ("too_large", "members")
    await ann.call("discussion.invite", {"discussionId": discussion["id"], "members": groups(SALES)})


# --- members


@BOTH
async def test_who_comes_late_sees_the_history(cluster: Cluster, door: DoorName) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    discussion = await created(ann, BOB)
    topic, id = discussion["topic"], discussion["id"]
    first = await added(bob, topic, "Early")
    await ann.call("comment.react", {"commentId": first["id"], "emoji": "👍"})
    assert (await carol.refusal("topic.comments", {"topic": topic}))["code"] == "not_found"
    await ann.call("discussion.invite", {"discussionId": id, "members": users(CAROL)})
    [seen] = (await carol.call("topic.comments", {"topic": topic}))["items"]
    assert (seen["text"], seen["reactions"]) == ("Early", {"👍": [ANN]})
    log = await log_of(carol, topic)
    assert log == [
        ("discussion.created", ANN),
        ("comment.added", BOB),
        ("reaction.added", ANN),
        ("member.added", ANN),
    ]
    assert (await carol.call("discussion.get", {"discussionId": id}))["unread"] == 1


@BOTH
async def test_inviting_who_is_there_already_changes_nothing(cluster: Cluster, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    discussion = await created(ann, BOB)
    before = await bob.call("notification.count")
    invite = {"discussionId": discussion["id"], "members": users(BOB, ANN)}
    answer = await ann.call("discussion.invite", invite)
    assert (answer["seq"], member_ids(answer["discussion"])) == (1, [ANN, BOB])
    assert await bob.call("notification.count") == before


@BOTH
async def test_the_owner_renames_hands_over_and_removes(cluster: Cluster, door: DoorName) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    discussion = await created(ann, BOB, CAROL)
    id, topic = {"discussionId": discussion["id"]}, discussion["topic"]
    renamed = await ann.call("discussion.rename", {**id, "name": "A\u0308lter"})
    assert (renamed["seq"], renamed["discussion"]["name"]) == (2, "Älter")
    handed = await ann.call("discussion.transfer", {**id, "userId": BOB.lower()})
    assert (handed["seq"], handed["discussion"]["owner"]["id"]) == (3, BOB)
    assert (await bob.call("discussion.transfer", {**id, "userId": BOB}))["seq"] == 3
    assert (await ann.refusal("discussion.rename", {**id, "name": "Mine"}))["code"] == "forbidden"
    removed = await bob.call("discussion.remove", {**id, "userId": CAROL})
    assert (removed["seq"], member_ids(removed["discussion"])) == (4, [ANN, BOB])
    events = (await ann.call("topic.events", {"topic": topic, "after": 1}))["events"]
    assert [(event["type"], event["data"]) for event in events] == [
        ("discussion.renamed", {"name": "Älter"}),
        ("owner.changed", {"userId": BOB}),
        ("member.removed", {"userId": CAROL}),
    ]
    assert (await carol.refusal("discussion.get", id))["code"] == "not_found"


@BOTH
async def test_the_answer_to_a_change_shows_the_discussion_as_it_is_for_who_changed_it(
    cluster: Cluster, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    discussion = await created(ann, BOB)
    id, topic = discussion["id"], discussion["topic"]
    await bob.call("comment.add", {"topic": topic, "text": "Not read yet"})
    await ann.call("topic.mute", {"topic": topic, "muted": True})
    renamed = await ann.call("discussion.rename", {"discussionId": id, "name": "Other plans"})
    assert (renamed["discussion"]["unread"], renamed["discussion"]["muted"]) == (1, True)
    assert renamed["discussion"] == await ann.call("discussion.get", {"discussionId": id})


@BOTH
async def test_what_the_owner_cannot_do(cluster: Cluster, door: DoorName) -> None:
    [ann] = await doors(cluster, door, "ann")
    id = {"discussionId": (await created(ann, BOB))["id"]}
    for command, more, code in (
        ("discussion.remove", {"userId": DAN}, "not_found"),
        ("discussion.remove", {"userId": ANN}, "conflict"),
        ("discussion.remove", {"userId": "bob"}, "invalid"),
        ("discussion.transfer", {"userId": DAN}, "not_found"),
        ("discussion.rename", {"name": "\t"}, "invalid"),
        ("discussion.invite", {"members": users("0" * 32)}, "invalid"),
    ):
        assert (await ann.refusal(command, {**id, **more}))["code"] == code, (command, more)
    assert (await ann.call("discussion.get", id))["lastSeq"] == 1


@BOTH
async def test_when_the_owner_leaves_the_longest_standing_member_owns(
    cluster: Cluster, door: DoorName
) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    discussion = await created(ann, BOB, CAROL)
    id = {"discussionId": discussion["id"]}
    await bob.call("discussion.leave", id)
    await ann.call("discussion.invite", {**id, "members": users(DAN, BOB)})
    assert await ann.call("discussion.leave", id) == {}
    left = await bob.call("discussion.get", id)
    assert (left["owner"]["id"], member_ids(left)) == (CAROL, [CAROL, DAN, BOB])
    assert (await log_of(carol, discussion["topic"]))[1:] == [
        ("member.removed", BOB),
        ("member.added", ANN),
        ("owner.changed", ANN),
        ("member.removed", ANN),
    ]
    assert (await ann.refusal("discussion.get", id))["code"] == "not_found"


@BOTH
async def test_the_last_who_leaves_deletes_the_discussion(cluster: Cluster, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    discussion = await created(ann, BOB)
    id = {"discussionId": discussion["id"]}
    comment = await added(bob, discussion["topic"], "Words")
    await ann.call("discussion.leave", id)
    leave = {**id, "requestId": f"leave-{discussion['id']}"}
    assert await bob.call("discussion.leave", leave) == {}
    assert await bob.call("discussion.leave", leave) == {}  # answered again, though the right is gone
    for somebody in (ann, bob):
        assert (await somebody.refusal("discussion.leave", id))["code"] == "not_found"
        assert (await somebody.refusal("discussion.get", id))["code"] == "not_found"
        assert (await somebody.refusal("comment.get", {"commentId": comment["id"]}))["code"] == "not_found"
        listed = await somebody.call("discussion.list", {"limit": 200})
        assert discussion["id"] not in [item["id"] for item in listed["items"]]


@BOTH
async def test_a_deleted_discussion_is_gone_for_everybody(cluster: Cluster, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    discussion = await created(ann, BOB, CAROL)
    topic, id = discussion["topic"], {"discussionId": discussion["id"]}
    comment = await added(bob, topic, "Words")
    devices = [
        await cluster.client(node, login)
        for login, node in (("ann", 1), ("bob", 2), ("carol", 0), ("bob", 1))
    ]
    for device in devices:
        await device.call("topic.subscribe", {"topic": topic})
    assert await ann.call("discussion.delete", id) == {}
    for device in devices:
        closed = await device.wait_for(lambda event: event.name == "topic.closed")
        assert closed.data == {"topic": topic, "reason": "deleted"}
        assert [event.name for event in device.events_of(topic)] == ["discussion.deleted"]
        assert device.events.index(closed) > device.events.index(device.events_of(topic)[0])
    for somebody in (ann, bob, *(Door(device, None) for device in devices[:2])):
        for command, payload in (
            ("discussion.get", id),
            ("discussion.leave", id),
            ("topic.get", {"topic": topic}),
            ("topic.events", {"topic": topic}),
            ("topic.comments", {"topic": topic}),
            ("topic.read", {"topic": topic, "seq": 1}),
            ("comment.get", {"commentId": comment["id"]}),
            ("comment.edit", {"commentId": comment["id"], "text": "x"}),
            ("comment.add", {"topic": topic, "text": "x"}),
        ):
            assert (await somebody.refusal(command, payload))["code"] == "not_found", command
        assert (await somebody.call("topic.summaries", {"topics": [topic]})) == {"items": []}
    refused = await devices[0].ask("topic.subscribe", {"topic": topic, "after": 0})
    assert refused["error"]["code"] == "not_found"


async def test_nobody_is_left_behind_when_all_leave_at_once(cluster: Cluster) -> None:
    """Three leave at the same moment through three nodes: somebody owns it until nobody is left."""
    people = await doors(cluster, "rest", "ann", "bob", "carol")
    for _ in range(5):
        discussion = await created(people[0], BOB, CAROL)
        id = {"discussionId": discussion["id"]}
        answers = await asyncio.gather(*(person.ask("discussion.leave", id) for person in people))
        assert [answer["ok"] for answer in answers] == [True] * 3
        types = cluster.database.sql(
            "SELECT string_agg(event.type, ' ' ORDER BY event.seq) FROM collab.events AS event"
            " JOIN collab.topics AS topic ON topic.id = event.topic_id"
            f" WHERE topic.name = '{discussion['topic']}'"
        ).split()
        assert types.count("discussion.deleted") == 1
        assert types[-1] == "discussion.deleted"
        assert types.count("member.removed") == 2


async def test_people_invited_twice_at_once_are_members_once(cluster: Cluster) -> None:
    people = [await Door.open(cluster, "rest", "ann", node) for node in range(3)]
    [carol] = await doors(cluster, "rest", "carol")
    for _ in range(5):
        discussion = await created(people[0], BOB)
        invite = {"discussionId": discussion["id"], "members": users(CAROL, DAN)}
        answers = await asyncio.gather(*(person.call("discussion.invite", invite) for person in people))
        assert all(member_ids(answer["discussion"]) == [ANN, BOB, CAROL, DAN] for answer in answers)
        assert [type for type, _ in await log_of(people[0], discussion["topic"])].count("member.added") == 1
        told = [
            item
            for item in (await carol.call("notification.list"))["items"]
            if item["topic"] == discussion["topic"]
        ]
        assert [item["kind"] for item in told] == ["invited"]


# --- out is out


def after_closing(client: Client, topic: str) -> list[str]:
    """The names of what came of a topic after `topic.closed`."""
    of_topic = [event.name for event in client.events if event.topic == topic]
    return of_topic[of_topic.index("topic.closed") + 1 :]


async def test_who_is_removed_learns_it_last_on_every_node(cluster: Cluster) -> None:
    ann, bob = await doors(cluster, "rest", "ann", "bob")
    discussion = await created(ann, BOB, CAROL)
    topic = discussion["topic"]
    devices = [await cluster.client(node, "carol") for node in range(3)]
    stayer = await cluster.client(2, "bob")
    for client in (*devices, stayer):
        await client.call("topic.subscribe", {"topic": topic})
    await added(bob, topic, "Before")
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": CAROL})
    for number in range(10):
        await added(bob, topic, f"After {number}")
    await stayer.wait_for_seq(topic, 13)
    for device in devices:
        closed = await device.wait_for("topic.closed")
        assert closed.data == {"topic": topic, "reason": "removed"}
        assert seqs(device, topic) == [2, 3]
        assert device.events_of(topic)[1].name == "member.removed"
        answer = await device.ask("comment.add", {"topic": topic, "text": "Hello?"})
        assert answer["error"]["code"] == "not_found"
        assert (await device.ask("topic.unsubscribe", {"topic": topic}))["error"]["code"] == "not_found"
        assert after_closing(device, topic) == []
    assert seqs(stayer, topic) == list(range(2, 14))


async def test_who_subscribes_while_being_removed_gets_nothing_of_after(cluster: Cluster) -> None:
    ann, bob = await doors(cluster, "rest", "ann", "bob")
    carols = [await cluster.client(node, "carol") for node in range(3)]
    outcomes = set()
    for _ in range(12):
        discussion = await created(ann, BOB, CAROL)
        topic = discussion["topic"]
        remove = {"discussionId": discussion["id"], "userId": CAROL}
        answers, removed, *_ = await asyncio.gather(
            asyncio.gather(*(carol.ask("topic.subscribe", {"topic": topic, "after": 0}) for carol in carols)),
            ann.call("discussion.remove", remove),
            added(bob, topic, "Perhaps before"),
        )
        last = await bob.call("comment.add", {"topic": topic, "text": "After"})
        for carol, answer in zip(carols, answers, strict=True):
            outcomes.add(answer["ok"])
            if answer["ok"]:
                assert answer["data"]["seq"] < removed["seq"]
                assert "comment.add" in answer["data"]["rights"]
                await carol.wait_for(
                    partial(lambda event, t: (event.name, event.topic) == ("topic.closed", t), t=topic)
                )
                got = [event["seq"] for event in answer["data"]["events"]] + seqs(carol, topic)
                assert got == list(range(1, removed["seq"] + 1))
                assert after_closing(carol, topic) == []
            else:
                assert answer["error"]["code"] == "not_found"
                assert seqs(carol, topic) == []
        assert last["seq"] > removed["seq"]
    assert outcomes  # which of the two it is depends on who was faster


async def test_who_is_invited_again_at_once_can_subscribe_at_once(cluster: Cluster) -> None:
    [ann] = await doors(cluster, "rest", "ann")
    devices = [await cluster.client(node, "carol") for node in range(3)]
    keeper = await cluster.client(2, "ann")
    for _ in range(8):
        discussion = await created(ann, BOB, CAROL)
        topic, id = discussion["topic"], discussion["id"]
        await keeper.call("topic.subscribe", {"topic": topic})
        await devices[0].call("topic.subscribe", {"topic": topic})
        await ann.call("discussion.remove", {"discussionId": id, "userId": CAROL})
        invited = await ann.call("discussion.invite", {"discussionId": id, "members": users(CAROL)})
        marks = [len(device.events) for device in devices]
        states = await asyncio.gather(
            *(device.call("topic.subscribe", {"topic": topic}) for device in devices)
        )
        said = await ann.call("comment.add", {"topic": topic, "text": "Welcome back"})
        for device, mark, state in zip(devices, marks, states, strict=True):
            assert state["seq"] == invited["seq"]
            await device.wait_for_seq(topic, said["seq"])
            came = [event.name for event in device.events[mark:] if event.topic == topic and event.seq]
            assert came[-1:] == ["comment.added"]
            of_topic = [event.name for event in device.events if event.topic == topic]
            assert "topic.closed" not in of_topic[of_topic.index("comment.added") :]


async def test_a_member_who_was_away_cannot_catch_up_after_being_removed(cluster: Cluster) -> None:
    [ann] = await doors(cluster, "rest", "ann")
    discussion = await created(ann, CAROL)
    async with await cluster.client(1, "carol") as device:
        state = await device.call("topic.subscribe", {"topic": discussion["topic"]})
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": CAROL})
    await added(ann, discussion["topic"], "Secret")
    again = await cluster.client(2, "carol")
    payload = {"topic": discussion["topic"], "after": state["seq"], "epoch": state["epoch"]}
    assert (await again.ask("topic.subscribe", payload))["error"]["code"] == "not_found"


# --- lists


@BOTH
async def test_discussions_are_listed_by_last_activity(cluster: Cluster, topic: str, door: DoorName) -> None:
    eve, dan = await doors(cluster, door, "eve", "dan")
    about = {"about": content_of(topic)}
    made = [await created(eve, DAN, name=f"Number {number}", **about) for number in range(5)]
    await added(dan, made[1]["topic"], "Up with it")
    await added(dan, made[1]["topic"], "Up with it")
    await dan.call("topic.mute", {"topic": made[3]["topic"], "muted": True})
    await eve.call("comment.add", {"topic": made[3]["topic"], "text": "Quietly"})
    expected = [made[number]["id"] for number in (3, 1, 4, 2, 0)]
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await dan.call("discussion.list", {"about": topic, "limit": 2, **cursor})
        items += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 2
        cursor = {"cursor": page["next"]}
    assert [item["id"] for item in items] == expected
    assert [(item["unread"], item["muted"]) for item in items] == [(1, True), *[(0, False)] * 4]
    assert all(list(item) == KEYS for item in items)
    seen_by_eve = (await eve.call("discussion.list", {"limit": 200}))["items"]
    assert [item["id"] for item in seen_by_eve if item["about"] == about["about"]] == expected
    assert [item["unread"] for item in seen_by_eve if item["id"] == made[1]["id"]] == [2]
    assert items[0] == await dan.call("discussion.get", {"discussionId": made[3]["id"]})


async def test_discussions_of_one_moment_are_all_listed_once_on_whatever_pages(
    make_cluster: MakeCluster, database: TestDatabase
) -> None:
    cluster = await make_cluster(nodes=1)
    [ann] = await doors(cluster, "socket", "ann")
    made = [(await created(ann, name=f"Number {number}"))["id"] for number in range(5)]
    database.sql(
        "UPDATE collab.topics SET last_at = '2026-11-23 18:00:00.123Z' WHERE name LIKE 'discussion:%'"
    )
    for limit in (1, 2, 5):
        items: list[str] = []
        cursor: dict[str, str] = {}
        while len(items) <= len(made):
            page = await ann.call("discussion.list", {"limit": limit, **cursor})
            items += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert items == made[::-1]


@BOTH
async def test_discussion_lists_asked_for_wrongly(cluster: Cluster, door: DoorName) -> None:
    [eve] = await doors(cluster, door, "eve")
    for payload in (
        {"limit": 0},
        {"limit": 201},
        {"cursor": "x"},
        {"cursor": "MQ"},
        {"cursor": "MjUzNDAyMzAwODAwMDAwMDAwLjE"},  # of the year 10000
        {"about": "inbox:x"},
        {"about": f"discussion:{uuid4()}"},
    ):
        error = await eve.refusal("discussion.list", payload)
        assert (error["code"], error["field"]) == ("invalid", next(iter(payload)))


# --- who is told


async def test_members_hear_of_their_invitation_wherever_they_are(cluster: Cluster) -> None:
    [ann] = await doors(cluster, "rest", "ann")
    bob, device = await cluster.client(1, "bob"), await cluster.client(1, "ann")
    discussion = await created(ann, BOB, name="You too")
    begun = await device.wait_for("topic.was_read")
    assert begun.data["data"] == {"topic": discussion["topic"], "seq": 1, "unread": 0}
    told = await bob.wait_for(
        lambda event: (
            event.name == "notification.added"
            and event.data["data"]["notification"]["topic"] == discussion["topic"]
        )
    )
    notification = told.data["data"]["notification"]
    assert told.topic == f"inbox:{BOB}"
    assert (notification["kind"], notification["text"], notification["by"]["id"]) == (
        "invited",
        "You too",
        ANN,
    )
    assert [notification[key] for key in ("commentId", "threadId", "readAt")] == [None, None, None]
    assert notification["why"]


async def test_a_mention_in_a_discussion_reaches_members_only(cluster: Cluster) -> None:
    ann, bob, carol, dan = await doors(cluster, "rest", "ann", "bob", "carol", "dan")
    discussion = await created(ann, BOB)
    text = f"{mention(DAN)} {mention(SALES, 'group')} {mention(FINANCE, 'group')}"
    comment = await added(ann, discussion["topic"], text)
    assert [named["id"] for named in comment["mentions"]] == [DAN, SALES, FINANCE]

    async def kinds(door: Door) -> list[str]:
        items = (await door.call("notification.list"))["items"]
        return [item["kind"] for item in items if item["topic"] == discussion["topic"]]

    assert await kinds(bob) == ["mention", "invited"]
    for somebody in (ann, carol, dan):
        assert await kinds(somebody) == []
    await ann.call("discussion.invite", {"discussionId": discussion["id"], "members": users(DAN)})
    assert await kinds(dan) == ["invited"]  # not of what was said before


async def test_subscribers_hear_everything_that_happens_in_order(cluster: Cluster) -> None:
    ann, bob = await doors(cluster, "rest", "ann", "bob")
    discussion = await created(ann, BOB)
    topic, id = discussion["topic"], {"discussionId": discussion["id"]}
    readers = [await cluster.client(node, "bob") for node in range(3)]
    for reader in readers:
        await reader.call("topic.subscribe", {"topic": topic})
    comment = await added(bob, topic, "One")
    await ann.call("discussion.rename", {**id, "name": "Two"})
    await ann.call("discussion.invite", {**id, "members": groups(FINANCE)})
    await ann.call("comment.react", {"commentId": comment["id"], "emoji": "🇩🇪"})
    await ann.call("thread.resolve", {"commentId": comment["id"]})
    await ann.call("discussion.remove", {**id, "userId": DAN})
    await ann.call("discussion.leave", id)
    log = (await bob.call("topic.events", {"topic": topic, "after": 1}))["events"]
    for reader in readers:
        await reader.wait_for_seq(topic, log[-1]["seq"])
        assert [event.data for event in reader.events_of(topic)] == log


async def test_a_node_that_hears_late_does_not_put_out_who_is_back(
    make_cluster: MakeCluster, valkey: EmbeddedValkey
) -> None:
    """The removal reaches the node after the person who was invited again has subscribed there."""
    with Proxy((valkey.host, valkey.port)) as redis:
        cluster = await make_cluster(nodes=1, start=False)
        deaf = cluster.add_node(redis=redis.address)
        await cluster.start()
        ann = await Door.open(cluster, "rest", "ann", 0)
        keeper, carol = await cluster.client(deaf, "ann"), await cluster.client(deaf, "carol")
        discussion = await created(ann, BOB, CAROL)
        topic, id = discussion["topic"], discussion["id"]
        await keeper.call("topic.subscribe", {"topic": topic})
        redis.stall()
        await ann.call("discussion.remove", {"discussionId": id, "userId": CAROL})
        invited = await ann.call("discussion.invite", {"discussionId": id, "members": users(CAROL)})
        state = await carol.call("topic.subscribe", {"topic": topic})
        assert state["seq"] == invited["seq"]
        said = await ann.call("comment.add", {"topic": topic, "text": "Welcome back"})
        await carol.wait_for_seq(topic, said["seq"])
        assert [
            event.name for event in carol.events if event.topic == topic and event.name != "presence"
        ] == ["comment.added"]
        redis.heal()


# --- put out in the middle of reading


class PuttingOut(Database):
    """A database that does something else before its statement of a number, counted from 0."""

    at, count = 0, 0

    async def act(self) -> None:
        raise NotImplementedError

    @override
    async def _read(self, *statement: Any, **more: Any) -> Any:
        if self.count == self.at:
            await self.act()
        self.count += 1
        for _ in range(20):
            with contextlib.suppress(Paused):  # a busy machine
                return await super()._read(*statement, **more)
        raise Paused("the database is away")


class Directory:
    """In which everybody is."""

    async def user(self, _: Identity, user_id: str) -> User:
        return User(user_id, "Somebody", "S")


class ClosedGate:
    """Nobody may open anything."""

    def read_id(self, value: str, _: str) -> str:
        return value

    def last_answer(self, *_: Any) -> None:
        return None

    async def may_open(self, *_: Any) -> None:
        return None


READING: dict[str, Callable[[Any, Any, str, str], Awaitable[str]]] = {
    "topic.get": lambda backends, who, topic, _: topics.get(backends, who, GetTopic(topic)),
    "topic.events": lambda backends, who, topic, _: topics.list_events(backends, who, ListEvents(topic)),
    "topic.anchors": lambda backends, who, topic, _: topics.list_anchors(backends, who, ListAnchors(topic)),
    "topic.comments": lambda backends, who, topic, _: comments.list_comments(
        backends, who, ListComments(topic)
    ),
    "comments.search": lambda backends, who, topic, _: search.search_comments(
        backends, who, SearchComments(q="zebra", topic=topic)
    ),
    "comments.search everywhere": lambda backends, who, *_: search.search_comments(
        backends, who, SearchComments(q="zebra")
    ),
    "comment.get": lambda backends, who, _, comment: comments.get(backends, who, GetComment(comment)),
    "comment.revisions": lambda backends, who, _, comment: comments.list_revisions(
        backends, who, ListRevisions(comment)
    ),
    "discussion.list": lambda backends, who, *_: discussions.list_mine(backends, who, ListDiscussions()),
    "discussion.get": lambda backends, who, topic, _: discussions.get(
        backends, who, GetDiscussion(topic.partition(":")[2])
    ),
}


@pytest.mark.parametrize("command", READING)
async def test_whoever_is_put_out_while_they_read_sees_nothing_of_what_came_after(
    cluster: Cluster, command: str
) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    discussion = await created(ann, BOB, CAROL)
    id = {"discussionId": discussion["id"]}
    comment = await added(ann, discussion["topic"], "zebra")
    bob: Any = SimpleNamespace(user=User(BOB, "Bob", "B"), is_administrator=False)
    db = PuttingOut(Server(**cluster.database.connect_arguments()), pool_size=1, read_pool_size=1)
    backends: Any = SimpleNamespace(
        database=db,
        gate=ClosedGate(),
        directory=Directory(),
        epoch=SimpleNamespace(name="e"),
        presence=SimpleNamespace(present=lambda *_: JsonText("[]")),
        cursors=SimpleNamespace(read=lambda *_, **__: None, write=lambda *_: "next"),
        commenting=SimpleNamespace(is_for_all=True),
        chance=lambda: 0.0,
    )

    secrets = [""]

    async def put_out() -> None:
        await ann.call("discussion.remove", {**id, "userId": BOB})
        secrets.append(secret := uuid4().hex)
        await ann.call("comment.edit", {"commentId": comment["id"], "text": f"zebra {secret}"})
        await added(ann, discussion["topic"], f"zebra {secret}", anchor={"pageKey": secret})
        await ann.call("discussion.rename", {**id, "name": secret})
        await ann.call("discussion.invite", {**id, "members": users(EVE)})

    await db.start()
    try:
        await db.until_up()
        db.act = put_out  # type: ignore[method-assign]
        answers = 0
        while True:
            before = await ann.call("topic.get", {"topic": discussion["topic"]})
            db.at, db.count = answers, 0
            try:
                answer = await READING[command](backends, bob, discussion["topic"], comment["id"])
            except NotFound:
                answer = ""
            if db.count <= answers:
                break  # it was read to the end
            assert secrets[-1] not in answer
            shown = json.loads(answer or "{}")
            for one in shown.get("items", [shown]):
                assert one.get("id") != discussion["id"] or EVE not in member_ids(one)
            assert not answer or command != "topic.get" or f'"seq":{before["seq"]},' in answer
            await ann.call("discussion.invite", {**id, "members": users(BOB)})
            await ann.call("discussion.remove", {**id, "userId": EVE})
            answers += 1
        assert answers > 1
    finally:
        await db.stop()
