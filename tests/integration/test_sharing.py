"""Sending content, with a message and a view, to people's inboxes."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.cluster import Cluster
from tests.integration.doors import BOARD, Door, DoorName
from tests.integration.scene import (
    ANN,
    BOB,
    CAROL,
    FINANCE,
    SALES,
    content_of,
    groups,
    mention,
    open_to,
    users,
)

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


async def doors(cluster: Cluster, door: DoorName, *logins: str) -> list[Door]:
    return [await Door.open(cluster, door, login, node % 3) for node, login in enumerate(logins)]


async def got(door: Door, topic: str) -> list[dict[str, Any]]:
    items = (await door.call("notification.list", {"kind": "shared", "limit": 200}))["items"]
    return [item for item in items if item["topic"] == topic]


@BOTH
async def test_what_is_shared_arrives_live_with_its_view(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    [ann] = await doors(cluster, door, "ann")
    device = await cluster.client(2, "carol")
    view_state = {"bookmark": "Ä", "filters": [{"n": 1.5}], "deep": {"a": [None, True]}}
    payload = {
        "content": content_of(topic.lower()),
        "recipients": users(CAROL.lower()),
        "message": "Mind @[Bob](user:" + BOB + ") page 3 🦊",
        "viewState": view_state,
    }
    assert await ann.call("share", payload) == {"shared": 1}
    event = await device.wait_for(
        lambda event: (
            event.name == "notification.added" and event.data["data"]["notification"]["topic"] == topic
        )
    )
    notification = event.data["data"]["notification"]
    assert (notification["text"], notification["viewState"]) == (payload["message"], view_state)
    assert [notification] == await got(Door(device, None), topic)
    [bob] = await doors(cluster, door, "bob")
    assert await got(bob, topic) == []  # a message mentions nobody


@BOTH
async def test_reading_the_topic_reads_what_was_shared_of_it_also_where_nothing_was_said(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    await ann.call("share", {"content": content_of(topic), "recipients": users(BOB), "message": "Look"})
    [item] = await got(bob, topic)
    assert item["readAt"] is None
    assert await bob.call("topic.read", {"topic": topic, "seq": 0}) == {"unread": 0}
    [item] = await got(bob, topic)
    assert item["readAt"] is not None


@BOTH
async def test_each_person_gets_a_share_once(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    recipients = [*users(BOB, BOB.lower(), ANN), *groups(SALES, SALES)]
    assert await ann.call("share", {"content": content_of(topic), "recipients": recipients}) == {"shared": 2}
    for somebody in (bob, carol):
        [item] = await got(somebody, topic)
        assert (item["text"], item["viewState"]) == ("", None)
    assert await got(ann, topic) == []


@BOTH
async def test_a_share_of_what_the_other_may_not_open_waits_unseen(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    await open_to(cluster, topic, "ann", "eve")
    ann, dan, eve = await doors(cluster, door, "ann", "dan", "eve")
    before = await dan.call("notification.count")
    assert await ann.call("share", {"content": content_of(topic), "recipients": groups(FINANCE)}) == {
        "shared": 2
    }
    assert len(await got(eve, topic)) == 1
    assert await got(dan, topic) == []
    assert await dan.call("notification.count") == before


@BOTH
@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"recipients": []}, "invalid", "recipients"),
        ({"recipients": users("0" * 32)}, "invalid", "recipients[0].id"),
        ({"recipients": [*users(BOB), *groups("0" * 32)]}, "invalid", "recipients[1].id"),
        ({"recipients": users("x")}, "invalid", "recipients[0].id"),
        ({"recipients": users(BOB) * 201}, "too_large", "recipients"),
        ({"recipients": [BOB]}, "invalid", "recipients[0]"),
        ({"message": "x" * 10_001}, "too_large", "message"),
        ({"message": "a\0b"}, "invalid", "message"),
        ({"message": 1}, "invalid", "message"),
        ({"viewState": {"x": "y" * 65_536}}, "too_large", "viewState"),
        ({"viewState": []}, "invalid", "viewState"),
        ({"content": {"projectId": "x", "objectId": "y"}}, "invalid", "content.projectId"),
        ({"content": {"projectId": "0" * 32}}, "invalid", "content.objectId"),
        ({"content": content_of(BOARD)}, "not_found", None),
        ({"content": content_of(BOARD), "message": "x" * 10_001}, "not_found", None),
    ],
)
async def test_shares_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, change: dict[str, Any], code: str, field: str | None
) -> None:
    dan, bob = await doors(cluster, door, "dan", "bob")
    payload = {"content": content_of(topic), "recipients": users(BOB), **change}
    error = await dan.refusal("share", payload)
    assert (error["code"], error.get("field")) == (code, field)
    assert await got(bob, topic) == []


async def test_of_the_people_of_an_hour_each_is_counted_whom_a_command_tells_and_never_who_gives_it(
    make_cluster: MakeCluster, topic: str
) -> None:
    telling: list[tuple[str, dict[str, Any], int]] = [
        ("comment.add", {"topic": topic, "text": f"{mention(ANN)} {mention(BOB)}"}, 1),
        ("comment.add", {"topic": topic, "text": mention(ANN)}, 0),
        (
            "discussion.create",
            {"name": "x", "members": users(BOB), "text": f"{mention(ANN)} {mention(BOB)}"},
            1,
        ),
        ("discussion.create", {"name": "y", "members": users(BOB), "text": mention(CAROL)}, 2),
        ("share", {"content": content_of(topic), "recipients": users(BOB, CAROL)}, 2),
    ]
    most = sum(count for _, _, count in telling)
    cluster = await make_cluster(nodes=1, overrides={"limits": {"recipientsPerHour": most}})
    [ann] = await doors(cluster, "socket", "ann")
    for name, asked, _ in telling:
        await ann.call(name, asked)
    refused = await ann.refusal("share", {"content": content_of(topic), "recipients": users(BOB)})
    assert refused["code"] == "rate_limited"
    assert 3500 / most < refused["retryAfter"] <= 3600 / most
