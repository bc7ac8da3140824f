"""What Redis complains about is said in words, also where it hangs up before it was asked anything."""

from __future__ import annotations

import asyncio

import pytest

from collab_server.cluster.link import LinkError, open_link, silence
from collab_server.config.values import RedisSection


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("DENIED Redis is running in protected mode because protected mode is enabled", "has no password"),
        ("NOAUTH Authentication required.", "asks for a password"),
        ("WRONGPASS invalid username-password pair", "refuses the user name or password"),
        ("NOPERM User x has no permissions to run the 'ping' command", "may not do this"),
    ],
)
async def test_a_complaint_is_said_in_words(complaint: str, words: str) -> None:
    async def complain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"-{complaint}\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(complain, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(LinkError, match=words):
            async with asyncio.timeout(20):
                await open_link(RedisSection(hosts=((host, port),)), (host, port))


async def test_a_name_that_nobody_knows_is_said_in_words() -> None:
    with pytest.raises(LinkError, match=r"^the name in redis\.invalid:6379 cannot be found$"):
        async with asyncio.timeout(20):
            await open_link(RedisSection(hosts=(("redis.invalid", 6379),)), ("redis.invalid", 6379))


@pytest.mark.parametrize(
    ("is_tls", "words"), [(False, "With TLS it is rediss://"), (True, "as rediss:// wants it")]
)
async def test_a_server_of_another_kind_is_said_to_be_one(is_tls: bool, words: str) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        redis = RedisSection(hosts=((host, port),), is_tls=is_tls)
        assert (words in silence(redis, (host, port))) == is_tls
        if is_tls:
            return  # the handshake has words of its own
        with pytest.raises(LinkError, match=words):
            async with asyncio.timeout(20):
                await open_link(redis, (host, port))
