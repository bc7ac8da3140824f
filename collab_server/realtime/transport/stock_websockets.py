"""uvicorn's websocket protocol with bounds: the size of a message may change, and fragments cost what they hold."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from collab_server.realtime.transport.asgi import EXTENSION
from collab_server.realtime.transport.quiet import QuietTransport


class StockWebSocketProtocol(WebSocketsSansIOProtocol):
    """What uvicorn runs for `--ws websockets-sansio`, bounded."""

    def connection_made(self, transport: Any) -> None:
        """The connection of a handshake."""
        quiet: Any = QuietTransport(transport)
        super().connection_made(quiet)

    def take(self, most_bytes: int) -> None:
        """Take messages of so many bytes from now on."""
        self.conn.max_message_size = most_bytes

    def handle_connect(self, event: Any) -> None:
        """The handshake is there; the application may run from the loop's next turn on."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self

    def handle_cont(self, event: Any) -> None:
        """A further fragment of a message: uvicorn keeps each as an object, however small it is."""
        whole: Any = self.frames[0] if self.frames else b""
        if not isinstance(whole, bytearray):
            whole = bytearray(whole)
        whole += event.data
        self.frames = [bytes(whole) if event.fin else whole]
        if event.fin:
            self.send_receive_event_to_app()
