"""How uvicorn runs us: the settings it gets, the classes it gets, and how it is made to leave quietly.

`serve` starts uvicorn with our settings. Under `uvicorn collab_server.app:app` nobody asks us, but uvicorn's own
configuration can be reached from the lifespan hook, which runs before the port is opened: `adopt` writes the settings
there, and `install` our classes. Whatever was said to uvicorn itself (`--port`, `UVICORN_PORT` …) wins; what this
version of uvicorn does not have is left alone, and so is every other server.

All that looks at uvicorn from outside by other than its documented ways is here: `_config_behind`, `workers` and
`leave`; `fed` derives from its server.

Nothing runs concurrently here; `adopt` and `install` are called once, when the lifespan starts.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn
from typing_extensions import override
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from collab_server.realtime.engine.engine import EngineServer
from collab_server.realtime.lean import listening
from collab_server.realtime.lean.fed import FedServer, Feed
from collab_server.realtime.lean.guard import GUARD_KEY, Guard
from collab_server.realtime.lean.handshake import STATE_KEY, WebSocketProtocol
from collab_server.realtime.lean.offers import PATHS_KEY

__all__ = ["GRACEFUL_SECONDS", "Feed", "Settings", "adopt", "install", "leave", "serve", "workers"]

log = logging.getLogger(__name__)

WITH_A_PACE = {
    f"{__package__}.{name}"
    for name in ("handshake", "websocket", "stock_websockets", "http", "stock_httptools")
}
"""Whose protocol classes read a client only so fast."""

GRACEFUL_SECONDS = 3
"""After draining, how long uvicorn waits for open requests (a long-poll takes 25 s) before it cuts them."""

_UVICORNS_PORT = 8000


@dataclass(frozen=True, slots=True)
class Settings:
    """What uvicorn is told."""

    port: int | None
    """To listen on; None to leave that to uvicorn."""
    packet_bytes: int
    """The largest message of a websocket."""
    trusted_proxies: tuple[str, ...]
    """Whose word is taken for where a client comes from: addresses and networks."""
    has_access_log: bool
    ssl_context: ssl.SSLContext | None
    """To serve HTTPS with; None for HTTP."""


def serve(app: Any, settings: Settings, *, host: str = "", port: int = 0, feed: Feed | None = None) -> bool:
    """Serve `app` in the foreground until SIGTERM or SIGINT, in this process. Say whether it ever served.

    `host` is an address or a name; `` and `::` are every address, of IPv4 and IPv6. With a `feed` connections come from
    there alone. Raises `KeyboardInterrupt` after a graceful stop by SIGINT.
    """
    context, sockets = settings.ssl_context, None
    try:
        # Before the node starts: one that nobody can reach is not to migrate, nor to be found.
        if feed is None:
            sockets = listening.sockets_at(host, port)
    except OSError as error:
        log.error("cannot listen on port %d%s: %s", port, listening.of(host), error.strerror)
        return False
    config = uvicorn.Config(
        app,
        host=host or "::",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        ws_max_size=settings.packet_bytes,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACEFUL_SECONDS,
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_context_factory=_always(context) if context else None,
        log_config=None,
        access_log=settings.has_access_log,
        server_header=False,
    )
    server = _Server(config) if feed is None else FedServer(config, feed)
    # uvicorn raises the signal again when it has stopped; a stop that was asked for is no failure.
    before = signal.signal(signal.SIGTERM, _exit)
    try:
        server.run(sockets)
    except SystemExit as left:
        # Also how uvicorn tells, with 3 and a line in the log, that it could not start.
        return server.started and not left.code
    finally:
        signal.signal(signal.SIGTERM, before)
    if isinstance(server, _Server) and server.is_deaf:
        log.error("cannot listen on port %d%s: another program has begun to", port, listening.of(host))
        return False
    return server.started


class _Server(uvicorn.Server):
    """uvicorn's, which stops at once where nobody can come to it."""

    is_deaf = False

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's."""
        await super().startup(sockets)
        if not all(map(listening.is_open, sockets or ())):
            self.is_deaf = self.should_exit = True
        elif self.started:
            log.info("listening on port %d%s", self.config.port, listening.of(self.config.host))


def adopt(
    receive: Any,
    settings: Settings,
    *,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Give the uvicorn behind a lifespan's `receive` our settings; do nothing under another server.

    `argv` (without the program) and `environ` tell what uvicorn was given.
    """
    running = _config_behind(receive)
    if not isinstance(running, uvicorn.Config):
        return
    given = _given(sys.argv[1:] if argv is None else argv, environ)

    _adopt_port(running, settings.port, given("port"))
    if not given("timeout-graceful-shutdown") and _has(running, "timeout_graceful_shutdown"):
        running.timeout_graceful_shutdown = running.timeout_graceful_shutdown or GRACEFUL_SECONDS
    if not given("ws-max-size") and _has(running, "ws_max_size"):
        running.ws_max_size = settings.packet_bytes
    if not given("ws-per-message-deflate") and _has(running, "ws_per_message_deflate"):
        running.ws_per_message_deflate = False
    if not settings.has_access_log and not given("access-log") and _has(running, "access_log"):
        running.access_log = False
    if settings.ssl_context is not None and _has(running, "ssl") and running.ssl is None:
        running.ssl = settings.ssl_context
    if not given("forwarded-allow-ips") and isinstance(running.loaded_app, ProxyHeadersMiddleware):
        running.loaded_app = ProxyHeadersMiddleware(running.loaded_app.app, list(settings.trusted_proxies))


def workers() -> int:
    """How many processes uvicorn's own supervisor has started, of which this is one; 1 if it has started none."""
    # What it gives to each of them, as multiprocessing keeps it; asked before there is a lifespan to ask.
    given = getattr(multiprocessing.current_process(), "_kwargs", None)
    config = given.get("config") if isinstance(given, dict) else None
    return config.workers if isinstance(config, uvicorn.Config) else 1


def _config_behind(receive: Any) -> Any:
    """uvicorn's Config, where `receive` is a method of its lifespan; None under another server."""
    return getattr(getattr(receive, "__self__", None), "config", None)


def _adopt_port(running: uvicorn.Config, port: int | None, is_given: bool) -> None:
    is_given = is_given or running.port != _UVICORNS_PORT or running.uds is not None or running.fd is not None
    if is_given or port is None:
        return
    if running.workers > 1 or running.should_reload:  # the parent has bound the socket already
        log.warning("uvicorn listens on %d, not on the port that is configured: give it --port", running.port)
        return
    running.port = port


def install(
    scope: MutableMapping[str, Any],
    receive: Any,
    engines: Mapping[str, EngineServer],
    guard: Guard | None = None,
) -> bool:
    """Let uvicorn carry these Engine.IO servers by the lean protocol classes, from the next connection on.

    Args:
        scope: the ASGI lifespan scope.
        receive: the ASGI lifespan `receive`; under uvicorn a method of the object that holds its Config.
        engines: path prefix, as in `/socket.io/` → server.
        guard: watches over all connections, if given.

    Returns:
        True if uvicorn is the server, was recognised, and the switch is not off.
    """
    config = _config_behind(receive)
    if (
        not isinstance(scope.get("state"), dict)
        or not hasattr(config, "ws_protocol_class")
        or not hasattr(config, "http_protocol_class")
    ):
        return False
    scope["state"][PATHS_KEY] = tuple(prefix.encode() for prefix in engines)
    if guard is not None:
        scope["state"][GUARD_KEY] = guard
    is_lean = os.environ.get("COLLAB_TRANSPORT", "").lower() != "asgi"
    if is_lean:
        scope["state"][STATE_KEY] = {prefix.encode(): engine for prefix, engine in engines.items()}
        config.ws_protocol_class = WebSocketProtocol
    elif getattr(config.ws_protocol_class, "__module__", "").startswith("uvicorn.protocols.websockets."):
        # Whichever of its own was asked for: the two others close on what is too large before anybody can answer it.
        from collab_server.realtime.lean.stock_websockets import StockWebSocketProtocol

        config.ws_protocol_class = StockWebSocketProtocol
    config.http_protocol_class = _http_protocol_class(config.http_protocol_class, is_lean=is_lean)
    _warn_of_no_pace(config)
    return is_lean


def _warn_of_no_pace(config: Any) -> None:
    """Say what carries clients without bounding how much of them is read."""
    http = getattr(config.http_protocol_class, "__module__", "")
    websockets = getattr(config.ws_protocol_class, "__module__", "")
    if http not in WITH_A_PACE:
        log.warning(
            "uvicorn reads HTTP by %s: one client may keep it busy with requests behind each other; leave out --http"
            " and UVICORN_HTTP, or say httptools",
            http,
        )
    if websockets not in WITH_A_PACE and config.ws_protocol_class is not None:
        log.warning(
            "uvicorn carries websockets by %s: one client may keep it busy with pings and fragments; leave out --ws"
            " and UVICORN_WS",
            websockets,
        )


def _http_protocol_class(stock: Any, *, is_lean: bool) -> Any:
    """What takes the place of uvicorn's class for HTTP; another one than its own two stays."""
    if getattr(stock, "__module__", "") == "uvicorn.protocols.http.h11_impl":
        from collab_server.realtime.lean.stock_h11 import StockH11Protocol

        return StockH11Protocol
    if getattr(stock, "__module__", "") == "uvicorn.protocols.http.httptools_impl":
        from collab_server.realtime.lean.http import HttpProtocol
        from collab_server.realtime.lean.stock_httptools import StockHttpProtocol

        return HttpProtocol if is_lean else StockHttpProtocol
    return stock


def leave(handler: Callable[[int, FrameType | None], Any], number: int) -> None:
    """Do what uvicorn's handler of a signal does, but for raising SIGTERM once more: to be stopped is no failure.

    A handler of another program is called, and uvicorn's of another signal.
    """
    server = getattr(handler, "__self__", None)
    if number == signal.SIGTERM and server is not None and hasattr(server, "should_exit"):
        server.should_exit = True
    else:
        handler(number, None)


def let_nobody_in(handler: Callable[[int, FrameType | None], Any]) -> None:
    """Have the uvicorn whose handler of a signal this is listen no more; who is connected stays."""
    server = getattr(handler, "__self__", None)
    for each in getattr(server, "servers", ()):
        each.close()


def _given(argv: Sequence[str], environ: Mapping[str, str]) -> Callable[[str], bool]:
    """Whether an option of uvicorn's command line was given, there or by its environment variable."""

    def given(option: str) -> bool:
        variables = {f"UVICORN_{option.upper().replace('-', '_')}"}
        if option == "forwarded-allow-ips":
            variables.add("FORWARDED_ALLOW_IPS")
        spellings = (f"--{option}", f"--no-{option}")
        return any(argument.split("=")[0] in spellings for argument in argv) or any(
            variable in environ for variable in variables
        )

    return given


def _has(running: uvicorn.Config, name: str) -> bool:
    if hasattr(running, name):
        return True
    log.warning("This uvicorn has no %s: its own setting is used", name)
    return False


def _always(context: ssl.SSLContext) -> Callable[..., ssl.SSLContext]:
    return lambda *_: context


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
