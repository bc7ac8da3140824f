"""SIGTERM: clients are sent elsewhere, nothing acknowledged is lost, the process ends by itself."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
import socketio

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Refused, new_session
from tests.harness.cluster import Launch, Node
from tests.harness.waiting import Stopwatch, until
from tests.harness.world import TestDatabase
from tests.integration.doors import Raw, say, seqs
from tests.integration.official import OfficialClient

LAUNCHES = pytest.mark.parametrize("launch", ["uvicorn", "serve"])


async def statuses(node: Node) -> dict[str, Any]:
    """What health, a handshake and `/status` say; empty once nobody listens any more."""
    try:
        async with new_session(keeps_cookies=False) as http:
            found: dict[str, Any] = {}
            for name, path in (
                ("live", "/health/live"),
                ("ready", "/health/ready"),
                ("handshake", "/socket.io/?EIO=4&transport=polling"),
            ):
                async with http.get(node.url + path) as answer:
                    found[name] = answer.status
            return found
    except aiohttp.ClientError:
        return {}


@LAUNCHES
async def test_a_draining_node_sends_everybody_elsewhere_and_ends(
    make_cluster: MakeCluster, topic: str, launch: Launch
) -> None:
    cluster = await make_cluster(nodes=2, launch=launch, is_warm=False)  # as operators start them
    leaving, staying = cluster.nodes
    clients = [await cluster.client(0, login) for login in ("ann", "bob", "carol")]
    poller = await cluster.client(0, "dan", transport="polling")
    for client in (*clients, poller):
        await client.call("topic.subscribe", {"topic": topic})
    bob_elsewhere = await cluster.client(1, "bob")
    watch = Stopwatch()
    stopping = asyncio.create_task(leaving.stop())
    async with asyncio.timeout(20):
        while (found := await statuses(leaving)) and found["ready"] == 200:
            pass
    if found:  # it may have been too quick for us
        assert found["ready"] == 503
        assert found["handshake"] == 503
        assert found["live"] == 200
    for client in (*clients, poller):
        state = await client.wait_for(lambda e: e.name == "server.state" and e.data["state"] == "draining")
        assert state.data["state"] == "draining"
        await client.wait_until_closed(8)
        assert not [event for event in client.events if event.name == "server.signed_out"]
    assert await stopping == 0
    assert watch.seconds < 10
    assert "Traceback" not in leaving.log
    answer = await bob_elsewhere.call("comment.add", {"topic": topic, "text": "Still here"})
    assert answer["seq"] == 1
    assert (await staying.status())["state"] == "running"


async def test_commands_under_way_are_answered_before_the_node_goes(
    make_cluster: MakeCluster, topic: str
) -> None:
    """What was acknowledged is stored, and what was not is repeated under its requestId."""
    cluster = await make_cluster(nodes=2)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    acknowledged: dict[str, int] = {}

    async def write(number: int) -> None:
        payload = {"topic": topic, "text": f"{number}", "requestId": f"{number}"}
        answer = await ann.ask("comment.add", payload, timeout=8)
        if answer["ok"]:
            acknowledged[f"{number}"] = answer["data"]["seq"]

    writing = [asyncio.create_task(write(number)) for number in range(100)]
    await until(lambda: acknowledged)
    assert await cluster[0].stop() == 0
    await asyncio.gather(*writing, return_exceptions=True)
    ann_again = await Client.connect(cluster[1].url, resume_token=ann.hello["resumeToken"])
    async with ann_again:
        for number in range(100):
            payload = {"topic": topic, "text": f"{number}", "requestId": f"{number}"}
            answer = await ann_again.call("comment.add", payload)
            assert answer["seq"] == acknowledged.setdefault(f"{number}", answer["seq"])
    await bob.wait_for_seq(topic, 100)
    assert seqs(bob, topic) == list(range(1, 101))
    texts = [event.data["data"]["comment"]["text"] for event in bob.events_of(topic)]
    assert sorted(texts, key=int) == [f"{number}" for number in range(100)]


async def test_a_client_that_reconnects_misses_nothing(make_cluster: MakeCluster, topic: str) -> None:
    """A client with python-socketio's own reconnection, its address leading to one node after the other."""
    cluster = await make_cluster(nodes=2)
    writer = await cluster.client(1, "bob")
    first = await cluster.client(0, "ann")
    resume_token = first.hello["resumeToken"]
    got: list[int] = []

    async def follow(url: str, sio: socketio.AsyncClient) -> None:
        await sio.connect(url, auth={"resumeToken": resume_token}, transports=["websocket"])
        answer = await sio.call("topic.subscribe", {"topic": topic, "after": got[-1] if got else 0})
        assert answer["data"]["recovered"]
        # What the events of this connection have brought meanwhile comes after the answer's.
        caught_up = [event["seq"] for event in answer["data"]["events"]]
        got[:] = sorted({*got, *caught_up})

    is_over, writing = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        for number in range(60):
            await say(writer, topic, f"{number}")
            if number == 10:
                writing.set()
        is_over.set()

    def client_of(gone: asyncio.Event) -> socketio.AsyncClient:
        sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        sio.on("comment.added", lambda event: got.append(event["seq"]))
        sio.on("disconnect", lambda reason: gone.set())
        return sio

    gone = asyncio.Event()
    sio = client_of(gone)
    await follow(cluster[0].url, sio)
    task = asyncio.create_task(write())
    await writing.wait()
    assert await cluster[0].stop() == 0
    await asyncio.wait_for(gone.wait(), 5)
    await sio.shutdown()
    again = client_of(asyncio.Event())
    await follow(cluster[1].url, again)
    await asyncio.wait_for(is_over.wait(), 20)
    await until(lambda: len(got) == 60)
    assert got == list(range(1, 61))
    await task
    await again.shutdown()


class Returning:
    """One of python-socketio's clients, which comes back by itself and subscribes again after what it has got."""

    def __init__(self, token: str, topic: str) -> None:
        self._auth, self._topic = {"identityToken": token}, topic
        self.hellos = 0
        self.got: list[int] = []
        self.sio = socketio.AsyncClient(
            reconnection_delay=0.1, reconnection_delay_max=0.5, randomization_factor=0, handle_sigint=False
        )
        self.sio.on("server.hello", self._greeted)
        self.sio.on("comment.added", lambda event: self.got.append(event["seq"]))

    async def connect(self, url: str) -> None:
        await self.sio.connect(url, auth=lambda: self._auth, transports=["polling"])

    async def _greeted(self, hello: dict[str, Any]) -> None:
        self._auth = {"resumeToken": hello["resumeToken"]}
        asked = {"topic": self._topic, "after": max(self.got, default=0)}
        answer = await self.sio.call("topic.subscribe", asked)
        self.got[:] = sorted({*self.got, *(event["seq"] for event in answer["data"]["events"])})
        self.hellos += 1


async def test_clients_on_long_polling_come_back(make_cluster: MakeCluster, topic: str) -> None:
    """Those of python-socketio, and the official one of JavaScript."""
    cluster = await make_cluster(nodes=2)
    writer = await cluster.client(1, "bob")
    token = {"identityToken": await (await cluster.person("carol")).identity_token()}
    returning = [Returning(await (await cluster.person("ann")).identity_token(), topic) for _ in range(5)]
    async with await OfficialClient.start(
        cluster[0].url, token, transports=["polling"], topic=topic
    ) as official:
        for client in returning:
            await client.connect(cluster[0].url)
        await official.hears("subscribed")
        await until(lambda: all(client.hellos == 1 for client in returning), 10)
        await say(writer, topic, "Before")
        assert await cluster[0].stop() == 0
        await say(writer, topic, "Meanwhile")
        await cluster[0].start()
        await until(lambda: all(client.hellos == 2 for client in returning), 20)
        await say(writer, topic, "After")
        await until(lambda: all(client.got == [1, 2, 3] for client in returning), 10)
        await until(lambda: official.seqs == [1, 2, 3], 10)
        for client in returning:
            await client.sio.shutdown()


async def test_an_idle_node_ends_at_once(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1)
    watch = Stopwatch()
    assert await cluster[0].stop() == 0
    assert watch.seconds < 5


async def test_whoever_is_not_signed_in_does_not_hold_the_node_up(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1)
    async with await Raw.open(cluster[0].url) as lurker, new_session() as http:
        async with http.get(f"{cluster[0].url}/socket.io/?EIO=4&transport=polling") as answer:
            sid = (await answer.text()).split('"sid":"')[1].split('"')[0]
        poll = asyncio.create_task(
            http.get(f"{cluster[0].url}/socket.io/?EIO=4&transport=polling&sid={sid}").__aenter__()
        )
        watch = Stopwatch()
        assert await cluster[0].stop() == 0
        assert watch.seconds < 10
        await asyncio.gather(poll, return_exceptions=True)
        assert await lurker.wait_until_closed() == []


async def test_a_node_drains_without_its_database(make_cluster: MakeCluster, own_postgres: Any) -> None:
    own_postgres.create_database("mine")
    cluster = await make_cluster(nodes=1, database=TestDatabase(own_postgres, "mine"))
    ann = await cluster.client(0, "ann")
    own_postgres.freeze()
    await cluster[0].wait_for_state("paused")
    watch = Stopwatch()
    assert await cluster[0].stop() == 0
    assert watch.seconds < 10
    await ann.wait_until_closed()
    with pytest.raises(Refused):
        await Client.connect(cluster[0].url, resume_token=ann.hello["resumeToken"], timeout=2)
    own_postgres.thaw()
