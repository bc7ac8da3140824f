"""A websocket of a session that another node owns: its bytes go through, both ways, as they are.

The node that the client has reached keeps a `Pipe`, the home works on a `TunnelTransport` as if it were the client's
own connection. Either side reads no more than the other takes, so that a client that does not read is noticed by the
home, by what piles up there. While such a client keeps the channel from being read, that the home has closed it shows
only in that nothing more can be said: so something is, every `ASK_SECONDS`. Nothing else runs.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from typing_extensions import override

from collab_server.realtime.engine.session import Gathering, Taker
from collab_server.realtime.handover.channel import Channel
from collab_server.realtime.handover.words import NUMBER, Garbled, Said, unpack_number

__all__ = ["Carrying", "Pipe", "TunnelTransport"]

PIECE_BYTES = 262_144
LEAVE_SECONDS = 2.0
"""So long a client has for the last that its session's home has sent."""
ASK_SECONDS = 1.0
"""So often, where nothing is read of the home, it is seen whether something can be said to it."""


class Pipe(Taker):
    """The client's side: a web server's transport on one end, a channel to the home on the other."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._transport: Any = None
        self._connections: set[Any] = set()
        self._asking: asyncio.TimerHandle | None = None  # while the channel is not read

    @override
    def take(self, transport: Any, connections: set[Any]) -> None:
        """Carry this connection, which is one of uvicorn's `connections`, from now on."""
        self._transport, self._connections = transport, connections
        connections.add(self)
        transport.set_protocol(self)
        self._channel.hearer = self

    @property
    def transport(self) -> Any:
        """What carries the connection."""
        return self._transport

    # --- the client

    @override
    def data_received(self, data: bytes) -> None:
        """Whatever it is, it is the home's to read."""
        self._channel.send(Said.DATA, data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        self._connections.discard(self)
        self._ask_no_more()
        self._channel.close()

    @override
    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._channel.pause_reading()
        self._ask_later()

    @override
    def resume_writing(self) -> None:
        """It has read."""
        self._ask_no_more()
        self._channel.resume_reading()

    def _ask_later(self) -> None:
        self._ask_no_more()
        self._asking = asyncio.get_running_loop().call_later(ASK_SECONDS, self._ask)

    def _ask(self) -> None:
        self._channel.send(Said.PING)
        self._ask_later()

    def _ask_no_more(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def cut(self) -> None:
        """The client takes nothing: put it out."""
        self._transport.abort()

    def shutdown(self) -> None:
        """This node stops: the home says goodbye to the client, which comes back by another one."""
        self._channel.send(Said.LEAVE)
        asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._transport.close)

    # --- the home

    def heard(self, kind: int, payload: bytes) -> None:
        """Bytes for the client."""
        if self._transport.is_closing():
            return
        if kind == Said.DATA:
            self._transport.write(payload)
        elif kind == Said.EOF:
            try:
                self._transport.write_eof()
            except (OSError, NotImplementedError):  # not over TLS
                self._transport.close()
        elif kind == Said.TRUST and isinstance(self._transport, Gathering):
            try:
                self._transport.trust(unpack_number(payload))
            except Garbled:
                self._channel.abort()

    def lost(self) -> None:
        """The home has closed, or is gone: the client may read what it was sent, for a while."""
        self._ask_no_more()
        self._transport.close()
        asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._transport.abort)

    def pause(self) -> None:
        """The home reads slowly."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """It has read."""
        if not self._transport.is_closing():
            self._transport.resume_reading()


class Carrying(Protocol):
    """What the home carries a session with."""

    def data_received(self, data: bytes) -> None:
        """The client has sent something."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""

    def shutdown(self) -> None:
        """The client is to come back to another node."""


class TunnelTransport:
    """The home's side: a transport, as far as a websocket asks for one."""

    __slots__ = ("__weakref__", "_channel", "_protocol")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._protocol: Carrying | None = None

    def carry(self, protocol: Carrying) -> None:
        """Give what comes to this one."""
        self._protocol = protocol
        self._channel.hearer = self

    # --- the channel

    def heard(self, kind: int, payload: bytes) -> None:
        """Bytes of the client."""
        assert self._protocol is not None
        if kind == Said.DATA:
            self._protocol.data_received(payload)
        elif kind == Said.LEAVE:
            self._protocol.shutdown()

    def lost(self) -> None:
        """The client has gone, or the node that it had reached."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(None)

    def pause(self) -> None:
        """Whoever writes looks at the buffer's size."""

    def resume(self) -> None:
        """Nothing to do."""

    # --- the transport

    def write(self, data: bytes) -> None:
        """Send, in pieces that are no burden to the other node."""
        for start in range(0, len(data), PIECE_BYTES):
            self._channel.send(Said.DATA, data[start : start + PIECE_BYTES])

    def write_eof(self) -> None:
        """Send nothing more."""
        self._channel.send(Said.EOF)

    def close(self) -> None:
        """Close, behind what was written."""
        self._channel.close()

    def abort(self) -> None:
        """Close at once."""
        self._channel.abort()

    def is_closing(self) -> bool:
        """Closed, or about to be."""
        return self._channel.is_closing

    def trust(self, most_bytes: int) -> None:
        """Tell the other node how large a message may be from now on."""
        self._channel.send(Said.TRUST, NUMBER.pack(most_bytes))

    def get_write_buffer_size(self) -> int:
        """So many bytes wait here."""
        return self._channel.held_bytes

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._channel.resume_reading()
