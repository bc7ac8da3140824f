"""uvicorn's HTTP protocol, made late.

Most connections bring a websocket's handshake or plain polls, for which nothing of uvicorn's is needed; a parser, flow
control and forty attributes were made for each, and two loggers looked for.
"""

from __future__ import annotations

import asyncio
from typing import Any

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from collab_server.realtime.lean.stock_httptools import StockHttpProtocol


class LateHttpProtocol(StockHttpProtocol):
    """Is no more than a connection that is watched, until `_wake` is called. To read requests calls it, and so does a
    client who reads too slowly."""

    # uvicorn's, until then.
    client: Any = None
    cycle: Any = None
    flow: Any = None
    loop: Any = None  # until an answer is out
    pipeline: Any = ()
    timeout_keep_alive_task: asyncio.TimerHandle | None = None

    _is_awake = False
    _quiet_since = 0.0  # nothing has been asked since then

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._made_of = (config, server_state, app_state, _loop)
        self.app_state = app_state
        self.server_state = server_state
        self.timeout_keep_alive = config.timeout_keep_alive
        self.connections = server_state.connections

    @override
    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        self.transport = transport
        self.connections.add(self)
        peer = transport.get_extra_info("peername")
        self.client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else None
        self._be_watched()

    def _wake(self) -> None:
        """Make what uvicorn needs to read requests and to answer them."""
        if self._is_awake:
            return
        self._is_awake = True
        self._unset_keepalive_if_required()  # or it is lost
        transport = self.transport
        super().__init__(*self._made_of)
        HttpToolsProtocol.connection_made(self, transport)
        self._take_up_flow()

    def _be_quiet(self) -> None:
        """An answer is out, and nothing waits. The timer of the answer before goes on: most clients ask again long
        before it ends, and to stop and start one costs as much as to find a session."""
        loop = self.loop
        if loop is None:
            loop = self.loop = asyncio.get_running_loop()
        self._quiet_since = loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    @override
    def timeout_keep_alive_handler(self) -> None:
        """Close the connection of a client that asks no more."""
        self.timeout_keep_alive_task = None
        if self._has_to_answer() or self.transport.is_closing():
            return  # after an answer it begins anew
        left_seconds = self._quiet_since + self.timeout_keep_alive - self.loop.time()
        if left_seconds > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left_seconds, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    @override
    def data_received(self, data: bytes) -> None:
        """Read requests."""
        self._wake()
        super().data_received(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        if self._is_awake:
            super().connection_lost(exc)
        else:
            self.connections.discard(self)
            self._unset_keepalive_if_required()
            self._leave()

    @override
    def pause_writing(self) -> None:
        """The transport's buffer is filling up."""
        self._wake()
        super().pause_writing()
