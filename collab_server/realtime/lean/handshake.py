"""What uvicorn is given as its class for websockets: looks for whom a handshake is, and hands the connection on.

uvicorn makes one `WebSocketProtocol` for each upgrade request, whichever of its HTTP implementations is in use, and
hands it the request. One for a path of ours is carried by a `WebSocket` from here on; any other goes to uvicorn's own
class.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

from typing_extensions import override
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl
from uvicorn.protocols.websockets.auto import AutoWebSocketsProtocol

from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.engine.session import Scope
from collab_server.realtime.lean.websocket import WebSocket

STATE_KEY = "collab_server.engines"
"""In uvicorn's lifespan state: path prefix (bytes) → EngineServer."""


def engine_for(app_state: dict[str, Any], target: bytes) -> EngineServer | None:
    """The Engine.IO server that a request target (path and query) is for, if any."""
    for prefix, engine in app_state.get(STATE_KEY, {}).items():
        if target.startswith(prefix):
            found: EngineServer = engine
            return found
    return None


class WebSocketProtocol(asyncio.Protocol):
    """Takes one request. uvicorn makes it the transport's protocol; from the loop's next turn on that is whoever the
    connection was handed to, and what comes until then is handed on."""

    def __init__(self, config: Any, server_state: Any, app_state: dict[str, Any], _loop: Any = None) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._transport: Any = None
        self._next: Any = None  # a `WebSocket`, or uvicorn's own

    @override
    def connection_made(self, transport: Any) -> None:
        """uvicorn hands over the connection of an HTTP request."""
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        """The request, whole."""
        if self._next is not None:
            self._next.data_received(data)
            return
        target = data.split(b" ", 2)[1]
        engine = engine_for(self._app_state, target)
        if engine is None:
            self._give_to_stock_class(data)
        else:
            self._next = WebSocket(engine, self._transport, self._server_state.connections)
            self._next.begin(_scope_of(data, self._transport))
        asyncio.get_running_loop().call_soon(self._hand_over)

    def _hand_over(self) -> None:
        if not self._transport.is_closing():
            self._transport.set_protocol(self._next)

    def _give_to_stock_class(self, request: bytes) -> None:
        stock: Any = AutoWebSocketsProtocol
        self._next = stock(config=self._config, server_state=self._server_state, app_state=self._app_state)
        self._next.connection_made(self._transport)
        self._next.data_received(request)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the network has closed."""
        if self._next is not None:
            self._next.connection_lost(exc)

    @override
    def pause_writing(self) -> None:
        """The transport's buffer is filling up."""
        if self._next is not None:
            self._next.pause_writing()

    @override
    def resume_writing(self) -> None:
        """It has emptied."""
        if self._next is not None:
            self._next.resume_writing()


def _scope_of(request: bytes, transport: Any) -> Scope:
    """A request as uvicorn writes it anew, as ASGI has it."""
    head = request.partition(b"\r\n\r\n")[0]
    first, *lines = head.split(b"\r\n")
    method, target = first.split(b" ")[:2]
    path, _, query = target.partition(b"?")
    return {
        "type": "websocket",
        "http_version": "1.1",
        "method": method.decode("latin-1"),
        "scheme": "wss" if is_ssl(transport) else "ws",
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": [
            (name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ],
    }
