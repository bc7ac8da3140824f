"""One connection to Redis: signing in, commands out, replies in; and where the master is, with Sentinels.

Sentinels are asked by redis-py (`sentinels.py`). The bus itself does not use it: it costs a task, two time-outs and a
stream per command, retries behind one's back (a frozen server held `ping()` for 15 s), and takes another pooled
connection for each publish, which loses the order. This is the part of it that the bus needs; hiredis parses the
replies.

A `Link` runs no task: replies are handled in the event loop's read callback, in the order of the commands.
It ends when either side closes; `lost` then tells why. Nothing here limits its own waiting, except towards
Sentinels: callers put it under a timeout.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
from typing_extensions import override

from collab_server import lookups
from collab_server.config.values import RedisSection, shown

__all__ = ["Link", "LinkError", "find_server", "in_words", "open_link", "silence"]

SENTINEL_SECONDS = 0.5
MAX_REPLY_BYTES = 16_777_216
"""What Redis sends at once, at most, before the link is given up: more than the bus has ever sent itself."""
MAX_WORDS = 200

_NOTHING = object()
_CLOSED = "Redis closed the connection"


class LinkError(Exception):
    """Redis cannot be used; the text says why, in words for an operator, never with a password."""


class Link(asyncio.Protocol):
    """An open connection. `on_message(payload)` gets what arrives on a subscribed channel."""

    def __init__(self, on_message: Callable[[bytes], None] | None = None) -> None:
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._on_message = on_message
        self._is_subscribed = False
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self._waiting: deque[Callable[[Any], None]] = deque()
        self._transport: asyncio.Transport | None = None
        self._unparsed = 0  # bytes since the last whole reply

    @property
    def is_open(self) -> bool:
        """Whether commands can still be sent."""
        return not self.lost.done()

    def send(self, packed: bytes, on_reply: Callable[[Any], None]) -> None:
        """Send one command, RESP already. `on_reply` gets the answer, or the error as a value; nobody if the
        link ends first.
        """
        if self._transport is not None and self.is_open:
            self._waiting.append(on_reply)
            self._transport.write(packed)

    def publish(self, channel: bytes, data: bytes, on_answer: Callable[[str | None], None]) -> None:
        """`outbox.Way`: one PUBLISH."""
        self.send(
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(channel), channel, len(data), data),
            lambda reply: on_answer(in_words(reply) if isinstance(reply, hiredis.ReplyError) else None),
        )

    def ping(self, on_answer: Callable[[], None]) -> None:
        """`outbox.Way`: whether Redis is there."""
        self.send(
            b"*1\r\n$4\r\nPING\r\n",
            lambda reply: None if isinstance(reply, hiredis.ReplyError) else on_answer(),
        )

    async def ask(self, *command: str | int | bytes) -> Any:
        """The answer to `command`. Raises `LinkError` for an error of Redis and for a link that ends; has no
        timeout of its own.
        """
        if not self.is_open:
            raise LinkError(self.lost.result())
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answered(reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.send(hiredis.pack_command(command), answered)  # type: ignore[arg-type]  # its stub says 1-tuple
        await asyncio.wait((answer, self.lost), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            raise LinkError(self.lost.result())
        if isinstance(reply := answer.result(), hiredis.ReplyError):
            raise LinkError(in_words(reply))
        return reply

    async def subscribe(self, channel: str) -> None:
        """Subscribe, and return when Redis has confirmed it: from then on nothing is missed while the link
        lasts.
        """
        await self.ask("SUBSCRIBE", channel)

    def close(self, reason: str) -> None:
        """End the link at once, without waiting for a peer that may be frozen."""
        if not self.lost.done():
            self.lost.set_result(reason)
        if self._transport is not None:
            self._transport.abort()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # TCP gives a Transport

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            self._unparsed += len(data)
            while (reply := self._reader.gets()) is not _NOTHING:
                self._unparsed = 0
                if self._is_subscribed and self._on_message is not None:
                    if type(reply) is list and reply[0] == b"message":
                        self._on_message(reply[2])
                        continue
                elif type(reply) is list and reply and reply[0] == b"subscribe":
                    # From here on, in this very read, messages may follow.
                    self._is_subscribed = True
                if self._waiting:
                    self._waiting.popleft()(reply)
        except hiredis.ProtocolError:
            self.close("what answers there is not Redis")
        if self._unparsed > MAX_REPLY_BYTES:
            self.close("Redis sends more than was ever published")

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.close(f"the connection ended: {_words_of(exc)}" if exc else _CLOSED)


async def open_link(
    redis: RedisSection,
    server: tuple[str, int],
    *,
    ssl_context: ssl.SSLContext | None = None,
    name: str = "",
    on_message: Callable[[bytes], None] | None = None,
) -> Link:
    """A link to `server` (host, port) that is signed in and has answered a PING. Raises `LinkError`; has no
    timeout of its own.
    """
    link = await _connect(redis, server, ssl_context, on_message)
    try:
        if redis.password is not None:
            who = [redis.username] if redis.username else []
            await link.ask("AUTH", *who, redis.password.get_secret_value())
        if redis.database:
            await link.ask("SELECT", redis.database)
        if name:
            link.send(hiredis.pack_command(("CLIENT", "SETNAME", name)), _ignore)  # type: ignore[arg-type]
        await link.ask("PING")
        if len(redis.hosts) > 1 and not redis.sentinel_master:
            await _check_cluster(link, server)
        if redis.sentinel_master:
            role = await link.ask("ROLE")
            if role[0] != b"master":
                raise LinkError(f"{shown(*server)} is not the master of {redis.sentinel_master}")
    except BaseException as error:
        link.close(str(error))
        if str(error) == _CLOSED:  # before it has answered anything
            raise LinkError(f"{shown(*server)} closed the connection: {_wrong_way(redis)}") from None
        raise
    return link


def silence(redis: RedisSection, server: tuple[str, int]) -> str:
    """What is wrong with a server that has said nothing in time."""
    return f"{shown(*server)} does not answer{f': {_wrong_way(redis)}' if redis.is_tls else ''}"


def _wrong_way(redis: RedisSection) -> str:
    return (
        "does Redis speak TLS there, as rediss:// wants it?"
        if redis.is_tls
        else "is it Redis, and without TLS? With TLS it is rediss://"
    )


async def _check_cluster(link: Link, server: tuple[str, int]) -> None:
    """Raises `LinkError` unless what is published here is heard at the other nodes of a Redis Cluster.

    Servers that know nothing of each other would divide the nodes, and a replica keeps what it is told to itself.
    """
    try:
        said = await link.ask("CLUSTER", "INFO")
    except LinkError as error:
        words = f"{shown(*server)} is no node of a Redis Cluster, and several addresses are for one: {error}"
        raise LinkError(words) from error
    if b"cluster_state:ok" not in said:
        raise LinkError(f"the Redis Cluster at {shown(*server)} is not well: its cluster_state is not ok")


async def find_server(
    redis: RedisSection, *, ssl_context: ssl.SSLContext | None = None, turn: int = 0
) -> tuple[str, int]:
    """Host and port to talk to now; asks the Sentinels where there are some. Raises `LinkError`; limits each
    Sentinel to 0.5 s.

    Of several without Sentinels it is the one whose `turn` it is.
    """
    if redis.sentinel_master is None:
        return redis.hosts[turn % len(redis.hosts)]
    from collab_server.cluster import sentinels  # and with it redis-py, which costs a node 10 MB

    reason = ""
    for host, port in redis.hosts:
        try:
            async with asyncio.timeout(SENTINEL_SECONDS):
                await lookups.find(host)
                found = await sentinels.ask(redis, host, port, ssl_context)
            if found is not None:
                return found
            reason = f"the Sentinel {shown(host, port)} does not know {redis.sentinel_master}"
        except TimeoutError:
            reason = f"the Sentinel {shown(host, port)} does not answer"
        except socket.gaierror:
            reason = f"the name in {shown(host, port)} cannot be found"
        except sentinels.RedisError as error:
            reason = f"the Sentinel {shown(host, port)} cannot be asked: {error}"
    raise LinkError(reason)


async def _connect(
    redis: RedisSection,
    server: tuple[str, int],
    ssl_context: ssl.SSLContext | None,
    on_message: Callable[[bytes], None] | None,
) -> Link:
    if redis.is_tls and ssl_context is None:
        raise LinkError("rediss:// needs an SSL context")
    try:
        await lookups.find(server[0])
        _, link = await asyncio.get_running_loop().create_connection(
            lambda: Link(on_message), server[0], server[1], ssl=ssl_context if redis.is_tls else None
        )
    except socket.gaierror as error:
        raise LinkError(f"the name in {shown(*server)} cannot be found") from error
    except OSError as error:  # ssl.SSLError is one
        raise LinkError(f"cannot reach {shown(*server)}: {_words_of(error)}") from error
    return link


def _ignore(reply: Any) -> None:
    """A courtesy to operators; an account that may not do it is as good."""


def in_words(reply: hiredis.ReplyError) -> str:
    """What Redis complains about, for an operator. Redis never repeats a password."""
    text = str(reply)[:MAX_WORDS]
    if text.startswith(("WRONGPASS", "ERR invalid password")):
        return "Redis refuses the user name or password"
    if text.startswith("NOAUTH"):
        return "Redis asks for a password"
    if text.startswith("DENIED"):
        return "Redis has no password and takes nobody from other machines (protected mode): give it one"
    if text.startswith("NOPERM"):
        return f"the Redis user may not do this: {text}"
    return f"Redis answers: {text}"


def _words_of(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'verify_message', '') or error.reason or error}"
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()
    return str(error)
