"""A lean Socket.IO client over websocket, for where clients must not be the bottleneck.

It knows the texts of messages, not what they mean. Frames are masked with zeros, which RFC 6455 allows a client to
choose, so that nothing has to be computed; what the server sends is expected unfragmented and without attachments.

What runs concurrently: nothing. Everything is called where bytes arrive, in their order.
"""

from __future__ import annotations

import asyncio
import json
import os
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, Self, cast
from urllib.parse import urlsplit

from typing_extensions import override

from tests.harness.clients import TIMEOUT_SECONDS, Refused

_TEXT = 0x81
_CLOSE = 0x88
_MASKED = 0x80

Note = Callable[[str | None], None]


class Wire(asyncio.Protocol):
    """One connection; made by `connect`.

    `hello` is the data of `server.hello`, `ended` is set when the connection is over, `hear` gets each event's JSON
    text (`["name",data]`).
    """

    def __init__(self, host: str, auth: Mapping[str, Any], hear: Callable[[str], None]) -> None:
        self.hello: dict[str, Any] = {}
        self.ended = asyncio.Event()
        self._hear = hear
        self._host = host
        self._auth = auth
        self._transport: asyncio.Transport | None = None
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_upgraded = False
        self._buffer = b""
        self._notes: dict[int, Note] = {}
        self._number = 0

    @classmethod
    async def connect(
        cls,
        url: str,
        auth: Mapping[str, Any],
        *,
        hear: Callable[[str], None] = lambda _: None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> Self:
        """Connect to a node (`http://host:port`), sign in with `auth`, wait for `server.hello`. Raises `Refused`."""
        parts = urlsplit(url)
        wire = cls(parts.netloc, auth, hear)
        try:
            async with asyncio.timeout(timeout):
                loop = asyncio.get_running_loop()
                await loop.create_connection(lambda: wire, parts.hostname or "", parts.port or 80)
                await wire._opened
        except (OSError, TimeoutError) as error:
            wire.close()
            raise Refused(f"{type(error).__name__}: {error}") from error
        except BaseException:
            wire.close()
            raise
        return wire

    def emit(self, command: str, payload: Any, note: Note) -> None:
        """Send a command. `note` gets the JSON text of what acknowledges it, or None if the connection ends before.

        Raises `ConnectionError` when the connection is over.
        """
        if self.ended.is_set():
            raise ConnectionResetError("the connection is over")
        self._number += 1
        self._notes[self._number] = note
        self._send(f"42{self._number}" + json.dumps([command, payload]))

    async def ask(self, command: str, payload: Any) -> str:
        """The JSON text of what acknowledges a command. Raises `ConnectionError`."""
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.emit(command, payload, lambda text: None if answer.done() else answer.set_result(text))
        text = await answer
        if text is None:
            raise ConnectionResetError("the connection ended before an answer came")
        return text

    def close(self) -> None:
        """End the connection, without a word."""
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        key = b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_upgraded:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self._fail(Refused(head.split(b"\r\n", 1)[0].decode(errors="replace")))
                return
            self._is_upgraded = True
            self._buffer = rest
        self._read_frames()

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()
        self._fail(ConnectionResetError("the connection ended"))
        notes, self._notes = self._notes, {}
        for note in notes.values():
            note(None)

    # --- what it does

    def _read_frames(self) -> None:
        buffer, at = self._buffer, 0
        while len(buffer) >= at + 2:
            kind, length, begin = buffer[at], buffer[at + 1], at + 2
            if length == 126:
                begin += 2
                length = int.from_bytes(buffer[at + 2 : begin])
            elif length == 127:
                begin += 8
                length = int.from_bytes(buffer[at + 2 : begin])
            if len(buffer) < begin + length:
                break
            at = begin + length
            if kind == _TEXT:
                self._take(buffer[begin:at].decode())
            elif kind == _CLOSE:
                self.close()
        self._buffer = buffer[at:]

    def _take(self, text: str) -> None:
        if text.startswith("42"):
            if not self._opened.done() and text.startswith('42["server.hello",'):
                self.hello = json.loads(text[2:])[1]
                self._opened.set_result(None)
            self._hear(text[2:])
        elif text.startswith("43"):
            number, _, answer = text[2:].partition("[")
            self._notes.pop(int(number))(answer[:-1])
        elif text == "2":
            self._send("3")
        elif text.startswith("0"):
            self._send("40" + json.dumps(self._auth))
        elif text.startswith("44"):
            self._fail(Refused(json.loads(text[2:])))
        elif text.startswith(("41", "1")):
            self.close()

    def _fail(self, error: Exception) -> None:
        if not self._opened.done():
            self._opened.set_exception(error)
        self.close()

    def _send(self, text: str) -> None:
        assert self._transport is not None
        data = text.encode()
        length = len(data)
        if length < 126:
            head = bytes((_TEXT, _MASKED | length))
        elif length < 65536:
            head = bytes((_TEXT, _MASKED | 126)) + length.to_bytes(2)
        else:
            head = bytes((_TEXT, _MASKED | 127)) + length.to_bytes(8)
        self._transport.write(head + b"\0\0\0\0" + data)
