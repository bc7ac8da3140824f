"""The process that carries the bytes of all proxies: `python -m tests.faults.relay`.

It reads lines of JSON, `[proxy, what, *arguments]`, calls the method of that name of that `Relay`, and answers each
with `[true, value]` or `[false, why not]` when it holds. It ends with its input. See `proxy` for what the methods
promise.

One event loop does it all. A chunk that no fault concerns is written to the other side where it was received;
otherwise it joins what its direction of the connection holds back, which `_Flow.pump` hands on when it may.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop
from typing_extensions import override

HOST = "127.0.0.1"
CHUNK_BYTES = 64 * 1024
CHUNKS_HELD = 64
SLOW_CHUNKS_PER_SECOND = 50
BACKLOG = 256
RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class _Lane:
    """What happens to the bytes of one direction, on every connection."""

    moves: bool = True
    delay_seconds: float = 0
    bytes_per_second: float | None = None
    bytes_moved: int = 0

    @property
    def chunk_bytes(self) -> int:
        """How much is handed on at once."""
        if self.bytes_per_second is None:
            return CHUNK_BYTES
        return max(1, min(CHUNK_BYTES, int(self.bytes_per_second / SLOW_CHUNKS_PER_SECOND)))

    @property
    def is_free(self) -> bool:
        """Whether no fault concerns it."""
        return self.moves and not self.delay_seconds and self.bytes_per_second is None


class _End(asyncio.Protocol):
    """One end of a connection: the socket of the client or of the target."""

    def __init__(self, connection: _Connection, is_client: bool) -> None:
        self._connection = connection
        self._is_client = is_client
        self.transport: asyncio.Transport | None = None
        self._is_paused = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def outgoing(self) -> _Flow:
        """The direction that begins here."""
        return self._connection.up if self._is_client else self._connection.down

    @property
    def incoming(self) -> _Flow:
        """The direction that ends here."""
        return self._connection.down if self._is_client else self._connection.up

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's

    @override
    def data_received(self, data: bytes) -> None:
        self.outgoing.take(data)

    @override
    def eof_received(self) -> bool:
        self.outgoing.take(b"")
        return True  # the other direction goes on

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self.gone.set_result(None)
        if self._connection.is_half_open and not self._is_client:
            return
        self.outgoing.take(b"")  # a reset ends a direction, too
        self.incoming.end()

    @override
    def pause_writing(self) -> None:
        self.incoming.is_clogged = True

    @override
    def resume_writing(self) -> None:
        self.incoming.is_clogged = False
        self.incoming.pump()

    def pause(self, is_paused: bool) -> None:
        """Read nothing more, or go on reading."""
        if self.transport is None or self._is_paused is is_paused or self.transport.is_closing():
            return
        self._is_paused = is_paused
        if is_paused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def reset(self) -> None:
        """Close with RST instead of FIN: what is not sent yet is dropped."""
        if self.transport is None or self.gone.done():
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.transport.abort()


class _Flow:
    """One direction of one connection. An empty chunk is its end."""

    def __init__(self, lane: _Lane, connection: _Connection) -> None:
        self.is_clogged = False
        self.is_over = False
        self._lane = lane
        self._connection = connection
        self._held: deque[tuple[float, bytes]] = deque()
        self._bytes_held = 0
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._is_paid = False
        self._loop = asyncio.get_running_loop()

    @property
    def _source(self) -> _End:
        return self._connection.client if self is self._connection.up else self._connection.target

    @property
    def _sink(self) -> _End:
        return self._connection.target if self is self._connection.up else self._connection.client

    def take(self, chunk: bytes) -> None:
        """What the source sent, or that it has ended."""
        if self._has_ended or self.is_over:
            return
        self._connection.last_at = asyncio.get_running_loop().time()
        self._has_ended = not chunk
        if self._connection.is_half_open:
            if not chunk:
                self.end()
            return
        if not self._held and self._lane.is_free and not self.is_clogged and self._sink.transport is not None:
            self._hand_on(chunk)
            return
        due = self._loop.time() + self._lane.delay_seconds
        self._held.append((due, chunk))
        self._bytes_held += len(chunk)
        if self._timer is None:
            self.pump()
        self._source.pause(self._is_full)

    @property
    def _is_full(self) -> bool:
        return self._bytes_held > CHUNKS_HELD * self._lane.chunk_bytes

    def pump(self) -> None:
        """Hand on what may be handed on by now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._held and self._lane.moves and not self.is_clogged and self._sink.transport is not None:
            due, chunk = self._held[0]
            if due > (now := self._loop.time()):
                self._timer = self._loop.call_at(due, self.pump)
                return
            if len(chunk) > (most := self._lane.chunk_bytes):
                self._held[0] = (due, chunk[:most])
                self._held.insert(1, (due, chunk[most:]))
                chunk = chunk[:most]
            if self._lane.bytes_per_second is not None and chunk and not self._is_paid:
                self._is_paid = True
                self._timer = self._loop.call_at(now + len(chunk) / self._lane.bytes_per_second, self.pump)
                return
            self._is_paid = False
            self._held.popleft()
            self._bytes_held -= len(chunk)
            self._hand_on(chunk)
        self._source.pause(self._is_full)

    def _hand_on(self, chunk: bytes) -> None:
        transport = self._sink.transport
        assert transport is not None
        self._lane.bytes_moved += len(chunk)  # before anybody can have received them
        if not chunk:
            if transport.can_write_eof() and not transport.is_closing():
                transport.write_eof()
            self.end()
        elif not transport.is_closing():
            transport.write(chunk)

    def end(self) -> None:
        """Nothing more comes this way. The connection ends with its second direction."""
        self.is_over = True
        self.drop()
        self._connection.close_if_over()

    def drop(self) -> None:
        """Forget what is held back."""
        self._held.clear()
        self._bytes_held = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Connection:
    """A client's connection, and the one to the target that belongs to it."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.is_half_open = False
        self.client = _End(self, True)
        self.target = _End(self, False)
        self.up = _Flow(relay.up, self)
        self.down = _Flow(relay.down, self)
        self.last_at = asyncio.get_running_loop().time()

    async def open(self, accepted: socket.socket) -> None:
        """Take the client's socket, and connect to the target; reset the client when that refuses."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self.client, accepted)
            await self._relay.up_moves.wait()  # a stalled network does not reach the target either
            await loop.create_connection(lambda: self.target, *self._relay.target)
        except OSError:
            self.reset()
            self._relay.connections.discard(self)
            return
        if self in self._relay.connections:
            self.up.pump()
        else:  # cut meanwhile
            self.reset()

    def forget_if_idle(self, seconds: float) -> None:
        """Carry nothing any more if no byte has come for so long. Neither end is told."""
        if asyncio.get_running_loop().time() - self.last_at > seconds:
            self.is_half_open = True

    def close_if_over(self) -> None:
        """Close in order when both directions have ended."""
        if self.is_half_open or (self.up.is_over and self.down.is_over):
            self._relay.connections.discard(self)
            for end in (self.client, self.target):
                if end.transport is not None:
                    end.transport.close()

    def reset(self) -> list[asyncio.Future[None]]:
        """Reset both ends; what is over once both are gone."""
        ends = [end for end in (self.client, self.target) if end.transport is not None]
        for end in ends:
            end.reset()
        return [end.gone for end in ends]

    def lose_target(self) -> list[asyncio.Future[None]]:
        """Reset the target's end. What the client sends from now on goes nowhere, until it or `cut` ends it."""
        if self.target.transport is None:
            return []
        self.is_half_open = True
        self.up.drop()
        self.down.drop()
        self.target.reset()
        return [self.target.gone]


@dataclass(eq=False)
class Relay:
    """One proxy: where it listens and what it does. Its methods are what `Proxy` calls."""

    target: tuple[str, int]
    up: _Lane = field(default_factory=_Lane)
    down: _Lane = field(default_factory=_Lane)
    up_moves: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[_Connection] = field(default_factory=set)
    _resets_new: bool = False
    _listener: socket.socket | None = None
    _opening: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._reservation = _bound(0)

    async def address(self) -> tuple[str, int]:
        return HOST, self._reservation.getsockname()[1]

    async def count_open(self) -> int:
        return len(self.connections)

    async def count_bytes(self) -> tuple[int, int]:
        return self.up.bytes_moved, self.down.bytes_moved

    async def heal(self) -> None:
        self._resets_new = False
        for lane in (self.up, self.down):
            lane.moves, lane.delay_seconds, lane.bytes_per_second = True, 0, None
        self.up_moves.set()
        for connection in list(self.connections):
            connection.up.pump()
            connection.down.pump()
        if self._listener is None:
            self._listener = _bound(self._reservation.getsockname()[1])
            self._listener.listen(BACKLOG)
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)

    async def refuse(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    async def reset_new(self) -> None:
        self._resets_new = True

    async def stall(self, direction: str) -> None:
        for lane in self._lanes(direction):
            lane.moves = False
        if not self.up.moves:
            self.up_moves.clear()

    async def delay(self, seconds: float, direction: str) -> None:
        for lane in self._lanes(direction):
            lane.delay_seconds = seconds

    async def slow(self, bytes_per_second: float, direction: str) -> None:
        for lane in self._lanes(direction):
            lane.bytes_per_second = bytes_per_second

    async def forget_idle(self, seconds: float) -> None:
        for connection in self.connections:
            connection.forget_if_idle(seconds)

    async def aim(self, host: str, port: int) -> None:
        self.target = (host, port)

    async def cut(self) -> None:
        connections = list(self.connections)
        self.connections.clear()
        gone = [future for connection in connections for future in connection.reset()]
        if gone:
            await asyncio.wait(gone)

    async def lose_target(self) -> None:
        gone = [future for connection in list(self.connections) for future in connection.lose_target()]
        if gone:
            await asyncio.wait(gone)

    async def close(self) -> None:
        await self.refuse()
        self._resets_new = True
        await self.cut()
        for task in list(self._opening):
            task.cancel()
        self._reservation.close()

    def _lanes(self, direction: str) -> list[_Lane]:
        return {"up": [self.up], "down": [self.down], "both": [self.up, self.down]}[direction]

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BACKLOG):
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            if self._resets_new:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = _Connection(self)
            self.connections.add(connection)
            task = asyncio.create_task(connection.open(accepted))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    bound.setblocking(False)
    return bound


async def _serve() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    relays: dict[int, Relay] = {}
    while line := await lines.readline():
        number, what, *arguments = json.loads(line)
        answer: list[Any] = [True, None]
        try:
            if what == "open":
                relays[number] = Relay(tuple(arguments))
                answer[1] = await relays[number].address()
            else:
                answer[1] = await getattr(relays[number], what)(*arguments)
        except Exception as error:
            answer = [False, repr(error)]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    uvloop.run(_serve())
