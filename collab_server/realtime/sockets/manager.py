"""The pub/sub manager: what tells the other nodes, for python-socketio.

As a `socketio.AsyncPubSubManager` it carries python-socketio's own cross-node calls (emit, disconnect, rooms) over
the bus. The product's events take the same bus on a way of their own (`services.live.publisher`).

Nothing in here waits for the bus.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from collab_server.domain.hints import Kind
from collab_server.ports import Bus
from collab_server.realtime.sockets.rooms import SpanningManager

WAITING_MESSAGES = 10_000


class BusManager(SpanningManager):
    """python-socketio's client manager over the bus."""

    name = "bus"

    def __init__(self, bus: Bus) -> None:
        super().__init__()
        self._bus = bus
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MESSAGES)
        bus.listen(Kind.SOCKETIO, self._hear_message)

    def _hear_message(self, _node: str, payload: bytes) -> None:
        if not self._messages.full():
            self._messages.put_nowait(payload)

    async def _publish(self, data: dict[str, Any]) -> None:
        self._bus.publish(Kind.SOCKETIO, json.dumps(data).encode())

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._messages.get()
