"""The bytes of a websocket of which an ASGI server shows messages alone: what is handed over to another node are bytes.

`AsgiBytes` is a transport, as far as whoever carries the connection asks for one. To the session's home it speaks as
the client would: the frames that it says are made here of the messages that have come, and what the home says becomes
messages again. Pings and closing handshakes are between the client and the ASGI server; what the client closes with is
told to the home.

What it promises
    A message is read when the home has taken the one before, at the pace of a client. Of what the home has said
    `HIGH_WATER_BYTES` and one message wait for the client at most; then it is asked to say no more.
What runs concurrently
    Within `carry`, one task reads and one writes.
How it stops
    When either side closes, `carry` ends, and tells whoever carries the connection that it is no more.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.both import Receive, Send, say, until_either_ends
from collab_server.realtime.engine.pace import Allowance, Pace
from collab_server.realtime.engine.session import Headers, Scope, Taker

__all__ = ["CUT", "Answer", "AsgiBytes", "as_handshake"]

ANSWER_SECONDS = 10.0
"""So long the home has for its answer to the handshake."""
STALLED_SECONDS = 30.0
"""So long a client has to take what was sent before."""
HIGH_WATER_BYTES = 262_144
ANSWER_BYTES = 65_536
"""Of an answer to a handshake."""

CUT = "collab_server.cut"
"""In a message that a websocket of uvicorn's brings: it is too large, and this is how it begins."""

_KEY = (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA==")  # nobody looks at what is made of it
_VERSION = (b"sec-websocket-version", b"13")
_OF_THE_HOP = (b"connection", b"upgrade", b"sec-websocket-accept", b"sec-websocket-protocol")
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the home has answered to the handshake; `headers` are in lower case."""

    status: int
    headers: Headers
    body: bytes = b""

    @property
    def subprotocol(self) -> str | None:
        """The one that it has chosen."""
        return next(
            (value.decode("latin-1") for name, value in self.headers if name == b"sec-websocket-protocol"),
            None,
        )

    @property
    def for_the_client(self) -> Headers:
        """The headers that are not between two ends of one connection."""
        return [(name, value) for name, value in self.headers if name not in _OF_THE_HOP]


def as_handshake(scope: Scope) -> Scope:
    """The request that a websocket of ASGI came by, as far as the server tells, with what every handshake has."""
    kept = [line for line in scope["headers"] if line[0] not in (_KEY[0], _VERSION[0])]
    return {**scope, "method": "GET", "headers": [*kept, _KEY, _VERSION]}


class _Answering:
    """Reads the home's answer to the handshake."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._head = bytearray()

    def end(self) -> None:
        """There is none, unless it is there."""
        self._set(None)

    def feed(self, data: bytes) -> bytes:
        """Take bytes of it; what has come behind it. Raises `ValueError` for what is none."""
        head = self._head
        head += data
        end = head.find(_END_OF_HEAD)
        if end < 0:
            if len(head) > ANSWER_BYTES:
                raise ValueError("a head without end")
            return b""
        first, *lines = bytes(head[:end]).split(b"\r\n")
        headers = [
            (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        status, end = int(first.split(b" ")[1]), end + len(_END_OF_HEAD)
        if status == frames.SWITCHING:
            self._set(Answer(status, headers))
            return bytes(head[end:])
        length = min(int(dict(headers).get(b"content-length", b"0")), ANSWER_BYTES)
        if len(head) - end >= length:
            self._set(Answer(status, headers, bytes(head[end : end + length])))
        return b""

    def _set(self, answer: Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class _Outgoing:
    """What the home has said and the client has not taken: whole frames, the oldest first."""

    def __init__(self) -> None:
        self.something = asyncio.Event()
        self.is_full = False
        self._cutter = frames.FrameCutter()
        self._ready: deque[bytes] = deque()
        self._bytes = 0

    @property
    def first(self) -> bytes | None:
        """The frame whose turn it is."""
        return self._ready[0] if self._ready else None

    def put(self, data: bytes) -> bool:
        """Whether it is full, and was not so before."""
        for frame in self._cutter.feed(data):
            self._ready.append(frame)
            self._bytes += len(frame)
        self.something.set()
        was_full, self.is_full = self.is_full, self.is_full or self._bytes > HIGH_WATER_BYTES
        return self.is_full and not was_full

    def drop_first(self) -> bool:
        """It is taken. Whether there is room again, as there was none before."""
        self._bytes -= len(self._ready.popleft())
        was_full, self.is_full = self.is_full, self.is_full and self._bytes > HIGH_WATER_BYTES // 2
        return was_full and not self.is_full


class AsgiBytes:
    """See the module.

    Args:
        taker: carries the connection from now on.
        pace: of the messages that come.
        trust: is told how large they may be; called at least once, before the handshake is completed.
        most_bytes: so large where the home does not say.
    """

    def __init__(self, taker: Taker, pace: Pace, trust: Callable[[int], None], most_bytes: int) -> None:
        self._taker = taker
        self._allowance = Allowance(pace)
        self._tell_most = trust
        self._most_bytes: int | None = most_bytes  # until the home has said
        self._answering = _Answering()
        self._outgoing = _Outgoing()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._is_closing = self._has_ended = False
        self._tasks: list[asyncio.Task[None]] = []
        taker.take(self, set())

    # --- the transport

    def set_protocol(self, protocol: Any) -> None:
        """Whoever takes it says so; it is known already."""

    def is_closing(self) -> bool:
        """Closed, or about to be."""
        return self._is_closing

    def write(self, data: bytes) -> None:
        """The home has said something."""
        if not self._answering.answer.done():
            try:
                data = self._answering.feed(data)
            except (ValueError, IndexError):
                self.abort()
        if not self._is_closing and self._outgoing.put(data):
            self._taker.pause_writing()

    def write_eof(self) -> None:
        """Not to be had of an ASGI server."""
        raise NotImplementedError

    def close(self) -> None:
        """Close, behind what was written."""
        self._is_closing = True
        self._outgoing.something.set()
        self._answering.end()

    def abort(self) -> None:
        """Close at once."""
        self.close()
        for task in self._tasks:
            task.cancel()

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        """Read again."""
        self._may_read.set()

    def trust(self, most_bytes: int) -> None:
        """The home says how large a message may be from now on."""
        self._most_bytes = None
        self._tell_most(most_bytes)

    # --- while it runs

    async def answer(self) -> Answer | None:
        """What the home has answered to the handshake; None where it has gone, or takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await self._answering.answer
            if answer is not None and answer.status == frames.SWITCHING and self._most_bytes is not None:
                self._tell_most(self._most_bytes)  # it is of a version that does not say
            return answer
        return None

    async def carry(self, receive: Receive, send: Send) -> None:
        """Carry the websocket, whose handshake is completed, until either side closes."""
        self._tasks = [asyncio.ensure_future(self._read(receive)), asyncio.ensure_future(self._write(send))]
        await until_either_ends(self._tasks)

    def end(self) -> None:
        """The connection is no more; may be called twice."""
        self._is_closing = True
        if not self._has_ended:
            self._has_ended = True
            self._taker.connection_lost(None)

    async def _read(self, receive: Receive) -> None:
        while True:
            await self._may_read.wait()
            event = await receive()
            if event["type"] != "websocket.receive":
                self._say(frames.CLOSE, _close_payload(event.get("code")))
                return
            message, opcode = event.get("bytes"), frames.BINARY
            if message is None:
                message, opcode = (event.get("text") or "").encode("utf-8", "surrogatepass"), frames.TEXT
            if CUT in event and not self._is_closing:
                self._taker.data_received(frames.beginning_of_client(message))
                continue
            self._say(opcode, message)
            if self._allowance.spend(message) < 0 and (seconds := self._allowance.seconds_to_wait()):
                await asyncio.sleep(seconds)

    def _say(self, opcode: int, payload: bytes) -> None:
        if not self._is_closing:
            self._taker.data_received(frames.frame_of_client(opcode, payload))

    async def _write(self, send: Send) -> None:
        outgoing = self._outgoing
        with contextlib.suppress(OSError):  # it has gone, or takes nothing
            while True:
                while (frame := outgoing.first) is not None:
                    if not await self._write_frame(send, frame):
                        return
                    if outgoing.drop_first():
                        self._taker.resume_writing()
                if self._is_closing:
                    return
                outgoing.something.clear()
                await outgoing.something.wait()

    async def _write_frame(self, send: Send, frame: bytes) -> bool:
        """False behind the home's close frame."""
        opcode, payload = frames.opcode_of(frame), frames.payload_of(frame)
        async with asyncio.timeout(STALLED_SECONDS):
            if opcode == frames.TEXT:
                await say(send, {"type": "websocket.send", "text": payload.decode()})
            elif opcode == frames.BINARY:
                await say(send, {"type": "websocket.send", "bytes": payload})
            elif opcode == frames.CLOSE:
                code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else frames.NORMAL
                await say(send, {"type": "websocket.close", "code": code})
                self._say(frames.CLOSE, payload[:2])
                return False
        return True


def _close_payload(code: int | None) -> bytes:
    """What a client's close frame holds; that none has come is not said by one."""
    if code is None or not (1000 <= code <= 4999) or code in (1004, 1005, 1006, 1015):
        return b""
    return code.to_bytes(2, "big")
