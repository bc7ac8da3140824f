"""Offers of an upgrade: a request that says it could go on in another protocol (RFC 9110, 7.8).

Only a websocket handshake on a path of ours is taken. Any other offer changes nothing: the request is answered as if
it had not been made, with its body, and its connection goes on. Java's HttpClient offers h2c with each first request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

PATHS_KEY = "collab_server.paths"
"""In uvicorn's lifespan state: the path prefixes (bytes) below which websockets are served."""

Headers = list[tuple[bytes, bytes]]


def is_taken(app_state: dict[str, Any], method: str, version: str, target: bytes, headers: Headers) -> bool:
    """True if a request offers what is taken, be it to be refused as a handshake; header names are in lower case.

    A request with a body never does: its end would have to be found before the first frame. A poll does only if it is
    a whole handshake.
    """
    path, _, query = target.partition(b"?")
    return (
        method == "GET"
        and version == "1.1"
        and path.startswith(app_state.get(PATHS_KEY, ()))
        and b"websocket" in _tokens(headers, b"upgrade")
        and b"upgrade" in _tokens(headers, b"connection")
        and not any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in headers
        )
        and (
            any(name == b"sec-websocket-key" for name, _ in headers)
            or dict(parse_qsl(query.decode("latin-1"))).get("transport") == "websocket"
        )
    )


def keep_only_websocket(headers: Headers) -> None:
    """Leave nothing but the offer that is taken: what reads the handshake next may know no other."""
    headers[:] = [header for header in headers if header[0] != b"upgrade"] + [(b"upgrade", b"websocket")]


def _tokens(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> set[bytes]:
    return {token.strip().lower() for key, value in headers if key == name for token in value.split(b",")}
