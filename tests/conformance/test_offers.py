"""An offer of an upgrade that is not taken changes nothing: every answer is that to the request without the offer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from collab_server.realtime import build_asgi

from .conftest import Served, echo_engine, serve_application, wait_until
from .test_bounds import KEY, on_loop, upgrade_request
from .test_engineio import POLL, SOCKET, get, open_polling
from .test_http import dial, until_polled

WAYS: dict[str, dict[str, Any]] = {
    "lean": {"loop": "uvloop", "http": "httptools"},
    "lean-h11": {"loop": "asyncio", "http": "h11"},
    "asgi": {"loop": "uvloop", "http": "httptools"},
    "asgi-h11": {"loop": "asyncio", "http": "h11"},
}
OFFERS = {
    "a JDK": b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n",
    "two lines": b"Connection: keep-alive\r\nConnection: upgrade\r\nUpgrade: TLS/1.0\r\nUpgrade: h2c\r\n",
    "any other": b"Upgrade: IRC/6.9, RTA/x11\r\nConnection: Upgrade\r\n",
    "websocket among others": b"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n",
    "a whole websocket": b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    + f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n".encode(),
}
BODY = b"4from a JDK"
FRAMINGS = {
    "length": b"Content-Length: 11\r\n\r\n" + BODY,
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n3\r\n4fr\r\n8;x=y\r\nom a JDK\r\n0\r\n\r\n",
    "trailer": b"Transfer-Encoding: chunked\r\n\r\nb\r\n4from a JDK\r\n0\r\nTrailer: x\r\n\r\n",
    "expected": b"Expect: 100-continue\r\nContent-Length: 11\r\n\r\n" + BODY,
    "closing": b"Content-Length: 11\r\nConnection: close\r\n\r\n" + BODY,
    "a body behind a body": b"Content-Length: 47\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 9",
    "nothing": b"\r\n",
    "no length": b"Content-Length: 0\r\n\r\n",
    "two lengths": b"Content-Length: 11\r\nContent-Length: 12\r\n\r\n" + BODY,
    "length and chunks": b"Content-Length: 11\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no number": b"Content-Length: +11\r\n\r\n" + BODY,
    "folded": b"Content-Length: 1\r\n 1\r\n\r\n" + BODY,
    "another coding": b"Transfer-Encoding: gzip\r\n\r\n" + BODY,
}
LAST = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlast"


class Application:
    """Engine.IO, and `/echo`, which says what came."""

    def __init__(self, server: Any) -> None:
        self._engine = build_asgi(server)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/echo"):
            await self._engine(scope, receive, send)
            return
        body, more = b"", True
        while more:
            event = await receive()
            body, more = body + event.get("body", b""), event.get("more_body", False)
        answer = scope["method"].encode() + b" " + body
        length = (b"content-length", str(len(answer)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": answer})


@pytest.fixture(scope="module", params=list(WAYS))
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    server = echo_engine()
    with pytest.MonkeyPatch.context() as patch:
        if request.param.startswith("asgi"):
            patch.setenv("COLLAB_TRANSPORT", "asgi")
        with serve_application(Application(server), server, **WAYS[request.param]) as served:
            yield served


def requests(target: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Method, offer and what follows the offer: each offer with each framing, by one method after the other."""
    methods = itertools.cycle(["POST", "GET", "PUT"] if target == "/echo" else ["POST", "GET"])
    for offer, framing in itertools.product(OFFERS.values(), FRAMINGS.values()):
        method = next(methods)
        if (
            target == "/echo" or method != "GET" or offer != OFFERS["a whole websocket"]
        ):  # which is a handshake
            yield method, offer, framing


def without_what_varies(answers: bytes) -> bytes:
    answers = re.sub(rb"\r\n(?:date|x-request-id): [^\r]*", b"", answers)
    return re.sub(rb'"sid":"[^"]*"', b'"sid":""', answers)


async def ask(served: Served, *pieces: bytes) -> bytes:
    """All that is answered on a connection of its own to these pieces, each sent when the one before is out."""
    async with dial(served) as connection:
        try:
            for piece in pieces:
                await connection.send(piece)
                await asyncio.sleep(0)
            return without_what_varies(await connection.receive_all())
        except ConnectionError:  # refused while it was being sent
            return b"cut"


async def test_answers_and_what_follows_are_those_without_the_offer(served: Served) -> None:
    """Each in one piece with a request behind it, and in pieces: cut everywhere around the end of the head."""
    differing = []
    for target in ("/echo", f"{POLL}&sid=nobody", POLL):
        for number, (method, offer, framing) in enumerate(requests(target)):
            line = f"{method} {target} HTTP/1.1\r\nHost: x\r\n".encode()
            expected = await ask(served, line + framing + LAST)
            whole = line + offer + framing + LAST
            end = len(line + offer) - 2 + number % 7
            for pieces in ([whole], [whole[:end], whole[end : end + 6], whole[end + 6 :]]):
                found = await ask(served, *pieces)
                if found != expected:
                    differing.append((pieces, found, expected))
    assert not differing, f"{len(differing)}: {differing[0]}"


async def test_a_body_arrives_however_it_is_cut(served: Served) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: h2c\r\n"
    for framing in ("length", "chunks", "trailer"):
        whole = head + FRAMINGS[framing]
        found = await ask(served, *(whole[number : number + 1] for number in range(len(whole))))
        assert found.endswith(b"\r\n\r\nPOST " + BODY)


async def test_many_offers_one_behind_the_other_are_each_answered(served: Served) -> None:
    one = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + OFFERS["a JDK"] + FRAMINGS["length"]
    found = await ask(served, one * 20 + LAST)
    assert found.count(b"POST " + BODY) == 20
    assert found.endswith(b"POST last")


async def test_a_session_is_polled_and_posted_to_with_offers(
    http: aiohttp.ClientSession, served: Served
) -> None:
    sid = await open_polling(http, served)
    for name, offer in OFFERS.items():
        if name == "a whole websocket":
            continue
        async with dial(served) as connection:
            for _ in range(2):
                head = f"{POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\n".encode() + offer
                await connection.send(b"POST " + head + FRAMINGS["length"])
                await connection.receive(b"\r\n\r\nok")
                await connection.send(b"GET " + head + b"\r\n")
                await connection.receive(b"\r\n\r\n" + BODY)
            await connection.send(b"GET " + head + b"\r\n")
            await until_polled(served, sid)
            on_loop(served.server, served.server.send_text, sid, "waited")
            await connection.receive(b"\r\n\r\n4waited")


async def test_a_websocket_is_taken_among_other_offers(served: Served) -> None:
    for upgrade in (b"Upgrade: h2c, WebSocket", b"Upgrade: h2c\r\nUpgrade: websocket"):
        async with dial(served) as connection:
            await connection.send(upgrade_request(SOCKET).replace(b"Upgrade: websocket", upgrade))
            assert (await connection.receive(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
            await connection.receive(b'0{"sid"')


@pytest.mark.parametrize("body", [b"Content-Length: 3\r\n\r\n4hi", FRAMINGS["chunks"]])
async def test_a_handshake_with_a_body_is_none(served: Served, body: bytes) -> None:
    async with dial(served) as connection:
        await connection.send(upgrade_request(SOCKET).removesuffix(b"\r\n") + body + LAST)
        answers = await connection.receive_all()
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.endswith(b"POST last")


async def test_a_tunnel_is_refused(served: Served) -> None:
    for target in (b"elsewhere:443", b"/nowhere", POLL.encode()):
        async with dial(served) as connection:
            await connection.send(b"CONNECT " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n" + LAST)
            assert (await connection.receive_all()).startswith(b"HTTP/1.1 4")


async def test_nothing_is_left_of_a_client_that_goes_while_its_body_comes(served: Served) -> None:
    connections = served.uvicorn.server_state.connections
    before = len(connections)
    async with dial(served) as connection:
        head = b"POST /echo HTTP/1.1\r\nHost: x\r\n" + OFFERS["a JDK"]
        await connection.send(head + b"Content-Length: 9\r\n\r\nhalf")
        await asyncio.to_thread(wait_until, lambda: len(connections) > before)
    await asyncio.to_thread(wait_until, lambda: len(connections) <= before)


async def test_offers_are_not_worth_a_line_in_the_log(
    http: aiohttp.ClientSession, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    for offer in OFFERS.values():
        await ask(served, b"POST /echo HTTP/1.1\r\nHost: x\r\n" + offer + FRAMINGS["length"] + LAST)
    assert (await get(http, served, POLL))[0] == 200
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
