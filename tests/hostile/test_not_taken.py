"""Whoever asks and does not take the answers: they are cut, at either door, and cost little until then."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import World, fresh_topic
from tests.hostile.costs import Node1GiB, costs

STALLED_SECONDS = 3.0
HURRY = hurried(
    {
        "collab_server.realtime.lean.guard": {"STALLED_SECONDS": STALLED_SECONDS, "LOOK_SECONDS": 0.3},
        "collab_server.realtime.engine.deadlines": {"STALLED_SECONDS": STALLED_SECONDS},
    }
)
LIMITS = {
    "commandsPerSecond": 1_000_000,
    "commandsBurst": 1_000_000,
    "connectionsPerUser": 500,
    "requestsPerUser": 20,
}
ASKED = 16
"""So many answers of almost 1 MB are asked for at once: more than the network takes of them."""


@pytest_asyncio.fixture(scope="module", params=["lean", "asgi"])
async def impatient(request: pytest.FixtureRequest, world: World) -> AsyncIterator[Node1GiB]:
    cluster = Cluster(
        world.new_database(),
        world.library,
        None,
        nodes=1,
        folder=world.folder / f"impatient-{request.param}",
        env={**HURRY, **({"COLLAB_TRANSPORT": "asgi"} if request.param == "asgi" else {})},
        overrides={"logging": False, "limits": LIMITS},
        is_warm=False,
    )
    node = Node1GiB(cluster)
    try:
        await node.start()
        yield node
    finally:
        await cluster.close()


@pytest_asyncio.fixture(scope="module")
async def large_topic(impatient: Node1GiB) -> str:
    """A topic whose first page is of almost 1 MB."""
    topic = fresh_topic()
    rest = await impatient.cluster.rest(0, "ann")
    for _ in range(9):
        comment = {"text": "😀" * 9_900, "viewState": {"filters": ["x" * 60_000]}}
        await rest.post(f"/topics/{topic}/comments", comment)
    return topic


class Idler:
    """A connection whose client never reads unless it is told to."""

    def __init__(self, node: Node1GiB) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", node.process.port))

    def read_until(self, end: bytes) -> bytes:
        found = b""
        while end not in found:
            data = self.socket.recv(1)
            assert data, found
            found += data
        return found

    def close(self) -> None:
        self.socket.close()


Ask = Callable[[Idler, str, str], bytes]


def ask_rest(idler: Idler, topic: str, token: str) -> bytes:
    one = f"GET /api/topics/{topic}/comments?limit=9 HTTP/1.1\r\nHost: x\r\nX-MSTR-IdentityToken: {token}\r\n\r\n"
    return one.encode() * ASKED


def ask_websocket(idler: Idler, topic: str, token: str) -> bytes:
    idler.socket.sendall(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    idler.read_until(b'0{"sid"')
    idler.socket.sendall(frame("40" + json.dumps({"identityToken": token})))
    idler.read_until(b"server.hello")
    payload = json.dumps({"topic": topic, "limit": 9})
    return b"".join(frame(f'42{number}["topic.comments",{payload}]') for number in range(ASKED))


def ask_polling(idler: Idler, topic: str, token: str) -> bytes:
    """Commands by POST, then polls for all of their answers on one connection."""
    poll = "/socket.io/?EIO=4&transport=polling"

    def request(method: str, sid: str = "", body: str = "") -> bytes:
        target = f"{poll}&sid={sid}" if sid else poll
        return f"{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    idler.socket.sendall(request("GET"))
    opened = idler.read_until(b"}")
    sid = json.loads(opened[opened.rindex(b"{") :])["sid"]
    idler.socket.sendall(request("POST", sid, "40" + json.dumps({"identityToken": token})))
    idler.read_until(b"ok")
    idler.socket.sendall(request("GET", sid))
    idler.read_until(b'40{"sid"')
    payload = json.dumps({"topic": topic, "limit": 9})
    commands = "\x1e".join(f'42{number}["topic.comments",{payload}]' for number in range(ASKED))
    return request("POST", sid, commands) + request("GET", sid)


def frame(text: str) -> bytes:
    data = text.encode()
    size = bytes((0x80 | len(data),)) if len(data) < 126 else struct.pack("!BH", 0xFE, len(data))
    return b"\x81" + size + b"\0" * 4 + data


def open_connections(node: Node1GiB) -> int:
    process = psutil.Process(node.process.process.pid)
    port = node.process.port
    return sum(
        1 for found in process.net_connections("tcp") if found.laddr.port == port and found.status != "LISTEN"
    )


@pytest.mark.parametrize("ask", [ask_rest, ask_websocket, ask_polling])
async def test_who_takes_no_answer_is_cut(impatient: Node1GiB, large_topic: str, ask: Ask) -> None:
    token = await (await impatient.cluster.person("eve")).identity_token()
    before = open_connections(impatient)
    idlers: list[Idler] = []
    try:
        async with costs(impatient, at_once=10, grown_bytes=200 << 20) as cost:
            for _ in range(6):
                idler = Idler(impatient)
                idlers.append(idler)
                asked = await asyncio.to_thread(ask, idler, large_topic, token)
                idler.socket.sendall(asked)
                cost.sent += len(asked)
            await until(lambda: open_connections(impatient) > before, 20)
            await until(lambda: open_connections(impatient) <= before + 2, 60)  # the bystander's come and go
    finally:
        for idler in idlers:
            idler.close()


async def test_who_takes_it_slowly_gets_it_whole(impatient: Node1GiB, large_topic: str) -> None:
    """In more time than is given to those who take nothing."""
    token = await (await impatient.cluster.person("dan")).identity_token()
    idler = Idler(impatient)
    try:
        one = ask_rest(idler, large_topic, token)
        idler.socket.sendall(one[: len(one) // ASKED] * 6)
        left, slow = 0, 60
        for _ in range(6):
            head = await asyncio.to_thread(idler.read_until, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            left = int(head.lower().partition(b"content-length: ")[2].split()[0])
            while left:
                data = await asyncio.to_thread(idler.socket.recv, min(left, 200_000))
                assert data, "cut"
                left -= len(data)
                if slow:
                    slow -= 1
                    await asyncio.sleep(STALLED_SECONDS / 40)
    finally:
        idler.close()


async def test_one_person_has_only_so_many_calls_open(impatient: Node1GiB, large_topic: str) -> None:
    token = await (await impatient.cluster.person("carol")).identity_token()
    idlers = [Idler(impatient) for _ in range(25)]

    async def status() -> int:
        async def one() -> Any:
            rest = await impatient.cluster.rest(0, "carol")
            return await rest.request("GET", "/me")

        answer: int = (await one())[0]
        return answer

    try:
        for idler in idlers:
            idler.socket.sendall(ask_rest(idler, large_topic, token))

        async def is_refused() -> bool:
            return await status() == 429

        async def is_served() -> bool:
            return await status() == 200

        await until(is_refused, 20)
        await until(is_served, 60)  # once those who take nothing are cut
    finally:
        for idler in idlers:
            idler.close()
