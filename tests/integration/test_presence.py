"""Presence and typing as clients see them: nodes come, go and stand still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from collab_server.demo.embedded import EmbeddedValkey
from tests.conftest import MakeCluster
from tests.harness.clients import Client, Event, Failed
from tests.harness.cluster import Cluster
from tests.harness.waiting import Stopwatch, until

SECRET_TOPIC = "content:F0000000000000000000000000000001:" + "0" * 32


async def subscribe(client: Client, topic: str) -> list[str]:
    """Subscribe; who is present."""
    answer = await client.call("topic.subscribe", {"topic": topic})
    return names(answer["present"])


def names(users: Iterable[dict[str, Any]]) -> list[str]:
    return [user["name"].split()[0].lower() for user in users]


async def present(client: Client, topic: str) -> list[str]:
    return names((await client.call("topic.get", {"topic": topic}))["present"])


def joined(client: Client, topic: str) -> list[str]:
    return [name for event in signals(client, "presence", topic) for name in names(event.data["joined"])]


def left(client: Client, topic: str) -> list[str]:
    return [name for event in signals(client, "presence", topic) for name in names(event.data["left"])]


def typing(client: Client, topic: str) -> list[tuple[str, bool]]:
    return [
        (names([event.data["user"]])[0], event.data["typing"]) for event in signals(client, "typing", topic)
    ]


def signals(client: Client, name: str, topic: str) -> list[Event]:
    return [event for event in client.events if event.name == name and event.topic == topic]


async def arrive_everywhere(cluster: Cluster, topic: str, *logins: str) -> list[Client]:
    """A client of each person, one node after the other, in this order; each knows of all."""
    clients = []
    for number, login in enumerate(logins):
        client = await cluster.client(number % len(cluster), login)
        await subscribe(client, topic)
        clients.append(client)

        async def all_know(expected: tuple[str, ...] = logins[: number + 1]) -> bool:
            return all([set(await present(one, topic)) == set(expected) for one in clients])

        await until(all_know, what="everybody knows who is present")
    return clients


async def everything_sent(*clients: Client) -> None:
    """Whatever was sent before now has been received: commands are answered in order, by every node."""
    await asyncio.gather(*(client.call("me") for client in clients))


async def test_present_shows_everybody_once_in_order_of_arrival(cluster: Cluster, topic: str) -> None:
    ann, bob, carol = await arrive_everywhere(cluster, topic, "ann", "bob", "carol")
    second_tab = await cluster.client(2, "ann")
    assert await subscribe(second_tab, topic) == ["ann", "bob", "carol"]
    for client in (ann, bob, carol):
        assert await present(client, topic) == ["ann", "bob", "carol"]
    rest = await cluster.rest(1, "dan")
    people = (await rest.get(f"/topics/{topic}"))["present"]
    assert names(people) == ["ann", "bob", "carol"]
    assert people[0] == ann.hello["user"]


async def test_joins_and_leaves_are_told_once_however_many_tabs_and_nodes(
    cluster: Cluster, topic: str
) -> None:
    bob, carol = await arrive_everywhere(cluster, topic, "bob", "carol")
    tabs = [await cluster.client(node, "ann") for node in (0, 1, 2, 0)]
    for tab in tabs:
        await subscribe(tab, topic)
    await until(lambda: all("ann" in joined(client, topic) for client in (bob, carol)))
    for tab in tabs[:3]:
        await tab.call("topic.unsubscribe", {"topic": topic})
    assert await present(bob, topic) == ["bob", "carol", "ann"]
    await tabs[3].call("topic.unsubscribe", {"topic": topic})
    await until(lambda: all("ann" in left(client, topic) for client in (bob, carol)))
    assert await present(carol, topic) == ["bob", "carol"]
    for client in (bob, carol):
        assert joined(client, topic).count("ann") == left(client, topic).count("ann") == 1


async def test_a_reload_is_not_told_and_a_closed_tab_is(cluster: Cluster, topic: str) -> None:
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    await ann.cut()
    again = await cluster.client(1, "ann")
    assert await subscribe(again, topic) == ["ann", "bob"]
    elsewhere = await cluster.client(2, "ann")
    await again.close()
    assert await subscribe(elsewhere, topic) == ["ann", "bob"]
    closed_at = time.monotonic()
    await elsewhere.close()
    gone = await bob.wait_for(lambda event: event.name == "presence" and event.data["left"])
    assert gone.data == {"topic": topic, "joined": [], "left": [ann.hello["user"]]}
    assert 1.9 < gone.received_at - closed_at < 4
    assert "ann" not in joined(bob, topic)


async def test_only_subscribers_are_told(cluster: Cluster, topic: str) -> None:
    bystander = await cluster.client(0, "carol")
    _, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    ann = await cluster.client(0, "ann")
    await subscribe(ann, topic)
    await ann.call("typing", {"topic": topic, "typing": True})
    await bob.wait_for("typing")
    await bob.call("topic.unsubscribe", {"topic": topic})
    heard = [event for event in bob.events if event.topic == topic]
    await ann.call("typing", {"topic": topic, "typing": False})
    await ann.call("topic.unsubscribe", {"topic": topic})
    await everything_sent(bystander, bob)
    # What tests before have told an inbox may come at any time.
    assert [event.name for event in bystander.events if event.topic == topic] == []
    assert [event for event in bob.events if event.topic == topic] == heard


async def test_typing_reaches_the_others_on_all_nodes_and_not_oneself(cluster: Cluster, topic: str) -> None:
    ann, bob, carol = await arrive_everywhere(cluster, topic, "ann", "bob", "carol")
    second_tab = await cluster.client(1, "ann")
    await subscribe(second_tab, topic)
    for _ in range(3):
        assert await ann.call("typing", {"topic": topic, "typing": True}) == {}
    await asyncio.gather(bob.wait_for("typing"), carol.wait_for("typing"))
    await ann.call("typing", {"topic": topic, "typing": False})
    for client in (bob, carol):
        await until(partial(lambda one: typing(one, topic) == [("ann", True), ("ann", False)], client))
    await everything_sent(ann, second_tab)
    assert typing(ann, topic) == typing(second_tab, topic) == []


async def test_typing_ends_by_itself(cluster: Cluster, topic: str) -> None:
    ann, bob, carol = await arrive_everywhere(cluster, topic, "ann", "bob", "carol")
    await ann.call("typing", {"topic": topic, "typing": True})
    for client in (bob, carol):
        await until(partial(lambda one: len(typing(one, topic)) == 2, client), 8)
        began, ended = signals(client, "typing", topic)
        assert typing(client, topic) == [("ann", True), ("ann", False)]
        assert 5.5 < ended.received_at - began.received_at < 7


async def test_a_comment_ends_typing_for_clients_and_it_may_begin_anew_at_once(
    cluster: Cluster, topic: str
) -> None:
    ann, bob, carol = await arrive_everywhere(cluster, topic, "ann", "bob", "carol")
    await ann.call("typing", {"topic": topic, "typing": True})
    await ann.call("comment.add", {"topic": topic, "text": "Hello"})
    await ann.call("typing", {"topic": topic, "typing": False})
    await ann.call("typing", {"topic": topic, "typing": True})
    for client in (bob, carol):
        await until(partial(lambda one: typing(one, topic) == [("ann", True), ("ann", True)], client))
        order = [event.name for event in client.events if event.topic == topic]
        assert [name for name in order if name != "presence"] == ["typing", "comment.added", "typing"]


async def test_closing_the_tab_ends_typing(cluster: Cluster, topic: str) -> None:
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    await ann.call("typing", {"topic": topic, "typing": True})
    await ann.close()
    await until(lambda: typing(bob, topic) == [("ann", True), ("ann", False)])


async def test_typing_is_for_subscribers_of_what_they_may_open(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    with pytest.raises(Failed, match="forbidden"):
        await ann.call("typing", {"topic": topic, "typing": True})
    with pytest.raises(Failed, match="not_found"):
        await ann.call("typing", {"topic": SECRET_TOPIC, "typing": True})
    with pytest.raises(Failed, match="invalid") as refusal:
        await ann.call("typing", {"topic": topic, "typing": "yes"})
    assert refusal.value.error["field"] == "typing"


async def test_an_inbox_has_neither_presence_nor_typing(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    inbox = f"inbox:{ann.hello['user']['id']}"
    assert await subscribe(ann, inbox) == []
    assert await present(ann, inbox) == []
    with pytest.raises(Failed, match="forbidden"):
        await ann.call("typing", {"topic": inbox, "typing": True})


async def test_rights_name_typing(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    assert "typing" in (await ann.call("topic.subscribe", {"topic": topic}))["rights"]


async def test_who_is_removed_from_a_discussion_is_not_present_any_more(cluster: Cluster) -> None:
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    bob_id = bob.hello["user"]["id"]
    members = [{"kind": "user", "id": bob_id}]
    made = await ann.call("discussion.create", {"name": "Plan", "members": members})
    topic, id = made["discussion"]["topic"], made["discussion"]["id"]
    await subscribe(ann, topic)
    await subscribe(bob, topic)
    await until(lambda: "bob" in joined(ann, topic))
    await ann.call("discussion.remove", {"discussionId": id, "userId": bob_id})
    await until(lambda: left(ann, topic) == ["bob"])
    assert await present(ann, topic) == ["ann"]


async def test_a_single_node_without_redis_has_presence_and_typing(
    make_cluster: MakeCluster, topic: str
) -> None:
    cluster = await make_cluster(nodes=1, redis_url=None)
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    await bob.call("typing", {"topic": topic, "typing": True})
    await ann.wait_for("typing")
    await bob.close()
    await until(lambda: left(ann, topic) == ["bob"])


async def test_people_of_a_killed_node_are_gone_within_fifteen_seconds_unless_they_came_back(
    make_cluster: MakeCluster, topic: str
) -> None:
    cluster = await make_cluster(nodes=3)
    ann, bob, carol = await arrive_everywhere(cluster, topic, "ann", "bob", "carol")
    dan = await cluster.client(0, "dan")
    await subscribe(dan, topic)
    await until(lambda: "dan" in joined(bob, topic) and "dan" in joined(carol, topic))
    await ann.call("typing", {"topic": topic, "typing": True})
    await carol.wait_for("typing")
    await cluster[0].kill()
    since_killed = Stopwatch()
    dan_again = await cluster.client(1, "dan")
    await subscribe(dan_again, topic)
    for client in (bob, carol):
        await until(partial(left, client, topic), 20)
        assert since_killed.seconds < 15
        assert left(client, topic) == ["ann"]
        assert joined(client, topic).count("dan") == 1
        assert typing(client, topic) == [("ann", True), ("ann", False)]
        assert await present(client, topic) == ["bob", "carol", "dan"]


async def test_a_node_that_stops_sends_its_people_elsewhere_unnoticed(
    make_cluster: MakeCluster, topic: str
) -> None:
    cluster = await make_cluster(nodes=2)
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    carol = await cluster.client(0, "carol")
    await subscribe(carol, topic)
    await until(lambda: "carol" in joined(bob, topic))
    stopping = asyncio.create_task(cluster[0].stop())
    await ann.wait_until_closed(10)
    again = await cluster.client(1, "ann")
    await subscribe(again, topic)
    await stopping
    await until(lambda: left(bob, topic), 10)
    assert left(bob, topic) == ["carol"]
    assert "ann" not in joined(bob, topic)
    assert await present(again, topic) == ["ann", "bob"]


async def test_a_node_that_starts_learns_who_is_present(make_cluster: MakeCluster, topic: str) -> None:
    cluster = await make_cluster(nodes=2)
    ann, _ = await arrive_everywhere(cluster, topic, "ann", "bob")
    await cluster.add_node().start()
    carol = await cluster.client(2, "carol")

    async def knows() -> bool:
        return await present(carol, topic) == ["ann", "bob"]

    await until(knows)
    await subscribe(carol, topic)
    await until(lambda: joined(ann, topic)[-1] == "carol")


async def test_a_frozen_node_and_the_others_agree_again(make_cluster: MakeCluster, topic: str) -> None:
    cluster = await make_cluster(nodes=2)
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    cluster[0].freeze()
    await until(lambda: left(bob, topic) == ["ann"], 15)
    carol = await cluster.client(1, "carol")
    await subscribe(carol, topic)
    cluster[0].thaw()
    await until(lambda: "ann" in joined(bob, topic), 10)
    await until(lambda: "carol" in joined(ann, topic), 10)
    assert sorted(await present(ann, topic)) == sorted(await present(bob, topic)) == ["ann", "bob", "carol"]


async def test_without_redis_each_node_goes_on_and_afterwards_they_agree(
    make_cluster: MakeCluster, own_valkey: EmbeddedValkey, topic: str
) -> None:
    cluster = await make_cluster(nodes=2, redis_url=own_valkey.url)
    ann, bob = await arrive_everywhere(cluster, topic, "ann", "bob")
    own_valkey.freeze()
    await cluster[0].wait_for_state("paused")
    carol = await cluster.client(0, "carol")
    await subscribe(carol, topic)
    await until(lambda: "carol" in joined(ann, topic))
    await bob.call("topic.unsubscribe", {"topic": topic})
    assert sorted(await present(carol, topic)) == ["ann", "bob", "carol"]
    own_valkey.thaw()
    await until(lambda: "bob" in left(ann, topic), 10)

    async def agree() -> bool:
        return await present(ann, topic) == await present(bob, topic) == ["ann", "carol"]

    await until(agree, 10)
