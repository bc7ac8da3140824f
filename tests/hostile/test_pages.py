"""How large answers are: a page ends where it is large enough, and the pages together hold everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.clients import Client
from tests.harness.waiting import until
from tests.harness.world import fresh_topic
from tests.hostile.costs import Node1GiB, costs
from tests.integration.scene import BOB, content_of, users

MOST_BYTES = 1_000_000
VIEW_STATE = {"x": "y" * 65_000}
LONG = "🦊" * 10_000


@pytest_asyncio.fixture(scope="session")
async def large(shared_node: Node1GiB) -> dict[str, Any]:
    """A topic of 40 comments as large as they may be, one with as many long revisions, 1,500 places with long names."""
    ann = await shared_node.cluster.client(0, "ann")
    topic, places = fresh_topic(), fresh_topic()
    for number in range(40):
        payload = {"topic": topic, "text": LONG[: 9000 + number], "viewState": VIEW_STATE}
        comment = (await ann.call("comment.add", payload))["comment"]
        share = {"content": content_of(topic), "recipients": users(BOB), "viewState": VIEW_STATE}
        await ann.call("share", {**share, "message": f"{number} {'x' * 9000}"})
    for number in range(40):
        await ann.call("comment.edit", {"commentId": comment["id"], "text": LONG[: 8000 + number]})
    for number in range(700):
        anchor = {"pageKey": f"{number}{'🦊' * 250}", "visualizationKey": f"{number % 7}{'ä' * 250}"}
        await ann.call("comment.add", {"topic": places, "text": "x", "anchor": anchor})
    return {"topic": topic, "comment": comment["id"], "places": places}


async def pages(client: Client, command: str, payload: dict[str, Any]) -> list[dict[str, Any]]:
    """All pages of a list."""
    found = [await client.call(command, payload)]
    while found[-1]["next"] is not None:
        assert len(found) < 100
        found.append(await client.call(command, {**payload, "cursor": found[-1]["next"]}))
    return found


LISTS: dict[str, Callable[[dict[str, Any]], tuple[dict[str, Any], int, Callable[[Any], Any]]]] = {
    "topic.comments": lambda at: ({"topic": at["topic"], "limit": 200}, 40, lambda item: item["id"]),
    "comment.revisions": lambda at: ({"commentId": at["comment"]}, 41, lambda item: item["revision"]),
    "topic.anchors": lambda at: (
        {"topic": at["places"]},
        700,
        lambda item: (item["pageKey"], item["visualizationKey"]),
    ),
    "notification.list": lambda at: ({"limit": 200, "kind": "shared"}, 40, lambda item: item["id"]),
}


@pytest.mark.parametrize("command", LISTS)
async def test_no_answer_is_larger_than_a_client_may_be_sent(
    node: Node1GiB, large: dict[str, Any], command: str
) -> None:
    payload, number, key = LISTS[command](large)
    bob = await node.cluster.client(0, "bob")

    async def has_all() -> bool:
        return int((await bob.call("notification.count"))["unread"]) >= 40

    if command == "notification.list":
        await until(has_all, 20)
    async with costs(node, held_seconds=0.1):
        for _ in range(3):
            found = await pages(bob, command, payload)
    assert all(len(json.dumps(page, ensure_ascii=False).encode()) < MOST_BYTES for page in found)
    assert len(found) > 1
    keys = [key(item) for page in found for item in page["items"]]
    assert len(keys) == len(set(keys)) >= number
    assert all(page["items"] for page in found)
    if command == "topic.comments":
        newest = await pages(bob, command, {**payload, "order": "newest"})
        assert [key(item) for page in newest for item in page["items"]] == keys[::-1]
    if command == "topic.anchors":
        threads = [thread["threadId"] for page in found for thread in page["threads"]]
        assert len(threads) == len(set(threads)) == 700
