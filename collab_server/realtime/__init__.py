"""The Socket.IO door. Only importer of socketio and engineio.

`build_server`, `build_engineio_server` and `build_asgi` give the bare protocol, apart from the product, on
the production transport.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collab_server.realtime._libraries import engineio, socketio  # before anybody else imports them
from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.lean.adapter import install
from collab_server.realtime.process import tune_garbage_collector
from collab_server.realtime.sockets.server import SocketServer

__all__ = ["EngineServer", "SocketServer", "build_asgi", "build_engineio_server", "build_server"]


def build_server(
    *,
    ping_interval: float = 25.0,
    ping_timeout: float = 20.0,
    max_packet_bytes: int = 1_000_000,
    namespaces: Sequence[str] = ("/",),
) -> socketio.AsyncServer:
    """A Socket.IO server on the production transport.

    Args:
        ping_interval: seconds between two pings, fractions allowed.
        ping_timeout: seconds a client has to answer one.
        max_packet_bytes: the largest packet (or long-polling payload) accepted, in bytes.
        namespaces: the ones clients may connect to; all others are refused with `Invalid namespace`.
    """
    return SocketServer(
        async_mode="asgi",
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_http_buffer_size=max_packet_bytes,
        namespaces=list(namespaces),
        cors_allowed_origins="*",
    )


def build_engineio_server(
    *, ping_interval: float = 25.0, ping_timeout: float = 20.0, max_packet_bytes: int = 1_000_000
) -> engineio.AsyncServer:
    """An Engine.IO server on the production transport; the arguments are those of `build_server`."""
    return EngineServer(
        async_mode="asgi",
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        max_http_buffer_size=max_packet_bytes,
        cors_allowed_origins="*",
    )


def build_asgi(server: socketio.AsyncServer | engineio.AsyncServer) -> Any:
    """The ASGI application around either server, at `/socket.io/` or `/engine.io/`, on the production transport."""
    if isinstance(server, socketio.AsyncServer):
        return _Application(socketio.ASGIApp(server), {"/socket.io/": server.eio})
    return _Application(engineio.ASGIApp(server), {"/engine.io/": server})


class _Application:
    """Puts the lean transport in at lifespan startup."""

    def __init__(self, application: Any, engines: Mapping[str, EngineServer]) -> None:
        self._application = application
        self._engines = engines

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan" and install(scope, receive, self._engines):
            tune_garbage_collector()
        is_ours = scope["type"] != "websocket" or any(map(scope["path"].startswith, self._engines))
        if is_ours:
            await self._application(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close"})
