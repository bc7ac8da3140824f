"""What a change was made of: none takes away what was stored meanwhile, and whoever asks is shown it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.harness.cluster import Cluster
from tests.integration.doors import Door, DoorName
from tests.integration.scene import BOB, mention, users

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])

CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("comment.edit", {"text": "Made of the first"}),
    ("comment.delete", {}),
]
OF_A_COMMENT = pytest.mark.parametrize(("command", "more"), CHANGES, ids=lambda given: str(given)[:14])


async def said(door: Door, topic: str, *texts: str) -> dict[str, Any]:
    """A comment that says the last of these texts, after the others."""
    comment: dict[str, Any] = (await door.call("comment.add", {"topic": topic, "text": texts[0]}))["comment"]
    for text in texts[1:]:
        comment = (await door.call("comment.edit", {"commentId": comment["id"], "text": text}))["comment"]
    return comment


@BOTH
@OF_A_COMMENT
async def test_a_change_of_another_revision_changes_nothing_and_is_shown_what_stands(
    cluster: Cluster, topic: str, door: DoorName, command: str, more: dict[str, Any]
) -> None:
    ann, elsewhere = [await Door.open(cluster, door, "ann", node) for node in (0, 1)]
    stands = await said(elsewhere, topic, "First", f"**Second** {mention(BOB)}")
    change = {"commentId": stands["id"], **more}
    for revision in (1, 3, 10**30):
        error = await ann.refusal(command, {**change, "ofRevision": revision})
        assert (error["code"], error["field"]) == ("conflict", "ofRevision")
        assert error["comment"] == stands == await ann.call("comment.get", {"commentId": stands["id"]})
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 2
    revisions = await ann.call("comment.revisions", {"commentId": stands["id"]})
    assert [each["text"] for each in revisions["items"]] == ["First", stands["text"]]
    assert (await ann.call(command, {**change, "ofRevision": stands["revision"]}))["seq"] == 3


@BOTH
@OF_A_COMMENT
async def test_a_change_that_says_not_of_what_it_was_made_takes_effect_whatever_stands(
    cluster: Cluster, topic: str, door: DoorName, command: str, more: dict[str, Any]
) -> None:
    ann = await Door.open(cluster, door, "ann")
    stands = await said(ann, topic, "First", "Second")
    assert (await ann.call(command, {"commentId": stands["id"], **more}))["seq"] == 3
    other = await said(ann, topic, "First", "Second")
    if door == "socket":  # a query has no null
        assert (await ann.call(command, {"commentId": other["id"], **more, "ofRevision": None}))["seq"] == 6


@BOTH
@pytest.mark.parametrize("revision", ["1", 1.5, True, [1], 0, -1])
async def test_a_revision_is_a_whole_number_from_1_on(
    cluster: Cluster, topic: str, door: DoorName, revision: object
) -> None:
    ann = await Door.open(cluster, door, "ann")
    stands = await said(ann, topic, "First")
    change = {"commentId": stands["id"], "text": "Second", "ofRevision": revision}
    error = await ann.refusal("comment.edit", change)
    assert (error["code"], error["field"]) == ("invalid", "ofRevision")


@OF_A_COMMENT
async def test_of_changes_of_one_revision_at_once_one_is_made(
    cluster: Cluster, topic: str, command: str, more: dict[str, Any]
) -> None:
    doors = [await Door.open(cluster, door, "ann", node) for node in range(3) for door in ("socket", "rest")]
    for _ in range(5):
        stands = await said(doors[0], topic, "First")
        change = {"commentId": stands["id"], **more, "ofRevision": 1}
        edit = {"commentId": stands["id"], "ofRevision": 1}
        answers = await asyncio.gather(
            doors[0].ask(command, change),
            *(door.ask("comment.edit", {**edit, "text": f"{n}"}) for n, door in enumerate(doors)),
        )
        done = [answer for answer in answers if answer["ok"]]
        assert len(done) == 1
        now = await doors[0].call("comment.get", {"commentId": stands["id"]})
        assert now["revision"] == (2 if "comment" in done[0]["data"] else 1)
        assert {answer["error"]["code"] for answer in answers if not answer["ok"]} == {"conflict"}
        told = [answer["error"]["comment"] for answer in answers if "comment" in answer.get("error", {})]
        assert told == [now] * len(told)


@BOTH
async def test_a_repeated_change_gets_its_first_answer_whatever_it_says_it_was_made_of(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    """Nodes of the version before know no conditions: there it is repeated without."""
    ann, elsewhere = [await Door.open(cluster, door, "ann", node) for node in (0, 1)]
    stands = await said(ann, topic, "First")
    change = {"commentId": stands["id"], "text": "Second", "requestId": str(uuid4())}
    first = await ann.call("comment.edit", {**change, "ofRevision": 1})
    await ann.call("comment.edit", {"commentId": stands["id"], "text": "Third"})
    for of in ({"ofRevision": 1}, {}, {"ofRevision": 3}):
        assert await elsewhere.call("comment.edit", {**change, **of}) == first
    again = {**change, "requestId": str(uuid4())}
    assert (await ann.refusal("comment.edit", {**again, "ofRevision": 2}))["code"] == "conflict"
    late = await ann.call("comment.edit", {**again, "ofRevision": 3})  # refusals are not remembered
    assert await elsewhere.call("comment.edit", again) == late
    assert (late["seq"], late["comment"]["revision"]) == (4, 4)


@BOTH
async def test_nobody_is_shown_what_stands_but_who_may_change_it(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    stands = await said(ann, topic, "First", "Second")
    for command, more in CHANGES:
        error = await bob.refusal(command, {"commentId": stands["id"], **more, "ofRevision": 1})
        assert error["code"] == "forbidden"
        assert "comment" not in error
    await ann.call("comment.delete", {"commentId": stands["id"]})
    for command, more in CHANGES:
        error = await ann.refusal(command, {"commentId": stands["id"], **more, "ofRevision": 2})
        assert (error["code"], "comment" in error) == ("conflict", False)


@BOTH
async def test_a_name_that_was_made_of_another_name_is_refused(cluster: Cluster, door: DoorName) -> None:
    ann, elsewhere = [await Door.open(cluster, door, "ann", node) for node in (0, 1)]
    made = await ann.call("discussion.create", {"name": "Plans", "members": users(BOB)})
    id = {"discussionId": made["discussion"]["id"]}
    await elsewhere.call("discussion.rename", {**id, "name": "Plans for March", "ofName": "Plans"})
    rename = {**id, "name": "Old plans", "requestId": str(uuid4())}
    error = await ann.refusal("discussion.rename", {**rename, "ofName": "Plans"})
    assert (error["code"], error["field"]) == ("conflict", "ofName")
    assert error["discussion"] == await ann.call("discussion.get", id)
    assert error["discussion"]["name"] == "Plans for March"
    renamed = await ann.call("discussion.rename", {**rename, "ofName": "Plans for March"})
    assert await elsewhere.call("discussion.rename", {**rename, "ofName": "Plans"}) == renamed
    assert (await ann.call("discussion.rename", {**id, "name": "Plans"}))["discussion"]["name"] == "Plans"
