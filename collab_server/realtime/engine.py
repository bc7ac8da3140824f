"""Engine.IO: the connections of one node, and the one way by which anything leaves through them.

What it promises
    `send_text`, `broadcast` and `close_transport` never wait and never raise for a client that is gone; what
    is sent to one client arrives in the order of the calls, whichever of them (or stock `send`) was used; a
    client that does not read costs at most `outgoing_bytes`, then its transport is closed and counted, and it
    comes back by itself.
What runs concurrently
    python-engineio's reader and writer tasks, one pair per websocket.
How it stops
    With the server process: uvicorn closes the transports.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import engineio
from engineio import packet as eio_packet

DEFAULT_OUTGOING_BYTES = 1_000_000


class _Outgoing(asyncio.Queue[Any]):
    """A client's outgoing packets, counted in bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes_waiting = 0

    def _put(self, item: Any) -> None:
        self.bytes_waiting += _size(item)
        super()._put(item)

    def _get(self) -> Any:
        item = super()._get()
        self.bytes_waiting -= _size(item)
        return item


def _size(packet: Any) -> int:
    data = getattr(packet, "data", None)
    return len(data) if isinstance(data, (str, bytes)) else 0


class EngineServer(engineio.AsyncServer):  # type: ignore[misc]
    """An `engineio.AsyncServer` with bounded, never waiting sends of ready text.

    Args:
        outgoing_bytes: the most that may wait for one client; above it the client's transport is closed.
    """

    def __init__(self, *args: Any, outgoing_bytes: int = DEFAULT_OUTGOING_BYTES, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outgoing_bytes = outgoing_bytes
        self.overflows = 0
        self._closings: set[asyncio.Task[None]] = set()

    @property
    def open_connections(self) -> int:
        """How many Engine.IO sessions are open now."""
        return len(self.sockets)

    def send_text(self, eio_sid: str, text: str) -> None:
        """Send one Engine.IO message: `text` is a ready Socket.IO packet, without the leading `4`."""
        self._queue(eio_sid, eio_packet.Packet(eio_packet.MESSAGE, text))

    def broadcast(self, eio_sids: Iterable[str], text: str) -> None:
        """Send the same ready text to many, encoded once."""
        packet = eio_packet.Packet(eio_packet.MESSAGE, text)
        for eio_sid in eio_sids:
            self._queue(eio_sid, packet)

    def close_transport(self, eio_sid: str, reason: str) -> None:
        """Close the connection below Socket.IO, so that official clients reconnect by themselves."""
        socket = self.sockets.get(eio_sid)
        if socket is None or socket.closing or socket.closed:
            return
        socket.closing = True
        closing = asyncio.ensure_future(self._close_now(eio_sid, socket, reason))
        self._closings.add(closing)
        closing.add_done_callback(self._closings.discard)

    async def _close_now(self, eio_sid: str, socket: Any, reason: str) -> None:
        await self._trigger_event("disconnect", eio_sid, reason, run_async=False)
        socket.closed = True
        if not socket.upgraded:
            socket.queue.put_nowait(eio_packet.Packet(eio_packet.CLOSE))
        socket.queue.put_nowait(None)
        self.sockets.pop(eio_sid, None)

    def _queue(self, eio_sid: str, packet: eio_packet.Packet) -> None:
        socket = self.sockets.get(eio_sid)
        if socket is None or socket.closing or socket.closed:
            return
        socket.queue.put_nowait(packet)
        self._check_room(eio_sid, socket)

    def _check_room(self, eio_sid: str, socket: Any) -> None:
        if socket.queue.bytes_waiting > self.outgoing_bytes:
            self.overflows += 1
            self.close_transport(eio_sid, "outgoing queue full")

    async def send_packet(self, sid: str, pkt: eio_packet.Packet) -> None:
        """The stock way to send; counted like the others."""
        await super().send_packet(sid, pkt)
        socket = self.sockets.get(sid)
        if socket is not None:
            self._check_room(sid, socket)

    def create_queue(self, *args: Any, **kwargs: Any) -> asyncio.Queue[Any]:
        """The queue of a new socket."""
        return _Outgoing()
