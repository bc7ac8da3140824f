"""The fault proxy does exactly what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.faults.proxy import Proxy
from tests.harness.waiting import Stopwatch, until

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[int]:
    """The port of a server that sends everything back."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", echo)) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def streams(proxy: Proxy) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection(*proxy.address)
    yield reader, writer
    writer.close()


async def said_back(streams: Streams, words: bytes, timeout: float = 2) -> bytes:
    reader, writer = streams
    writer.write(words)
    async with asyncio.timeout(timeout):
        return await reader.readexactly(len(words))


async def is_silent(streams: Streams, seconds: float = 0.1) -> bool:
    try:
        async with asyncio.timeout(seconds):
            return not await streams[0].read(1)
    except TimeoutError:
        return True


async def connect_and_read(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection(*proxy.address)
    try:
        await reader.read()
    finally:
        writer.close()


async def test_bytes_pass_unchanged_and_in_order(proxy: Proxy, streams: Streams) -> None:
    words = bytes(range(256)) * 4096
    reader, writer = streams
    writer.write(words)
    async with asyncio.timeout(20):
        assert await reader.readexactly(len(words)) == words
    assert proxy.bytes_moved == (len(words), len(words))


async def test_an_end_of_one_direction_is_handed_on(streams: Streams) -> None:
    reader, writer = streams
    writer.write(b"last words")
    writer.write_eof()
    async with asyncio.timeout(20):
        assert await reader.read() == b"last words"


async def test_refusing_keeps_open_connections_and_takes_no_new_ones(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"hello")
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*proxy.address)
    assert await said_back(streams, b"still here") == b"still here"
    proxy.heal()
    _, writer = await asyncio.open_connection(*proxy.address)
    writer.close()


async def test_resetting_takes_new_connections_and_drops_them(proxy: Proxy) -> None:
    proxy.reset_new()
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(connect_and_read(proxy), 20)


async def test_a_cut_resets_open_connections_on_both_sides(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"hello")
    proxy.cut()
    assert proxy.open_connections == 0
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(20):
            await streams[0].read()


async def test_a_stall_moves_nothing_and_loses_nothing(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"hello")
    proxy.stall()
    streams[1].write(b"are you there")
    assert await is_silent(streams)
    assert proxy.open_connections == 1
    proxy.heal()
    async with asyncio.timeout(20):
        assert await streams[0].readexactly(13) == b"are you there"


async def test_a_stall_of_one_direction_lets_the_other_pass(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"hello")
    proxy.stall("down")
    streams[1].write(b"x" * 10)
    await until(lambda: proxy.bytes_moved[0] == 15, what="the bytes go up")
    assert await is_silent(streams)


async def test_while_stalled_new_connections_are_taken_and_silent(proxy: Proxy) -> None:
    proxy.stall()
    streams = await asyncio.open_connection(*proxy.address)
    streams[1].write(b"anybody")
    assert await is_silent(streams)
    proxy.heal()
    async with asyncio.timeout(20):
        assert await streams[0].readexactly(7) == b"anybody"
    streams[1].close()


async def test_a_lost_target_leaves_the_client_waiting(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"hello")
    proxy.lose_target()
    streams[1].write(b"anybody")
    assert await is_silent(streams)
    assert proxy.open_connections == 1
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        async with asyncio.timeout(20):
            await streams[0].read()


async def test_a_delay_holds_bytes_back_without_slowing_them(proxy: Proxy, streams: Streams) -> None:
    proxy.delay(0.1, "up")
    began, watch = time.monotonic(), Stopwatch()
    for _ in range(20):
        streams[1].write(b"x")
        await asyncio.sleep(0)
    async with asyncio.timeout(20):
        await streams[0].readexactly(20)
    assert time.monotonic() - began >= 0.1
    assert watch.seconds < 0.6


async def test_a_slow_line_takes_its_time(proxy: Proxy, streams: Streams) -> None:
    proxy.slow(50_000, "down")
    began, watch = time.monotonic(), Stopwatch()
    assert len(await said_back(streams, b"x" * 10_000, timeout=20)) == 10_000
    assert time.monotonic() - began >= 0.15
    assert watch.seconds < 2


async def test_a_target_that_refuses_ends_the_connection(echo: int) -> None:
    with Proxy(("127.0.0.1", 1)) as nowhere, pytest.raises(ConnectionResetError):
        await asyncio.wait_for(connect_and_read(nowhere), 2)


async def test_a_connection_that_was_silent_for_too_long_is_forgotten(proxy: Proxy, streams: Streams) -> None:
    other = await asyncio.open_connection(*proxy.address)
    await said_back(streams, b"hello")
    await asyncio.sleep(0.6)
    assert await said_back(other, b"hello") == b"hello"
    proxy.forget_idle(0.5)
    streams[1].write(b"anybody")
    assert await is_silent(streams)
    assert await said_back(other, b"hello") == b"hello"
    other[1].close()


async def test_new_connections_go_to_where_the_proxy_is_aimed_at(proxy: Proxy, streams: Streams) -> None:
    await said_back(streams, b"the connection is there, at the old target, too")
    proxy.aim(("127.0.0.1", 1))
    await said_back(streams, b"the old one goes on")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(connect_and_read(proxy), 20)
