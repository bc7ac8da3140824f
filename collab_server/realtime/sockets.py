"""Socket.IO on our Engine.IO transport: what python-socketio's server lacks in conformance and limits.

`SocketServer` behaves as the stock class for everybody who uses python-socketio's API; the product's own door
derives from it. It owns no task of its own.
"""

from __future__ import annotations

from typing import Any

import socketio

from collab_server.realtime.engine import EngineServer


class SocketServer(socketio.AsyncServer):  # type: ignore[misc]
    """A `socketio.AsyncServer` whose connections are `EngineServer`'s (`self.eio`)."""

    eio: EngineServer

    def _engineio_server_class(self) -> type[EngineServer]:
        return EngineServer

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        """Send a Socket.IO packet, its attachments right behind it."""
        encoded = pkt.encode()
        if isinstance(encoded, str):
            self.eio.send_text(eio_sid, encoded)
        else:
            await super()._send_packet(eio_sid, pkt)
