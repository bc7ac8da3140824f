"""`wait`: a request that is answered when there is something, for those who have only HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Failed, Rest
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.integration.doors import BOARD, say
from tests.integration.scene import BOB, users


def waiting(rest: Rest, topic: str, after: int, wait: Any = 25) -> asyncio.Task[Any]:
    return asyncio.create_task(
        rest.get(f"/topics/{topic}/events", params={"after": str(after), "wait": str(wait)})
    )


async def test_a_request_waits_for_what_others_do_on_any_node(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.rest(1, "bob")
    first = waiting(bob, topic, 0)
    for number in range(1, 6):
        await say(ann, topic, str(number))
        answer = await asyncio.wait_for(first, 5)
        assert [event["seq"] for event in answer["events"]] == [number]
        assert (answer["seq"], answer["more"]) == (number, False)
        first = waiting(bob, topic, number)
    assert not first.done()
    await say(ann, topic, "the last")
    assert (await first)["seq"] == 6


async def test_a_request_waits_only_while_there_is_nothing_to_tell(cluster: Cluster, topic: str) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.rest(1, "bob")
    await say(ann, topic, "There already")
    assert len((await asyncio.wait_for(waiting(bob, topic, 0), 5))["events"]) == 1
    beyond = await asyncio.wait_for(waiting(bob, topic, 99), 5)  # as after a restore: to be loaded afresh
    assert (beyond["seq"], beyond["events"]) == (1, [])
    assert await waiting(bob, topic, 1, wait=1) == {**beyond, "more": False}
    for wrong in (26, -1, "soon", "", 1.5, 10**30):
        with pytest.raises(Failed) as refused:
            await waiting(bob, topic, 1, wait=wrong)
        assert (refused.value.code, refused.value.error["field"]) == ("invalid", "wait")
    with pytest.raises(Failed) as refused:
        await bob.get(f"/topics/{topic}/comments", params={"wait": "1"})
    assert (refused.value.code, refused.value.error["field"]) == ("invalid", "wait")


async def test_whoever_may_not_read_does_not_wait_and_who_loses_the_right_hears_nothing(
    cluster: Cluster, topic: str
) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.rest(1, "bob")
    dan = await cluster.rest(1, "dan")
    with pytest.raises(Failed, match="not_found"):
        await asyncio.wait_for(waiting(dan, BOARD, 0), 5)
    made = await ann.call("discussion.create", {"name": "Plans", "members": users(BOB)})
    discussion = made["discussion"]
    asked = cluster[1].log.count("command=topic.events ")
    waits = waiting(bob, discussion["topic"], made["seq"])
    await until(lambda: cluster[1].log.count("command=topic.events ") > asked)  # it has looked, and waits
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": BOB})
    with pytest.raises(Failed, match="not_found"):
        await asyncio.wait_for(waits, 5)


async def test_those_who_wait_are_few_and_keep_nobody_from_the_database(
    make_cluster: MakeCluster, topic: str
) -> None:
    cluster = await make_cluster(
        nodes=1,
        overrides={"dataSource": {"poolSize": 1, "readPoolSize": 1}},
        env=hurried({"collab_server.services.live.waiting": {"MOST_WAITING": 10}}),
    )
    ann, bob = await cluster.client(0, "ann"), await cluster.rest(0, "bob")
    carol = await cluster.rest(0, "carol")
    waits = [waiting(bob, topic, 0) for _ in range(8)] + [waiting(carol, topic, 0) for _ in range(2)]
    # Who only looks would take a place of theirs: a wait stands once the topic was read.
    await until(lambda: cluster[0].log.count("command=topic.events ") == len(waits), 20)
    refused = await until(lambda: _refusal_of(bob, topic), timeout=20)
    assert refused.code == "rate_limited"
    assert "of one user" in refused.error["message"]
    dan = await cluster.rest(0, "dan")
    refused = await until(lambda: _refusal_of(dan, topic), timeout=20)
    assert refused.code == "rate_limited"
    assert "on this node" in refused.error["message"]
    assert (await ann.call("topic.get", {"topic": topic}))["seq"] == 0
    waits.pop().cancel()  # who has gone waits no longer

    async def is_there_room() -> bool:
        return await _refusal_of(dan, topic) is None

    await until(is_there_room, timeout=20)
    await say(ann, topic, "For all of them")
    for answer in await asyncio.wait_for(asyncio.gather(*waits), 10):
        assert [event["seq"] for event in answer["events"]] == [1]


async def test_who_waits_is_answered_when_the_node_drains(make_cluster: MakeCluster, topic: str) -> None:
    cluster = await make_cluster(nodes=1)
    bob = await cluster.rest(0, "bob")
    waits = [waiting(bob, topic, 0) for _ in range(3)]
    await asyncio.sleep(0)
    await bob.get("/me")
    stopping = asyncio.create_task(cluster[0].stop())
    for answer in await asyncio.wait_for(asyncio.gather(*waits), 10):
        assert (answer["seq"], answer["events"]) == (0, [])
    assert await stopping == 0


async def _refusal_of(rest: Rest, topic: str) -> Failed | None:
    try:
        await waiting(rest, topic, 0, wait=1)
    except Failed as refused:
        return refused
    return None
