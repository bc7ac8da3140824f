"""What a client may cost, and how a server stops: on every way to run."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import ssl
import struct
from collections import deque
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from typing_extensions import override

from collab_server.realtime.engine import deadlines, requests
from collab_server.realtime.engine.bounds import Bounds
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.session import Refusal
from collab_server.realtime.strangers import StrangerLimits
from tests.harness.waiting import Stopwatch

from .conftest import DEADLINE_SECONDS, Served, echo_engine, echo_sockets, serve, wait_until
from .test_engineio import POLL, SOCKET, get, is_closed, open_polling, post
from .test_socketio import SOCKET as SOCKETS
from .test_socketio import connect

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
LIMIT = 100_000


def upgrade_request(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def masked(opcode: int, payload: bytes, *, is_final: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    first = (0x80 if is_final else 0) | opcode
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", first, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", first, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


class Raw:
    """A websocket of bare bytes, that reads only when it is told to."""

    def __init__(self, served: Served, path: str = SOCKET, receive_buffer: int | None = None) -> None:
        host, port = served.url.removeprefix("http://").split(":")
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(5)
        self.socket.connect((host, int(port)))
        self.socket.sendall(upgrade_request(path))
        self.received = b""
        while b"maxPayload" not in self.received:
            self.received += self._read()
        self.sid = self.received.split(b'"sid":"')[1].split(b'"')[0].decode()
        self.received = b""

    def _read(self) -> bytes:
        data = self.socket.recv(65536)
        assert data
        return data

    def read_to_end(self) -> bytes:
        """All that comes until the server closes."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                return self.received
            self.received += data

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def on_loop(server: Any, function: Any, *args: Any) -> Future[Any]:
    """Have the server's loop call a function, and go on; what becomes of it is told by the future."""
    called: Future[Any] = Future()

    def call() -> None:
        try:
            called.set_result(function(*args))
        except Exception as error:
            called.set_exception(error)
            raise

    server.loop.call_soon_threadsafe(call)
    return called


# --- a client that does not read


async def test_client_that_does_not_read_is_put_out(way: dict[str, Any]) -> None:
    server = echo_engine(bounds=Bounds(outgoing_bytes=LIMIT))
    with serve(server, **way) as served, Raw(served, receive_buffer=4096) as stalled:
        async with aiohttp.ClientSession() as http, http.ws_connect(served.url + SOCKET) as websocket:
            other = json.loads((await websocket.receive_str())[1:])["sid"]
            text = "x" * 50_000
            for number in range(2000):
                on_loop(server, server.broadcast, [stalled.sid, other], f"{number}{text}")
                assert (await websocket.receive_str()).startswith(f"4{number}x")
                if server.overflows:
                    break
            assert server.overflows == 1
            await asyncio.to_thread(wait_until, lambda: stalled.sid not in server.sockets)
            assert server.ended[stalled.sid] == "outgoing queue full"
            assert other in server.sockets


async def test_client_that_closes_but_does_not_read_is_cut_off(
    way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    if way.get("lifespan") == "off":
        pytest.skip("uvicorn's own websockets close there")
    monkeypatch.setattr(deadlines, "FAREWELL_SECONDS", 0.2)
    server = echo_engine()
    with serve(server, **way) as served, Raw(served, receive_buffer=4096) as stalled:
        on_loop(server, server.send_text, stalled.sid, "x" * 10_000_000)
        stalled.socket.sendall(masked(8, b"\x03\xe8"))
        await asyncio.to_thread(wait_until, lambda: not served.uvicorn.server_state.connections)


async def test_client_that_does_not_poll_is_put_out(way: dict[str, Any]) -> None:
    server = echo_engine(bounds=Bounds(outgoing_bytes=LIMIT))
    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            sid = await open_polling(http, served)
            for _ in range(10_000):
                on_loop(server, server.send_text, sid, "x" * 5000)
                await asyncio.sleep(0.001)
                if server.overflows:
                    break
            assert server.overflows == 1
            assert (await get(http, served, f"{POLL}&sid={sid}"))[0] == 400


async def test_what_a_poll_leaves_for_the_next_one_counts_on(way: dict[str, Any]) -> None:
    server = echo_engine(bounds=Bounds(outgoing_bytes=LIMIT))
    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            sid = await open_polling(http, served)
            session = server.sockets[sid]
            for _ in range(19):
                on_loop(server, server.send_text, sid, "x" * 5000)
            await asyncio.to_thread(wait_until, lambda: len(session.carrier._backlog) == 19)
            answer = await get(http, served, f"{POLL}&sid={sid}")
            assert answer[1].count("\x1e") == 15  # three are left
            for _ in range(16):
                on_loop(server, server.send_text, sid, "x" * 5000)
            await asyncio.to_thread(wait_until, lambda: len(session.carrier._backlog) == 19)
            assert not server.overflows
            on_loop(server, server.send_text, sid, "x" * 5000)
            await asyncio.to_thread(wait_until, lambda: server.overflows == 1)
            await asyncio.to_thread(wait_until, lambda: sid not in server.sockets)


async def test_one_message_above_the_bound_reaches_a_client_that_reads(way: dict[str, Any]) -> None:
    server = echo_engine(bounds=Bounds(outgoing_bytes=LIMIT))
    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            async with http.ws_connect(served.url + SOCKET, max_msg_size=0) as websocket:
                sid = json.loads((await websocket.receive_str())[1:])["sid"]
                on_loop(server, server.send_text, sid, "x" * 10 * LIMIT)
                assert len(await websocket.receive_str()) == 10 * LIMIT + 1
            path = f"{POLL}&sid={await open_polling(http, served)}"
            on_loop(server, server.send_text, path.split("=")[-1], "y" * 10 * LIMIT)
            assert await get(http, served, path) == (200, "4" + "y" * 10 * LIMIT)


# --- a client that sends too much


async def test_too_large_a_post_is_refused(way: dict[str, Any]) -> None:
    with serve(echo_engine(max_packet_bytes=LIMIT), **way) as served:
        async with aiohttp.ClientSession() as http:
            path = f"{POLL}&sid={await open_polling(http, served)}"
            assert (await post(http, served, path, "4" * LIMIT))[0] == 200
            try:
                status = (await post(http, served, path, "4" * (3 * LIMIT)))[0]
            except (aiohttp.ClientConnectionError, ConnectionResetError):
                status = 413  # refused while it was still being sent
            assert status == 413


async def test_too_large_a_packet_closes_the_websocket(way: dict[str, Any]) -> None:
    with serve(echo_engine(max_packet_bytes=LIMIT), ws_max_size=LIMIT, **way) as served:
        with Raw(served) as client:
            client.socket.sendall(masked(1, b"4" + b"x" * LIMIT))
            client.read_to_end()
            await asyncio.to_thread(wait_until, lambda: client.sid not in served.server.sockets)
        with Raw(served) as client:
            client.socket.sendall(masked(1, b"4" + b"x" * 60_000, is_final=False))
            client.socket.sendall(masked(0, b"x" * 60_000))
            client.read_to_end()
            await asyncio.to_thread(wait_until, lambda: client.sid not in served.server.sockets)


async def test_client_that_broke_the_limit_is_told_why_while_it_still_sends(way: dict[str, Any]) -> None:
    with (
        serve(echo_engine(max_packet_bytes=LIMIT), ws_max_size=LIMIT, **way) as served,
        Raw(served) as client,
    ):
        client.socket.sendall(masked(1, b"4" + b"x" * 60_000, is_final=False))
        client.socket.sendall(masked(0, b"x" * 60_000, is_final=False) + masked(0, b"x" * 10_000) * 5)
        assert b"\x88" in client.read_to_end()
        assert b"\x03\xf1" in client.received  # 1009


class Telling:
    """Tells clients whose message is too large so, by its beginning."""

    def __init__(self) -> None:
        self.server: Any = None

    def weigh(self, eio_sid: str, held_bytes: int) -> None: ...

    def turn_down(self, eio_sid: str, begin: str) -> bool:
        self.server.send_text(eio_sid, f"too large: {begin[:5]}")
        return True


LARGE = b"4begin" + b"x" * LIMIT
PIECES = {
    "at once": [masked(1, LARGE)],
    "its head by itself": [masked(1, LARGE)[:12], masked(1, LARGE)[12:]],
    "byte by byte, at first": [*(masked(1, LARGE)[at : at + 1] for at in range(90)), masked(1, LARGE)[90:]],
    "in fragments": [masked(1, LARGE[:80_000], is_final=False), masked(0, LARGE[80_000:])],
    "behind another": [masked(1, b"4first") + masked(1, LARGE)],
    "across a piece that is read": [masked(1, b"4" + b"f" * 4_080) + masked(1, LARGE)],
}


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore:.*websockets:UserWarning"
)  # of `websockets`
@pytest.mark.parametrize(
    ("transport", "ws"), [("lean", "auto"), ("asgi", "auto"), ("asgi", "websockets"), ("asgi", "wsproto")]
)
@pytest.mark.parametrize("pieces", PIECES)
async def test_how_a_message_begins_that_is_too_large_is_answered_before_the_end(
    transport: str, ws: Any, pieces: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLAB_TRANSPORT", transport)
    watcher = Telling()
    watcher.server = server = echo_engine(watcher=watcher)
    server.max_http_buffer_size = LIMIT
    heard: list[str] = []
    server.on("message", lambda sid, text: heard.append(text))
    with serve(server, ws_max_size=LIMIT, loop="uvloop", ws=ws) as served, Raw(served) as client:
        for piece in PIECES[pieces]:
            client.socket.sendall(piece)
        told = client.read_to_end()
        assert b"4too large: begin\x88" in told
        assert told.endswith(b"\x03\xf1") or b"\x88\x02\x03\xf1" in told  # 1009
        assert [text[:1] for text in heard] == ["f"] * pieces.startswith(("behind", "across"))
        await asyncio.to_thread(wait_until, lambda: client.sid not in server.sockets)


async def test_halves_of_strangers_packets_count_together(way: dict[str, Any]) -> None:
    if way.get("lifespan") == "off":
        pytest.skip("uvicorn's own websockets keep them there")
    limits = StrangerLimits(most=100, most_per_address=100, most_bytes=1_000_000, packet_bytes=30_000)
    server = echo_sockets(strangers=limits, connect_seconds=120.0)
    half = masked(1, b"4" + b"x" * 20_000)[:-10]
    with serve(server, **way) as served, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Raw(served, SOCKETS)) for _ in range(8)]
        for client in clients:
            client.socket.sendall(half)
        # One address may take 100,000 bytes: four of them, and what they take besides.
        await asyncio.to_thread(wait_until, lambda: len(server.eio.sockets) <= 4)
        assert clients[-1].sid in server.eio.sockets
        assert clients[0].read_to_end() == b""
    await asyncio.to_thread(wait_until, lambda: not len(server.newcomers.strangers))
    assert not server.newcomers._known


LONG = "x" * 30_000
POLL_SOCKETS = "/socket.io/?EIO=4&transport=polling"
WAITING = {
    "a poll with a long query": f"&t={LONG} HTTP/1.1\r\nHost: x\r\n\r\n",
    "a poll with a long header": f" HTTP/1.1\r\nHost: x\r\nX-Long: {LONG}\r\n\r\n",
    "a poll with many headers": " HTTP/1.1\r\nHost: x\r\n" + "X: \r\n" * 250 + "\r\n",
}


@pytest.mark.parametrize("waiting", WAITING)
async def test_polls_of_strangers_count_together_while_they_wait(way: dict[str, Any], waiting: str) -> None:
    limits = StrangerLimits(most=100, most_per_address=100, most_bytes=1_000_000, packet_bytes=30_000)
    server = echo_sockets(strangers=limits, connect_seconds=120.0)
    with serve(server, **way) as served, contextlib.ExitStack() as stack:
        address = served.url.removeprefix("http://").split(":")
        async with aiohttp.ClientSession() as http:
            opened = [(await get(http, served, POLL_SOCKETS))[1] for _ in range(8)]
        for sid in (json.loads(text[1:])["sid"] for text in opened):
            client = stack.enter_context(socket.create_connection((address[0], int(address[1]))))
            client.sendall(f"GET {POLL_SOCKETS}&sid={sid}{WAITING[waiting]}".encode())
        # One address may take 100,000 bytes: three of them, or less, and what they take besides.
        await asyncio.to_thread(wait_until, lambda: len(server.eio.sockets) <= 3)


async def test_messages_of_strangers_count_together_while_they_wait(way: dict[str, Any]) -> None:
    limits = StrangerLimits(most=100, most_per_address=100, most_bytes=1_000_000, packet_bytes=30_000)
    server, gate = echo_sockets(strangers=limits, connect_seconds=120.0), asyncio.Event()

    @server.on("connect")
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await gate.wait()

    with serve(server, **way) as served, contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(Raw(served, SOCKETS))
            client.socket.sendall(masked(1, b"40") + masked(1, b'42["message","' + b"x" * 25_000 + b'"]'))
        await asyncio.to_thread(wait_until, lambda: len(server.newcomers.strangers) <= 3)
        assert sum(one.inbox.held_bytes for one in [*server.eio.sockets.values()]) <= 100_000
        on_loop(server, gate.set)
        await asyncio.to_thread(wait_until, lambda: len(server.eio.sockets) <= 3)


@pytest.mark.parametrize("last", ["a message", "a part of a frame"])
async def test_all_that_waits_for_a_stranger_counts_whatever_comes_last(
    way: dict[str, Any], last: str
) -> None:
    if last != "a message" and way.get("lifespan") == "off":
        pytest.skip("uvicorn's own websockets keep them there")
    limits = StrangerLimits(most=100, most_per_address=100, most_bytes=1_000_000, packet_bytes=30_000)
    server, gate = echo_sockets(strangers=limits, connect_seconds=120.0), asyncio.Event()
    weights: list[int] = []
    weigh = server.newcomers.weigh

    def note(sid: str, held_bytes: int) -> list[str]:
        weights.append(held_bytes)
        put_out: list[str] = weigh(sid, held_bytes)
        return put_out

    server.newcomers.weigh = note

    @server.on("connect")
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await gate.wait()

    with serve(server, **way) as served, contextlib.ExitStack() as stack:
        address = served.url.removeprefix("http://").split(":")
        async with aiohttp.ClientSession() as http:
            sid = json.loads((await get(http, served, POLL_SOCKETS))[1][1:])["sid"]
            client = stack.enter_context(socket.create_connection((address[0], int(address[1]))))
            client.sendall(f"GET {POLL_SOCKETS}&sid={sid}&t={LONG} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await asyncio.to_thread(wait_until, lambda: weights)
            if last == "a message":
                assert (await post(http, served, f"{POLL_SOCKETS}&sid={sid}", "40"))[0] == 200
                assert (await post(http, served, f"{POLL_SOCKETS}&sid={sid}", '42["message",1]'))[0] == 200
            else:
                upgrading = stack.enter_context(socket.create_connection((address[0], int(address[1]))))
                upgrading.sendall(upgrade_request(f"{SOCKETS}&sid={sid}"))
                assert b" 101 " in upgrading.recv(100)
                upgrading.sendall(masked(1, b"2" * 20_000)[:-10])
            await asyncio.to_thread(wait_until, lambda: len(weights) > 1)
        on_loop(server, gate.set)
    assert weights[-1] > weights[0] > 2 * len(LONG)


def kept_by(one: Any, seen: set[int]) -> int:
    """How many bytes a connection keeps of what has come."""
    if id(one) in seen:
        return 0
    seen.add(id(one))
    if isinstance(one, bytes | bytearray | str):
        return len(one)
    is_ours = type(one).__module__.startswith(("uvicorn.protocols.http", "collab_server.realtime.lean"))
    if not isinstance(one, dict | list | tuple | deque) and not is_ours:
        return 0
    parts = (
        gc.get_referents(one)
        if not is_ours
        else [*getattr(one, "__dict__", {}).values(), *gc.get_referents(one)]
    )
    return sum(kept_by(part, seen) for part in parts)


@pytest.mark.parametrize("path", ["/other?", f"{POLL}&sid=nobody&", POLL + "&"])
async def test_a_connection_keeps_nothing_of_what_was_answered(way: dict[str, Any], path: str) -> None:
    if way.get("lifespan") == "off":
        pytest.skip("the HTTP protocol is uvicorn's own there")
    server = echo_engine()
    with serve(server, timeout_keep_alive=120, **way) as served:  # however busy the machine is
        connections: Any = served.uvicorn.server_state.connections
        async with aiohttp.ClientSession() as http:
            for long in (f"{path}{LONG}", path):
                async with http.get(served.url + long, headers={"X-Long": LONG}) as answer:
                    await answer.read()
            await asyncio.to_thread(
                wait_until, lambda: all(kept_by(one, set()) < 10_000 for one in connections)
            )
            assert len(connections) == 1


async def test_what_was_answered_before_the_close_frame_goes_before_it(way: dict[str, Any]) -> None:
    if way.get("lifespan") == "off":
        pytest.skip("uvicorn's own websockets answer the close frame there")
    server = echo_engine()
    server.on("message", lambda sid, text: server.send_text(sid, text))
    with serve(server, **way) as served, Raw(served) as client:
        client.socket.sendall(masked(1, b"4hello") + masked(8, b"\x03\xe8"))
        received = client.read_to_end()
        assert received.index(b"4hello") < received.index(b"\x88")


async def test_what_is_refused_leaves_nothing_behind(way: dict[str, Any]) -> None:
    refusals = [value for value in vars(requests).values() if isinstance(value, Refusal)]
    assert refusals
    with serve(echo_engine(), **way) as served:
        async with aiohttp.ClientSession() as http:
            assert (await get(http, served, f"{POLL}&sid=nobody"))[0] == 400
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await http.ws_connect(f"{served.url}{SOCKET}&sid=nobody")
    assert [refusal.__traceback__ for refusal in refusals] == [None] * len(refusals)


async def test_an_answer_to_head_has_no_body(way: dict[str, Any]) -> None:
    with serve(echo_engine(), **way) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as connection:
            connection.sendall(f"HEAD {POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            connection.sendall(f"GET {POLL} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            received = b""
            while data := connection.recv(65536):
                received += data
        first, second = received.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"400")
        assert first.endswith(b"\r\n\r\n")
        assert b'"sid":' in second


async def test_messages_wait_in_order_and_within_bounds(way: dict[str, Any]) -> None:
    server = echo_engine(max_packet_bytes=LIMIT)
    server.async_handlers = False
    taken: list[int] = []
    most = 0
    gate = asyncio.Event()

    @server.on("message")
    async def message(sid: str, data: str) -> None:
        nonlocal most
        most = max(most, server.sockets[sid].inbox.held_bytes)
        await gate.wait()
        taken.append(int(data.split("x")[0]))

    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http, http.ws_connect(served.url + SOCKET) as websocket:
            await websocket.receive_str()
            padding = "x" * 1000

            async def flood() -> None:
                for number in range(3000):
                    await websocket.send_str(f"4{number}{padding}")

            flooding = asyncio.ensure_future(flood())
            session = next(iter(server.sockets.values()))
            await asyncio.to_thread(wait_until, lambda: session.inbox.is_paused)
            on_loop(server, gate.set)
            await flooding
            await asyncio.to_thread(wait_until, lambda: len(taken) == 3000)
    assert taken == list(range(3000))
    assert most < LIMIT + 300_000  # and one read of the network


async def test_json_that_waits_is_bounded_too(way: dict[str, Any]) -> None:
    server = echo_engine(max_packet_bytes=LIMIT)
    server.async_handlers = False
    gate = asyncio.Event()

    @server.on("message")
    async def message(sid: str, data: Any) -> None:
        await gate.wait()

    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http, http.ws_connect(served.url + SOCKET) as websocket:
            await websocket.receive_str()
            session = next(iter(server.sockets.values()))
            for _ in range(4):
                await websocket.send_str("4[" + "1," * 20_000 + "1]")
            await asyncio.to_thread(wait_until, lambda: session.inbox.is_paused)
            on_loop(server, gate.set)


async def test_posts_are_answered_when_there_is_room_again(way: dict[str, Any]) -> None:
    server = echo_engine(max_packet_bytes=LIMIT)
    server.async_handlers = False
    gate = asyncio.Event()
    taken: list[str] = []

    @server.on("message")
    async def message(sid: str, data: str) -> None:
        await gate.wait()
        taken.append(data[:1])

    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            sid = await open_polling(http, served)
            path = f"{POLL}&sid={sid}"
            ten = "\x1e".join("4b" + "x" * 9000 for _ in range(10))
            assert await post(http, served, path, ten) == (200, "ok")
            waiting = asyncio.ensure_future(post(http, served, path, ten))
            await asyncio.to_thread(wait_until, lambda: server.sockets[sid].inbox.is_paused)
            assert not waiting.done()
            on_loop(server, gate.set)
            assert await waiting == (200, "ok")
    assert taken == ["b"] * 20


async def test_post_beside_one_that_waits_ends_the_session(way: dict[str, Any]) -> None:
    server = echo_engine(max_packet_bytes=LIMIT)
    server.async_handlers = False
    gate = asyncio.Event()

    @server.on("message")
    async def message(sid: str, data: str) -> None:
        await gate.wait()

    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            sid = await open_polling(http, served)
            path = f"{POLL}&sid={sid}"
            session = server.sockets[sid]
            assert await post(http, served, path, "\x1e".join(["4" + "x" * 45_000] * 2)) == (200, "ok")
            waiting = asyncio.ensure_future(post(http, served, path, "\x1e".join(["4" + "x" * 45_000] * 2)))
            await asyncio.to_thread(wait_until, lambda: session.inbox.is_paused)
            assert (await post(http, served, path, "4more"))[0] == 400
            assert await waiting == (200, "ok")
            on_loop(server, gate.set)
            await asyncio.to_thread(wait_until, lambda: server.ended.get(sid) == "transport error")


async def test_websocket_pings_are_answered_and_a_flood_of_them_is_bounded(way: dict[str, Any]) -> None:
    if way.get("lifespan") == "off":
        pytest.skip("uvicorn's own websockets answer pings there")
    server = echo_engine(bounds=Bounds(outgoing_bytes=LIMIT))
    with serve(server, **way) as served:
        with Raw(served) as client:
            client.socket.sendall(masked(9, b"hello"))
            assert client._read() == b"\x8a\x05hello"
        with Raw(served, receive_buffer=4096) as client:
            flood = masked(9, b"x" * 125) * 500
            with pytest.raises((ConnectionError, TimeoutError)):
                _send_on_and_on(client.socket, flood)
            assert server.overflows == 1


async def test_endless_head_of_a_request_is_cut_off(way: dict[str, Any]) -> None:
    if "lifespan" in way or way.get("http") == "h11":
        pytest.skip("the HTTP protocol is uvicorn's own there")
    with serve(echo_engine(), **way) as served:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.1\r\n")
            with pytest.raises(ConnectionError):
                _send_on_and_on(client, b"x-header: " + b"x" * 1000 + b"\r\n")


def _send_on_and_on(client: socket.socket, data: bytes) -> None:
    for _ in range(10_000):
        client.sendall(data)


async def test_attachments_are_bounded_in_number_and_bytes(way: dict[str, Any]) -> None:
    with serve(echo_sockets(max_packet_bytes=LIMIT), **way) as served:
        async with connect(served) as client:
            places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10))
            await client.send(f'4510-["message",{places}]', *[bytes(LIMIT // 2)] * 3)
            assert await client.is_put_out()
        async with connect(served) as client:
            await client.send('4511-["message"]')
            assert await client.is_put_out()
        await asyncio.to_thread(wait_until, lambda: not served.server._binary_packet)


async def test_binary_packet_that_is_never_completed_leaves_nothing(way: dict[str, Any]) -> None:
    server = echo_sockets()
    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('452-["message",{"_placeholder":true,"num":0}]', b"x")
            await asyncio.to_thread(wait_until, lambda: server._binary_packet)
        await asyncio.to_thread(wait_until, lambda: not server._binary_packet)
        assert not server._attachment_bytes


async def test_acknowledgements_outstanding_are_bounded(way: dict[str, Any]) -> None:
    server = echo_sockets()

    @server.on("go")
    async def go(sid: str) -> int:
        for number in range(1500):
            await server.emit("question", number, to=sid, callback=lambda *_: None)
        return len(server.manager.callbacks[sid])

    with serve(server, **way) as served:
        async with connect(served) as client:
            await client.send('421["go"]')
            while not (received := await client.receive()).startswith("431"):
                pass
            assert received == "431[1001]"


# --- TLS


async def test_websocket_and_polling_over_tls(way: dict[str, Any], tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "server.pem")
    )
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serve(echo_engine(), ssl_certfile=str(tmp_path / "server.pem"), **way) as served:
        url = served.url.replace("http:", "https:")
        connector = aiohttp.TCPConnector(ssl=trusting)
        async with aiohttp.ClientSession(connector=connector) as http:
            async with http.ws_connect(url + SOCKET, max_msg_size=0) as websocket:
                await websocket.receive_str()
                await websocket.send_str("4" + "x" * 300_000)
                assert len(await websocket.receive_str()) == 300_001
            async with http.get(url + POLL) as answer:
                assert (await answer.text())[0] == "0"


# --- stopping


async def test_graceful_stop_closes_websockets_and_answers_polls(way: dict[str, Any]) -> None:
    server = echo_engine()
    options = {"timeout_graceful_shutdown": 1, **way}
    with serve(server, **options) as served:
        async with aiohttp.ClientSession() as http, http.ws_connect(served.url + SOCKET) as websocket:
            await websocket.receive_str()
            path = f"{POLL}&sid={await open_polling(http, served)}"
            poll = asyncio.ensure_future(get(http, served, path))
            session = server.sockets[path.split("=")[-1]]
            await asyncio.to_thread(wait_until, lambda: session.carrier._waiting is not None)
            watch = Stopwatch()
            served.uvicorn.should_exit = True
            assert await is_closed(websocket)
            if "lifespan" not in way and "http" not in way:
                assert (await poll)[0] == 200
            else:
                poll.cancel()
            await asyncio.to_thread(served.stop)
            assert watch.seconds < 4


async def test_websocket_path_of_another_application_goes_to_uvicorns_own_class(way: dict[str, Any]) -> None:
    server = echo_engine()
    with serve(server, **way) as served, pytest.raises(aiohttp.ClientError):
        async with aiohttp.ClientSession() as http:
            await http.ws_connect(served.url + "/elsewhere")


async def test_carrier_that_fails_harms_only_its_own_client(
    way: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    server = echo_engine()
    with serve(server, **way) as served:
        async with aiohttp.ClientSession() as http:
            broken = await open_polling(http, served)
            async with http.ws_connect(served.url + SOCKET) as websocket:
                sid = json.loads((await websocket.receive_str())[1:])["sid"]
                server.sockets[broken].carrier.__class__ = BrokenPolling
                on_loop(server, server.broadcast, [broken, sid], "hello")
                assert await websocket.receive_str() == "4hello"
                await asyncio.to_thread(wait_until, lambda: broken not in server.sockets)
    assert [record for record in caplog.records if record.message.endswith("cannot be written to")]
    caplog.clear()


class BrokenPolling(Polling):
    """Raises when it is written to."""

    __slots__ = ()

    @override
    def write(self, ready: list[bytes]) -> bool:
        raise RuntimeError("a bug of ours")
