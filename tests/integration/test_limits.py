"""Limits: what is over them is refused in words, what is below them works."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.clients import Client, Refused, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import World, fresh_topic
from tests.integration.doors import Door, DoorName, Raw, seqs

NARROW = {
    "commandsPerSecond": 10_000,
    "commandsBurst": 10_000,
    "connectionsPerUser": 3,
    "topicsPerConnection": 5,
    "packetBytes": 100_000,
    "outgoingBytes": 200_000,
    "textCharacters": 50,
    "mentionsPerComment": 0,
}
HURRIED = {"commandsPerSecond": 20, "commandsBurst": 30, "commandsWaiting": 10}


async def serve(world: World, limits: dict[str, int]) -> AsyncIterator[Cluster]:
    overrides = {"limits": limits}
    async with Cluster(
        world.new_database(), world.library, world.valkey.url, nodes=1, overrides=overrides
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture(scope="module")
async def narrow_node(world: World) -> AsyncIterator[Cluster]:
    """One node that takes little, but as often as one likes."""
    async for cluster in serve(world, NARROW):
        yield cluster


@pytest_asyncio.fixture(scope="module")
async def hurried_node(world: World) -> AsyncIterator[Cluster]:
    """One node with low limits on how often. Each test has a person of its own."""
    async for cluster in serve(world, HURRIED):
        yield cluster


async def clients_of(narrow: Cluster) -> int:
    return int((await narrow[0].status())["main"]["connections"]["current"])


async def after_use(cluster: Cluster) -> AsyncIterator[Cluster]:
    yield cluster
    await cluster.close_clients()

    async def is_empty() -> bool:
        return await clients_of(cluster) == 0

    await until(is_empty, 10, "all clients are gone")


@pytest_asyncio.fixture
async def narrow(narrow_node: Cluster) -> AsyncIterator[Cluster]:
    async for cluster in after_use(narrow_node):
        yield cluster


@pytest_asyncio.fixture
async def hurried(hurried_node: Cluster) -> AsyncIterator[Cluster]:
    async for cluster in after_use(hurried_node):
        yield cluster


async def raw(narrow: Cluster, login: str) -> Raw:
    token = await (await narrow.person(login)).identity_token()
    return await Raw.open(narrow[0].url, {"identityToken": token})


# --- how often


async def test_too_many_commands_are_refused_with_the_time_to_wait(hurried: Cluster) -> None:
    ann = await hurried.client(0, "ann")
    answered = 0
    refused: list[dict[str, Any]] = []
    async with asyncio.timeout(10):
        while not refused:
            answers = await asyncio.gather(*(ann.ask("me") for _ in range(9)))
            refused = [answer["error"] for answer in answers if not answer["ok"]]
            answered += len(answers) - len(refused)
    assert answered >= HURRIED["commandsBurst"]
    for error in refused:
        assert error["code"] == "rate_limited"
        assert 0 < error["retryAfter"] <= 1 / HURRIED["commandsPerSecond"] + 0.001
    async with asyncio.timeout(10):
        while (answer := await ann.ask("me"))[
            "ok"
        ]:  # one by one: nobody else takes what there is again by then
            pass
    await asyncio.sleep(answer["error"]["retryAfter"])
    assert (await ann.ask("me"))["ok"], "after the time that was named there is one again"


async def test_both_doors_of_a_person_share_one_bucket_and_people_do_not(hurried: Cluster) -> None:
    bob, carol = await hurried.client(0, "bob"), await hurried.client(0, "carol")
    rest = await hurried.rest(0, "bob")
    async with asyncio.timeout(10):
        while True:
            answers = await asyncio.gather(*(bob.ask("me") for _ in range(9)))
            if not answers[-1]["ok"]:
                status, error, headers = await rest.request("GET", "/me")
                if status == 429:
                    break
    assert error["code"] == "rate_limited"
    assert error["retryAfter"] > 0
    assert int(headers["Retry-After"]) >= 1
    assert (await carol.ask("me"))["ok"]


async def test_what_waits_beyond_the_limit_is_refused_and_all_is_acknowledged(hurried: Cluster) -> None:
    topic, number = fresh_topic(), 100
    async with await raw(hurried, "dan") as dan:
        await dan.send(*(f'42{n}["comment.add",{{"topic":"{topic}","text":"{n}"}}]' for n in range(number)))
        answers = dict(await dan.answers(number))
    assert len(answers) == number
    refused = [answer["error"] for answer in answers.values() if not answer["ok"]]
    assert {error["code"] for error in refused} == {"rate_limited"}
    assert all(error["retryAfter"] > 0 for error in refused)
    stored = [int(answer["data"]["comment"]["text"]) for _, answer in sorted(answers.items()) if answer["ok"]]
    assert len(stored) >= HURRIED["commandsWaiting"]
    assert stored == sorted(stored)
    rest = await hurried.rest(0, "eve")
    assert (await rest.get(f"/topics/{topic}"))["seq"] == len(stored)


# --- how many


async def test_a_person_has_so_many_connections(narrow: Cluster) -> None:
    clients = [await narrow.client(0, "eve") for _ in range(NARROW["connectionsPerUser"])]
    token = await (await narrow.person("eve")).identity_token()
    with pytest.raises(Refused) as refusal:
        await Client.connect(narrow[0].url, identity_token=token)
    assert refusal.value.code == refusal.value.error["code"] == "rate_limited"
    assert refusal.value.error["retryAfter"] > 0
    ann = await narrow.client(0, "ann")
    assert ann.is_connected
    await clients[0].close()

    async def comes_in() -> bool:
        try:
            await (await Client.connect(narrow[0].url, identity_token=token)).close()
        except Refused:
            return False
        return True

    await until(comes_in)


async def test_at_once_they_are_not_more(narrow: Cluster) -> None:
    token = await (await narrow.person("eve")).identity_token()

    async def come() -> Client | None:
        try:
            return await Client.connect(narrow[0].url, identity_token=token)
        except Refused:
            return None

    came = [client for client in await asyncio.gather(*(come() for _ in range(10))) if client]
    assert len(came) == NARROW["connectionsPerUser"]
    await asyncio.gather(*(client.close() for client in came))


@pytest.mark.parametrize("is_at_once", [False, True])
async def test_a_connection_has_so_many_topics(narrow: Cluster, is_at_once: bool) -> None:
    ann = await narrow.client(0, "ann")
    topics = [fresh_topic() for _ in range(9)]
    asked = [ann.ask("topic.subscribe", {"topic": topic}) for topic in topics]
    answers = await asyncio.gather(*asked) if is_at_once else [await question for question in asked]
    limit = NARROW["topicsPerConnection"]
    assert [answer["ok"] for answer in answers].count(True) == limit
    refused = [answer["error"] for answer in answers if not answer["ok"]]
    assert {(error["code"], error["field"]) for error in refused} == {("too_large", "topic")}
    subscribed = [topic for topic, answer in zip(topics, answers, strict=True) if answer["ok"]]
    assert (await ann.ask("topic.subscribe", {"topic": subscribed[0]}))["ok"], "it has that one already"
    await ann.call("topic.unsubscribe", {"topic": subscribed[0]})
    assert (await ann.ask("topic.subscribe", {"topic": fresh_topic()}))["ok"]


async def test_refused_subscriptions_do_not_count(narrow: Cluster) -> None:
    bob = await narrow.client(0, "bob")
    nowhere = "content:F0000000000000000000000000000001:" + "0" * 32
    for _ in range(NARROW["topicsPerConnection"] + 1):
        assert (await bob.ask("topic.subscribe", {"topic": nowhere}))["error"]["code"] == "not_found"
    assert (await bob.ask("topic.subscribe", {"topic": fresh_topic()}))["ok"]


# --- how large


async def test_an_oversized_packet_is_refused_closes_the_socket_and_stores_nothing(
    narrow: Cluster, topic: str
) -> None:
    limit = NARROW["packetBytes"]
    async with await raw(narrow, "carol") as carol:
        fits = f'421["comment.add",{{"topic":"{topic}","text":"%s"}}]'
        await carol.send(fits % ("x" * (limit - len(fits) + 2)))
        answer = await carol.answer(1)
        assert answer["error"]["code"] == "too_large", "the packet came in, its text is too long"
        await carol.send(fits.replace("1", "2", 1) % ("x" * limit))
        answers = [frame for frame in await carol.wait_until_closed() if str(frame).startswith("43")]
        assert [answer[:40] for answer in map(str, answers)] == ['432[{"ok":false,"error":{"code":"too_lar']
    rest = await narrow.rest(0, "carol")
    status, error, _ = await rest.request("POST", f"/topics/{topic}/comments", {"text": "x" * limit})
    assert (status, error["code"]) == (413, "too_large")
    assert (await rest.get(f"/topics/{topic}"))["seq"] == 0


@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_limits_of_the_configuration_are_those_that_count(
    narrow: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(narrow, door, "ann")
    await ann.call("comment.add", {"topic": topic, "text": "x" * 50})
    for text in ("x" * 51, f"@[B](user:{'0' * 32})"):
        assert (await ann.refusal("comment.add", {"topic": topic, "text": text}))["code"] == "too_large"


async def test_a_client_that_does_not_read_is_cut_off_and_the_others_go_on(
    narrow: Cluster, topic: str
) -> None:
    reader, ann = await narrow.client(0, "bob"), await narrow.client(0, "ann")
    await reader.call("topic.subscribe", {"topic": topic})
    async with await raw(narrow, "eve") as deaf:
        await deaf.send(f'421["topic.subscribe",{{"topic":"{topic}"}}]')
        await deaf.answer(1)
        tcp = deaf.socket._response.connection.transport  # type: ignore[union-attr]
        assert tcp is not None
        tcp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tcp.pause_reading()
        for _ in range(10):
            payload = {"topic": topic, "text": "x", "viewState": {"x": "y" * 60_000}}
            await ann.call("comment.add", payload)
        # The kernel takes some megabytes first.
        await deaf.send(*(f'42{n}["topic.events",{{"topic":"{topic}"}}]' for n in range(100)))

        async def is_cut_off() -> bool:
            return await clients_of(narrow) == 2

        await until(is_cut_off, 10, "whoever does not read is cut off")
        async with new_session(keeps_cookies=False) as http, http.get(f"{narrow[0].url}/metrics") as told:
            assert "collab_clients_overflowed_total 1.0" in await told.text()
        await ann.call("comment.add", {"topic": topic, "text": "The last"})
        await reader.wait_for_seq(topic, 11)
        assert seqs(reader, topic) == list(range(1, 12))
        tcp.resume_reading()
    again = await narrow.client(0, "eve")
    answer = await again.call("topic.subscribe", {"topic": topic, "after": 8})
    assert [event["seq"] for event in answer["events"]] == [9, 10, 11]
