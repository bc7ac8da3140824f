"""The load balancers with TLS, run for real: HAProxy, and NGINX of the wheel and of Debian."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from collab_server.demo.embedded import EmbeddedServer
from tests.e2e.deployed import HaProxy, said_to_what_is_too_large, trusting, with_tls
from tests.harness.clients import Client, Refused, Transport, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until

FILES = ["nginx/any.conf", "debian/any.conf", "haproxy/haproxy.cfg"]
TRANSPORTS: list[Transport] = ["websocket", "polling"]


@dataclass
class Balancer:
    server: EmbeddedServer
    url: str
    plain_url: str

    async def client(self, cluster: Cluster, login: str, transport: Transport) -> Client:
        token = await (await cluster.person(login)).identity_token()
        return await Client.connect(self.url, identity_token=token, transport=transport, tls=trusting())


def started(file: str, ports: list[int], folder: Path, stack: ExitStack) -> Balancer:
    server, https, http = with_tls(file, ports, folder)
    stack.enter_context(server)
    return Balancer(server, f"https://127.0.0.1:{https}", f"http://127.0.0.1:{http}")


@pytest.fixture(params=FILES)
def balancer(request: pytest.FixtureRequest, shared_cluster: Cluster, tmp_path: Path) -> Iterator[Balancer]:
    with ExitStack() as stack:
        ports = [node.port for node in shared_cluster.nodes]
        yield started(request.param, ports, tmp_path / "balancer", stack)


async def test_people_talk_and_are_spread_over_all_nodes(
    balancer: Balancer, cluster: Cluster, topic: str
) -> None:
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(await balancer.client(cluster, "ann", transport))
            for transport in TRANSPORTS * 3
        ]
        assert len({client.hello["node"] for client in clients}) == 3
        for client in clients:
            await client.call("topic.subscribe", {"topic": topic})
        added = await clients[0].call("comment.add", {"topic": topic, "text": "Seen by all?"})
        for client in clients:
            await client.wait_for_seq(topic, added["seq"])


async def test_a_client_begins_by_polling_and_goes_on_by_websocket(
    balancer: Balancer, cluster: Cluster
) -> None:
    token = await (await cluster.person("ann")).identity_token()
    for _ in range(3):  # on whichever node
        client = await Client.connect(
            balancer.url, identity_token=token, transport="polling", upgrades=True, tls=trusting()
        )
        async with client:
            assert client.sio.transport() == "websocket"
            await client.call("me")


async def test_what_is_forwarded_and_what_is_not(balancer: Balancer, cluster: Cluster, topic: str) -> None:
    token = await (await cluster.person("ann")).identity_token()
    async with new_session(tls=trusting()) as http:
        path = f"{balancer.url}/collaboration/api/topics/{topic}/comments"
        headers = {"X-MSTR-IdentityToken": token, "X-Request-ID": "a-client-has-made-this-one-up"}
        async with http.post(path, json={"text": "By REST."}, headers=headers) as answer:
            assert answer.status == 201
            assert len(answer.headers.getall("X-Request-ID")) == 1
            assert len(answer.headers["X-Request-ID"]) in (32, 36)  # the balancer's, which the node has taken
        async with http.get(f"{balancer.url}/collaboration/openapi.json") as answer:
            assert (await answer.json())["servers"] == [{"url": "/collaboration"}]
        for path, status in (
            ("/status", 200),
            ("/health/ready", 200),
            ("/collaboration/clients/collab-client/index.js", 200),
            ("/metrics", 404),
            ("/docs", 404),
            ("/collaboration/metrics", 404),
            ("/collaboration/docs", 404),
            ("/clients/collab-client/index.js", 404),
            ("/api/me", 404),
            ("/socket.iox", 404),
        ):
            async with http.get(balancer.url + path) as answer:
                # A node's own 404 would be JSON; what is like /socket.io only begins like it is a node's to refuse.
                assert answer.status == status, path
        async with http.get(f"{balancer.plain_url}/status", allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"][:8]) == (301, "https://")


async def test_what_is_too_large_is_refused_by_a_node_in_its_own_words(
    balancer: Balancer, cluster: Cluster
) -> None:
    async with new_session(tls=trusting()) as http:
        assert '"code":"too_large"' in await said_to_what_is_too_large(http, balancer.url, cluster)


async def test_no_log_holds_a_query(balancer: Balancer, cluster: Cluster, tmp_path: Path) -> None:
    async with new_session(tls=trusting()) as http:
        async with http.get(f"{balancer.url}/socket.io/?EIO=4&transport=polling&sid=OfNobody") as answer:
            assert answer.status == 400

        def text() -> str:
            return "".join(log.read_text(errors="replace") for log in (tmp_path / "balancer").glob("*.log"))

        await until(lambda: "/socket.io/ HTTP/1.1" in text())
        assert "OfNobody" not in text()


# --- balancers before nodes that only answer what a test wants


@dataclass
class Mock:
    """Answers as a node does that is ready, or not; counts handshakes, and looks whether it is ready."""

    name: str
    is_ready: bool = True
    port: int = 0
    shakes: int = 0
    looks: int = 0
    runner: web.AppRunner = field(init=False)
    listening: socket.socket = field(init=False)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        self.listening = socket.create_server(("127.0.0.1", self.port))
        await web.SockSite(self.runner, self.listening).start()
        self.port = self.runner.addresses[0][1]

    async def stop(self) -> None:
        # Closed between accepting a connection and beginning to serve it, asyncio's server would never close that one.
        if self.listening.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.listening)
            for _ in range(5):
                await asyncio.sleep(0)
        await self.runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path.startswith("/socket.io") and "sid" not in request.query:
            self.shakes += 1
        self.looks += request.path == "/health/ready"
        # Who has a session is served all the same.
        status = 200 if self.is_ready or "sid" in request.query else 503
        return web.Response(status=status, text=self.name)


@pytest.fixture
async def mocks() -> AsyncIterator[list[Mock]]:
    mocks = [Mock("one"), Mock("two"), Mock("three")]
    for mock in mocks:
        await mock.start()
    yield mocks
    for mock in mocks:
        await mock.stop()


@pytest.fixture(params=FILES)
def before_mocks(request: pytest.FixtureRequest, mocks: list[Mock], tmp_path: Path) -> Iterator[Balancer]:
    with ExitStack() as stack:
        yield started(request.param, [mock.port for mock in mocks], tmp_path / "balancer", stack)


SHAKE = "/socket.io/?EIO=4&transport=polling"


async def test_a_client_stays_with_its_node_and_moves_on_when_that_is_gone(
    before_mocks: Balancer, mocks: list[Mock]
) -> None:
    async with new_session(tls=trusting()) as http:

        async def ask(path: str) -> str:
            async with http.get(before_mocks.url + path) as answer:
                assert answer.status == 200
                return await answer.text()

        mine = await ask(SHAKE)
        assert {await ask(f"{SHAKE}&sid=x") for _ in range(12)} == {mine}
        # Drains: whoever has no session yet goes elsewhere at once, and stays there.
        [gone] = [mock for mock in mocks if mock.name == mine]
        gone.is_ready = False
        other = await ask(SHAKE)
        assert other != mine
        await gone.stop()
        assert {await ask(f"{SHAKE}&sid=y") for _ in range(12)} == {other}


async def test_where_no_node_is_ready_a_node_says_so(before_mocks: Balancer, mocks: list[Mock]) -> None:
    for mock in mocks:
        mock.is_ready = False
    async with new_session(tls=trusting()) as http:

        async def is_said_by_a_node() -> bool:
            async with http.get(f"{before_mocks.url}/status") as answer:
                return await answer.text() in {mock.name for mock in mocks}

        for _ in range(10):
            assert await is_said_by_a_node()
            await asyncio.sleep(0.03)  # HAProxy takes its time to find them all away: nobody may notice


async def test_while_no_node_is_ready_whoever_has_one_stays_with_it(
    before_mocks: Balancer, mocks: list[Mock]
) -> None:
    async with new_session(tls=trusting()) as http:

        async def answering(path: str) -> str:
            async with http.get(before_mocks.url + path) as answer:
                assert answer.status == 200
                return await answer.text()

        mine = await answering(SHAKE)
        for mock in mocks:
            mock.is_ready, mock.looks = False, 0
        if isinstance(
            before_mocks.server, HaProxy
        ):  # two in vain are enough; the answer to the second is known then
            await until(lambda: all(mock.looks > 2 for mock in mocks))
        assert {await answering(f"{SHAKE}&sid=x") for _ in range(12)} == {mine}


@pytest.mark.parametrize("file", ["nginx/websocket.conf", "debian/websocket.conf"])
async def test_websockets_alone_need_no_cookie(
    file: str, shared_cluster: Cluster, cluster: Cluster, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        ports = [node.port for node in shared_cluster.nodes]
        balancer = started(file, ports, tmp_path / "balancer", stack)
        async with AsyncExitStack() as clients:
            opened = [
                await clients.enter_async_context(await balancer.client(cluster, "ann", "websocket"))
                for _ in range(3)
            ]
            assert len({client.hello["node"] for client in opened}) == 3
            with pytest.raises(Refused):
                await balancer.client(cluster, "ann", "polling")
