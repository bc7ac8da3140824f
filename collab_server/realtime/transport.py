"""The name by which uvicorn is told of the websocket: `--ws collab_server.realtime.transport:WebSocketProtocol`."""

from collab_server.realtime.lean.handshake import WebSocketProtocol

__all__ = ["WebSocketProtocol"]
