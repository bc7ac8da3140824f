"""Socket.IO on our Engine.IO transport: what python-socketio's server lacks in conformance, bounds and speed.

`SocketServer` behaves as the stock class for everybody who uses python-socketio's API; the product's own door derives
from it. On top of that it promises:

* a packet that breaks the protocol closes the connection at once, with one line in the log;
* what a connect handler emits follows the CONNECT answer; a namespace that is not served is refused in the words of
  the protocol's reference server; a handler that fails is an answer, too;
* an event is encoded once for all who get it, and its attachments follow it closely;
* bounds: attachments and their bytes, depth of JSON, events under way and acknowledgements outstanding per client, and
  the time until the first CONNECT;
* strangers, clients which are connected to no namespace (yet), have limits of their own (`StrangerLimits`); when there
  are too many, the oldest goes.

It owns the tasks that run event handlers; each ends with its handler.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Awaitable, Iterable, Iterator
from typing import Any

import socketio
from socketio import packet as sio_packet
from socketio.async_manager import AsyncManager

from collab_server.domain.addresses import Addresses, network_of
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.strangers import StrangerLimits, Strangers

ATTACHMENTS = 10
JSON_DEPTH = 128
EVENTS_AT_ONCE = 1000
ACKS_OUTSTANDING = 1000
CONNECT_SECONDS = 10.0
STRANGER_WEIGHT = 2_000
"""Bytes that a session takes besides its handshake's head, which is kept twice, and its target, kept four times."""

_RESERVED = {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

HEAD = re.compile(
    r"(?P<type>[0-6])"
    r"(?:(?P<attachments>[0-9]{1,3})-)?"
    r"(?:(?P<namespace>/[^,?]*)[^,]*(?:,|\Z))?"
    r"(?P<id>[0-9]{1,20})?"
)
"""How a packet begins."""


class MalformedPacket(ValueError):
    """What a client sent is no Socket.IO packet."""


def _refuse_constant(name: str) -> Any:
    raise MalformedPacket(f"{name} is not JSON")


_decode_json = json.JSONDecoder(parse_constant=_refuse_constant).decode


class StrictPacket(sio_packet.Packet):  # type: ignore[misc]
    """A packet as stock python-socketio makes it, read as strictly as the reference server reads it."""

    def decode(self, encoded_packet: Any) -> int:
        """Read the text of a packet; returns the number of attachments that follow.

        Raises:
            MalformedPacket: it is no packet.
        """
        head = HEAD.match(encoded_packet) if isinstance(encoded_packet, str) else None
        if head is None:
            raise MalformedPacket("no packet")
        self.packet_type = int(head["type"])
        self.namespace = head["namespace"]
        self.id = int(head["id"]) if head["id"] else None
        rest = encoded_packet[head.end() :]
        try:
            self.data = _decode_json(rest) if rest else None
        except (ValueError, RecursionError):
            raise MalformedPacket("payload is not JSON") from None
        if rest.count("[") + rest.count("{") > JSON_DEPTH and _is_deep(self.data):
            raise MalformedPacket("payload is too deep")
        is_binary = self.packet_type in (sio_packet.BINARY_EVENT, sio_packet.BINARY_ACK)
        if is_binary is not bool(head["attachments"]):
            raise MalformedPacket("attachments are announced wrongly")
        count = int(head["attachments"] or 0)
        if count > ATTACHMENTS:
            raise MalformedPacket("too many attachments")
        if is_binary and count == 0:
            self.packet_type -= sio_packet.BINARY_EVENT - sio_packet.EVENT
        return count

    @classmethod
    def _reconstruct_binary_internal(cls, data: Any, attachments: list[bytes]) -> Any:
        if isinstance(data, list):
            return [cls._reconstruct_binary_internal(item, attachments) for item in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):
                raise MalformedPacket("no such attachment")
            return attachments[number]
        return {key: cls._reconstruct_binary_internal(value, attachments) for key, value in data.items()}


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(JSON_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, (list, dict))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(item, (list, dict)) for item in level)


def _check(packet: Any) -> None:
    """The payload has the shape that its type asks for."""
    kind, data = packet.packet_type, packet.data
    if kind in (sio_packet.EVENT, sio_packet.BINARY_EVENT):
        name = data[0] if isinstance(data, list) and data else None
        is_right = type(name) in (str, int, float) and name not in _RESERVED
    elif kind in (sio_packet.ACK, sio_packet.BINARY_ACK):
        is_right = isinstance(data, list) and packet.id is not None
    elif kind == sio_packet.CONNECT:
        is_right = data is None or isinstance(data, dict)
    else:
        is_right = kind == sio_packet.DISCONNECT and data is None
    if not is_right:
        raise MalformedPacket("wrong payload")


class DirectManager(AsyncManager):  # type: ignore[misc]
    """The client list of one node: sends without a task per recipient, and forgets a client without a search.

    The stock class looks through all rooms when a client leaves, and each client is a room: with 5,000 clients each
    that goes costs 6 ms. Here a client's own room is implied, and its others are listed. A manager that spans nodes
    puts this behind python-socketio's class: `class BusManager(AsyncPubSubManager, DirectManager)`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._rooms_of: dict[tuple[str, str], set[str]] = {}  # (namespace, sid) → rooms entered

    def basic_enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Put a client into a room; None is the room of everybody."""
        if room == sid:
            return
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


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """A `socketio.AsyncServer` whose connections are `EngineServer`'s (`self.eio`).

    Args:
        connect_seconds: a client that is connected to no namespace by then is put out.
        strangers: what clients may take that are connected to no namespace (yet).
        addresses: whose word is taken for where a client comes from.
        keeps_environ: False to forget a client's `environ` but for its cookies when it is connected (half of what a
            client costs); only for servers that do not ask for it later.
    """

    eio: EngineServer

    def __init__(
        self,
        client_manager: Any = None,
        *,
        connect_seconds: float = CONNECT_SECONDS,
        strangers: StrangerLimits | None = None,
        addresses: Addresses | None = None,
        keeps_environ: bool = True,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("serializer", StrictPacket)
        limits = strangers or StrangerLimits()
        kwargs.update(stranger_bytes=limits.packet_bytes, addresses=addresses)
        super().__init__(client_manager=client_manager or DirectManager(), **kwargs)
        self._connect_seconds = connect_seconds
        self._keeps_environ = keeps_environ
        self._unconnected: Lane[str] | None = None
        self._stranger_limits = limits
        self.strangers: Strangers[str] = Strangers(
            most=limits.most, most_per_address=limits.most_per_address, most_bytes=limits.most_bytes
        )
        self._tries: dict[str, int] = {}  # CONNECT packets of strangers
        self._head_bytes: dict[str, int] = {}  # what a stranger's session takes, but for what it sends
        self.eio.on_held = self._weigh
        self._held: dict[str, tuple[str, list[Any]]] = {}  # while a connect handler runs: namespace, packets
        self._attachment_bytes: dict[str, int] = {}
        self._running: dict[str, set[asyncio.Task[None]]] = {}  # event handlers, per client

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # --- Out --------------------------------------------------------------------------------------------------

    def deliver(self, eio_sids: Iterable[str], packet: Any) -> None:
        """Send a packet to these clients, encoded once; never waits."""
        if self._held:
            eio_sids = [eio_sid for eio_sid in eio_sids if not self._hold(eio_sid, packet)]
        encoded = packet.encode()
        self.eio.broadcast_packets(eio_sids, encoded if isinstance(encoded, list) else [encoded])

    def _hold(self, eio_sid: str, packet: Any) -> bool:
        """Keep a packet back if its namespace is about to be connected, and this is not the answer to that."""
        namespace, packets = self._held.get(eio_sid, (None, []))
        is_event = packet.packet_type in (sio_packet.EVENT, sio_packet.BINARY_EVENT)
        if namespace != (packet.namespace or "/") or not is_event:
            return False
        packets.append(packet)
        return True

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        self.deliver([eio_sid], pkt)

    # --- In ---------------------------------------------------------------------------------------------------

    def _handle_eio_message(self, eio_sid: str, data: Any) -> Awaitable[None] | None:
        """Take a message; what is left to be waited for before the next one, if anything."""
        try:
            packet = self._read(eio_sid, data)
            if packet is None:
                return None
            _check(packet)
            return self._take(eio_sid, packet)
        except MalformedPacket as error:
            self.logger.info("%s: put out: %s", eio_sid, error)
            self._binary_packet.pop(eio_sid, None)
            self.eio.close_transport(eio_sid, self.reason.TRANSPORT_ERROR)
            return None

    def _read(self, eio_sid: str, data: Any) -> Any:
        """The packet that is whole now, if one is."""
        packet = self._binary_packet.get(eio_sid)
        if packet is not None:
            if not isinstance(data, bytes):
                raise MalformedPacket("text among attachments")
            self._attachment_bytes[eio_sid] += len(data)
            if self._attachment_bytes[eio_sid] > self.eio.max_http_buffer_size:
                raise MalformedPacket("attachments are too large")
            if not packet.add_attachment(data):
                return None
            packet.size += self._attachment_bytes[eio_sid]
            del self._binary_packet[eio_sid], self._attachment_bytes[eio_sid]
            return packet
        if not data:  # the stock class decodes nothing then; JSON that is no packet may be 0, false or null
            raise MalformedPacket("empty")
        try:
            packet = self.packet_class(encoded_packet=data)
        except MalformedPacket:
            raise
        except Exception as error:  # of another serializer
            raise MalformedPacket(str(error)) from None
        packet.size = len(data)
        if not packet.attachment_count:
            return packet
        _check(packet)
        self._must_be_connected(eio_sid, packet)
        self._binary_packet[eio_sid], self._attachment_bytes[eio_sid] = packet, 0
        return None

    def _take(self, eio_sid: str, packet: Any) -> Awaitable[None] | None:
        kind, namespace = packet.packet_type, packet.namespace
        if kind == sio_packet.CONNECT:
            if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None:
                raise MalformedPacket("connected already")
            self._count_try(eio_sid, packet.size)
            return self._handle_connect(eio_sid, namespace, self._credentials_of(packet.data))
        if kind == sio_packet.DISCONNECT:
            return self._handle_disconnect(eio_sid, namespace, self.reason.CLIENT_DISCONNECT)
        self._must_be_connected(eio_sid, packet)
        if kind in (sio_packet.EVENT, sio_packet.BINARY_EVENT):
            return self._take_event(eio_sid, packet)
        return self._handle_ack(eio_sid, namespace, packet.id, packet.data)  # type: ignore[no-any-return]

    def _count_try(self, eio_sid: str, size: int) -> None:
        limits = self._stranger_limits
        if limits.packet_bytes is not None and size > limits.packet_bytes:
            raise MalformedPacket("too large a CONNECT packet")
        if eio_sid not in self._tries:
            return  # no stranger
        self._tries[eio_sid] += 1
        if limits.tries is not None and self._tries[eio_sid] > limits.tries:
            raise MalformedPacket("too many CONNECT packets")
        self.strangers.has_shown_a_token(eio_sid)

    def _credentials_of(self, data: Any) -> Any:
        """What of a CONNECT packet the connect handler needs: it may take long, and nothing else is kept meanwhile."""
        return data

    def _must_be_connected(self, eio_sid: str, packet: Any) -> None:
        if self.manager.sid_from_eio_sid(eio_sid, packet.namespace or "/") is None:
            raise MalformedPacket("not connected")

    def _take_event(self, eio_sid: str, packet: Any) -> Awaitable[None] | None:
        """Take an event; `packet.size` is how much came for it, in characters and bytes."""
        return self._run_handlers(eio_sid, packet.namespace or "/", packet.id, packet.data)

    async def _run_handlers(self, eio_sid: str, namespace: str, id: int | None, data: list[Any]) -> None:
        sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
        if not self.manager.is_connected(sid, namespace):
            return
        work = self._handle_event_internal(self, sid, eio_sid, data, namespace, id)
        if not self.async_handlers:
            await work
            return
        running = self._running.setdefault(eio_sid, set())
        task = asyncio.create_task(work)
        running.add(task)
        task.add_done_callback(running.discard)
        while len(running) >= EVENTS_AT_ONCE:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _handle_event_internal(self, *args: Any) -> None:
        try:
            await super()._handle_event_internal(*args)
        except Exception:
            self.logger.exception("event handler error")

    # --- Connecting -------------------------------------------------------------------------------------------

    async def _handle_eio_connect(self, eio_sid: str, environ: Any) -> Any:
        if self._unconnected is None:
            loop = asyncio.get_running_loop()
            self._unconnected = Lane(loop, self._connect_seconds, self._give_up)
        self._unconnected.start(eio_sid)
        self._become_a_stranger(eio_sid, environ)
        return await super()._handle_eio_connect(eio_sid, environ)

    def _become_a_stranger(self, eio_sid: str, environ: Any) -> None:
        self._tries[eio_sid] = 0
        head = environ["asgi.scope"]["headers"] if "asgi.scope" in environ else ()
        weight = STRANGER_WEIGHT + 2 * sum(len(name) + len(value) for name, value in head)
        weight += 4 * (len(environ.get("PATH_INFO", "")) + len(environ.get("QUERY_STRING", "")))
        self._head_bytes[eio_sid] = weight
        address = network_of(environ.get("REMOTE_ADDR", ""))
        self._make_room(self.strangers.add(eio_sid, address, weight))

    def _weigh(self, eio_sid: str, held_bytes: int) -> None:
        if eio_sid in self._head_bytes:
            self._make_room(self.strangers.weigh(eio_sid, self._head_bytes[eio_sid] + held_bytes))

    def _make_room(self, eio_sids: list[str]) -> None:
        for eio_sid in eio_sids:
            self.eio.abort_transport(eio_sid, "another stranger came")

    def _become_known(self, eio_sid: str) -> None:
        assert self._unconnected is not None
        self._unconnected.stop(eio_sid)
        self.strangers.remove(eio_sid)
        self._tries.pop(eio_sid, None)
        self._head_bytes.pop(eio_sid, None)
        self.eio.trust(eio_sid)

    def _give_up(self, eio_sid: str, due: float) -> None:
        self.eio.close_transport(eio_sid, "not connected in time")

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        namespace = namespace or "/"
        if not self._serves(namespace):
            await self._refuse(eio_sid, namespace, "Invalid namespace")
            return
        _, held = self._held[eio_sid] = (namespace, [])
        try:
            await super()._handle_connect(eio_sid, namespace, data)
            if held:  # in a write of its own, later than the CONNECT answer
                await asyncio.sleep(0.005)
        except Exception:
            self.logger.exception("connect handler error")
            sid = self.manager.sid_from_eio_sid(eio_sid, namespace)
            if sid is not None:
                await self.manager.disconnect(sid, namespace, ignore_queue=True)
            await self._refuse(eio_sid, namespace, "Internal error")
        finally:
            del self._held[eio_sid]
        if self.manager.sid_from_eio_sid(eio_sid, namespace) is not None:
            self._become_known(eio_sid)
            if not self._keeps_environ:
                self.environ[eio_sid] = _what_is_kept_of(self.environ[eio_sid])
            for packet in held:
                self.deliver([eio_sid], packet)

    def _serves(self, namespace: str) -> bool:
        return (
            self.namespaces == "*"
            or namespace in self.namespaces
            or namespace in self.handlers
            or namespace in self.namespace_handlers
        )

    async def _refuse(self, eio_sid: str, namespace: str, message: str) -> None:
        packet = self.packet_class(sio_packet.CONNECT_ERROR, data={"message": message}, namespace=namespace)
        await self._send_packet(eio_sid, packet)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """Disconnect a client from a namespace, as in the stock class."""
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace or "/")
        await super().disconnect(sid, namespace=namespace, ignore_queue=ignore_queue)
        self._wait_for_connect(eio_sid)

    async def _handle_disconnect(
        self, eio_sid: str, namespace: str | None, reason: str | None = None
    ) -> None:
        await super()._handle_disconnect(eio_sid, namespace, reason)
        self._wait_for_connect(eio_sid)

    def _wait_for_connect(self, eio_sid: str | None) -> None:
        """A client that has left its last namespace has as long for another as a new one."""
        namespaces = list(self.manager.get_namespaces())
        if self._unconnected is None or eio_sid is None or eio_sid not in self.environ:
            return
        session = self.eio.sockets.get(eio_sid)
        if session is None or session.closing:
            return
        if all(self.manager.sid_from_eio_sid(eio_sid, namespace) is None for namespace in namespaces):
            self._unconnected.start(eio_sid)
            self._become_a_stranger(eio_sid, self.environ[eio_sid])
            self.eio.distrust(eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        self._binary_packet.pop(eio_sid, None)
        self._attachment_bytes.pop(eio_sid, None)
        self._running.pop(eio_sid, None)
        await super()._handle_eio_disconnect(eio_sid, reason)
        if self._unconnected is not None:
            self._unconnected.stop(eio_sid)
        self.strangers.remove(eio_sid)
        self._tries.pop(eio_sid, None)
        self._head_bytes.pop(eio_sid, None)


def _what_is_kept_of(environ: dict[str, Any]) -> dict[str, Any]:
    """What a client that connects again on the same transport may need of its handshake."""
    address = _only_address(environ.get("REMOTE_ADDR", ""))
    return {**address, "HTTP_COOKIE": environ["HTTP_COOKIE"]} if "HTTP_COOKIE" in environ else address


@functools.lru_cache(1024)
def _only_address(address: str) -> dict[str, Any]:
    """One for all who come from there and have no cookie."""
    return {"REMOTE_ADDR": address}
