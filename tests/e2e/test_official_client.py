"""The official JavaScript client against a node: every transport, coming back, being refused and signed out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.cluster import Cluster
from tests.integration.doors import say
from tests.integration.official import OfficialClient

TRANSPORTS = pytest.mark.parametrize(
    "transports", [["websocket"], ["polling"], ["polling", "websocket"]], ids="-".join
)


async def auth_of(cluster: Cluster, login: str) -> dict[str, Any]:
    return {"identityToken": await (await cluster.person(login)).identity_token()}


@TRANSPORTS
async def test_it_signs_in_asks_and_hears(cluster: Cluster, topic: str, transports: list[str]) -> None:
    bob = await cluster.client(1, "bob")
    await say(bob, topic, "Before 🎉")
    auth = await auth_of(cluster, "ann")
    async with await OfficialClient.start(cluster[0].url, auth, transports=transports, topic=topic) as ann:
        hello = (await ann.hears(lambda told: told.get("event") == "server.hello"))["data"]
        assert hello["user"]["name"] == "Ann Archer"
        subscribed = await ann.hears("subscribed")
        assert subscribed["subscribed"] is True
        assert subscribed["data"]["events"][0]["data"]["comment"]["text"] == "Before 🎉"
        view_state = {"f": [1, 2.5, None, "ä"], "deep": {"er": {}}}
        answer = await ann.ask(
            "comment.add", {"topic": topic, "text": "From JavaScript", "viewState": view_state}
        )
        assert answer["ok"] is True
        assert answer["data"]["comment"]["viewState"] == view_state
        await say(bob, topic, "After")
        await ann.hears(lambda told: told.get("event") == "comment.added" and told["data"]["seq"] == 3)
        assert ann.seqs == [1, 2, 3]
        assert (await ann.ask("sing", {}))["error"]["code"] == "unknown_command"
        if len(transports) > 1:
            await ann.order("transport")
            assert (await ann.hears("transport"))["transport"] == "websocket", "it was upgraded"


@TRANSPORTS
async def test_it_comes_back_after_its_transport_was_closed(
    cluster: Cluster, topic: str, transports: list[str]
) -> None:
    bob = await cluster.client(1, "bob")
    auth = await auth_of(cluster, "ann")
    async with await OfficialClient.start(cluster[0].url, auth, transports=transports, topic=topic) as ann:
        await ann.hears("subscribed")
        for number in range(3):
            await say(bob, topic, f"{number}")
        await ann.hears(lambda told: told.get("event") == "comment.added" and told["data"]["seq"] == 3)
        before = len(ann.told)
        await ann.order("cut")
        await ann.hears("disconnected", skip=before)
        for number in range(3):
            await say(bob, topic, f"{number}")
        again = await ann.hears("subscribed", skip=before)
        assert again["data"]["recovered"] is True
        last = await say(bob, topic, "Last")
        await ann.hears(
            lambda told: told.get("event") == "comment.added" and told["data"]["seq"] == last["seq"]
        )
        assert ann.seqs == list(range(1, last["seq"] + 1))


@TRANSPORTS
async def test_it_comes_back_to_another_node_when_its_own_drains(
    make_cluster: MakeCluster, topic: str, transports: list[str]
) -> None:
    cluster = await make_cluster(nodes=2)
    bob = await cluster.client(1, "bob")
    auth = await auth_of(cluster, "ann")
    async with await OfficialClient.start(cluster[0].url, auth, transports=transports, topic=topic) as ann:
        await ann.hears("subscribed")
        await say(bob, topic, "One")
        await ann.hears(lambda told: told.get("event") == "comment.added")
        before = len(ann.told)
        await ann.order("move", cluster[1].url)  # as a load balancer does
        assert await cluster[0].stop() == 0
        disconnected = await ann.hears("disconnected", skip=before)
        assert disconnected["disconnected"] in ("transport close", "transport error")
        await say(bob, topic, "Two")
        again = await ann.hears("subscribed", skip=before)
        assert again["data"]["recovered"] is True
        await say(bob, topic, "Three")
        await ann.hears(lambda told: told.get("event") == "comment.added" and told["data"]["seq"] == 3)
        assert ann.seqs == [1, 2, 3]


@TRANSPORTS
async def test_it_is_refused_with_code_and_words_and_stays_away(
    cluster: Cluster, transports: list[str]
) -> None:
    nobody = {"identityToken": "nonsense"}
    async with await OfficialClient.start(cluster[0].url, nobody, transports=transports) as client:
        refused = await client.hears("refused")
        assert refused["refused"] == refused["data"]["code"] == "unauthenticated"
        assert refused["data"]["message"]
        assert refused["isActive"] is False
