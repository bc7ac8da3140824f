"""What hangs on something that changed: it follows when comments, names, groups and accounts do."""

from __future__ import annotations

import secrets
from typing import Any

from tests.harness.cluster import Cluster
from tests.integration.doors import Door
from tests.integration.scene import (
    ANN,
    BOB,
    CAROL,
    DAN,
    account_ended,
    added,
    called,
    grouped,
    groups,
    mention,
)


def login_of_somebody_new() -> str:
    return f"somebody{secrets.token_hex(4)}"


def new_id() -> str:
    return secrets.token_hex(16).upper()


async def told(door: Door, topic: str) -> list[dict[str, Any]]:
    """What the door's person has been told of a topic, the latest first."""
    items = (await door.call("notification.list", {"limit": 200}))["items"]
    return [item for item in items if item["topic"] == topic]


async def badge(door: Door) -> int:
    unread: int = (await door.call("notification.count"))["unread"]
    return unread


# --- people who are gone


async def test_a_comment_that_names_somebody_who_is_gone_can_be_corrected(
    cluster: Cluster, topic: str
) -> None:
    gone, stranger = login_of_somebody_new(), new_id()
    gone_id = await called(cluster, gone, "Gudrun Gone")
    ann, ann_elsewhere = [await Door.open(cluster, "rest", "ann", node) for node in (0, 1)]
    bob = await Door.open(cluster, "rest", "bob", 2)
    comment = await added(ann, topic, f"Ask {mention(gone_id)} about tpyo")
    assert comment["mentions"] == [{"kind": "user", "id": gone_id, "name": "Gudrun Gone"}]
    await account_ended(cluster, gone)
    # Another node, which has no answer of before.
    edit = {"commentId": comment["id"], "text": f"Ask {mention(gone_id)} about the typo, {mention(BOB)}"}
    edited = (await ann_elsewhere.call("comment.edit", edit))["comment"]
    assert edited["mentions"][0] == comment["mentions"][0]
    assert [item["why"] for item in await told(bob, topic)] == ["mentioned you"]
    # Whoever answers may repeat it; nobody may name them anew.
    reply = await added(bob, topic, f"> Ask {mention(gone_id)}", replyTo=comment["id"])
    assert reply["mentions"] == comment["mentions"]
    for payload in (
        {"topic": topic, "text": mention(gone_id)},
        {"topic": topic, "text": mention(stranger), "replyTo": comment["id"]},
    ):
        assert (await bob.refusal("comment.add", payload))["field"] == "text"
    edit = {"commentId": comment["id"], "text": f"{mention(gone_id)} {mention(stranger)}"}
    assert (await ann_elsewhere.refusal("comment.edit", edit))["code"] == "invalid"


# --- groups in groups


async def test_a_group_stands_for_those_in_the_groups_in_it_each_once(cluster: Cluster, topic: str) -> None:
    ids = [new_id() for _ in range(3)]
    await grouped(cluster, ids[0], "Staff", "bob", groups=[ids[1], new_id()])
    await grouped(cluster, ids[1], "Branch", "bob", "carol", groups=[ids[2], ids[0]])
    await grouped(cluster, ids[2], "Twig", "dan", "carol", groups=ids)
    ann = await Door.open(cluster, "rest", "ann")
    others = [await Door.open(cluster, "rest", login, 1) for login in ("bob", "carol", "dan", "eve")]
    await added(ann, topic, mention(ids[0], "group"))
    whys = [[item["why"] for item in await told(door, topic)] for door in others]
    assert whys == [["mentioned Staff"]] * 3 + [[]]
    discussion = (await ann.call("discussion.create", {"name": "All", "members": groups(ids[0])}))[
        "discussion"
    ]
    assert [member["id"] for member in discussion["members"]] == [ANN, BOB, CAROL, DAN]


async def test_a_group_of_too_many_groups_is_refused_in_words(cluster: Cluster, topic: str) -> None:
    ids = [new_id() for _ in range(101)]
    await grouped(cluster, ids[0], "Too many", "bob", groups=ids[1:])
    most = await grouped(cluster, new_id(), "Many", "bob", groups=ids[2:])
    ann = await Door.open(cluster, "rest", "ann")
    error = await ann.refusal("comment.add", {"topic": topic, "text": mention(ids[0], "group")})
    assert (error["code"], error["field"]) == ("too_large", "text")
    error = await ann.refusal("discussion.create", {"name": "All", "members": groups(ids[0])})
    assert (error["code"], error["field"]) == ("too_large", "members[0].id")
    assert (await added(ann, topic, mention(most, "group")))["mentions"]
