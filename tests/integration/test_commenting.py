"""Who may comment on content: by the circles of the configuration, and where an administrator has switched it off."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.world import PROJECT_ID, StandInLibrary, fresh_topic
from tests.integration.doors import Door, DoorName
from tests.integration.scene import BOB, FINANCE, SALES, added, created, grouped, holding, mention

LOOKING_OFTEN = hurried(
    {
        "collab_server.services.live.rights_watch": {"ROUND_SECONDS": 0.2},
        "collab_server.authority.library.library": {"Timing": {"fresh": 0.3}},
    }
)
LOGISTICS = "F0000000000000000000000000000002"
FLEET = f"content:{LOGISTICS}:DA000000000000000000000000000011"
COMMENTING = ("comment.add", "comment.react", "thread.resolve", "thread.reopen", "comment.unreact")
BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


def attempts(comment: Mapping[str, Any], *, own: bool) -> list[tuple[str, dict[str, Any]]]:
    """Every command that comments, about a comment and its topic."""
    id, topic = comment["id"], comment["topic"]
    made: list[tuple[str, dict[str, Any]]] = [
        ("comment.add", {"topic": topic, "text": "More"}),
        ("comment.add", {"topic": topic, "text": "More", "replyTo": id}),
        ("comment.add", {"topic": topic, "text": f"More {mention(BOB)}"}),
        ("comment.react", {"commentId": id, "emoji": "👍"}),
        ("comment.unreact", {"commentId": id, "emoji": "👍"}),
        ("thread.resolve", {"commentId": id}),
        ("thread.reopen", {"commentId": id}),
    ]
    if own:
        made += [("comment.edit", {"commentId": id, "text": "Other"}), ("comment.delete", {"commentId": id})]
    return made


async def may_comment(door: Door, topic: str) -> bool:
    """As `rights` say, wherever they are told."""
    state = await door.call("topic.get", {"topic": topic})
    rights = set(state["rights"])
    if door.client is not None:
        subscribed = await door.client.call("topic.subscribe", {"topic": topic})
        assert (set(subscribed["rights"]), subscribed["commenting"]) == (rights, state["commenting"])
    offered = rights.intersection((*COMMENTING, "comment.edit", "comment.delete", "typing"))
    assert len(offered) in (0, 8), offered
    return bool(offered)


async def assert_refused(door: Door, commands: Sequence[tuple[str, dict[str, Any]]], words: str) -> None:
    for command, payload in commands:
        error = await door.refusal(command, payload)
        assert error["code"] == "forbidden", (command, error)
        assert words in error["message"]


async def told_rights(client: Client, topic: str, *, may: bool, skip: int) -> None:
    """Wait for the signal that says whether one may comment."""
    await client.wait_for(
        lambda e: (
            e.name == "topic.rights"
            and e.data["topic"] == topic
            and ("comment.add" in e.data["rights"]) is may
        ),
        skip=skip,
        timeout=10,
    )


@BOTH
async def test_where_it_is_switched_off_nobody_comments_and_all_learn_it(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann", 0)
    admin = await Door.open(cluster, door, "admin", 2)
    listening = await cluster.client(1, "bob")
    phone = await cluster.client(0, "ann")
    said = await added(ann, topic, "Before")
    for client in (listening, phone):
        await client.call("topic.subscribe", {"topic": topic})
    marks = [len(client.events) for client in (listening, phone)]
    head = (await admin.call("topic.switch", {"topic": topic, "commenting": False}))["seq"]
    assert head == 2
    for client, mark in zip((listening, phone), marks, strict=True):
        event = await client.wait_for("topic.switched", skip=mark)
        assert (event.topic, event.seq, event.data["data"]) == (topic, head, {"commenting": False})
        await told_rights(client, topic, may=False, skip=mark)
    assert await may_comment(ann, topic) is False
    assert await may_comment(admin, topic) is False
    await assert_refused(ann, attempts(said, own=True), "switched off")
    await assert_refused(admin, attempts(said, own=False), "switched off")
    await assert_refused(Door(phone, None), [("typing", {"topic": topic, "typing": True})], "switched off")
    again = await admin.call("topic.switch", {"topic": topic, "commenting": False})
    assert again == {"seq": head}, "there was nothing to change"
    await ann.call("topic.read", {"topic": topic, "seq": head})
    assert (await ann.call("comment.get", {"commentId": said["id"]}))["text"] == "Before"
    marks = [len(client.events) for client in (listening, phone)]
    await admin.call("topic.switch", {"topic": topic, "commenting": True})
    for client, mark in zip((listening, phone), marks, strict=True):
        await told_rights(client, topic, may=True, skip=mark)
    assert await may_comment(ann, topic) is True
    await phone.call("typing", {"topic": topic, "typing": True})
    for command, payload in attempts(said, own=True):
        await ann.call(command, payload)


async def test_an_object_nobody_has_commented_on_can_be_switched_off(cluster: Cluster, topic: str) -> None:
    ann, admin = await Door.open(cluster, "rest", "ann"), await Door.open(cluster, "rest", "admin", 1)
    assert await admin.call("topic.switch", {"topic": topic, "commenting": True}) == {"seq": 0}
    assert await admin.call("topic.switch", {"topic": topic, "commenting": False}) == {"seq": 1}
    assert (await ann.refusal("comment.add", {"topic": topic, "text": "First"}))["code"] == "forbidden"
    log = await ann.call("topic.events", {"topic": topic})
    assert [(e["type"], e["data"], e["actor"]["name"]) for e in log["events"]] == [
        ("topic.switched", {"commenting": False}, "Ada Administrator")
    ]


async def test_a_command_that_took_effect_before_is_answered_as_it_was(cluster: Cluster, topic: str) -> None:
    ann, admin = await Door.open(cluster, "socket", "ann"), await Door.open(cluster, "rest", "admin", 1)
    elsewhere = await Door.open(cluster, "rest", "ann", 2)
    root = await added(ann, topic, "Root")
    for number, more in enumerate(({}, {"replyTo": root["id"]})):
        command = {"topic": topic, "text": "Once", "requestId": f"once-{topic}-{number}", **more}
        first = await ann.call("comment.add", command)
        await admin.call("topic.switch", {"topic": topic, "commenting": False})
        assert await ann.call("comment.add", command) == first
        assert await elsewhere.call("comment.add", command) == first
        await admin.call("topic.switch", {"topic": topic, "commenting": True})


async def test_nothing_is_stored_between_off_and_on_whatever_comes_at_once(cluster: Cluster) -> None:
    """Writers on three nodes, plain comments and replies, while it is switched off and on again and again."""
    topic, other = fresh_topic(), fresh_topic()
    writers = [await cluster.client(node, login) for node in range(3) for login in ("ann", "bob")]
    admin = await cluster.client(1, "admin")
    root = (await writers[0].call("comment.add", {"topic": topic, "text": "Root"}))["comment"]["id"]
    is_over = False
    answers: list[tuple[str, dict[str, Any]]] = []

    async def write(client: Client, number: int) -> None:
        for turn in range(400):
            if is_over:
                return
            where = other if turn % 5 == 4 else topic
            reply = {"replyTo": root} if number % 3 == 0 and where == topic else {}
            payload = {"topic": where, "text": "x", **reply}
            some = await asyncio.gather(*(client.ask("comment.add", payload) for _ in range(3)))
            answers.extend((where, answer) for answer in some)
            waits = [a["error"].get("retryAfter", 0) for a in some if not a["ok"]]
            await asyncio.sleep(max(waits, default=0))

    tasks = [asyncio.create_task(write(client, number)) for number, client in enumerate(writers)]
    for turn in range(10):
        await admin.call("topic.switch", {"topic": topic, "commenting": bool(turn % 2)})
        await asyncio.sleep(0.05)
    is_over = True
    await asyncio.gather(*tasks)
    log: list[dict[str, Any]] = []
    more = True
    while more:
        page = await admin.call("topic.events", {"topic": topic, "after": len(log)})
        log, more = log + page["events"], page["more"]
    assert [event["seq"] for event in log] == list(range(1, len(log) + 1))
    is_on = True
    for event in log:
        if event["type"] == "topic.switched":
            assert event["data"]["commenting"] is not is_on
            is_on = event["data"]["commenting"]
        else:
            assert is_on, event
    stored = {event["data"]["comment"]["id"] for event in log if event["type"] == "comment.added"} - {root}
    acknowledged = {a["data"]["comment"]["id"] for where, a in answers if where == topic and a["ok"]}
    assert acknowledged == stored
    refused = {a["error"]["code"] for _, a in answers if not a["ok"]}
    assert "forbidden" in refused
    assert refused <= {"forbidden", "rate_limited"}
    assert all(a["ok"] or a["error"]["code"] == "rate_limited" for where, a in answers if where == other)


async def nest(cluster: Cluster, *groups: str) -> None:
    """Let these groups be in a group that is in Sales."""
    middle = await grouped(cluster, "6A0000000000000000000000000000AA", "Middle", groups=groups)
    await grouped(cluster, SALES, "Sales", "ann", "bob", "carol", groups=[middle])


async def test_who_is_in_no_circle_may_look_and_learns_when_that_changes(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    rules = {"who": [f"group:{SALES.lower()}", "privilege:226"], "projects": {LOGISTICS: ["nobody"]}}
    cluster = await make_cluster(
        nodes=2, library=own_library, overrides={"commenting": rules}, env=LOOKING_OFTEN
    )
    topic = fresh_topic()
    ann, admin = await Door.open(cluster, "socket", "ann", 0), await Door.open(cluster, "rest", "admin", 1)
    dans = [await Door.open(cluster, "socket", "dan", 0), await Door.open(cluster, "rest", "dan", 1)]
    said = await added(ann, topic, f"By who is in the group {mention(BOB)}")
    assert await may_comment(ann, topic) is True
    for door in (*dans, admin):
        assert await may_comment(door, topic) is False
        await assert_refused(door, attempts(said, own=False), "not comment")
        await door.call("topic.read", {"topic": topic, "seq": 1})
        assert (await door.call("topic.comments", {"topic": topic}))["items"] == [said]
    assert (await admin.call("topic.get", {"topic": topic}))["rights"].count("topic.switch") == 1
    await assert_refused(ann, [("comment.add", {"topic": FLEET, "text": "Nobody does"})], "not comment")
    assert await may_comment(ann, FLEET) is False
    # A private discussion is its members' own.
    discussion = await created(dans[0], BOB)
    await added(dans[1], discussion["topic"], "Among us")
    assert dans[0].client is not None
    phones = [dans[0].client, await cluster.client(1, "dan")]
    for client in phones:
        await client.call("topic.subscribe", {"topic": topic})
    changes: tuple[tuple[Coroutine[Any, Any, None], bool], ...] = (
        (holding(cluster, "dan", {"226": [LOGISTICS]}), False),
        (holding(cluster, "dan", {"226": [PROJECT_ID]}), True),
        (holding(cluster, "dan", {"9": None}), False),
        (holding(cluster, "dan", {"226": None}), True),
        (holding(cluster, "dan", {}), False),
        (nest(cluster, FINANCE), True),
        (nest(cluster), False),
    )
    for change, may in changes:
        marks = [len(client.events) for client in phones]
        was = await may_comment(dans[0], topic)
        await change
        if may is not was:  # else there is nothing to be told
            for client, mark in zip(phones, marks, strict=True):
                await told_rights(client, topic, may=may, skip=mark)
        for door in dans:
            answer = await door.ask("comment.add", {"topic": topic, "text": "Now?"})
            assert answer["ok"] is may, answer
    await admin.call("topic.switch", {"topic": topic, "commenting": False})
    await assert_refused(ann, attempts(said, own=True), "switched off")
