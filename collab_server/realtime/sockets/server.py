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
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from typing import Any

import socketio
from socketio import packet as sio_packet

from collab_server.realtime.engine.bounds import Bounds, KnownBy
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.sockets.newcomers import Newcomers
from collab_server.realtime.sockets.packets import MalformedPacket, StrictPacket, check
from collab_server.realtime.sockets.rooms import DirectManager
from collab_server.realtime.strangers import StrangerLimits

EVENTS_AT_ONCE = 1000
CONNECT_SECONDS = 10.0

_EVENTS = (sio_packet.EVENT, sio_packet.BINARY_EVENT)


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """A `socketio.AsyncServer` whose connections are `EngineServer`'s (`self.eio`).

    Args:
        bounds: what one client may take; of those who are connected to no namespace yet, `strangers` says it.
        connect_seconds: a client that is connected to no namespace by then is put out.
        strangers: what clients may take that are connected to no namespace (yet).
        known_by: how clients are known again.
        keeps_environ: False to forget a client's `environ` but for its cookies when it is connected (half of what a
            client costs); only for servers that do not ask for it later.
    """

    eio: EngineServer

    def __init__(
        self,
        client_manager: Any = None,
        *,
        bounds: Bounds | None = None,
        connect_seconds: float = CONNECT_SECONDS,
        strangers: StrangerLimits | None = None,
        known_by: KnownBy | None = None,
        keeps_environ: bool = True,
        **kwargs: Any,
    ) -> None:
        limits = strangers or StrangerLimits()
        super().__init__(
            client_manager=client_manager or DirectManager(),
            bounds=replace(bounds or Bounds(), stranger_bytes=limits.packet_bytes),
            known_by=known_by,
            watcher=_Watch(self),
            **{"serializer": StrictPacket, **kwargs},
        )
        self.newcomers = Newcomers(limits, connect_seconds, self._give_up)
        self._keeps_environ = keeps_environ
        self._held: dict[str, tuple[str, list[Any]]] = {}  # while a connect handler runs: namespace, packets
        self._attachment_bytes: dict[str, int] = {}
        self._running: dict[str, set[asyncio.Task[None]]] = {}  # event handlers, per client

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    # --- out

    def deliver(self, eio_sids: Iterable[str], packet: Any) -> None:
        """Send a packet to these clients, encoded once; never waits."""
        if self._held:
            eio_sids = [eio_sid for eio_sid in eio_sids if not self._hold(eio_sid, packet)]
        encoded = packet.encode()
        self.eio.broadcast_packets(eio_sids, encoded if isinstance(encoded, list) else [encoded])

    def _hold(self, eio_sid: str, packet: Any) -> bool:
        """Keep a packet back if its namespace is about to be connected, and this is not the answer to that."""
        namespace, packets = self._held.get(eio_sid, (None, []))
        if namespace != (packet.namespace or "/") or packet.packet_type not in _EVENTS:
            return False
        packets.append(packet)
        return True

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        self.deliver([eio_sid], pkt)

    # --- in

    def _handle_eio_message(self, eio_sid: str, data: Any) -> Awaitable[None] | None:
        """Take a message; what is left to be waited for before the next one, if anything."""
        try:
            packet = self._read(eio_sid, data)
            return None if packet is None else self._take(eio_sid, packet)
        except MalformedPacket as error:
            self._binary_packet.pop(eio_sid, None)
            self._turn_down(eio_sid, data, str(error))
            self._put_out_for(eio_sid, str(error))
            return None

    def _turn_down(self, eio_sid: str, packet: Any, why: str = "") -> bool:
        """Say `why` the connection is closed, or that the packet is too large, if an answer is waited for. Was it?"""
        return False

    def _put_out_for(self, eio_sid: str, why: str) -> None:
        """Close the connection of a client that breaks the protocol."""
        self.logger.info("%s: put out: %s", eio_sid, why)
        self.eio.close_transport(eio_sid, self.reason.TRANSPORT_ERROR)

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
            packet = self.packet_class(binary=False, encoded_packet=data)
        except Exception as error:  # also of another serializer
            raise MalformedPacket(str(error)) from None
        packet.size = len(data)
        if not packet.attachment_count:
            return packet
        check(packet)
        self._must_be_connected(eio_sid, packet)
        self._binary_packet[eio_sid], self._attachment_bytes[eio_sid] = packet, 0
        return None

    def _take(self, eio_sid: str, packet: Any) -> Awaitable[None] | None:
        check(packet)
        kind, namespace = packet.packet_type, packet.namespace
        if kind == sio_packet.CONNECT:
            if self.manager.sid_from_eio_sid(eio_sid, namespace or "/") is not None:
                raise MalformedPacket("connected already")
            self.newcomers.count_try(eio_sid, packet.size)
            return self._begin_connect(eio_sid, namespace, self._credentials_of(packet.data))
        if kind == sio_packet.DISCONNECT:
            return self._handle_disconnect(eio_sid, namespace, self.reason.CLIENT_DISCONNECT)
        self._must_be_connected(eio_sid, packet)
        if kind in _EVENTS:
            return self._take_event(eio_sid, packet)
        return self._handle_ack(eio_sid, namespace, packet.id, packet.data)  # type: ignore[no-any-return]

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

    # --- connecting

    def _handle_eio_connect(self, eio_sid: str, environ: Any) -> None:
        self._put_out(self.newcomers.enter(eio_sid, environ))
        if not getattr(self, "manager_initialized", False):
            self.manager_initialized = True
            self.manager.initialize()
        self.environ[eio_sid] = environ

    def _put_out(self, eio_sids: list[str]) -> None:
        for eio_sid in eio_sids:
            self.eio.abort_transport(eio_sid, "another stranger came")

    def _give_up(self, eio_sid: str) -> None:
        self.eio.close_transport(eio_sid, "not connected in time")

    def _begin_connect(self, eio_sid: str, namespace: str | None, data: Any) -> Awaitable[None] | None:
        """Connect a client to a namespace; what is left to be waited for, if anything."""
        self.newcomers.wait(eio_sid)
        return self._handle_connect(eio_sid, namespace, data)

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
            self._welcome(eio_sid)
            for packet in held:
                self.deliver([eio_sid], packet)

    def _welcome(self, eio_sid: str) -> None:  # no stranger any more
        self.newcomers.leave(eio_sid)
        self.eio.trust(eio_sid)
        if not self._keeps_environ:
            self.environ[eio_sid] = _what_is_kept_of(self.environ[eio_sid])

    def _serves(self, namespace: str) -> bool:
        served = (self.namespaces, self.handlers, self.namespace_handlers)
        return self.namespaces == "*" or any(namespace in some for some in served)

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
        if eio_sid is None or eio_sid not in self.environ:
            return
        session = self.eio.sockets.get(eio_sid)
        if session is None or session.closing:
            return
        find = self.manager.sid_from_eio_sid
        if all(find(eio_sid, namespace) is None for namespace in self.manager.get_namespaces()):
            self._put_out(self.newcomers.enter(eio_sid, self.environ[eio_sid]))
            self.eio.distrust(eio_sid)

    def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> Awaitable[None] | None:
        for kept in (self._binary_packet, self._attachment_bytes, self._running):
            kept.pop(eio_sid, None)
        self.newcomers.leave(eio_sid)
        return self._leave(eio_sid, reason)

    def _leave(self, eio_sid: str, reason: str) -> Awaitable[None] | None:
        return super()._handle_eio_disconnect(eio_sid, reason)  # type: ignore[no-any-return]


class _Watch:
    """Tells the server what its connections cost."""

    def __init__(self, server: SocketServer) -> None:
        self._server = server

    def weigh(self, eio_sid: str, held_bytes: int) -> None:
        self._server._put_out(self._server.newcomers.weigh(eio_sid, held_bytes))

    def turn_down(self, eio_sid: str, begin: str) -> bool:
        return self._server._turn_down(eio_sid, begin)


def _what_is_kept_of(environ: dict[str, Any]) -> dict[str, Any]:
    """What a client that connects again on the same transport may need of its handshake."""
    address = _only_address(environ.get("REMOTE_ADDR", ""))
    return {**address, "HTTP_COOKIE": environ["HTTP_COOKIE"]} if "HTTP_COOKIE" in environ else address


@functools.lru_cache(1024)
def _only_address(address: str) -> dict[str, Any]:
    """One for all who come from there and have no cookie."""
    return {"REMOTE_ADDR": address}
