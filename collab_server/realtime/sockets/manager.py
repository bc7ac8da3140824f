"""The Redis pub/sub manager: what tells the other nodes, for python-socketio and for the feed.

As a `socketio.AsyncPubSubManager` it carries python-socketio's own cross-node calls (emit, disconnect, rooms) over
the bus. The product's events take the same bus as ready bytes (`announce`), in the order of their commits, and reach
the other nodes' feeds, which put them in order again and read from Postgres what got lost.

Nothing in here waits for Redis.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

from collab_server.domain.events import Event
from collab_server.domain.hints import Kind, pack_event, unpack_event
from collab_server.domain.jsontext import JsonText
from collab_server.ports import Bus
from collab_server.realtime.sockets.rooms import SpanningManager
from collab_server.services.live.feed import Feed

WAITING_MESSAGES = 10_000
USERS_A_HINT = 1000
HEAD_BYTES = 600  # of an event nobody follows here: its name, its `seq`, its time


class BusManager(SpanningManager):
    """python-socketio's client manager over the bus."""

    name = "bus"

    def __init__(self, bus: Bus, feed: Feed) -> None:
        super().__init__()
        self._bus = bus
        self._feed = feed
        self.on_notified: Callable[[Sequence[str]], None] = lambda users: None
        self._messages: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MESSAGES)
        bus.listen(Kind.EVENT, self._hear_event)
        bus.listen(Kind.NOTIFIED, self._hear_notified)
        bus.listen(Kind.SOCKETIO, self._hear_message)
        bus.on_gap(feed.suspect)

    def announce(self, events: Iterable[Event]) -> None:
        """Tell every node, this one first, what was committed. Queues, never waits, never raises."""
        events = tuple(events)
        self._feed.offer(events)
        for event in events:
            self._bus.publish(Kind.EVENT, pack_event(event.topic, event.seq, event.type, event.body.encode()))

    def tell_notified(self, users: Sequence[str]) -> None:
        """Tell the other nodes that notifications for these users wait for somebody who may ask Library."""
        for start in range(0, len(users), USERS_A_HINT):
            self._bus.publish(Kind.NOTIFIED, ",".join(users[start : start + USERS_A_HINT]).encode())

    def _hear_notified(self, _node: str, payload: bytes) -> None:
        self.on_notified(payload.decode().split(","))

    def _hear_event(self, _node: str, payload: bytes) -> None:
        hint = unpack_event(payload)
        if hint.body is None:
            self._feed.hint(hint.topic, hint.seq)
        elif self._feed.is_followed(hint.topic):
            self._feed.offer((Event(hint.topic, hint.seq, hint.type, JsonText(hint.body.decode())),))
        else:
            self._feed.witness.note(
                Event(
                    hint.topic, hint.seq, hint.type, JsonText(hint.body[:HEAD_BYTES].decode(errors="replace"))
                )
            )

    def _hear_message(self, _node: str, payload: bytes) -> None:
        if not self._messages.full():
            self._messages.put_nowait(payload)

    async def _publish(self, data: dict[str, Any]) -> None:
        self._bus.publish(Kind.SOCKETIO, json.dumps(data).encode())

    async def _listen(self) -> AsyncIterator[bytes]:
        while True:
            yield await self._messages.get()
