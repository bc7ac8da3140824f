"""Who is in which room of this node, and on several nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from socketio import packet as sio_packet
from socketio.async_manager import AsyncManager
from socketio.async_pubsub_manager import AsyncPubSubManager
from socketio.base_manager import BaseManager
from typing_extensions import override

ACKS_OUTSTANDING = 1000


class _Sids(dict[str, None]):
    """Ids that are found and removed in constant time, by the methods of a list that the stock class calls: in a storm
    of clients thousands are about to be connected."""

    def append(self, sid: str) -> None:
        self[sid] = None

    def remove(self, sid: str) -> None:
        del self[sid]


class _Pending(dict[str, _Sids]):
    """Those of each namespace; the stock class begins each with a list that is empty."""

    @override
    def __setitem__(self, namespace: str, _empty: Any) -> None:
        super().__setitem__(namespace, _Sids())


class _Clients(dict[str, str]):
    """Those of one room, by their ids, and their ids by those of their connections: what the stock class has a
    dictionary of both directions for, whose every change costs as much as ten here."""

    def __init__(self) -> None:
        super().__init__()
        self._invm: dict[str, str] = {}

    @override
    def __setitem__(self, sid: str, eio_sid: str) -> None:
        super().__setitem__(sid, eio_sid)
        self._invm[eio_sid] = sid

    @override
    def __delitem__(self, sid: str) -> None:
        del self._invm[self.pop(sid)]


class DirectManager(AsyncManager):  # type: ignore[misc]
    """The client list of one node: sends without a task per recipient, and forgets a client without a search.

    The stock class looks through all rooms when a client leaves, and each client is a room: with 5,000 clients each
    that goes costs 6 ms. Here a client's own room is implied, and its others are listed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pending_connect, self.pending_disconnect = _Pending(), _Pending()
        self._rooms_of: dict[tuple[str, str], set[str]] = {}  # (namespace, sid) → rooms entered

    def begin(self, eio_sid: str, namespace: str) -> str | None:
        """A client asks to be connected to a namespace; its id there, or None for one that is, or asks already."""
        if self.sid_from_eio_sid(eio_sid, namespace) is not None:
            return None
        sid = self.enter(eio_sid, namespace)
        if namespace not in self.pending_connect:
            self.pending_connect[namespace] = []
        self.pending_connect[namespace].append(sid)
        return sid

    def enter(self, eio_sid: str, namespace: str) -> str:
        """Connect a client that is not connected to a namespace, at once; its id there."""
        sid: str = self.server.eio.generate_id()
        rooms = self.rooms.get(namespace)
        if rooms is None:
            rooms = self.rooms[namespace] = {}
        if None not in rooms:
            rooms[None] = _Clients()
        rooms[None][sid] = eio_sid
        return sid

    @override
    async def pre_connect(self, eio_sid: str, namespace: str) -> str | None:
        """As the stock class."""
        return self.begin(eio_sid, namespace)

    def finish(self, sid: str, namespace: str) -> None:
        """A client that has asked is connected."""
        BaseManager.connect(self, sid, namespace)

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Put a client into a room; None is the room of everybody."""
        if room == sid:
            return
        rooms = self.rooms.get(namespace)
        if rooms is not None and room not in rooms and not self.is_sid_room(namespace, room):
            rooms[room] = _Clients()
        super().basic_enter_room(sid, namespace, room, eio_sid=eio_sid)
        if room is not None:
            self._rooms_of.setdefault((namespace, sid), set()).add(room)

    def basic_leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """Take a client out of a room."""
        super().basic_leave_room(sid, namespace, room)
        rooms = self._rooms_of.get((namespace, sid))
        if rooms is not None:
            rooms.discard(room)
            if not rooms:
                del self._rooms_of[namespace, sid]

    def basic_disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Forget a client."""
        for room in [*self._rooms_of.get((namespace, sid), ()), None]:
            self.basic_leave_room(sid, namespace, room)
        self.callbacks.pop(sid, None)
        for pending in (self.pending_connect, self.pending_disconnect):
            if sid in pending.get(namespace, ()):
                pending[namespace].remove(sid)
                if not pending[namespace]:
                    del pending[namespace]

    def get_rooms(self, sid: str, namespace: str) -> list[str]:
        """The rooms a client is in, its own first."""
        is_known = self.is_sid_room(namespace, sid)
        return [sid, *self._rooms_of.get((namespace, sid), ())] if is_known else []

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """(sid, eio_sid) of everybody in a room, or in any of several, each once."""
        if isinstance(room, str) or not hasattr(room, "__len__"):
            room = [room]
        clients = self.rooms.get(namespace, {})
        everybody = clients.get(None, {})
        found: dict[str, str] = {}
        for name in room:
            eio_sid = everybody.get(name)
            if eio_sid is not None:
                found[name] = eio_sid
            elif name in clients:
                found.update(clients[name])
        yield from found.items()

    @override
    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Any = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """Send an event to the clients of this node that it is for."""
        room = to or room
        skipped = skip_sid if isinstance(skip_sid, list) else [skip_sid]
        clients = [client for client in self.get_participants(namespace, room) if client[0] not in skipped]
        arguments = list(data) if isinstance(data, tuple) else [] if data is None else [data]
        make, server = self.server.packet_class, self.server
        if callback is None:
            packet = make(sio_packet.EVENT, namespace=namespace, data=[event, *arguments])
            server.deliver([eio_sid for _, eio_sid in clients], packet)
            return
        for sid, eio_sid in clients:
            number = self._generate_ack_id(sid, callback)
            packet = make(sio_packet.EVENT, namespace=namespace, data=[event, *arguments], id=number)
            server.deliver([eio_sid], packet)

    def _generate_ack_id(self, sid: str, callback: Any) -> int:
        number: int = super()._generate_ack_id(sid, callback)
        waiting = self.callbacks[sid]
        if len(waiting) > ACKS_OUTSTANDING + 1:  # the oldest is not answered any more; 0 is the counter
            del waiting[next(key for key in waiting if key != 0)]
        return number


class SpanningManager(AsyncPubSubManager, DirectManager):  # type: ignore[misc]
    """The client lists of several nodes, for a class that says how they tell each other (`_publish`, `_listen`).

    The order of the two says what is asked of whom. python-socketio's class comes first: it tells the other nodes.
    What it asks of its own parent, for the clients that are here, has to be `DirectManager`'s, which therefore stands
    between it and the stock `AsyncManager`.
    """
