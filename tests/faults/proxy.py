"""A TCP proxy that can do to a connection what networks do to it.

What it is: `Proxy` listens on a port of loopback and carries every connection to one target.

What it promises: bytes of a direction arrive complete and in order, whatever the faults in between, unless
the connection was cut; the port stays its own while it refuses connections; what a method asks for holds for
every connection, old and new, when it returns.

What runs concurrently: a thread with an event loop of its own, so that neither a busy test nor a busy
benchmark distorts the times; in it, per connection and direction, one task that reads and one that writes.
The methods may be called from any thread and return within milliseconds.

How it stops: `stop` closes the port, cuts all connections, ends the thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Self

__all__ = ["Address", "Direction", "Proxy"]

Address = tuple[str, int]
Direction = Literal["up", "down", "both"]
"""`up` is from the client to the target."""

CHUNK_BYTES = 64 * 1024
CHUNKS_HELD = 64
HOST = "127.0.0.1"


@dataclass(slots=True)
class _Lane:
    """What happens to the bytes of one direction, on every connection."""

    moves: asyncio.Event = field(default_factory=asyncio.Event)
    delay_seconds: float = 0
    bytes_per_second: float | None = None
    bytes_moved: int = 0


@dataclass(slots=True, eq=False)
class _Connection:
    client: asyncio.StreamWriter
    target: asyncio.StreamWriter | None = None
    carrier: asyncio.Task[None] = field(init=False)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Proxy:
    """A way to `target` (`host, port`) with faults on demand. `port` 0 chooses one.

    Faults add up until `heal`; `cut` and `lose_target` happen once, to the connections that are open.
    """

    def __init__(self, target: Address, *, port: int = 0) -> None:
        self._target = target
        # Bound for as long as the proxy lives, so that nobody takes the port while nothing listens on it.
        self._reservation = _bound(port)
        self._port: int = self._reservation.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy to {target[1]}", daemon=True)
        self._up = _Lane()
        self._down = _Lane()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._resets_new = False
        self._accepted = 0

    @property
    def address(self) -> Address:
        """Where it listens."""
        return HOST, self._port

    @property
    def accepted(self) -> int:
        """Connections taken since the start."""
        return self._accepted

    @property
    def open_connections(self) -> int:
        """Connections open now, stalled ones included."""
        return len(self._connections)

    @property
    def bytes_moved(self) -> tuple[int, int]:
        """Bytes handed on since the start: up, down."""
        return self._up.bytes_moved, self._down.bytes_moved

    def start(self) -> Self:
        """Listen, and let everything pass."""
        self._thread.start()
        self.heal()
        return self

    def stop(self) -> None:
        """Close the port, cut all connections, end the thread; may be called twice."""
        if self._thread.is_alive():
            self._do(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)
            assert not self._thread.is_alive(), "the proxy does not stop"
        if not self._loop.is_closed():
            self._loop.close()
            self._reservation.close()

    def heal(self) -> None:
        """End every fault: listen, carry everything at full speed, hand on what was held back."""
        self._do(self._heal())

    def refuse(self) -> None:
        """New connections are refused, as if no process listened. Open ones go on: see `cut`."""
        self._do(self._close_port())

    def reset_new(self) -> None:
        """New connections are taken and reset at once."""
        self._do(self._set_resets_new())

    def cut(self) -> None:
        """Reset every open connection, on both sides."""
        self._do(self._cut())

    def lose_target(self) -> None:
        """Reset every open connection on the target's side only; the client is told nothing, and waits."""
        self._do(self._lose_target())

    def stall(self, direction: Direction = "both") -> None:
        """No byte moves, nothing is closed; new connections are taken, and as silent. No byte is lost."""
        self._do(self._stall(direction))

    def delay(self, seconds: float, direction: Direction = "both") -> None:
        """Every byte arrives `seconds` later; the throughput stays."""
        self._do(self._set(direction, "delay_seconds", seconds))

    def slow(self, bytes_per_second: float, direction: Direction = "both") -> None:
        """At most so many bytes a second, per connection."""
        self._do(self._set(direction, "bytes_per_second", bytes_per_second))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    # What follows runs in the proxy's own thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def _lanes(self, direction: Direction) -> list[_Lane]:
        return {"up": [self._up], "down": [self._down], "both": [self._up, self._down]}[direction]

    async def _heal(self) -> None:
        self._resets_new = False
        for lane in self._lanes("both"):
            lane.delay_seconds, lane.bytes_per_second = 0, None
            lane.moves.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, sock=_bound(self._port), backlog=256)

    async def _close_port(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _set_resets_new(self) -> None:
        self._resets_new = True

    async def _stall(self, direction: Direction) -> None:
        for lane in self._lanes(direction):
            lane.moves.clear()

    async def _set(self, direction: Direction, name: str, value: float) -> None:
        for lane in self._lanes(direction):
            setattr(lane, name, value)

    async def _cut(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            _reset(connection.client)
            _reset(connection.target)
            for task in connection.tasks:
                task.cancel()
        if connections:
            await asyncio.wait([connection.carrier for connection in connections])
            await asyncio.sleep(0)  # they are forgotten by callbacks

    async def _lose_target(self) -> None:
        for connection in self._connections:
            for task in connection.tasks:
                task.cancel()
            _reset(connection.target)
            # What the client sends from now on is taken and goes nowhere, until it or `cut` ends the connection.
            connection.tasks.append(asyncio.create_task(asyncio.Event().wait()))  # type: ignore[arg-type]

    async def _shut(self) -> None:
        await self._close_port()
        self._resets_new = True
        await asyncio.sleep(0.005)  # what was taken by now has been seen
        await self._cut()
        if rest := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in rest:
                task.cancel()
            await asyncio.wait(rest)
        await asyncio.sleep(0.005)  # reset sockets are closed by callbacks

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        if self._resets_new:
            _reset(writer)
            return
        connection = _Connection(writer)
        connection.carrier = asyncio.create_task(self._carry(connection, reader))
        connection.tasks.append(connection.carrier)
        self._connections.add(connection)

        def forget(_: asyncio.Task[None]) -> None:
            self._connections.discard(connection)
            _reset(connection.target)
            _reset(writer)

        connection.carrier.add_done_callback(forget)

    async def _carry(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        try:
            await self._up.moves.wait()  # a stalled network does not reach the target either
            target_reader, connection.target = await asyncio.open_connection(*self._target)
            connection.tasks[:] = [
                asyncio.create_task(self._move(reader, connection.target, self._up)),
                asyncio.create_task(self._move(target_reader, connection.client, self._down)),
            ]
            await self._until_over(connection)
        except OSError:
            pass  # the target refuses

    async def _until_over(self, connection: _Connection) -> None:
        """Wait until both directions have ended, including any that replaced them meanwhile."""
        while running := [task for task in connection.tasks if not task.done()]:
            await asyncio.wait(running)
        for writer in (connection.client, connection.target):
            if writer is not None and not writer.transport.is_closing():
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _move(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, lane: _Lane) -> None:
        """Carry one direction until its end, then close that half of the other side."""
        held: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_HELD)
        reading = asyncio.create_task(self._take(reader, held, lane))
        try:
            while True:
                due, chunk = await held.get()
                await lane.moves.wait()
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                if lane.bytes_per_second is not None:
                    await asyncio.sleep(len(chunk) / lane.bytes_per_second)
                await lane.moves.wait()
                if not chunk:
                    writer.write_eof()
                    return
                lane.bytes_moved += len(chunk)  # before anybody can have received them
                writer.write(chunk)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        finally:
            reading.cancel()

    async def _take(
        self, reader: asyncio.StreamReader, held: asyncio.Queue[tuple[float, bytes]], lane: _Lane
    ) -> None:
        while True:
            most = CHUNK_BYTES
            if lane.bytes_per_second is not None:
                most = max(1, min(CHUNK_BYTES, int(lane.bytes_per_second / 50)))
            try:
                chunk = await reader.read(most)
            except OSError:
                chunk = b""  # a reset ends a direction, too
            await held.put((self._loop.time() + lane.delay_seconds, chunk))
            if not chunk:
                return


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((HOST, port))
    bound.setblocking(False)
    return bound


def _reset(writer: asyncio.StreamWriter | None) -> None:
    """Close with RST instead of FIN: what is not sent yet is dropped."""
    if writer is None:
        return
    raw = writer.transport.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
