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


async def test_a_client_is_found_by_its_connection_for_as_long_as_it_is_connected() -> None:
    manager = Telling()
    server = SocketServer(manager, async_mode="asgi")
    asking = manager.begin("one", "/")
    assert asking is not None
    assert manager.begin("one", "/") is None, "it asks already"
    assert (manager.sid_from_eio_sid("one", "/"), manager.is_connected(asking, "/")) == (asking, False)
    manager.finish(asking, "/")
    sid = manager.enter("two", "/")
    assert manager.is_connected(asking, "/")
    assert manager.is_connected(sid, "/")
    await manager.enter_room(sid, "/", "room")
    assert dict(manager.get_participants("/", "room")) == {sid: "two"}
    for gone in (sid, asking):
        await manager.disconnect(gone, "/", ignore_queue=True)
    assert manager.sid_from_eio_sid("two", "/") is None
    assert (manager.rooms, manager.pending_connect) == ({}, {})
    assert server.manager is manager
