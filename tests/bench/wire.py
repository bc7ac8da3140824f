"""A lean Socket.IO client over websocket, so that a generator of load is not what is measured.

Frames are masked with zeros, which RFC 6455 allows a client to choose, so that nothing has to be computed. Only what
the server sends unfragmented is understood.
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from typing import Any, Self
from urllib.parse import urlsplit


class WebSocket:
    """One connection. `call` has one command under way at a time; events that arrive meanwhile are counted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.events = 0

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to a node (`http://host:port`) and do the handshakes below Socket.IO."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=4_000_000)
        key = b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in answer.split(b"\r\n", 1)[0], answer
        socket = cls(reader, writer)
        await socket.receive()
        return socket

    async def sign_in(self, identity_token: str) -> None:
        """Sign in and wait for hello."""
        self.send("40" + json.dumps({"identityToken": identity_token}))
        while not (await self.receive()).startswith('42["server.hello"'):
            pass

    async def call(self, number: int, command: str, payload: Any) -> str:
        """Send a command and wait for its acknowledgement; the acknowledgement's JSON text."""
        self.send(f"42{number}" + json.dumps([command, payload]))
        prefix = f"43{number}["
        while not (message := await self.receive()).startswith(prefix):
            self.events += 1
        return message[len(prefix) : -1]

    def send(self, text: str) -> None:
        """Send one text frame."""
        data = text.encode()
        if len(data) < 126:
            head = bytes((0x81, 0x80 | len(data)))
        else:
            head = bytes((0x81, 0x80 | 126)) + len(data).to_bytes(2, "big")
        self._writer.write(head + b"\0\0\0\0" + data)

    async def receive(self) -> str:
        """The next message; pings are answered."""
        while True:
            head = await self._reader.readexactly(2)
            length = head[1] & 0x7F
            if length == 126:
                length = int.from_bytes(await self._reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self._reader.readexactly(8), "big")
            text = (await self._reader.readexactly(length)).decode()
            if text == "2":
                self.send("3")
            elif head[0] & 0x0F == 1:
                return text

    def close(self) -> None:
        """End the connection."""
        self._writer.close()
