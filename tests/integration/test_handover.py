"""Nodes behind a balancer that keeps nobody with their node: what is for a session of another one is handed over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx, balancer_config
from tests.conftest import MakeCluster
from tests.harness.clients import Client, new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.integration.doors import say

POLL = "/socket.io/?EIO=4&transport=polling"


def round_robin(nodes: Sequence[Node], folder: Path) -> EmbeddedNginx:
    """NGINX that gives each request to the next node, whosever it is."""
    port = free_port()
    config = balancer_config(port, [f"127.0.0.1:{node.port}" for node in nodes], is_sticky=False)
    return EmbeddedNginx(config, folder / "nginx", port=port)


async def test_twelve_clients_talk_by_polling_and_upgrade(
    cluster: Cluster, topic: str, tmp_path: Path
) -> None:
    with round_robin(cluster.nodes, tmp_path) as nginx:
        await talk(nginx, cluster, topic)


async def test_so_they_do_the_plain_asgi_way(make_cluster: MakeCluster, topic: str, tmp_path: Path) -> None:
    cluster = await make_cluster(nodes=2, env={"COLLAB_TRANSPORT": "asgi"})
    with round_robin(cluster.nodes, tmp_path) as nginx:
        await talk(nginx, cluster, topic)


async def talk(nginx: EmbeddedNginx, cluster: Cluster, topic: str) -> None:
    """Twelve clients comment on a topic, six by polling and six that have upgraded, and see each other's comments."""
    url = f"http://{nginx.host}:{nginx.port}"
    async with AsyncExitStack() as stack:

        async def client(number: int) -> Client:
            token = await (await cluster.person("ann" if number % 2 else "bob")).identity_token()
            made = await Client.connect(url, identity_token=token, transport="polling", upgrades=number >= 6)
            return await stack.enter_async_context(made)

        clients = await asyncio.gather(*(client(number) for number in range(12)))
        assert len({one.hello["node"] for one in clients}) == len(cluster.nodes)
        assert [one.sio.transport() for one in clients] == ["polling"] * 6 + ["websocket"] * 6
        for one in clients:
            await one.call("topic.subscribe", {"topic": topic})
        said = [await say(one, topic, "Seen by all?") for one in clients]
        for one in clients:
            await one.wait_for_seq(topic, said[-1]["seq"])
            assert [event.seq for event in one.events_of(topic)] == [each["seq"] for each in said]
            assert one.closed_because is None


async def handshake(http: aiohttp.ClientSession, node: Node) -> str:
    async with http.get(node.url + POLL) as answer:
        sid: str = json.loads((await answer.text())[1:])["sid"]
        return sid


async def ask(http: aiohttp.ClientSession, node: Node, sid: str, body: Any = None) -> tuple[int, str]:
    """A poll, or a POST of this body."""
    headers = {"X-Forwarded-For": "203.0.113.9"}
    method = "GET" if body is None else "POST"
    async with http.request(method, f"{node.url}{POLL}&sid={sid}", data=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_the_home_knows_where_the_client_comes_from(cluster: Cluster) -> None:
    home, other = cluster[0], cluster[1]
    async with new_session(keeps_cookies=False) as http:
        sid = await handshake(http, home)
        assert await ask(http, other, sid, "1") == (200, "ok")
        assert (await ask(http, other, sid, "1"))[0] == 400
    await until(lambda: "address=203.0.113.9" in home.log)
    assert "address=203.0.113.9" not in other.log


async def test_where_the_home_is_frozen_or_killed_clients_begin_anew_and_catch_up(
    make_cluster: MakeCluster, topic: str
) -> None:
    hasty = hurried({"collab_server.realtime.handover.elsewhere": {"LOOK_SECONDS": 0.3}})
    cluster = await make_cluster(nodes=2, env=hasty)
    home, other = cluster[0], cluster[1]
    bob = await cluster.client(1, "bob")
    async with new_session(keeps_cookies=False) as http:
        sids = [await handshake(http, home) for _ in range(2)]
        assert [await ask(http, other, sid, "40") for sid in sids] == [(200, "ok")] * 2
        assert (await ask(http, other, sids[0]))[1].startswith("44")
        waiting = asyncio.create_task(ask(http, other, sids[0]))
        await say(bob, topic, "Before")
        home.freeze()
        try:
            assert await waiting == (400, '{"code":1,"message":"Session ID unknown"}')
        finally:
            home.thaw()

        async def again() -> bool:
            return await ask(http, other, sids[1], "3") == (200, "ok")

        await until(again, 10, "it is handed over again")
        await home.kill()
        assert await ask(http, other, sids[1], "3") == (400, '{"code":1,"message":"Session ID unknown"}')
    ann = await cluster.client(1, "ann", transport="polling")
    answer = await ann.call("topic.subscribe", {"topic": topic, "after": 0})
    assert [event["seq"] for event in answer["events"]] == [1]
