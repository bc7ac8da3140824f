"""HTTP as no browser speaks it: pipelined, in pieces, without an end, and never read."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from collab_server.realtime.engine.frames import looked_at
from collab_server.realtime.lean import guard
from collab_server.realtime.lean.exchange import LearnedPoll

from .conftest import DEADLINE_SECONDS, Served, echo_engine, serve, wait_until
from .test_bounds import KEY, masked, on_loop, upgrade_request
from .test_engineio import POLL, SOCKET, get, open_polling

CHUNKED = f"POST {POLL} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()


class Connection:
    """A connection of bare bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, *parts: bytes) -> None:
        self._writer.write(b"".join(parts))
        await self._writer.drain()

    def stop_reading(self) -> None:
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def send_endlessly(self, data: bytes) -> None:
        """Send the same again and again, until the server takes no more of it for a while."""
        for _ in range(50_000):
            async with asyncio.timeout(3):
                await self.send(data)

    async def receive(self, until: bytes) -> bytes:
        """All that comes, up to these bytes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._reader.readuntil(until)

    async def receive_exactly(self, size: int) -> bytes:
        """So many bytes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._reader.readexactly(size)

    async def receive_all(self) -> bytes:
        """All that comes until the server closes."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self._reader.read()


@asynccontextmanager
async def dial(served: Served) -> AsyncIterator[Connection]:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def only_lean(way: dict[str, Any]) -> None:
    if "lifespan" in way or way.get("http") == "h11":
        pytest.skip("the HTTP protocol is uvicorn's own there")


def request(method: str, sid: str, body: bytes | None = None) -> bytes:
    length = "" if body is None else f"Content-Length: {len(body)}\r\n"
    return f"{method} {POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode() + (body or b"")


async def until_polled(served: Served, sid: str) -> None:
    carrier = served.server.sockets[sid].carrier
    await asyncio.to_thread(wait_until, lambda: carrier._waiting is not None)


async def test_websocket_key_that_is_not_ascii_is_refused(engine: Served) -> None:
    connections = engine.uvicorn.server_state.connections
    before = len(connections)
    async with dial(engine) as connection:
        await connection.send(upgrade_request(SOCKET).replace(KEY.encode(), b"\xff" * 24))
        assert (await connection.receive_all()).startswith(b"HTTP/1.1 400")
    await asyncio.to_thread(wait_until, lambda: len(connections) <= before)


async def test_no_answer_is_kept_by_caches_or_taken_for_another_kind(
    http: aiohttp.ClientSession, engine: Served, way: dict[str, Any]
) -> None:
    sid = await open_polling(http, engine)
    on_loop(engine.server, engine.server.send_text, sid, "<script>alert(1)</script>")
    asked = [
        ("GET", POLL, None),
        ("GET", f"{POLL}&sid={sid}", None),
        ("POST", f"{POLL}&sid={sid}", "4<script>"),
        ("GET", f"{POLL}&sid=nobody", None),
        ("GET", SOCKET, None),
        ("OPTIONS", POLL, None),
        ("PUT", POLL, None),
    ]
    heads = {}
    for method, path, body in asked:
        async with http.request(method, engine.url + path, data=body) as answer:
            heads[method, path, answer.status] = {
                name.lower(): value for name, value in answer.headers.items()
            }
    too_large = f"POST {POLL}&sid={sid} HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n".encode()
    if "lifespan" in way or way.get("http") == "h11":
        # There the bytes that come are counted, not those announced. Not one more than it takes: what a server leaves
        # unread when it closes makes the kernel reset the connection, and throw the answer away.
        too_large += b"x" * (engine.server.max_http_buffer_size + 1)
    else:
        too_large += b"x" * looked_at(engine.server.max_http_buffer_size)
    for bare in (too_large, upgrade_request(SOCKET.replace("EIO=4", "EIO=3"))):
        async with dial(engine) as connection:
            await connection.send(bare)
            first, *lines = (await connection.receive(b"\r\n\r\n")).decode().lower().split("\r\n")[:-2]
            heads["bare", bare[:30].decode(), int(first.split()[1])] = dict(
                line.split(": ", 1) for line in lines
            )
    assert {status for *_, status in heads} == {200, 400, 413}
    for where, head in heads.items():
        assert head.get("cache-control") == "no-store", where
        assert head.get("x-content-type-options") == "nosniff", where


# --- one after the other


async def test_requests_of_one_connection_are_each_taken_for_what_they_are(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    server = echo_engine()
    server.cors_allowed_origins = ["http://friend.example"]
    with serve(server, **way) as served:
        mine, yours = await open_polling(http, served), await open_polling(http, served)
        async with dial(served) as connection:

            async def ask(request: bytes, answer: bytes) -> bytes:
                await connection.send(request)
                head = await connection.receive(b"\r\n\r\n")
                await connection.receive(answer)
                return head.lower()

            async def poll(sid: str, message: str, header: bytes = b"") -> bytes:
                on_loop(server, server.send_text, sid, message)
                head = request("GET", sid).replace(b"Host: x\r\n", b"Host: x\r\n" + header)
                return await ask(head, f"4{message}".encode())

            for number in range(3):
                await poll(mine, f"mine {number}")
                await poll(yours, f"yours {number}")
                assert b" 200 " in await ask(request("POST", mine, b"4posted"), b"ok")
                assert b" 200 " in await ask(request("GET", mine), b"4posted")
                assert b"access-control" not in await poll(mine, "without an origin")
                head = await poll(mine, "with one", b"Origin: http://friend.example\r\n")
                assert b"access-control-allow-origin: http://friend.example" in head
                assert b" 400 " in await ask(request("GET", "nobody"), b"}")
                assert b" 404 " in await ask(
                    b"GET /nothing?x HTTP/1.1\r\nHost: x\r\n\r\n", b"Not Found\r\n0\r\n\r\n"
                )
            last = await poll(mine, "last", b"Connection: close\r\n")
            assert b"connection: close" in last
            assert await connection.receive_all() == b""


async def test_a_poll_like_one_before_it_is_let_in_as_little_as_any_other(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    server = echo_engine()
    server.cors_allowed_origins = ["http://friend.example"]
    with serve(server, **way) as served:
        sid, other = await open_polling(http, served), await open_polling(http, served)
        async with dial(served) as connection:

            async def poll(sid: str, mark: int, header: bytes = b"") -> bytes:
                head = request("GET", sid).replace(b"Host: x\r\n", b"Host: x\r\n" + header)
                await connection.send(head.replace(b"sid=", b"t=m%d&sid=" % mark))
                head = await connection.receive(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                body = await connection.receive_exactly(length)
                return head.split(b" ")[1] + b" " + body

            for number in range(3):
                on_loop(server, server.send_text, sid, "told")
                assert await poll(sid, number, b"Origin: http://friend.example\r\n") == b"200 4told"
            server.cors_allowed_origins = ["http://another.example"]
            assert b'"Forbidden"' in await poll(sid, 3, b"Origin: http://friend.example\r\n")
            for number in range(3):
                on_loop(server, server.send_text, other, "told")
                assert await poll(other, number) == b"200 4told"
            on_loop(server, server.close_transport, other, "over").result(DEADLINE_SECONDS)
            assert b'"Session ID unknown"' in await poll(other, 3)


async def test_names_and_values_of_a_query_may_be_percent_encoded(engine: Served) -> None:
    async with dial(engine) as connection:
        for query in ("E%49O=4&transport=poll%69ng", "x&y=&EIO=3&EIO=4&transport=polling&z=a+b"):
            await connection.send(f"GET /engine.io/?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await connection.receive(b"}")).partition(b"\r\n\r\n")[2].startswith(b'0{"sid"')


# --- pipelined


async def test_post_behind_a_poll_is_taken_when_it_is_whole(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    async with dial(engine) as connection:
        post = request("POST", sid, b"4hello\x1e4world")
        await connection.send(request("GET", sid), post[:-9])
        await until_polled(engine, sid)
        on_loop(engine.server, engine.server.send_text, sid, "wake up")
        await connection.receive(b"4wake up")
        await connection.send(post[-9:])
        await connection.receive(b"ok")
    assert await get(http, engine, f"{POLL}&sid={sid}") == (200, "4hello\x1e4world")


async def test_too_large_a_post_is_refused_after_the_answer_before_it(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    with serve(echo_engine(max_packet_bytes=1000), **way) as served:
        sid = await open_polling(http, served)
        async with dial(served) as connection:
            await connection.send(request("GET", sid), request("POST", sid, b"4" * 3000))
            await until_polled(served, sid)
            on_loop(served.server, served.server.send_text, sid, "wake up")
            assert (await connection.receive(b"4wake up")).startswith(b"HTTP/1.1 200")
            assert (await connection.receive(b"\r\n\r\n")).startswith(b"HTTP/1.1 413")


async def test_connection_cut_for_nonsense_ends_the_poll_that_waits_on_it(
    http: aiohttp.ClientSession, engine: Served, way: dict[str, Any]
) -> None:
    only_lean(way)
    sid = await open_polling(http, engine)
    async with dial(engine) as connection:
        await connection.send(request("GET", sid), request("POST", sid, b"4hello"), b"nonsense\r\n\r\n")
        assert (await connection.receive_all()).startswith(b"HTTP/1.1 400")
        await asyncio.to_thread(wait_until, lambda: sid not in engine.server.sockets)


async def test_upgrade_behind_a_waiting_poll_is_refused(
    http: aiohttp.ClientSession, engine: Served, way: dict[str, Any]
) -> None:
    only_lean(way)
    sid = await open_polling(http, engine)
    async with dial(engine) as connection:
        await connection.send(request("GET", sid), upgrade_request(SOCKET))
        assert (await connection.receive_all()).startswith(b"HTTP/1.1 400")
    await asyncio.to_thread(wait_until, lambda: sid not in engine.server.sockets)


# --- without an end, and never read


async def test_endless_trailer_is_cut_off(engine: Served, way: dict[str, Any]) -> None:
    only_lean(way)
    async with dial(engine) as connection:
        await connection.send(CHUNKED, b"0\r\n")
        with pytest.raises(ConnectionError):
            await connection.send_endlessly(b"x-header: " + b"x" * 1000 + b"\r\n")


async def test_headers_in_a_trailer_count_for_nothing(
    http: aiohttp.ClientSession, way: dict[str, Any]
) -> None:
    only_lean(way)
    server = echo_engine()
    server.cors_allowed_origins = ["http://friend.example"]
    with serve(server, **way) as served:
        async with dial(served) as connection:
            await connection.send(CHUNKED, b"0\r\nOrigin: http://stranger.example\r\n\r\n")
            assert b"Bad handshake method" in await connection.receive(b"}")


async def test_trailer_that_says_close_is_obeyed(engine: Served, way: dict[str, Any]) -> None:
    only_lean(way)
    async with dial(engine) as connection:
        await connection.send(CHUNKED, b"0\r\nConnection: close\r\n\r\n")
        assert (await connection.receive_all()).startswith(b"HTTP/1.1 400")


async def test_a_head_of_too_many_headers_is_refused(engine: Served, way: dict[str, Any]) -> None:
    only_lean(way)
    for headers, status in ((b"a: b\r\n" * 200, b"200"), (b"a:\r\n" * 300, b"400")):
        async with dial(engine) as connection:
            await connection.send(f"GET {POLL} HTTP/1.1\r\n".encode(), headers, b"\r\n")
            assert (await connection.receive(b"\r\n\r\n")).startswith(b"HTTP/1.1 " + status)


async def test_client_that_asks_without_reading_is_not_heard(engine: Served, way: dict[str, Any]) -> None:
    only_lean(way)
    connections = engine.uvicorn.server_state.connections
    before = set(connections)
    async with dial(engine) as connection:
        connection.stop_reading()
        with pytest.raises(TimeoutError):
            await connection.send_endlessly(request("GET", "nobody") * 10)
        (protocol,) = connections - before
        assert protocol.transport.get_write_buffer_size() < 1_000_000


async def test_head_that_begins_behind_a_large_body_is_taken(
    http: aiohttp.ClientSession, engine: Served
) -> None:
    sid = await open_polling(http, engine)
    async with dial(engine) as connection:
        head = request("GET", sid)
        await connection.send(request("POST", sid, b"4" + b"x" * 100_000), head[:-1])
        await connection.receive(b"ok")
        await connection.send(head[-1:])
        assert (await connection.receive(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"\r\n",
        f"GET {POLL} HTT".encode(),
        f"POST {POLL} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4he".encode(),
    ],
    ids=["nothing", "an empty line", "half a head", "half a body"],
)
async def test_a_request_that_does_not_come_to_its_end_is_not_waited_for(
    way: dict[str, Any], beginning: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_lean(way)
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 0.2)
    with serve(echo_engine(), **way) as served:
        async with dial(served) as first:
            await first.send(beginning)
            with contextlib.suppress(ConnectionResetError):
                answer = await first.receive_all()  # to a body that is for nobody, it is at its head
                assert (b"Bad handshake method" in answer) is (b"POST" in beginning)
        if not beginning:
            return  # uvicorn looks after those who keep a connection for another request
        async with dial(served) as second:  # nor one that follows a whole one
            await second.send(f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            await second.receive(b"}")
            await second.send(beginning)
            with contextlib.suppress(ConnectionResetError):
                await second.receive_all()


async def test_who_is_connected_is_not_asked_for_another_request(
    way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_lean(way)
    monkeypatch.setattr(guard, "REQUEST_SECONDS", 0.2)
    with serve(echo_engine(), **way) as served:
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{served.url}{SOCKET}") as socket:
            assert (await socket.receive_str()).startswith("0{")
            await asyncio.sleep(0.4)
            await socket.send_str("4hello")
            assert await socket.receive_str() == "4hello"
            sid = await open_polling(http, served)
            poll = asyncio.create_task(get(http, served, f"{POLL}&sid={sid}"))
            await until_polled(served, sid)
            await asyncio.sleep(0.4)
            on_loop(served.server, served.server.send_text, sid, "wake up")
            assert await poll == (200, "4wake up")
            async with dial(served) as connection:
                for number in range(3):  # with an empty line behind each request, as old clients send
                    await connection.send(request("GET", sid))
                    await until_polled(served, sid)
                    await asyncio.sleep(0.3)
                    on_loop(served.server, served.server.send_text, sid, f"{number}")
                    await connection.receive(f"\r\n\r\n4{number}".encode())
                    await connection.send(b"\r\n")


async def test_a_websocket_outlives_what_its_connection_was_kept_for(way: dict[str, Any]) -> None:
    only_lean(way)
    with serve(echo_engine(), **way, timeout_keep_alive=0.2) as served:
        async with dial(served) as connection:
            for ask in (
                f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /engine.io/ HTTP/1.1\r\nHost: x\r\n\r\n",
            ):
                await connection.send(ask.encode())
                await connection.receive(b"}")
            await connection.send(upgrade_request(SOCKET))
            await connection.receive(b"}")
            await asyncio.sleep(0.4)
            await connection.send(masked(1, b"4x"))
            await connection.receive(b"4x")


# --- gone before the answer


@pytest.mark.parametrize("decision", [None, "not you"], ids=["accepted", "refused"])
@pytest.mark.parametrize("path", [SOCKET, POLL], ids=["websocket", "polling"])
async def test_client_may_go_while_its_connect_handler_runs(
    way: dict[str, Any], decision: str | None, path: str
) -> None:
    server = echo_engine()
    gate = asyncio.Event()

    @server.on("connect")
    async def connect(sid: str, environ: dict[str, Any]) -> Any:
        await gate.wait()
        return decision

    with serve(server, **way) as served:
        async with dial(served) as connection:
            is_socket = path == SOCKET
            get = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            await connection.send(upgrade_request(path) if is_socket else get)
            await asyncio.to_thread(wait_until, lambda: server.sockets)
        await asyncio.to_thread(wait_until, lambda: not served.uvicorn.server_state.connections)
        (session,) = server.sockets.values()
        on_loop(server, gate.set)
        await asyncio.to_thread(wait_until, lambda: session.inbox.worker is None)
        if not is_socket and decision is None:  # its heartbeat would tell
            on_loop(server, server.close_all, "test")
        await asyncio.to_thread(wait_until, lambda: not server.sockets)
        gc.collect()  # what a task raised is logged when it is let go


async def test_of_what_is_refused_nothing_is_kept(way: dict[str, Any]) -> None:
    """Or one session would have a node keep as much as there are connections: polls that are refused have no end."""
    only_lean(way)
    server = echo_engine()

    def learned() -> list[LearnedPoll]:
        connections = served.uvicorn.server_state.connections
        kept = [getattr(connection, "_learned", None) for connection in connections]
        return [one for one in kept if one is not None]

    with serve(server, **way) as served:
        async with dial(served) as polling, dial(served) as carrying:
            await polling.send(f"GET {POLL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            opened = await polling.receive(b"}")
            sid = json.loads(b"{" + opened.rpartition(b"{")[2])["sid"]
            for _ in range(2):
                await polling.send(request("GET", sid))
                await asyncio.to_thread(wait_until, lambda: server.sockets[sid].carrier.has_poll)
                on_loop(server, server.send_text, sid, "x")
                await polling.receive(b"4x")
            assert len(learned()) == 1
            await carrying.send(upgrade_request(f"{SOCKET}&sid={sid}"))
            await carrying.receive(b"\r\n\r\n")
            await carrying.send(masked(1, b"2probe"), masked(1, b"5"))
            await asyncio.to_thread(wait_until, lambda: server.sockets[sid].upgraded)
            async with dial(served) as another:
                for connection in (polling, another):
                    await connection.send(request("GET", sid))
                    await connection.receive(b"Bad request")
                assert learned() == []
