"""Little things, very many of them at once: a client is read at its pace, and nobody waits for it meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import World
from tests.hostile.costs import Node1GiB, costs

ROUNDS = 5
"""Of a bystander, while what was sent is there to be read."""
FLOOD_BYTES = 4_000_000
CONNECTIONS = 20
IS_LONG = "HOSTILE_SECONDS" in os.environ
"""Each kind by itself belongs to the longer run."""

WEBSOCKET = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest_asyncio.fixture(scope="module", params=["lean", "asgi"])
async def plain(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Node1GiB]:
    """A node with the limits that nodes have."""
    cluster = Cluster(
        world.new_database(),
        world.library,
        None,
        nodes=1,
        folder=world.folder / f"floods-{request.param}",
        env={"COLLAB_TRANSPORT": "asgi"} if request.param == "asgi" else {},
        overrides={"logging": False},
    )
    node = Node1GiB(cluster)
    try:
        await node.start()
        yield node
    finally:
        await cluster.close()


def frame(payload: str, first: int = 0x81) -> bytes:
    assert len(payload) < 126
    return bytes((first, 0x80 | len(payload))) + b"\0" * 4 + payload.encode()


FLOODS = {
    "pongs": (b"", frame("3")),
    "packets of no meaning": (b"", frame("6")),
    "acknowledgements": (b"", frame("43123[1]")),
    "other namespaces": (b"", frame("40/x,")),
    "leaving them": (b"", frame("41/x,")),
    "pings of websockets": (b"", frame("x" * 125, 0x89)),
    "fragments": (frame("4", 0x01), frame("", 0x00)),
    "commands": (b"", frame('42["me"]')),
}


async def sign_in(node: Node1GiB, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", node.process.port)
    writer.write(WEBSOCKET)
    await reader.readuntil(b"\r\n\r\n")
    connect = ("40" + json.dumps({"identityToken": token})).encode()
    writer.write(bytes((0x81, 0xFE)) + len(connect).to_bytes(2, "big") + b"\0" * 4 + connect)
    async with asyncio.timeout(20):
        await reader.readuntil(b"server.hello")
    return reader, writer


def cut(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.transport.abort()


EACH = [[what] for what in FLOODS] if IS_LONG else []


@pytest.mark.parametrize(
    "what", [[*FLOODS], *EACH], ids=lambda what: what[0] if len(what) == 1 else "all at once"
)
async def test_packets_come_at_their_pace(plain: Node1GiB, what: list[str]) -> None:
    async with AsyncExitStack() as stack:
        async with costs(plain, at_once=len(what)) as cost:
            for name in what:
                begun, one = FLOODS[name]
                token = await (await plain.cluster.person("eve")).identity_token()
                _, writer = await sign_in(plain, token)
                stack.callback(cut, writer)
                writer.write(begun + one * (FLOOD_BYTES // len(one)))
                cost.sent += FLOOD_BYTES
            rounds = cost.bystander_rounds
            await until(lambda: cost.bystander_rounds >= rounds + ROUNDS, 60)


PATHS = ["/status", "/socket.io/?EIO=4&transport=polling", *(["/openapi.json", "/api/me"] if IS_LONG else [])]


@pytest.mark.parametrize("path", PATHS)
async def test_requests_behind_each_other_are_read_one_by_one(plain: Node1GiB, path: str) -> None:
    """Whoever sends many at once and takes no answer has them kept as they came, and few of them."""
    one = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with AsyncExitStack() as stack:
        async with costs(plain, at_once=2) as cost:
            for _ in range(CONNECTIONS):
                _, writer = await asyncio.open_connection("127.0.0.1", plain.process.port)
                stack.callback(cut, writer)
                writer.write(one * (FLOOD_BYTES // len(one)))
                cost.sent += FLOOD_BYTES
            rounds = cost.bystander_rounds
            await until(lambda: cost.bystander_rounds >= rounds + ROUNDS, 60)


async def test_files_that_many_ask_for_are_read_by_few_threads(plain: Node1GiB) -> None:
    one = b"GET /docs-static/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    async with AsyncExitStack() as stack, costs(plain, at_once=2) as cost:
        for _ in range(60):
            reader, writer = await asyncio.open_connection("127.0.0.1", plain.process.port)
            stack.callback(cut, writer)
            writer.write(one * 5)
            cost.sent += len(one) * 5
            async with asyncio.timeout(20):
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_handshakes_with_long_targets_are_few(plain: Node1GiB) -> None:
    """What a session keeps of its handshake counts among what strangers may take, whatever part of it that is."""
    one = f"GET /socket.io/?EIO=4&transport=polling&x={'y' * 40_000} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    async with costs(plain) as cost:
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.process.port)
        for _ in range(800):
            writer.write(one)
            cost.sent += len(one)
            async with asyncio.timeout(20):
                await reader.readuntil(b'"maxPayload":1000000}')
        cut(writer)


async def test_tokens_that_are_shown_again_and_again_cost_their_user(plain: Node1GiB) -> None:
    """Each is a call to Library, over the few connections that sign-ins have."""
    async with costs(plain) as cost, await plain.raw("dan") as dan:
        for number in range(100):
            await cost.send(dan, f'42{number}["session.refresh",{{"identityToken":"made-up-{number}"}}]')
        codes = [(await dan.answer(number, 30))["error"]["code"] for number in range(100)]
    assert set(codes) == {"unauthenticated", "rate_limited"}
    assert codes.count("unauthenticated") <= 40


async def test_who_comes_and_goes_over_and_over_again_has_to_wait(plain: Node1GiB) -> None:
    """Ten at a time: no more than the limit on how often allows, and what they may have at once."""
    came = 0
    token = await (await plain.cluster.person("carol")).identity_token()

    async def come_and_go() -> None:
        nonlocal came
        while not is_over.is_set():
            _, writer = await sign_in(plain, token)
            came += 1
            cost.sent += len(WEBSOCKET) + len(token)  # at least
            cut(writer)

    is_over = asyncio.Event()
    began = time.monotonic()
    async with costs(plain, at_once=2) as cost:
        comers = [asyncio.create_task(come_and_go()) for _ in range(10)]
        await until(lambda: came >= 450, 60)
        await until(lambda: cost.bystander_rounds >= ROUNDS, 60)
        is_over.set()
        await asyncio.gather(*comers)
    took = time.monotonic() - began
    assert came <= 2 * 200 + 10 + 50 * took
