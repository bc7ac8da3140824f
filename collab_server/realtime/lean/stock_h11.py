"""uvicorn's h11 protocol with bounds, and one mend: a websocket that is not taken is a request like any other.

h11 itself bounds the head of a request; the time that one may take is bounded here (`guard.py`).
"""

from __future__ import annotations

from typing import Any

import h11
from typing_extensions import override
from uvicorn.protocols.http.h11_impl import H11Protocol

from collab_server.realtime.lean import offers
from collab_server.realtime.lean.guard import Guarded
from collab_server.realtime.lean.quiet import QuietTransport


class StockH11Protocol(Guarded, H11Protocol):
    """What uvicorn runs for `--http h11`, bounded and mended."""

    _is_handed_over = False
    _head_bytes = 0

    @override
    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(QuietTransport(transport))

    @override
    def data_received(self, data: bytes) -> None:
        """Read requests, up to a websocket's handshake."""
        super().data_received(data)
        if self._is_handed_over:
            return
        self._head_bytes = self._head_bytes + len(data) if self.conn.their_state is h11.IDLE else 0
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY):
            self._wait_for_the_rest(len(data))
        else:
            self._settle()

    @override
    def on_response_complete(self) -> None:
        """An answer is out: another request may come."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self._has_to_answer():
            self._forget()

    @override
    def _held_bytes(self, read_bytes: int) -> int:
        return self._head_bytes or super()._held_bytes(read_bytes)

    @override
    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to a websocket."""
        self._is_handed_over = True
        self._leave()
        self.transport = self.transport.transport
        super().handle_websocket_upgrade(event)

    @override
    def _should_upgrade(self) -> bool:
        scope = self.scope
        target = scope["raw_path"][len(self.root_path) :] + b"?" + scope["query_string"]
        is_taken = self.ws_protocol_class is not None and offers.is_taken(
            self.app_state, scope["method"], scope["http_version"], target, self.headers
        )
        if is_taken:
            offers.keep_only_websocket(self.headers)
        return is_taken
