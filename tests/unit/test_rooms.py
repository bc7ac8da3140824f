"""A client manager of several nodes: others are told; clients here get it as `DirectManager` sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

from typing_extensions import override

from collab_server.realtime.sockets.rooms import SpanningManager
from collab_server.realtime.sockets.server import SocketServer


class Telling(SpanningManager):
    """Keeps what other nodes would be told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Any] = []
        self.heard: list[bytes] = []

    async def _publish(self, data: Any) -> None:
        self.told.append(data)

    async def _listen(self) -> AsyncIterator[bytes]:
        for message in self.heard:
            yield message


class Delivering(SocketServer):
    """Keeps what its clients would get."""

    delivered: list[tuple[list[str], str]]

    @override
    def deliver(self, eio_sids: Iterable[str], packet: Any) -> None:
        self.delivered.append((list(eio_sids), packet.encode()))


async def test_an_event_is_told_to_other_nodes_and_encoded_once_for_all_clients_here() -> None:
    manager = Telling()
    server = Delivering(manager, async_mode="asgi")
    server.delivered = []
    sids = [await manager.connect(eio_sid, "/") for eio_sid in ("one", "two", "three")]
    for sid in sids[:2]:
        await manager.enter_room(sid, "/", "room")
    await manager.emit("news", {"a": 1}, "/", room="room")
    assert server.delivered == [(["one", "two"], '2["news",{"a":1}]')]
    assert [(data["method"], data["event"]) for data in manager.told] == [("emit", "news")]
