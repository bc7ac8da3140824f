"""The name by which uvicorn is told of the websocket: `--ws collab_server.realtime.transport:WebSocketProtocol`."""

from collab_server.realtime.lean.websocket import WebSocketProtocol

__all__ = ["WebSocketProtocol"]
