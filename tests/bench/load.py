"""Load on a Socket.IO server: clients so lean that they are not what is measured.

Each client is one asyncio protocol that counts what it gets; thousands fit into a process. Frames that clients send
are masked with zeros, which RFC 6455 allows. Pings are answered, those of the WebSocket protocol
too. Servers differ only in their `Dialect`.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

STAMP = "at:"
_PING, _PONG = b"2", "3"
_WEBSOCKET_PING = 0x89


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to talk to one kind of server."""

    auth: Callable[[str], dict[str, Any]]  # of a room
    join: Callable[[str], list[Any] | None]  # a command that joins a room, if `auth` does not
    publish: Callable[[str, str], list[Any]]  # room, text → a command that is acknowledged
    event: bytes  # what a delivered event begins with
    is_ready: bytes  # what the last answer to joining begins with


def frame(text: str) -> bytes:
    """A client's text frame."""
    data = text.encode()
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + b"\0\0\0\0" + data
    return b"\x81\xfe" + len(data).to_bytes(2, "big") + b"\0\0\0\0" + data


@dataclass(slots=True)
class Tally:
    """What the members of a room got together."""

    delivered: int = 0
    waited: list[float] = field(default_factory=list)  # seconds, of one member per room
    on_delivery: Callable[[], None] | None = None


class Member(asyncio.Protocol):
    """A websocket client that joins a room and counts its events into `tally`."""

    def __init__(
        self, url: str, dialect: Dialect, room: str, tally: Tally, *, is_timed: bool = False
    ) -> None:
        self._netloc = urlsplit(url).netloc
        self._dialect = dialect
        self._room = room
        self._tally = tally
        self._is_timed = is_timed
        self._rest = b""
        self._is_open = False
        self._acks: dict[int, asyncio.Future[bytes]] = {}
        self._number = 0
        self.transport: Any = None
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.is_lost = False

    @override
    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        key = b64encode(os.urandom(16)).decode()
        transport.write(
            (
                f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._netloc}\r\n"
                f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed before it was ready"))

    @override
    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        if not self._is_open:
            start = data.find(b"\r\n\r\n") + 4
            if start == 3:
                self._rest = data
                return
            assert b" 101 " in data[:20], data[:200]
            self._is_open = True
        while end - start >= 2:
            size, body = data[start + 1], start + 2
            if size == 126:
                size, body = int.from_bytes(data[start + 2 : start + 4], "big"), start + 4
            elif size == 127:
                size, body = int.from_bytes(data[start + 2 : start + 10], "big"), start + 10
            if body + size > end:
                break
            if data[start] == _WEBSOCKET_PING:
                self.transport.write(b"\x8a" + bytes((0x80 | size,)) + b"\0\0\0\0" + data[body : body + size])
            else:
                self._take(data, body, body + size)
            start = body + size
        self._rest = data[start:]

    def _take(self, data: bytes, start: int, end: int) -> None:
        if data.startswith(self._dialect.event, start):
            tally = self._tally
            tally.delivered += 1
            if self._is_timed:
                at = data.find(STAMP.encode(), start, end) + len(STAMP)
                tally.waited.append(time.monotonic() - int(data[at : at + 16]) / 1e6)
            if tally.on_delivery is not None:
                tally.on_delivery()
        elif data[start:end] == _PING:
            self.transport.write(frame(_PONG))
        else:
            self._answer(data[start:end])

    def _answer(self, packet: bytes) -> None:
        dialect = self._dialect
        if packet[:1] == b"0":
            self.transport.write(frame("40" + json.dumps(dialect.auth(self._room))))
        elif packet[:2] == b"40" and (join := dialect.join(self._room)) is not None:
            self.transport.write(frame("420" + json.dumps(join)))
        if packet.startswith(dialect.is_ready) and not self.ready.done():
            self.ready.set_result(None)
        elif packet[:2] == b"43":
            number = int(packet[2 : packet.find(b"[")])
            if number in self._acks:
                self._acks.pop(number).set_result(packet)
        elif packet[:2] == b"44" and not self.ready.done():
            self.ready.set_exception(ConnectionError(packet.decode()))

    def publish(self, room: str, size: int) -> asyncio.Future[bytes]:
        """Publish a text of `size` characters with the time in it; the future is its acknowledgement."""
        self._number += 1
        text = f"{STAMP}{int(time.monotonic() * 1e6):016d}".ljust(size, "x")
        command = json.dumps(self._dialect.publish(room, text))
        self.transport.write(frame(f"42{self._number}{command}"))
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._acks[self._number] = answer
        return answer


async def join(url: str, dialect: Dialect, room: str, tally: Tally, *, is_timed: bool = False) -> Member:
    """Connect one member and wait until it gets events."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, member = await loop.create_connection(
        lambda: Member(url, dialect, room, tally, is_timed=is_timed), parts.hostname or "", parts.port or 80
    )
    async with asyncio.timeout(30):
        await member.ready
    return member


async def join_all(
    url: str, dialect: Dialect, rooms: list[str], members: int, *, at_once: int = 50
) -> tuple[dict[str, Tally], list[Member]]:
    """`members` members for each room; the first of each is timed."""
    gate = asyncio.Semaphore(at_once)
    tallies = {room: Tally() for room in rooms}

    async def one(room: str, number: int) -> Member:
        async with gate:
            return await join(url, dialect, room, tallies[room], is_timed=number == 0)

    joined = await asyncio.gather(*(one(room, number) for number in range(members) for room in rooms))
    return tallies, list(joined)


class Http:
    """One keep-alive HTTP connection, as lean as it gets."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> Http:
        assert self._url.hostname is not None
        self.reader, self.writer = await asyncio.open_connection(self._url.hostname, self._url.port)
        return self

    async def ask(self, method: str, query: str, body: bytes = b"") -> bytes:
        """The body of the answer; 200 is expected. A connection that the server has closed meanwhile is opened anew."""
        if self.reader.at_eof():
            self.writer.close()
            await self.open()
        head = f"{method} /socket.io/?EIO=4&{query} HTTP/1.1\r\nHost: {self._url.netloc}\r\n"
        if body:
            head += f"Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(head.encode() + b"\r\n" + body)
        head_bytes = await self.reader.readuntil(b"\r\n\r\n")
        lines = head_bytes.lower().split(b"\r\n")
        assert b" 200 " in lines[0] + b" ", head_bytes
        for line in lines:
            if line.startswith(b"content-length:"):
                return await self.reader.readexactly(int(line.split(b":")[1]))
        answer = b""  # chunked
        while (size := int((await self.reader.readuntil(b"\r\n")).strip(), 16)) > 0:
            answer += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return answer

    def close(self) -> None:
        self.writer.close()


async def open_polling(url: str, dialect: Dialect, room: str) -> tuple[Http, Http, str, list[bytes]]:
    """Handshake, CONNECT and joining by long-polling: two connections, the sid, and the packets that came."""
    down, up = await Http(url).open(), await Http(url).open()
    sid = json.loads((await down.ask("GET", "transport=polling"))[1:])["sid"]
    query = f"transport=polling&sid={sid}"
    await up.ask("POST", query, ("40" + json.dumps(dialect.auth(room))).encode())
    packets: list[bytes] = []
    has_joined = False
    while not any(packet.startswith(dialect.is_ready) for packet in packets):
        packets += (await down.ask("GET", query)).split(b"\x1e")
        if not has_joined and any(packet.startswith(b"40") for packet in packets):
            has_joined = True
            if (command := dialect.join(room)) is not None:
                await up.ask("POST", query, ("420" + json.dumps(command)).encode())
    return down, up, sid, packets


async def connect_as_official_clients_do(url: str, dialect: Dialect, room: str) -> asyncio.StreamWriter:
    """Polling first, then the upgrade, beside each other as in the JavaScript client; the open websocket."""
    down, up = await Http(url).open(), await Http(url).open()
    sid = json.loads((await down.ask("GET", "transport=polling"))[1:])["sid"]
    query = f"transport=polling&sid={sid}"
    parts = urlsplit(url)
    assert parts.hostname is not None

    async def connect() -> None:
        await up.ask("POST", query, ("40" + json.dumps(dialect.auth(room))).encode())

    async def poll() -> None:
        received: list[bytes] = []
        while b"6" not in received:
            received += (await down.ask("GET", query)).split(b"\x1e")

    async def probe() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(
            (
                f"GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n"
            ).encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame("2probe"))
        await reader.readuntil(b"3probe")
        return reader, writer

    _, _, (reader, writer) = await asyncio.gather(connect(), poll(), probe())
    writer.write(frame("5"))
    down.close()
    up.close()
    del reader
    return writer
