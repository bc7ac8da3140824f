"""What carries Engine.IO: websocket frames, long-polling, and the lean protocol classes for uvicorn.

uvicorn gets them in one of two ways: `install`, called at lifespan startup, or by its own option
(`--ws collab_server.realtime.transport:WebSocketProtocol`). With `COLLAB_TRANSPORT=asgi` in the environment, and under
any other server, everything goes the plain ASGI way of `asgi.py`; uvicorn then keeps its own protocol classes, with one
mend (`offers.py`) and bounds (`guard.py`).
"""

from __future__ import annotations

import gc
import logging
import os
import resource
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from collab_server.realtime.lean.guard import GUARD_KEY, Guard
from collab_server.realtime.lean.handshake import STATE_KEY, WebSocketProtocol
from collab_server.realtime.lean.offers import PATHS_KEY

if TYPE_CHECKING:
    from collab_server.realtime.engine.engine import EngineServer

__all__ = ["Guard", "WebSocketProtocol", "allow_many_connections", "install", "tune_garbage_collector"]

MOST_DESCRIPTORS = 1_048_576

_logger = logging.getLogger(__name__)


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
    config: Any = getattr(getattr(receive, "__self__", None), "config", None)
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
    elif getattr(config.ws_protocol_class, "__module__", "").endswith(".websockets_sansio_impl"):
        from collab_server.realtime.lean.stock_websockets import StockWebSocketProtocol

        config.ws_protocol_class = StockWebSocketProtocol
    config.http_protocol_class = _http_protocol_class(config.http_protocol_class, is_lean=is_lean)
    return is_lean


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
