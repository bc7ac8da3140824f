"""What carries Engine.IO: websocket frames, long-polling, and the lean protocol classes for uvicorn.

uvicorn gets them in one of two ways: `install`, called at lifespan startup, or by its own option
(`--ws collab_server.realtime.transport:WebSocketProtocol`). `COLLAB_TRANSPORT=asgi` in the environment switches
`install` off; then, and under any other server, everything goes the plain ASGI way of `asgi.py`.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from collab_server.realtime.transport.websocket import STATE_KEY, WebSocketProtocol

if TYPE_CHECKING:
    from collab_server.realtime.engine import EngineServer

__all__ = ["WebSocketProtocol", "allow_many_connections", "install", "tune_garbage_collector"]

MOST_DESCRIPTORS = 1_048_576

_logger = logging.getLogger(__name__)


def install(scope: MutableMapping[str, Any], receive: Any, engines: Mapping[str, EngineServer]) -> bool:
    """Let uvicorn carry these Engine.IO servers by the lean protocol classes, from the next connection on.

    Args:
        scope: the ASGI lifespan scope.
        receive: the ASGI lifespan `receive`; under uvicorn a method of the object that holds its Config.
        engines: path prefix, as in `/socket.io/` → server.

    Returns:
        True if uvicorn is the server, was recognised, and the switch is not off.
    """
    if os.environ.get("COLLAB_TRANSPORT", "").lower() == "asgi" or not isinstance(scope.get("state"), dict):
        return False
    config: Any = getattr(getattr(receive, "__self__", None), "config", None)
    if not hasattr(config, "ws_protocol_class") or not hasattr(config, "http_protocol_class"):
        return False
    scope["state"][STATE_KEY] = {prefix.encode(): engine for prefix, engine in engines.items()}
    config.ws_protocol_class = WebSocketProtocol
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        from collab_server.realtime.transport.http import HttpProtocol
    except ImportError:  # no httptools: polling goes the ASGI way
        return True
    if config.http_protocol_class is HttpToolsProtocol:
        config.http_protocol_class = HttpProtocol
    return True


def allow_many_connections() -> int:
    """Raise this process's limit on file descriptors as far as it may; every connection takes one.

    Shells and systemd give 1,024 and allow far more; Node.js does the same. Returns the limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def tune_garbage_collector() -> None:
    """After start-up: collect once, keep what is there out of later collections, and collect less often.

    Connections are many, long-lived and free of reference cycles; walking all of them took a third of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
