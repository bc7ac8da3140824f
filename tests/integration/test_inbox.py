"""The inbox: who is told of what, once; the badge; what waits until somebody may know of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.integration.doors import Door, DoorName, heard_all, log_of
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
    mention,
    open_to,
    users,
)

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

KEYS = [
    "id",
    "kind",
    "topic",
    "commentId",
    "threadId",
    "by",
    "text",
    "why",
    "viewState",
    "createdAt",
    "readAt",
]


async def doors(cluster: Cluster, door: DoorName, *logins: str) -> list[Door]:
    return [await Door.open(cluster, door, login, node % 3) for node, login in enumerate(logins)]


async def told(door: Door, topic: str, **more: Any) -> list[dict[str, Any]]:
    """What the door's person has been told of a topic, the latest first."""
    items = (await door.call("notification.list", {"limit": 200, **more}))["items"]
    return [item for item in items if item["topic"] == topic]


async def kinds(door: Door, topic: str) -> list[str]:
    return [item["kind"] for item in await told(door, topic)]


async def badge(door: Door) -> int:
    unread: int = (await door.call("notification.count"))["unread"]
    listed = (await door.call("notification.list", {"unread": True, "limit": 200}))["items"]
    assert len(listed) == min(unread, 200)
    return unread


# --- causes


async def test_what_a_notification_says_of_a_long_comment_ends_inside_no_mention(
    cluster: Cluster, topic: str
) -> None:
    [ann, bob] = await doors(cluster, "socket", "ann", "bob")
    await added(ann, topic, f"{'x' * 480} {mention(BOB)} and more")
    [item] = await until(lambda: told(bob, topic))
    assert item["text"] == "x" * 480 + " "


@BOTH
async def test_a_mention_is_a_notification_as_the_contract_says(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    before = await badge(bob)
    comment = await added(ann, topic, f"Look, {mention(BOB)}", viewState={"a": 1})
    [item] = await told(bob, topic)
    assert list(item) == KEYS
    assert item == {
        "id": item["id"],
        "kind": "mention",
        "topic": topic,
        "commentId": comment["id"],
        "threadId": comment["id"],
        "by": comment["author"],
        "text": comment["text"],
        "why": "mentioned you",
        "viewState": None,
        "createdAt": comment["createdAt"],
        "readAt": None,
    }
    assert await badge(bob) == before + 1
    assert await told(ann, topic) == []


async def test_a_mention_arrives_live_on_all_devices(cluster: Cluster, topic: str) -> None:
    devices = [await cluster.client(node, "bob") for node in range(3)]
    ann = await Door.open(cluster, "rest", "ann")
    comment = await added(ann, topic, mention(BOB))
    events = [await device.wait_for(lambda event: _tells_of(event, comment["id"])) for device in devices]
    assert len({json.dumps(event.data) for event in events}) == 1
    event = events[0].data
    assert (event["topic"], event["actor"]["id"]) == (f"inbox:{BOB}", ANN)
    [listed] = await told(Door(devices[0], None), topic)
    assert event["data"] == {"notification": listed}
    assert event["seq"] > devices[0].hello["inboxSeq"]


def _tells_of(event: Any, comment_id: str) -> bool:
    return bool(
        event.name == "notification.added" and event.data["data"]["notification"]["commentId"] == comment_id
    )


@BOTH
async def test_a_group_that_is_mentioned_is_told_each_once(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob, carol, dan = await doors(cluster, door, "ann", "bob", "carol", "dan")
    forged = "the auditors: your account is locked"
    comment = await added(ann, topic, f"@[{forged}](group:{SALES}) and {mention(BOB)}")
    assert comment["mentions"][0] == {"kind": "group", "id": SALES, "name": "Sales"}
    assert [(item["kind"], item["why"]) for item in await told(carol, topic)] == [
        ("mention", "mentioned Sales")
    ]
    assert await kinds(bob, topic) == ["mention"]
    assert await kinds(ann, topic) == await kinds(dan, topic) == []


@BOTH
async def test_replies_tell_who_takes_part_in_the_thread(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob, carol, dan = await doors(cluster, door, "ann", "bob", "carol", "dan")
    root = await added(ann, topic, "Why?")
    await added(dan, topic, "Another thread")
    await added(bob, topic, "Because", replyTo=root["id"])
    assert (await kinds(ann, topic), await kinds(bob, topic)) == (["reply"], [])
    last = await added(carol, topic, f"Really, {mention(BOB)}?", replyTo=root["id"])
    assert await kinds(ann, topic) == ["reply", "reply"]
    assert await kinds(bob, topic) == ["mention"]  # one cause, one notification, the stronger kind
    assert await kinds(carol, topic) == await kinds(dan, topic) == []
    latest = (await told(ann, topic))[0]
    assert (latest["commentId"], latest["threadId"]) == (last["id"], root["id"])


@BOTH
async def test_nobody_is_told_of_what_they_do_themselves(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    [ann] = await doors(cluster, door, "ann")
    root = await added(ann, topic, f"{mention(ANN)} {mention(SALES, 'group')}")
    await added(ann, topic, "To myself", replyTo=root["id"])
    await ann.call(
        "share", {"content": content_of(topic), "recipients": [*users(ANN), {"kind": "group", "id": SALES}]}
    )
    assert await kinds(ann, topic) == []


@BOTH
async def test_an_edit_tells_only_those_it_adds(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob, carol, dan = await doors(cluster, door, "ann", "bob", "carol", "dan")
    comment = await added(ann, topic, mention(BOB))

    async def edit(text: str) -> list[list[str]]:
        await ann.call("comment.edit", {"commentId": comment["id"], "text": text})
        return [await kinds(somebody, topic) for somebody in (ann, bob, carol, dan)]

    assert await edit(f"{mention(BOB)} again") == [[], ["mention"], [], []]
    assert await edit(f"{mention(BOB)} {mention(SALES, 'group')}") == [[], ["mention"], ["mention"], []]
    assert await edit("Nobody") == [[], [], [], []]
    everybody = f"{mention(CAROL)} {mention(BOB)} {mention(FINANCE, 'group')} {mention(ANN)}"
    assert await edit(everybody) == [[], ["mention"], ["mention"], ["mention"]]


@BOTH
async def test_sharing_lands_in_the_inbox(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob, eve = await doors(cluster, door, "ann", "bob", "eve")
    payload = {
        "content": content_of(topic),
        "recipients": [*users(BOB), {"kind": "group", "id": FINANCE}],
        "message": "See the third page",
        "viewState": {"filters": [1, {"a": "ä"}]},
    }
    assert await ann.call("share", payload) == {"shared": 3}
    for somebody in (bob, eve):
        [item] = await told(somebody, topic)
        assert (item["kind"], item["text"], item["viewState"], item["commentId"], item["by"]["id"]) == (
            "shared",
            payload["message"],
            payload["viewState"],
            None,
            ANN,
        )
        assert item["why"]
    assert await ann.call("share", payload) == {"shared": 3}
    assert await kinds(bob, topic) == ["shared", "shared"]  # two causes


# --- reading


@BOTH
async def test_notifications_are_read_by_id_and_up_to_a_seq(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    device = await cluster.client(2, "bob")
    await bob.call("notification.read", {"upTo": 2**40})
    assert await badge(bob) == 0
    for number in range(4):
        await added(ann, topic, f"{number} {mention(BOB)}")
    third, *_, first = reversed((await told(bob, topic))[::-1][:3])
    mark = await heard_all(bob, device)
    assert await bob.call("notification.read", {"ids": [first["id"], first["id"]]}) == {"unread": 3}
    event = await device.wait_for("notification.read", skip=mark)
    assert event.data["data"] == {"ids": [first["id"]], "unread": 3}
    assert await bob.call("notification.read", {"ids": [first["id"], str(uuid4())]}) == {"unread": 3}
    inbox_events = await log_of(bob, f"inbox:{BOB}")
    [up_to] = [
        event["seq"]
        for event in inbox_events
        if event["type"] == "notification.added" and event["data"]["notification"]["id"] == third["id"]
    ]
    assert await bob.call("notification.read", {"upTo": up_to}) == {"unread": 1}
    assert await badge(bob) == 1
    assert await bob.call("notification.read", {"ids": []}) == {"unread": 1}
    read = [item["readAt"] is not None for item in await told(bob, topic)]
    assert read == [False, True, True, True]
    assert len(await told(bob, topic, unread=False)) == 3
    await device.wait_for(
        lambda event: event.name == "notification.read" and event.data["data"]["unread"] == 1, skip=mark
    )
    told_read = [
        event.data["data"]["ids"] for event in device.events[mark:] if event.name == "notification.read"
    ]
    assert [len(ids) for ids in told_read] == [1, 2]
    assert first["id"] not in told_read[1]


@BOTH
async def test_what_is_asked_wrongly_of_the_inbox(cluster: Cluster, door: DoorName) -> None:
    [bob] = await doors(cluster, door, "bob")
    for command, payload, field in (
        ("notification.read", {}, "ids"),
        ("notification.read", {"ids": [], "upTo": 1}, "ids"),
        ("notification.read", {"ids": ["x"]}, "ids[0]"),
        ("notification.read", {"upTo": -1}, "upTo"),
        ("notification.read", {"upTo": "1"}, "upTo"),
        ("notification.list", {"kind": "gossip"}, "kind"),
        ("notification.list", {"limit": 0}, "limit"),
        ("notification.list", {"cursor": "?"}, "cursor"),
    ):
        error = await bob.refusal(command, payload)
        assert (error["code"], error["field"]) == ("invalid", field)
    error = await bob.refusal("notification.read", {"ids": [str(uuid4())] * 501})
    assert (error["code"], error["field"]) == ("too_large", "ids")


@BOTH
async def test_lists_are_narrowed_and_paged(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, eve = await doors(cluster, door, "ann", "eve")
    root = await added(eve, topic, "Root")
    for number in range(3):
        await added(ann, topic, f"{number}", replyTo=root["id"])
        await added(ann, topic, f"{number} {mention(EVE)}")
    pages: list[list[dict[str, Any]]] = []
    cursor: dict[str, str] = {}
    while len(pages) < 3:
        page = await eve.call("notification.list", {"kind": "mention", "limit": 1, **cursor})
        pages.append(page["items"])
        cursor = {"cursor": page["next"]}
    assert [item["text"].split()[0] for page in pages for item in page] == ["2", "1", "0"]
    assert [item["text"] for item in await told(eve, topic, kind="reply")] == ["2", "1", "0"]
    assert await told(eve, topic, kind="shared") == []


@BOTH
async def test_reading_the_topic_reads_its_notifications(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    device = await cluster.client(2, "bob")
    before = await badge(bob)
    first = await ann.call("comment.add", {"topic": topic, "text": f"One {mention(BOB)}"})
    second = await ann.call("comment.add", {"topic": topic, "text": f"Two {mention(BOB)}"})
    elsewhere = await created(ann, BOB)
    assert await badge(bob) == before + 3
    mark = await heard_all(bob, device)
    assert await bob.call("topic.read", {"topic": topic, "seq": first["seq"]}) == {"unread": 1}
    assert await badge(bob) == before + 2
    assert [item["readAt"] is None for item in await told(bob, topic)] == [True, False]
    was_read = await device.wait_for("topic.was_read", skip=mark)
    assert was_read.data["data"] == {"topic": topic, "seq": first["seq"], "unread": 1}
    read = await device.wait_for("notification.read", skip=mark)
    assert read.data["data"]["unread"] == before + 2
    assert read.data["data"]["ids"] == [(await told(bob, topic))[1]["id"]]
    await bob.call("topic.read", {"topic": topic, "seq": second["seq"] + 100})
    await bob.call("topic.read", {"topic": elsewhere["topic"], "seq": 1})
    assert await badge(bob) == before


@BOTH
async def test_a_deleted_comment_leaves_no_words_behind(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    word = f"okapi{uuid4().hex}"
    root = await added(bob, topic, "Root")
    comment = await added(
        ann,
        topic,
        f"{word} {mention(BOB)}",
        replyTo=root["id"],
        viewState={"w": word},
        anchor={"pageKey": "p"},
    )
    await ann.call("comment.edit", {"commentId": comment["id"], "text": f"{word} edited {mention(CAROL)}"})
    assert word in json.dumps(await told(bob, topic))
    assert word in json.dumps(await told(carol, topic))
    await ann.call("comment.delete", {"commentId": comment["id"]})
    for somebody, inbox in ((bob, BOB), (carol, CAROL)):
        asked = [
            await somebody.call("notification.list", {"limit": 200}),
            await somebody.call("topic.events", {"topic": topic}),
            await somebody.call("topic.comments", {"topic": topic}),
            await somebody.call("comment.get", {"commentId": comment["id"]}),
            await somebody.call("comment.revisions", {"commentId": comment["id"]}),
            await log_of(somebody, f"inbox:{inbox}"),
        ]
        assert all(word not in json.dumps(answer) for answer in asked)


# --- muting


@BOTH
async def test_a_muted_topic_tells_nothing(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    device = await cluster.client(2, "bob")
    mark = await heard_all(bob, device)
    assert await bob.call("topic.mute", {"topic": topic, "muted": True}) == {}
    event = await device.wait_for("topic.was_muted", skip=mark)
    assert event.data["data"] == {"topic": topic, "muted": True, "until": None}
    assert (await bob.call("topic.get", {"topic": topic}))["muted"] is True
    comment = await added(ann, topic, mention(BOB))
    await ann.call("share", {"content": content_of(topic), "recipients": users(BOB)})
    assert await kinds(bob, topic) == []
    assert (await bob.call("topic.get", {"topic": topic}))["unread"] == 1
    await bob.call("topic.mute", {"topic": topic, "muted": False})
    assert (await bob.call("topic.get", {"topic": topic}))["muted"] is False
    await ann.call("comment.edit", {"commentId": comment["id"], "text": f"Again {mention(BOB)}"})
    assert await kinds(bob, topic) == []
    await added(ann, topic, mention(BOB))
    assert await kinds(bob, topic) == ["mention"]


@BOTH
async def test_a_mute_may_have_an_end(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    until_time = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")
    await bob.call("topic.mute", {"topic": topic, "muted": True, "until": until_time})
    assert (await bob.call("topic.get", {"topic": topic}))["muted"] is True
    await added(ann, topic, mention(BOB))
    assert await kinds(bob, topic) == []
    cluster.database.sql(
        "UPDATE collab.read_marks SET muted_until = now() - interval '1 second' WHERE topic_id ="
        f" (SELECT id FROM collab.topics WHERE name = '{topic}')"
    )
    assert (await bob.call("topic.get", {"topic": topic}))["muted"] is False
    await added(ann, topic, mention(BOB))
    assert await kinds(bob, topic) == ["mention"]
    events = await log_of(bob, f"inbox:{BOB}")
    assert any(
        event["type"] == "topic.was_muted"
        and event["data"]["topic"] == topic
        and event["data"]["until"] == until_time.replace("+00:00", "Z")
        for event in events
    )


@BOTH
async def test_the_end_of_a_mute_may_be_spelled_in_small_letters(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    [bob] = await doors(cluster, door, "bob")
    await bob.call("topic.mute", {"topic": topic, "muted": True, "until": "2101-01-01t00:00:00z"})
    events = await log_of(bob, f"inbox:{BOB}")
    [muted] = [event["data"] for event in events if event["data"].get("topic") == topic]
    assert muted["until"] == "2101-01-01T00:00:00.000Z"


@BOTH
@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"muted": True, "until": "tomorrow"}, "until"),
        ({"muted": True, "until": "2001-01-01T00:00:00Z"}, "until"),
        ({"muted": True, "until": "2101-01-01T00:00:00"}, "until"),
        ({"muted": True, "until": "9999-12-31T23:59:59-23:00"}, "until"),
        ({"muted": False, "until": "2101-01-01T00:00:00Z"}, "until"),
        ({"muted": "yes"}, "muted"),
        ({}, "muted"),
    ],
)
async def test_mutes_that_are_refused(
    cluster: Cluster, topic: str, door: DoorName, more: dict[str, Any], field: str
) -> None:
    [bob] = await doors(cluster, door, "bob")
    error = await bob.refusal("topic.mute", {"topic": topic, **more})
    assert (error["code"], error["field"]) == ("invalid", field)


# --- waiting for somebody who may know


async def test_who_may_not_open_the_dashboard_is_not_told_until_they_may(
    cluster: Cluster, topic: str
) -> None:
    await open_to(cluster, topic, "ann", "bob")
    ann, dan = await doors(cluster, "rest", "ann", "dan")
    device = await cluster.client(2, "dan")
    before = await badge(dan)
    await added(ann, topic, f"{mention(DAN)} {mention(BOB)}")
    await ann.call("share", {"content": content_of(topic), "recipients": users(DAN)})
    assert await badge(dan) == before
    assert await kinds(dan, topic) == []
    await open_to(cluster, topic, "ann", "bob", "dan")
    # A refusal of Library is believed for 5 s, and each node looks every 5 s for what waits.
    event = await device.wait_for(
        lambda event: (
            event.name == "notification.added" and event.data["data"]["notification"]["topic"] == topic
        ),
        timeout=15,
    )
    assert event.data["data"]["notification"]["kind"] == "mention"
    assert await kinds(dan, topic) == ["shared", "mention"]
    assert await badge(dan) == before + 2


async def test_who_is_not_there_is_told_on_coming(cluster: Cluster, topic: str) -> None:
    """Two different people are away; their notifications have no place in the inbox until they come."""
    ann = await Door.open(cluster, "rest", "ann")
    discussion = await created(ann, EVE)
    await added(ann, topic, f"{mention(EVE)} {mention(DAN)}")
    device = await cluster.client(1, "eve")
    seen: dict[str, Any] = {}

    def has_all(client: Client) -> bool:
        seen.update(
            {
                event.data["data"]["notification"]["topic"]: event.data["data"]["notification"]["kind"]
                for event in client.events
                if event.name == "notification.added"
            }
        )
        return topic in seen

    await until(lambda: has_all(device))
    listed = Door(device, None)
    assert await kinds(listed, topic) == ["mention"]
    assert await kinds(listed, discussion["topic"]) == ["invited"]
    log = await log_of(device, f"inbox:{EVE}")
    added_ids = [
        event["data"]["notification"]["id"] for event in log if event["type"] == "notification.added"
    ]
    assert len(added_ids) == len(set(added_ids))


async def test_a_pending_notification_of_a_read_topic_comes_as_read(cluster: Cluster, topic: str) -> None:
    """Somebody may have read the topic before the delivery was made: the badge does not rise again."""
    ann, bob = await doors(cluster, "rest", "ann", "bob")
    before = await badge(bob)
    for _ in range(10):
        said = await ann.call("comment.add", {"topic": topic, "text": mention(BOB)})
        await bob.call("topic.read", {"topic": topic, "seq": said["seq"]})
    assert await badge(bob) == before
    items = await told(bob, topic)
    assert len(items) == 10
    assert all(item["readAt"] for item in items)
