"""The descriptor by which a websocket's frames may be written beside its transport, while nothing waits in that.

Nothing overtakes: a transport that has not sent all that it was given says so before it returns, and then this has no
descriptor until it has. Nor does anything reach another connection by a number that was given away: both event loops
close the descriptor behind `connection_lost`, by which the session's owner knows that it has none.
"""

from __future__ import annotations

import asyncio
from typing import Any

from typing_extensions import override
from uvicorn.protocols.utils import is_ssl

from collab_server.realtime.engine.session import Session


class Shortcut(asyncio.Protocol):
    """The part of a websocket that knows its transport."""

    __slots__ = ("_descriptor", "_is_full", "_session", "_transport", "is_closing")
    is_handed = False

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._session: Session | None = None
        self._descriptor: int | None = None  # once somebody asked for it
        self._is_full = False  # something waits in the transport
        self.is_closing = False  # our close frame is out, or the connection is no more

    def descriptor(self) -> int:
        """The transport's; -1 while something waits there, and where bytes are changed on the way."""
        if self._is_full or self.is_closing or self._transport.is_closing():
            return -1
        if self._descriptor is None:
            self._descriptor = self._find_descriptor()
        return -1 if self._is_full else self._descriptor

    def _find_descriptor(self) -> int:
        transport = self._transport
        if self.is_handed or is_ssl(transport):
            return -1
        socket = transport.get_extra_info("socket")
        if socket is None:
            return -1
        # From now on it tells of whatever waits; of what does already, perhaps only the protocol before was told.
        transport.set_write_buffer_limits(high=0)
        self._is_full = transport.get_write_buffer_size() > 0
        return int(socket.fileno())

    def _shut(self) -> None:
        """Nothing is sent from now on, whatever becomes of the session: the descriptor may soon be another's."""
        self.is_closing = True
        self._reroute()

    @override
    def pause_writing(self) -> None:
        """The transport has not sent all that it was given."""
        self._is_full = True
        self._reroute()

    @override
    def resume_writing(self) -> None:
        """It has."""
        self._is_full = False
        self._reroute()

    def _reroute(self) -> None:
        if self._session is not None:
            self._session.owner.reroute()
