"""Reactions, resolved threads: what people do to comments besides writing them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.harness.cluster import Cluster
from tests.integration.doors import Door, DoorName
from tests.integration.scene import ANN, BOB, CAROL, added

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


async def doors(cluster: Cluster, door: DoorName, *logins: str) -> list[Door]:
    return [await Door.open(cluster, door, login, node % 3) for node, login in enumerate(logins)]


async def shown(door: Door, comment: dict[str, Any]) -> dict[str, Any]:
    got: dict[str, Any] = await door.call("comment.get", {"commentId": comment["id"]})
    return got


# --- reactions


@BOTH
@pytest.mark.parametrize(
    "emoji",
    ["👍", "👍🏽", "❤️", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "1️⃣", "#️⃣", "👨🏿‍🚀", "🫱🏻‍🫲🏿", "☺️", "🫠", "🏻"],
)
async def test_any_emoji_sequence_is_a_reaction(
    cluster: Cluster, topic: str, door: DoorName, emoji: str
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    comment = await added(ann, topic, "What?")
    assert await bob.call("comment.react", {"commentId": comment["id"], "emoji": emoji}) == {"seq": 2}
    assert (await shown(ann, comment))["reactions"] == {emoji: [BOB]}
    assert await bob.call("comment.unreact", {"commentId": comment["id"], "emoji": emoji}) == {"seq": 3}
    assert (await shown(ann, comment))["reactions"] == {}
    events = (await ann.call("topic.events", {"topic": topic, "after": 1}))["events"]
    data = {"commentId": comment["id"], "emoji": emoji, "userId": BOB}
    assert [(event["type"], event["data"]) for event in events] == [
        ("reaction.added", data),
        ("reaction.removed", data),
    ]


@BOTH
@pytest.mark.parametrize(
    "text", ["a", "x👍", "👍👎", "👍 ", "1", ":)", "\u200d", "👍‍", "\u0301", "é", "中", "%"]
)
async def test_what_is_no_emoji_is_refused(cluster: Cluster, topic: str, door: DoorName, text: str) -> None:
    [ann] = await doors(cluster, door, "ann")
    comment = await added(ann, topic, "What?")
    for command in ("comment.react", "comment.unreact"):
        error = await ann.refusal(command, {"commentId": comment["id"], "emoji": text})
        assert (error["code"], error["field"]) == ("invalid", "emoji")


@BOTH
async def test_reactions_are_one_per_person_and_emoji_in_order(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob, carol = await doors(cluster, door, "ann", "bob", "carol")
    comment = await added(ann, topic, "What?")

    async def react(somebody: Door, emoji: str, command: str = "comment.react") -> int:
        seq: int = (await somebody.call(command, {"commentId": comment["id"], "emoji": emoji}))["seq"]
        return seq

    assert [await react(bob, "👍"), await react(carol, "🎉"), await react(ann, "👍")] == [2, 3, 4]
    assert await react(bob, "👍") == 4  # again: nothing happens
    assert await react(carol, "👍", "comment.unreact") == 4
    reactions = (await shown(ann, comment))["reactions"]
    assert list(reactions.items()) == [("👍", [BOB, ANN]), ("🎉", [CAROL])]
    await react(bob, "👍", "comment.unreact")
    await react(bob, "👍")
    assert list((await shown(ann, comment))["reactions"].items()) == [("👍", [ANN, BOB]), ("🎉", [CAROL])]
    [listed] = (await bob.call("topic.comments", {"topic": topic}))["items"]
    assert listed == await shown(carol, comment)


async def test_reactions_at_once_through_all_nodes_are_all_kept(cluster: Cluster, topic: str) -> None:
    people = [
        await Door.open(cluster, "rest", login, node)
        for login in ("ann", "bob", "carol")
        for node in range(3)
    ]
    comment = await added(people[0], topic, "What?")
    emoji = ["👍", "🎉", "❤️"]
    await asyncio.gather(
        *(
            person.call("comment.react", {"commentId": comment["id"], "emoji": one})
            for person in people
            for one in emoji
        )
    )
    reactions = (await shown(people[0], comment))["reactions"]
    assert {one: sorted(users) for one, users in reactions.items()} == {
        one: [ANN, BOB, CAROL] for one in emoji
    }
    assert (await people[0].call("topic.get", {"topic": topic}))["seq"] == 10


@BOTH
async def test_a_comment_carries_a_hundred_different_emoji(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    [ann] = await doors(cluster, door, "ann")
    comment = await added(ann, topic, "What?")
    many = [chr(0x1F600 + number) for number in range(60)] + [chr(0x1F400 + number) for number in range(41)]
    for emoji in many[:100]:
        await ann.call("comment.react", {"commentId": comment["id"], "emoji": emoji})
    error = await ann.refusal("comment.react", {"commentId": comment["id"], "emoji": many[100]})
    assert (error["code"], error["field"]) == ("too_large", "emoji")
    assert list((await shown(ann, comment))["reactions"]) == many[:100]


# --- threads


@BOTH
async def test_a_thread_is_resolved_and_reopened_with_who_and_when(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    root = await added(ann, topic, "Why?")
    reply = await added(bob, topic, "Because", replyTo=root["id"])
    other = await added(bob, topic, "Other")
    assert await bob.call("thread.resolve", {"commentId": reply["id"]}) == {
        "seq": 4
    }  # by any of its comments
    state = await shown(ann, root)
    assert state["resolved"] == {"by": reply["author"], "at": state["resolved"]["at"]}
    assert (await shown(ann, reply))["resolved"] is None
    assert await ann.call("thread.resolve", {"commentId": root["id"]}) == {"seq": 4}  # resolved is resolved

    async def found(is_resolved: bool) -> list[str]:
        page = await ann.call("topic.comments", {"topic": topic, "resolved": is_resolved})
        return [comment["id"] for comment in page["items"]]

    assert await found(True) == [root["id"], reply["id"]]
    assert await found(False) == [other["id"]]
    [place] = (await ann.call("topic.anchors", {"topic": topic}))["items"]
    assert (place["open"], place["total"]) == (1, 3)
    again = await added(ann, topic, "Yet", replyTo=reply["id"])
    assert (await shown(ann, root))["resolved"] == state["resolved"]  # a reply does not reopen
    edited = await ann.call("comment.edit", {"commentId": root["id"], "text": "Why not?"})
    assert edited["comment"]["resolved"] == state["resolved"]
    assert await ann.call("thread.reopen", {"commentId": again["id"]}) == {"seq": 7}
    assert (await shown(ann, root))["resolved"] is None
    assert await ann.call("thread.reopen", {"commentId": root["id"]}) == {"seq": 7}
    events = (await ann.call("topic.events", {"topic": topic, "after": 3}))["events"]
    assert [
        (event["type"], event["actor"]["id"], event["data"]) for event in events if "thread" in event["type"]
    ] == [
        ("thread.resolved", BOB, {"commentId": root["id"]}),
        ("thread.reopened", ANN, {"commentId": root["id"]}),
    ]
    assert events[0]["at"] == state["resolved"]["at"]


@BOTH
async def test_what_was_deleted_takes_no_reactions_but_its_thread_can_be_resolved(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    root = await added(ann, topic, "Why?")
    await bob.call("comment.react", {"commentId": root["id"], "emoji": "👍"})
    reply = await added(bob, topic, "Because", replyTo=root["id"])
    await ann.call("comment.delete", {"commentId": root["id"]})
    for command in ("comment.react", "comment.unreact"):
        error = await bob.refusal(command, {"commentId": root["id"], "emoji": "👍"})
        assert error["code"] == "conflict"
    assert (await bob.call("thread.resolve", {"commentId": reply["id"]}))["seq"] == 5
    tombstone = await shown(bob, root)
    assert (tombstone["resolved"]["by"]["id"], tombstone["replyCount"]) == (BOB, 1)


@BOTH
async def test_reply_counts_count_what_was_posted(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann, bob = await doors(cluster, door, "ann", "bob")
    root = await added(ann, topic, "Why?")
    replies = [await added(bob, topic, str(number), replyTo=root["id"]) for number in range(3)]
    await bob.call("comment.delete", {"commentId": replies[0]["id"]})
    assert (await shown(ann, root))["replyCount"] == 3
    assert (await shown(ann, replies[1]))["replyCount"] == 0
    await asyncio.gather(
        *(added(somebody, topic, "At once", replyTo=root["id"]) for somebody in (ann, bob) * 4)
    )
    assert (await shown(ann, root))["replyCount"] == 11
