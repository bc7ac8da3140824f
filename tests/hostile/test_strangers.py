"""Those who are not signed in: what they may send, how often they may try, and that they keep nobody out.

The node believes 127.0.0.1 about where a client comes from, so that a test can be many addresses.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import World
from tests.hostile.costs import Cost, Node1GiB, costs
from tests.integration.doors import Raw

LIMITS = {"strangers": 200, "strangersPerAddress": 20}
WAYS = {"lean": {}, "asgi": {"COLLAB_TRANSPORT": "asgi"}}
POLL = "/socket.io/?EIO=4&transport=polling"
MEGABYTE = 1_000_000


@pytest_asyncio.fixture(scope="module", params=list(WAYS))
async def strict(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Node1GiB]:
    cluster = Cluster(
        world.new_database(),
        world.library,
        None,
        nodes=1,
        folder=world.folder / f"strict-{request.param}",
        env=WAYS[request.param],
        overrides={"logging": False, "trustedProxies": ["127.0.0.1"], "limits": LIMITS},
    )
    node = Node1GiB(cluster)
    try:
        await node.start()
        yield node
    finally:
        await cluster.close()


class Bare:
    """A TCP connection of a stranger."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> int:
        """Send it if somebody still listens; how much it was."""
        try:
            self.writer.write(data)
            await self.writer.drain()
        except ConnectionError:
            pass
        return len(data)

    async def status(self) -> int:
        """The status of the answer; 0 if the connection was cut instead."""
        try:
            async with asyncio.timeout(20):
                head = await self.reader.readuntil(b"\r\n\r\n")
                await self.reader.readexactly(int(head.lower().partition(b"content-length: ")[2].split()[0]))
            return int(head.split(b" ")[1])
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0

    @property
    def is_cut(self) -> bool:
        return self.reader._eof or self.reader.exception() is not None  # type: ignore[attr-defined]

    def close(self) -> None:
        self.writer.transport.abort()


async def dial(node: Node1GiB) -> Bare:
    return Bare(*await asyncio.open_connection("127.0.0.1", node.process.port))


@asynccontextmanager
async def dialled(node: Node1GiB, number: int) -> AsyncIterator[list[Bare]]:
    connections = [await dial(node) for _ in range(number)]
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def head(method: str, target: str, address: str = "", **headers: Any) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x"]
    if address:
        lines.append(f"X-Forwarded-For: 198.51.100.1, {address}")  # the first is what anybody may claim
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame_head(size: int) -> bytes:
    return (
        b"\x81"
        + (struct.pack("!BH", 0xFE, size) if size < 65536 else struct.pack("!BQ", 0xFF, size))
        + b"\0" * 4
    )


async def handshake(node: Node1GiB, address: str) -> Raw:
    return await Raw.open(node.url, headers={"X-Forwarded-For": address})


async def sign_in(node: Node1GiB, address: str, **auth: str) -> dict[str, Any]:
    """What `server.hello` says to somebody who comes from there."""
    async with await handshake(node, address) as raw:
        await raw.send("40" + json.dumps(auth))
        assert str(await raw.next(20)).startswith("40{"), "not let in"
        hello = str(await raw.next(20))
        assert hello.startswith('42["server.hello",')
        signed_in: dict[str, Any] = json.loads(hello[2:])[1]
        return signed_in


async def fresh_token(node: Node1GiB, login: str) -> str:
    return await (await node.cluster.person(login)).identity_token()


# --- what they may send


async def test_packets_before_signing_in_are_small_whatever_they_hold(strict: Node1GiB) -> None:
    padding = ",".join(["{}"] * 330_000)
    packet = f'40{{"identityToken":"x","x":[{padding}]}}'
    async with costs(strict, at_once=10) as cost:
        for _ in range(2):
            crowd = [await handshake(strict, f"192.0.2.{number}") for number in range(40)]
            for raw in crowd:
                try:
                    await cost.send(raw, packet)
                except ConnectionError:
                    pass
            for raw in crowd:
                assert await raw.next(20) is None
                await raw.close()


async def test_a_frame_that_is_too_large_ends_the_connection_at_its_head(strict: Node1GiB) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": 13,
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    target = "/socket.io/?EIO=4&transport=websocket"
    async with costs(strict, at_once=10) as cost, dialled(strict, 60) as connections:
        for number, connection in enumerate(connections):
            cost.sent += await connection.send(head("GET", target, f"192.0.2.{number % 9}", **upgrade))
            await connection.reader.readuntil(b'0{"sid"')
        for connection in connections:
            cost.sent += await connection.send(frame_head(20_000))
        for connection in connections:
            await until(
                partial(lambda one: one.is_cut or b"\x03\xf1" in one.reader._buffer, connection),
                20,
            )


@pytest.mark.parametrize("size", [MEGABYTE, 9_000])
async def test_a_body_for_no_session_is_refused_at_its_head(strict: Node1GiB, size: int) -> None:
    async with costs(strict, at_once=10) as cost, dialled(strict, 150) as connections:
        for number, connection in enumerate(connections):
            post = head("POST", f"{POLL}&sid=made-up", f"192.0.2.{number}", Content_Length=size)
            cost.sent += await connection.send(post + b"4" * 5_000)
        for connection in connections:
            assert await connection.status() == 400


async def test_a_body_before_signing_in_is_small(strict: Node1GiB) -> None:
    async with costs(strict) as cost:
        for size, framing in (
            (17_000, {"Content_Length": 17_000}),
            (MEGABYTE, {"Content_Length": MEGABYTE}),
            (17_000, {"Transfer_Encoding": "chunked"}),
        ):
            async with dialled(strict, 2) as (opening, posting):
                await opening.send(head("GET", POLL, "192.0.2.1"))
                opened = await opening.reader.readuntil(b"}")
                sid = json.loads(b"{" + opened.rpartition(b"{")[2])["sid"]
                body = (f"{size:x}\r\n".encode() if "Transfer_Encoding" in framing else b"") + b"4" * min(
                    size, 17_000
                )
                cost.sent += await posting.send(
                    head("POST", f"{POLL}&sid={sid}", "192.0.2.1", **framing) + body
                )
                assert await posting.status() in (413, 0)


async def test_who_has_signed_in_may_send_more(strict: Node1GiB) -> None:
    async with await strict.raw("ann") as ann:
        await ann.send('421["me",{"x":"' + "x" * 50_000 + '"}]')
        assert (await ann.answer(1))["error"]["code"] == "invalid"
        await ann.send("41")  # and is a stranger again
        await ann.send('40{"identityToken":"' + "x" * 20_000 + '"}')
        assert await ann.wait_until_closed(20) == []


async def test_two_attempts_to_sign_in_are_enough(strict: Node1GiB) -> None:
    async with await handshake(strict, "192.0.2.1") as raw:
        for number in range(3):
            await raw.send(f'40{{"identityToken":"wrong {number}"}}')
        assert [str(frame)[:2] for frame in await raw.wait_until_closed(20)] == ["44", "44"]
    token = await fresh_token(strict, "ann")
    async with await handshake(strict, "192.0.2.1") as raw:
        await raw.send('40{"identityToken":"wrong"}', f'40{{"identityToken":"{token}"}}')
        assert str(await raw.next(20)).startswith("44")
        assert str(await raw.next(20)).startswith("40")


async def test_requests_that_wait_for_one_another_are_few(strict: Node1GiB) -> None:
    """Each takes a hundred times the bytes it came in; those that can be answered at once do not wait."""
    async with costs(strict, at_once=10) as cost, dialled(strict, 20) as connections:
        for number, connection in enumerate(connections):
            one = head("GET", "/api/me", f"192.0.2.{number}", Authorization=f"Bearer wrong{number}")
            cost.sent += await connection.send(one * 2_000)
        for connection in connections:
            assert await connection.status() in (400, 401, 0)


# --- that they keep nobody out


async def fill_by_handshakes(node: Node1GiB, cost: Cost, addresses: list[str]) -> None:
    """Handshakes one by one, more than there is room for, none of which is ever gone on with."""
    async with dialled(node, 1) as (connection,):
        for number in range(400):
            cost.sent += await connection.send(head("GET", POLL, addresses[number % len(addresses)]))
            assert await connection.status() == 200


async def fill_by_half_bodies(node: Node1GiB, cost: Cost, addresses: list[str]) -> None:
    """Connections with half a request each, more than there is room for."""
    async with AsyncExitStack() as stack:
        crowd = []
        for number in range(400):
            connection = await dial(node)
            stack.callback(connection.close)
            crowd.append(connection)
            post = head("POST", "/api/me", addresses[number % len(addresses)], Content_Length=9_000)
            cost.sent += await connection.send(
                post[: len(post) - number % 3] + (b"" if number % 3 else b"half")
            )
        await until(lambda: sum(connection.is_cut for connection in crowd) >= 190, 20)


@pytest.mark.parametrize("fill", [fill_by_handshakes, fill_by_half_bodies])
async def test_whoever_has_a_good_token_is_let_in_while_strangers_come_and_come(
    strict: Node1GiB, fill: Any
) -> None:
    """From the same address too: there the oldest go for it, and a token that was shown is looked at before."""
    others = [f"2001:db8:{number}::1" for number in range(50)]
    hello = await sign_in(strict, "203.0.113.1", identityToken=await fresh_token(strict, "dan"))
    for address, addresses in (("203.0.113.1", others), ("203.0.113.1", ["203.0.113.1"])):
        async with costs(strict, at_once=10) as cost:
            flood = asyncio.create_task(fill(strict, cost, addresses))
            while not flood.done():
                await sign_in(strict, address, resumeToken=hello["resumeToken"])
                await sign_in(strict, address, identityToken=await fresh_token(strict, "dan"))
            await flood


async def test_one_address_has_its_share_and_one_network_of_ipv6_is_one_address(strict: Node1GiB) -> None:
    async def is_there(sid: str) -> bool:
        async with dialled(strict, 1) as (connection,):
            await connection.send(head("POST", f"{POLL}&sid={sid}", Content_Length=1) + b"3")
            return await connection.status() == 200

    async with AsyncExitStack() as stack:

        async def open_from(address: str) -> str:
            (connection,) = await stack.enter_async_context(dialled(strict, 1))
            await connection.send(head("GET", POLL, address))
            opened = await connection.reader.readuntil(b"}")
            sid: str = json.loads(b"{" + opened.rpartition(b"{")[2])["sid"]
            return sid

        bystander = await open_from("192.0.2.77")
        sids = [await open_from(f"2001:db8:0:7::{number:x}") for number in range(1, 31)]
        assert [await is_there(sid) for sid in sids] == [False] * 10 + [True] * 20
        assert await is_there(bystander)
