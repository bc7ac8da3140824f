"""What watches over all connections of a node: who may keep one, and for how long.

A connection that waits for a request, or for the rest of one, is a stranger's, unless it has just carried a session
that is signed in: there may be only so many, and when there are more the oldest is cut (`Strangers`). A request has
to come to its end within `REQUEST_SECONDS`.

`Guarded` is what uvicorn's protocol classes for HTTP have in common with it; the guard itself comes by uvicorn's
lifespan state (`GUARD_KEY`). Without one, only the time is bounded.
"""

from __future__ import annotations

import asyncio
from typing import Any

from collab_server.domain.addresses import Addresses, network_of
from collab_server.realtime.strangers import StrangerLimits, Strangers

GUARD_KEY = "collab_server.guard"

REQUEST_SECONDS = 30.0
"""So long a request may take to come, from its first byte to its last; the first one from when the client connected."""


class Guard:
    """See the module."""

    def __init__(self, limits: StrangerLimits, addresses: Addresses) -> None:
        self.addresses = addresses
        self.strangers: Strangers[Guarded] = Strangers(
            most=limits.most, most_per_address=limits.most_per_address, most_bytes=limits.most_bytes
        )

    def begin(self, connection: Guarded, peer: str | None) -> None:
        """A connection waits for a request. One of a trusted proxy's may be for anybody."""
        is_proxy = peer is not None and self.addresses.is_proxy(peer)
        address = None if peer is None or is_proxy else network_of(peer)
        _cut(self.strangers.add(connection, address))

    def weigh(self, connection: Guarded, held_bytes: int) -> None:
        """So much is held of its request, which is not whole."""
        _cut(self.strangers.weigh(connection, held_bytes))

    def end(self, connection: Guarded) -> None:
        """It does not wait any more."""
        self.strangers.remove(connection)


def _cut(connections: list[Guarded]) -> None:
    for connection in connections:
        connection.cut()


class Guarded:
    """An HTTP protocol of uvicorn's that does not wait for ever, nor for everybody."""

    transport: Any
    flow: Any
    loop: Any
    client: Any
    cycle: Any
    timeout_keep_alive: int
    timeout_keep_alive_task: asyncio.TimerHandle | None
    timeout_keep_alive_handler: Any
    app_state: dict[str, Any]

    _guard: Guard | None = None
    _deadline: asyncio.TimerHandle | None = None  # while a part of a request is there, or nothing yet
    _is_trusted = False  # the latest request was of a session that is signed in

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)  # type: ignore[misc]
        self._guard = self.app_state.get(GUARD_KEY)
        self._wait_for_the_rest(0)
        self._wait_as_a_stranger()

    def _wait_as_a_stranger(self) -> None:
        if self._guard is not None and not self._is_trusted and not self.transport.is_closing():
            self._guard.begin(self, self.client[0] if self.client else None)

    def _wait_for_the_rest(self, read_bytes: int) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        if read_bytes and self._guard is not None:
            self._guard.weigh(self, self._held_bytes(read_bytes))

    def _held_bytes(self, read_bytes: int) -> int:
        """What is kept of a request, of which so many bytes were just read."""
        return len(self.cycle.body) if self._has_to_answer() else read_bytes

    def _settle(self) -> None:
        """No part of a request is there: it is being answered, or there is none."""
        self._stop_deadline()
        if self._has_to_answer():
            if self._guard is not None:
                self._guard.end(self)
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # Its answer was out before its end: uvicorn has stopped its own timer for those who ask no more.
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _has_to_answer(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _leave(self) -> None:
        """The connection is another protocol's, or nobody's."""
        self._stop_deadline()
        if self._guard is not None:
            self._guard.end(self)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def on_response_complete(self) -> None:
        """An answer is out: another request may come."""
        super().on_response_complete()  # type: ignore[misc]
        self._wait_as_a_stranger()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        super().connection_lost(exc)  # type: ignore[misc]
        self._leave()

    def _give_up(self) -> None:
        if self.flow is not None and self.flow.read_paused:  # it is we who do not read
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self._give_up)
        else:
            self.cut()

    def cut(self) -> None:
        """Close at once."""
        self.transport.abort()
