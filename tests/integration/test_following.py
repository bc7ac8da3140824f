"""Threads that somebody follows, or has muted: who is told of replies, and what their devices learn of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.world import fresh_topic
from tests.integration.doors import Door, DoorName
from tests.integration.scene import BOB, CAROL, DAN, added, created, mention

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


async def told(door: Door, topic: str) -> list[tuple[str, str]]:
    """Text and reason of what the door's person was told of a topic, the latest first."""
    items = (await door.call("notification.list", {"limit": 200}))["items"]
    return [(item["text"], item["why"]) for item in items if item["topic"] == topic]


def marked(client: Client, skip: int = 0) -> list[Any]:
    """What a device has learned of the person's threads."""
    return [
        event.data["data"]["thread"] for event in client.events[skip:] if event.name == "thread.was_marked"
    ]


@BOTH
async def test_who_follows_a_thread_is_told_of_its_replies(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob, dan = [
        await Door.open(cluster, door, login, node) for node, login in enumerate(("ann", "bob", "dan"))
    ]
    root, other = await added(ann, topic, "Root"), await added(ann, topic, "Other")
    reply = await added(bob, topic, "Before", replyTo=root["id"])
    follow = {"commentId": reply["id"], "following": True}
    state = {"threadId": root["id"], "following": True, "muted": False}
    assert await dan.call("thread.follow", follow) == state
    assert await dan.call("thread.follow", follow) == state
    await dan.call("topic.mute", {"topic": topic, "muted": True})
    await added(bob, topic, "After", replyTo=root["id"])
    await added(bob, topic, "Elsewhere", replyTo=other["id"])
    await added(bob, topic, mention(DAN))
    assert await told(dan, topic) == [("After", "replied in a thread you follow")], (
        "though the topic is muted"
    )
    assert [why for _, why in await told(ann, topic)] == ["replied in a thread you take part in"] * 3
    assert (await dan.call("thread.follow", {**follow, "following": False}))["following"] is False
    await added(bob, topic, "Too late", replyTo=root["id"])
    assert len(await told(dan, topic)) == 1


@BOTH
async def test_a_muted_thread_tells_nothing(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = [await Door.open(cluster, door, login, node) for node, login in enumerate(("ann", "bob"))]
    root, other = await added(bob, topic, "Root"), await added(bob, topic, "Other")
    mute = {"commentId": root["id"], "muted": True}
    assert await bob.call("thread.mute", mute) == {
        "threadId": root["id"],
        "following": False,
        "muted": True,
    }
    silent = await added(ann, topic, f"1 {mention(BOB)}", replyTo=root["id"])
    await added(ann, topic, "2", replyTo=other["id"])
    await ann.call("comment.edit", {"commentId": silent["id"], "text": f"1b {mention(CAROL)} {mention(BOB)}"})
    assert [text for text, _ in await told(bob, topic)] == ["2"]
    assert (await bob.call("thread.follow", {"commentId": root["id"], "following": False}))["muted"] is True
    await bob.call("thread.mute", {**mute, "muted": False})
    await added(ann, topic, "3", replyTo=root["id"])
    assert [text for text, _ in await told(bob, topic)] == ["3", "2"]


async def test_devices_learn_it_and_others_do_not(cluster: Cluster) -> None:
    ann, phone, laptop = [
        await cluster.client(node, login) for node, login in enumerate(("ann", "bob", "bob"))
    ]
    topic = fresh_topic()
    roots = [
        (await ann.call("comment.add", {"topic": topic, "text": str(n)}))["comment"]["id"] for n in range(3)
    ]
    marks = [len(client.events) for client in (ann, phone, laptop)]
    await phone.call("thread.follow", {"commentId": roots[0], "following": True})
    await phone.call("thread.mute", {"commentId": roots[1], "muted": True})
    await phone.call("thread.mute", {"commentId": roots[1], "muted": True})
    await laptop.call("thread.mute", {"commentId": roots[0], "muted": True})
    await laptop.call("thread.mute", {"commentId": roots[2], "muted": False})
    await laptop.call("thread.mute", {"commentId": roots[1], "muted": False})
    want = [
        {"threadId": roots[0], "following": True, "muted": False},
        {"threadId": roots[1], "following": False, "muted": True},
        {"threadId": roots[0], "following": False, "muted": True},
        {"threadId": roots[1], "following": False, "muted": False},
    ]
    for client, mark in zip((phone, laptop), marks[1:], strict=True):
        await client.wait_for(
            lambda e: e.name == "thread.was_marked" and e.data["data"]["thread"] == want[-1], skip=mark
        )
        assert marked(client, mark) == want
    assert await phone.call("thread.marks", {"topic": topic}) == {"items": [want[2]], "next": None}
    assert await ann.call("thread.marks", {"topic": topic}) == {"items": [], "next": None}
    assert marked(ann, marks[0]) == []


async def test_a_follower_who_left_the_discussion_is_not_told(cluster: Cluster) -> None:
    ann, bob, carol = [
        await Door.open(cluster, "rest", login, node) for node, login in enumerate(("ann", "bob", "carol"))
    ]
    discussion = await created(ann, BOB, CAROL)
    root = await added(ann, discussion["topic"], "Root")
    await bob.call("thread.follow", {"commentId": root["id"], "following": True})
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": BOB})
    await added(carol, discussion["topic"], "Without bob", replyTo=root["id"])
    assert "Without bob" not in dict(await told(bob, discussion["topic"]))
