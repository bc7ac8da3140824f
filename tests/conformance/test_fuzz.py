"""Whatever a client sends: nobody else notices, nothing is logged as an error, nothing is kept."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from .conftest import Served, echo_sockets, serve, wait_until
from .test_bounds import Raw, masked
from .test_engineio import POLL
from .test_socketio import SOCKET, connect

ROUNDS = 60
WORDS = [
    "", "0", "1", "2", "3", "4", "40", "41", "42", "43", "44", "45", "46", "5", "6", "7", "b", "2probe", "3probe",
    '["message"', '["message",1]', "[]", "{}", "{", "]", "[", '"', ",", "/custom", "/x,", "1-", "9999-", "-", "0",
    "12345678901234567890", "\x1e", "\x00", "é", "NaN", '{"_placeholder":true,"num":0}', "null", "bAQID", "b!",
]  # fmt: skip


def _words(chance: random.Random) -> str:
    return "".join(chance.choice(WORDS) for _ in range(chance.randrange(1, 6)))


def _of_words(chance: random.Random) -> bytes:
    """Right frames with packets put together by chance."""
    data = b""
    for _ in range(chance.randrange(1, 6)):
        is_text = chance.random() < 0.8
        data += masked(1 if is_text else 2, _words(chance).encode())
    return data


def _of_frames(chance: random.Random) -> bytes:
    """Frames of any kind, with right packets in them."""
    return b"".join(
        masked(
            chance.randrange(16),
            chance.choice([b"4", b"40", b'42["message"]', b"", b"\xff"]),
            is_final=chance.random() < 0.7,
        )
        for _ in range(chance.randrange(1, 6))
    )


def _of_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 300))


def _damaged(chance: random.Random) -> bytes:
    """What a right client sends, with some bytes changed or missing."""
    data = bytearray(masked(1, b"40") + masked(1, b'421["message",1]') + masked(1, b"3"))
    for _ in range(chance.randrange(1, 4)):
        position = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[position] = chance.randrange(256)
        else:
            del data[position]
    return bytes(data)


@pytest.mark.parametrize(
    "make", [_of_words, _of_frames, _of_bytes, _damaged], ids=lambda make: make.__name__[1:]
)
async def test_websocket_is_fuzzed(way: dict[str, Any], make: Callable[[random.Random], bytes]) -> None:
    chance = random.Random(make.__name__)
    server = echo_sockets()
    with serve(server, **way) as served:
        async with connect(served) as bystander:
            for _ in range(ROUNDS):
                with Raw(served, SOCKET) as client:
                    data = make(chance)
                    cut = chance.randrange(len(data))
                    client.socket.sendall(data[:cut])
                    client.socket.sendall(data[cut:])
            await bystander.send('421["message-with-ack","still here"]')
            assert await bystander.receive() == '431["still here"]'
            await asyncio.to_thread(_only_one_is_left, served)
            assert not server._binary_packet
            assert len(server.environ) == 1


def _only_one_is_left(served: Served) -> None:
    wait_until(lambda: len(served.server.eio.sockets) == 1 and len(served.server.environ) == 1)


async def test_polling_is_fuzzed(way: dict[str, Any]) -> None:
    chance = random.Random(1)
    server = echo_sockets()
    with serve(server, **way) as served:
        async with connect(served) as bystander, aiohttp.ClientSession() as http:
            for _ in range(ROUNDS):
                async with http.get(served.url + POLL.replace("engine.io", "socket.io")) as answer:
                    sid = (await answer.text()).split('"sid":"')[1].split('"')[0]
                url = f"{served.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
                body = chance.choice([_words(chance).encode(), _of_bytes(chance)])
                async with http.post(url, data=body) as answer:
                    assert answer.status in (200, 400)
                async with http.post(url, data=b"1") as answer:
                    assert answer.status in (200, 400)
            await bystander.send('421["message-with-ack","still here"]')
            assert await bystander.receive() == '431["still here"]'
            await asyncio.to_thread(_only_one_is_left, served)


@pytest.mark.parametrize(
    "request_line",
    [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        "GET /socket.io/?%ff&&&=&EIO=4&transport=polling&sid=%00 HTTP/1.1",
        "GET /socket.io/?EIO=4&transport=polling&transport=websocket HTTP/1.1",
        "POST /socket.io/ HTTP/1.1",
        "HEAD /socket.io/?EIO=4&transport=polling HTTP/1.1",
        "GET /socket.io/%F0%9F%92%A9?EIO=4&transport=polling HTTP/1.1",
    ],
)
@pytest.mark.parametrize(
    "headers",
    [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: close\r\nOrigin: \xff\r\n",
        "Content-Length: 0\r\nConnection: close\r\nAccept-Encoding: \xff, gzip\r\n",
    ],
)
async def test_odd_requests_are_answered(sockets: Served, request_line: str, headers: str) -> None:
    host, port = sockets.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{request_line}\r\nHost: {host}\r\n{headers}\r\n".encode("latin-1"))
    async with asyncio.timeout(20):
        answer = await reader.read(65536)
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.split(b" ")[1] in (b"200", b"400", b"403", b"405", b"426", b"101")
    writer.close()
    await writer.wait_closed()
