"""Whoever goes before their answer comes, or sends nonsense, is no bug of ours: no traceback, and hardly a line."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness.cluster import Cluster
from tests.harness.world import World
from tests.hostile.costs import Node1GiB, costs

POLL = "/socket.io/?EIO=4&transport=polling"
WAYS = {
    "lean": {},
    "lean-h11": {"UVICORN_HTTP": "h11"},
    "asgi": {"COLLAB_TRANSPORT": "asgi"},
    "asgi-h11": {"COLLAB_TRANSPORT": "asgi", "UVICORN_HTTP": "h11"},
}
FIRST_LINES = 2_500
"""Bytes of the lines that are written before those like them are left out."""


@pytest_asyncio.fixture(scope="module", params=list(WAYS))
async def plain(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Node1GiB]:
    cluster = Cluster(
        world.new_database(),
        world.library,
        None,
        nodes=1,
        folder=world.folder / f"gone-{request.param}",
        env=WAYS[request.param],
        overrides={"logging": False},
        is_warm=False,
    )
    node = Node1GiB(cluster)
    try:
        await node.start()
        yield node
    finally:
        await cluster.close()


def send_and_reset(node: Node1GiB, data: bytes, *, is_heard: bool) -> None:
    """Send, and cut the connection as a crash does, at once or when something was answered."""
    with socket.create_connection(("127.0.0.1", node.process.port), timeout=0.3) as connection:
        connection.sendall(data)
        if is_heard:
            with contextlib.suppress(OSError):
                connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


WEBSOCKET = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GOING = {
    "calls": b"GET /api/me HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
    "pages": b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
    "calls with tokens": b"GET /api/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n\r\n" * 3,
    "handshakes": f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 10,
    "both": f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\nGET /status HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 5,
    "half a body": b"POST /api/search HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf",
    "a websocket": WEBSOCKET,
    "a websocket with a packet": WEBSOCKET + b"\x81\x82\0\0\0\x0040",
    "a websocket with broken text": WEBSOCKET + b"\x81\x82\0\0\0\x00\xff\xff",
    "a websocket with nonsense": WEBSOCKET + b"\xff\xff\xff\xff",
}
NONSENSE = {
    "no request": b"x\r\n\r\n",
    "a head of nothing": b"\0" * 20,
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no path": b"GET http://[ HTTP/1.1\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a bad packet": WEBSOCKET + b"\x81\x81\0\0\0\0x",
    "a bad path": b"GET /api/topics/%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("kinds", [GOING, NONSENSE], ids=["going", "nonsense"])
async def test_the_log_grows_by_less_than_was_sent(plain: Node1GiB, kinds: dict[str, bytes]) -> None:
    """Of each kind that is more than the few lines which may say it first."""
    times = 20 if kinds is GOING else 100
    async with costs(plain, at_once=10) as cost:
        for what, data in kinds.items():
            before, sent = len(plain.process.log), 0
            for number in range(times):
                is_heard = number % 3 == 1 and data[:1] != b"P"
                await asyncio.to_thread(send_and_reset, plain, data, is_heard=is_heard)
                sent += len(data)
            cost.sent += sent
            logged = plain.process.log[before:]
            assert "Traceback" not in logged, what
            assert len(logged) <= sent + FIRST_LINES, what
