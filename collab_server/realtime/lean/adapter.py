"""How uvicorn has to run us: one list of settings, for `collab-server serve` and for bare uvicorn.

`serve` hands them to uvicorn. Under `uvicorn collab_server.app:app` nobody asks us, but uvicorn's own configuration can
be reached from the lifespan hook, which runs before the port is opened: `adopt` writes the settings there. Whatever
was said to uvicorn itself (`--port`, `UVICORN_PORT` …) wins; what this version of uvicorn does not have is left
alone, and so is every other server.

Nothing runs concurrently here; `adopt` is called once, by the app, when its lifespan starts.
"""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from collab_server.config import Config, certificates

__all__ = ["GRACEFUL_SECONDS", "adopt", "serve"]

log = logging.getLogger(__name__)

GRACEFUL_SECONDS = 3
"""After draining, how long uvicorn waits for open requests (a long-poll takes 25 s) before it cuts them."""

_UVICORNS_PORT = 8000


def serve(app: Any, config: Config, *, host: str, port: int) -> bool:
    """Serve `app` in the foreground until SIGTERM or SIGINT, in one process. Say whether it ever served.

    Raises `KeyboardInterrupt` after a graceful stop by SIGINT, and `ConfigError` where a certificate cannot be used,
    before it opens the port.
    """
    context = certificates.server_context(config.server_tls) if config.server_tls else None
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="uvloop",
            http="httptools",
            lifespan="on",
            ws_max_size=config.limits.packetBytes,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=GRACEFUL_SECONDS,
            forwarded_allow_ips=list(config.trustedProxies),
            ssl_context_factory=_always(context) if context else None,
            log_config=None,
            access_log=config.logging,
            server_header=False,
        )
    )
    # uvicorn raises the signal again when it has stopped; a stop that was asked for is no failure.
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        server.run()
    except SystemExit as left:
        # Also how uvicorn tells, with 3 and a line in the log, that it could not start.
        return server.started and not left.code
    finally:
        signal.signal(signal.SIGTERM, before)
    return server.started


def adopt(
    receive: Any,
    config: Config,
    *,
    argv: Sequence[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> None:
    """Give the uvicorn behind a lifespan's `receive` our settings; do nothing under another server.

    `argv` (without the program) and `environ` tell what uvicorn was given. Raises `ConfigError` where a certificate
    cannot be used.
    """
    running = getattr(getattr(receive, "__self__", None), "config", None)
    if not isinstance(running, uvicorn.Config):
        return
    given = _given(sys.argv[1:] if argv is None else argv, environ)

    _adopt_port(running, config, given("port"))
    if not given("timeout-graceful-shutdown") and _has(running, "timeout_graceful_shutdown"):
        running.timeout_graceful_shutdown = running.timeout_graceful_shutdown or GRACEFUL_SECONDS
    if not given("ws-max-size") and _has(running, "ws_max_size"):
        running.ws_max_size = config.limits.packetBytes
    if not given("ws-per-message-deflate") and _has(running, "ws_per_message_deflate"):
        running.ws_per_message_deflate = False
    if not config.logging and not given("access-log") and _has(running, "access_log"):
        running.access_log = False
    if config.server_tls is not None and _has(running, "ssl") and running.ssl is None:
        running.ssl = certificates.server_context(config.server_tls)
    if not given("forwarded-allow-ips") and isinstance(running.loaded_app, ProxyHeadersMiddleware):
        running.loaded_app = ProxyHeadersMiddleware(running.loaded_app.app, list(config.trustedProxies))
    if running.workers > 1:
        log.warning(
            "uvicorn was told to start %d workers: start one process per node instead", running.workers
        )


def _adopt_port(running: uvicorn.Config, config: Config, is_given: bool) -> None:
    is_given = is_given or running.port != _UVICORNS_PORT or running.uds is not None or running.fd is not None
    if is_given or not config.is_port_given:
        return
    if running.workers > 1 or running.should_reload:  # the parent has bound the socket already
        log.warning("uvicorn listens on %d, not on the port that is configured: give it --port", running.port)
        return
    running.port = config.port


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


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
