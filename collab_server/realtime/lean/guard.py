"""What watches over all connections of a node: who may keep one, and for how long.

A connection that waits for a request, or for the rest of one, is a stranger's, unless it has just carried a session
that is signed in: there may be only so many, and when there are more the oldest is cut (`Strangers`). A request has
to come to its end within `REQUEST_SECONDS`. Whoever takes nothing for `STALLED_SECONDS` while bytes wait for them, or
has more than `outgoing_bytes` waiting for so long, is cut, whatever their connection carries.

What runs concurrently: `run`, which looks at all connections now and then; the composition root owns its task.

`Guarded` is what uvicorn's protocol classes for HTTP have in common with it; the guard itself comes by uvicorn's
lifespan state (`GUARD_KEY`). Without one, only the time is bounded.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from collab_server.domain.addresses import Addresses, network_of
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.lean.starts import Starts
from collab_server.realtime.strangers import StrangerLimits, Strangers
from collab_server.telemetry.journal import Journal, Whose, stranger
from collab_server.telemetry.metrics import Metrics

GUARD_KEY = "collab_server.guard"

REQUEST_SECONDS = 30.0
"""So long a request may take to come, from its first byte to its last; the first one from when the client connected."""
STALLED_SECONDS = 30.0
LOOK_SECONDS = 3.0
LOOKS_AT_ONCE = 500

_BYTES_ACKNOWLEDGED = struct.Struct("=Q")
_BYTES_ACKNOWLEDGED_AT = 120  # in Linux' struct tcp_info


@dataclass(slots=True)
class _Waiting:
    """Something waits for this client."""

    taken: int  # grows, or changes, with all that it takes
    since: float  # it has taken nothing
    above_since: float | None  # more waits than may


class Guard:
    """See the module.

    Args:
        limits: of strangers.
        addresses: whose word is taken for where a client comes from.
        outgoing_bytes: so much may wait for a client for longer.
        journal: gets a line about each that is cut.
        metrics: tell how many there are, and were cut.
    """

    def __init__(
        self,
        limits: StrangerLimits,
        addresses: Addresses,
        *,
        outgoing_bytes: int,
        metrics: Metrics | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.addresses = addresses
        self.connections: Iterable[Any] = ()  # all of this server's, once there was one
        self.stalled = 0  # so many were cut
        self._outgoing_bytes = outgoing_bytes
        self._journal = journal or Journal()
        self.starts = Starts()
        self._waiting: dict[Any, _Waiting] = {}
        self.requests: Lane[Guarded] = Lane(REQUEST_SECONDS, _give_up)  # that have not come to their end
        self.strangers: Strangers[Guarded] = Strangers(
            most=limits.most, most_per_address=limits.most_per_address, most_bytes=limits.most_bytes
        )
        if metrics is not None:
            metrics.counter("clients_stalled", lambda: self.stalled)
            metrics.gauges("strangers_current", lambda: {("connection",): len(self.strangers)})
            metrics.counters("strangers_put_out", lambda: {("connection",): self.strangers.put_out})

    def begin(self, connection: Guarded, peer: str | None) -> None:
        """A connection waits for a request. One of a trusted proxy's may be for anybody."""
        is_proxy = peer is not None and self.addresses.is_proxy(peer)
        address = None if peer is None or is_proxy else network_of(peer)
        if too_many := self.strangers.add(connection, address):
            self._cut(too_many)

    def weigh(self, connection: Guarded, held_bytes: int) -> None:
        """So much is held of its request, which is not whole."""
        self._cut(self.strangers.weigh(connection, held_bytes))

    def _cut(self, connections: list[Guarded]) -> None:
        for connection in connections:
            self._journal.line("cut: another stranger came", _stranger(connection.transport))
            connection.cut()

    def end(self, connection: Guarded) -> None:
        """It does not wait any more."""
        self.strangers.remove(connection)

    async def run(self) -> None:
        """Cut off those who take nothing, until stopped."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before, self._waiting = self._waiting, {}
            for number, connection in enumerate(list(self.connections), 1):
                self._look_at(connection, before.get(connection), loop.time())
                if number % LOOKS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look_at(self, connection: Any, before: _Waiting | None, now: float) -> None:
        transport = connection.transport
        size = 0 if transport is None else transport.get_write_buffer_size()
        if not size:
            return
        taken = _taken(transport, size)
        is_above = size > self._outgoing_bytes
        if before is None:
            self._waiting[connection] = _Waiting(taken, now, now if is_above else None)
            return
        if taken != before.taken:
            before.taken, before.since = taken, now
        before.above_since = (before.above_since or now) if is_above else None
        if now - min(before.since, before.above_since or now) < STALLED_SECONDS:
            self._waiting[connection] = before
            return
        self.stalled += 1
        self._journal.line("cut: takes nothing of what waits for it", _stranger(transport), bytes=size)
        if hasattr(connection, "cut"):
            connection.cut()
        else:
            transport.abort()


def _taken(transport: Any, size: int) -> int:
    """What changes when the client takes something: the bytes that it has acknowledged, else how much waits."""
    connection = transport.get_extra_info("socket")
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return int(_BYTES_ACKNOWLEDGED.unpack_from(info, _BYTES_ACKNOWLEDGED_AT)[0])
    except (AttributeError, OSError, struct.error):  # no TCP, or no Linux
        return size


def _stranger(transport: Any) -> Whose:
    peer = transport.get_extra_info("peername")
    return stranger(str(peer[0]) if isinstance(peer, tuple) else None)


class Guarded:
    """An HTTP protocol of uvicorn's that does not wait without end, nor for everybody."""

    transport: Any
    flow: Any
    loop: Any
    client: Any
    connections: Any
    cycle: Any
    scope: Any
    headers: list[tuple[bytes, bytes]]
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None
    timeout_keep_alive_handler: Any
    app_state: dict[str, Any]

    _guard: Guard | None = None
    _requests: Lane[Guarded]
    _is_awaited = False  # while a part of a request is there, or nothing yet
    _is_trusted = False  # the latest request was of a session that is signed in

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)  # type: ignore[misc]
        self._be_watched()

    def _be_watched(self) -> None:
        self._guard = self.app_state.get(GUARD_KEY)
        if self._guard is not None:
            self._guard.connections = self.connections
            self._requests = self._guard.requests
        else:
            self._requests = Lane(REQUEST_SECONDS, _give_up)
        self._is_awaited = True
        self._requests.start(self)
        self._wait_as_a_stranger()

    def _wait_as_a_stranger(self) -> None:
        if self._guard is not None and not self._is_trusted and not self.transport.is_closing():
            self._guard.begin(self, self.client[0] if self.client else None)

    def _wait_for_the_rest(self, read_bytes: int) -> None:
        if not self._is_awaited:
            self._is_awaited = True
            self._requests.start(self)
        if read_bytes and self._guard is not None:
            self._guard.weigh(self, self._held_bytes(read_bytes))

    def _held_bytes(self, read_bytes: int) -> int:
        """What is kept of a request, of which so many bytes were just read."""
        return len(self._latest.body) if self._has_to_answer() else read_bytes

    def _settle(self) -> None:
        """No part of a request is there: it is being answered, or there is none."""
        self._stop_deadline()
        if self._has_to_answer():
            if self._guard is not None:
                self._guard.end(self)
            return
        self._forget()
        if self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # Its answer was out before its end: uvicorn has stopped its own timer for those who ask no more.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _forget(self) -> None:
        """The latest request is whole and answered: it may be large, and the next one long in coming."""
        self.cycle = self.scope = None
        self.headers = []

    @property
    def _latest(self) -> Any:
        """The request that came last, if there was one: has `body` and `response_complete`."""
        return self.cycle

    def _has_to_answer(self) -> bool:
        latest = self._latest
        return latest is not None and not latest.response_complete

    def _leave(self) -> None:
        """The connection is another protocol's, or nobody's."""
        self._stop_deadline()
        if self._guard is not None:
            self._guard.end(self)

    def _stop_deadline(self) -> None:
        if self._is_awaited:
            self._is_awaited = False
            self._requests.stop(self)

    def on_response_complete(self) -> None:
        """An answer is out: another request may come."""
        super().on_response_complete()  # type: ignore[misc]
        self._wait_as_a_stranger()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        super().connection_lost(exc)  # type: ignore[misc]
        self._leave()

    def give_up(self) -> None:
        """The request that is awaited has had its time."""
        if self.flow is not None and self.flow.read_paused:  # it is we who do not read
            self._requests.start(self)
        else:
            self.cut()

    def cut(self) -> None:
        """Close at once."""
        self.transport.abort()


def _give_up(connection: Guarded, due: float) -> None:
    connection.give_up()
