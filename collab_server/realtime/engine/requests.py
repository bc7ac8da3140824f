"""What a request says: its query, its headers, and what is wrong with it in the words of the reference server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

from collab_server.domain.addresses import Addresses
from collab_server.realtime.engine.session import Refusal, Scope
from collab_server.telemetry import traces

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")


_PAIRS = re.compile(r"(?:\A|&)([^&=]*)=([^&]+)")

_TRACE = "collab_server.trace"
_TRACE_NAME = traces.HEADER.lower().encode()
_HAS_ORIGIN = "collab_server.has_origin"

USUAL_HEADERS = 32
"""So many are in what any session is taken to hold."""
HEADER_BYTES = 130
"""What one takes besides its text."""

BY_NAME = "collab_server.by_name"
"""In the scope of a request of which it is known that it has no header twice: its headers, once more."""

HEAD_BYTES = "collab_server.head_bytes"
"""In the scope of a request whose headers came in so many bytes, where that is known."""

HANDED = "collab_server.handed"
"""In the scope of a request that another node has handed over: it goes no further."""


def _refusal(code: int, message: str, status: int = 400) -> Refusal:
    """A refusal in the words and numbers of the protocol's reference server."""
    return Refusal(status, {"code": code, "message": message})


UNKNOWN_TRANSPORT = _refusal(0, "Transport unknown")
UNKNOWN_SID = _refusal(1, "Session ID unknown")
BAD_METHOD = _refusal(2, "Bad handshake method")
BAD_REQUEST = _refusal(3, "Bad request")
FORBIDDEN = _refusal(4, "Forbidden")
UNSUPPORTED_VERSION = _refusal(5, "Unsupported protocol version")
NO_ROOM = _refusal(3, "Try another node", status=503)


def header(scope: Scope, name: bytes) -> str | None:
    """The first value of a header, by its name in lower case."""
    by_name: dict[bytes, bytes] | None = scope.get(BY_NAME)
    if by_name is not None:
        found = by_name.get(name)
        return None if found is None else found.decode("latin-1")
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def announced_bytes(scope: Scope) -> int | None:
    """How many bytes a request's body has, as its head says; None where it does not."""
    announced = header(scope, b"content-length")
    return int(announced[-20:]) if announced is not None and announced.isdecimal() else None


def note_size(scope: Scope, size: int) -> None:
    """A body has at least so many bytes, for those who get only its beginning."""
    if announced_bytes(scope) is None:
        scope["headers"] = [*scope["headers"], (b"content-length", b"%d" % size)]


def held_bytes(scope: Scope) -> int:
    """What a request takes while it is remembered: its headers, and its query, which is kept in its target too."""
    return 2 * len(scope["query_string"]) + head_bytes(scope) + unusual_bytes(scope["headers"])


def head_bytes(scope: Scope) -> int:
    """How many bytes the texts of a request's headers take."""
    known: int | None = scope.get(HEAD_BYTES)
    return sum(map(len, chain.from_iterable(scope["headers"]))) if known is None else known


def unusual_bytes(headers: Sequence[object]) -> int:
    """What so many headers take besides their texts, as far as that is more than any request is taken to hold."""
    return max(0, len(headers) - USUAL_HEADERS) * HEADER_BYTES


def has_origin(scope: Scope) -> bool:
    """Whether a request names the origin of its page. What is like it but for its query has it noted already."""
    noted: bool | None = scope.get(_HAS_ORIGIN)
    if noted is None:
        names = scope.get(BY_NAME) or [name for name, _ in scope["headers"]]
        noted = scope[_HAS_ORIGIN] = b"origin" in names
    return noted


def subprotocol_of(scope: Scope) -> str | None:
    """The first subprotocol that a websocket's handshake offers, which is the one that is answered: clients that offer
    some take no answer for a failure. None where it offers none, or what is none."""
    offered = header(scope, b"sec-websocket-protocol")
    if offered is None:
        return None
    first = offered.partition(",")[0].strip()
    return first if _TOKEN.fullmatch(first) else None


def trace_of(scope: Scope) -> str:
    """The id of a request's trace, and of the session that it begins."""
    if _TRACE not in scope:
        scope[_TRACE] = traces.of_request(scope["headers"])
    trace: str = scope[_TRACE]
    return trace


def note_trace(scope: Scope, id: bytes) -> None:
    """The request brings this id of a trace in the place of the one that it brought."""
    headers = scope["headers"]
    at = headers.index((_TRACE_NAME, scope[BY_NAME][_TRACE_NAME]))
    headers[at] = (_TRACE_NAME, id)
    scope[BY_NAME][_TRACE_NAME] = id
    scope.pop(_TRACE, None)


def trace_header(scope: Scope) -> tuple[bytes, bytes]:
    """What gives it back with the answer to a handshake."""
    return _TRACE_NAME, trace_of(scope).encode()


def query_of(scope: Scope) -> dict[str, str]:
    """The query of a request; of a name that is given twice the last."""
    query = scope["query_string"].decode("latin-1")
    if "%" in query or "+" in query:
        return dict(parse_qsl(query))
    return dict(_PAIRS.findall(query))


def see_through_proxies(scope: Scope, addresses: Addresses) -> None:
    """Put the client's own address into a request that trusted proxies have passed on."""
    by_name = scope.get(BY_NAME)
    if scope["client"] and (by_name is None or b"x-forwarded-for" in by_name):
        peer = scope["client"][0]
        forwarded = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
        ]
        if (address := addresses.client(peer, forwarded)) != peer:
            scope["client"] = (address, 0)


def environ_of(scope: Scope) -> dict[str, Any]:
    """The request as python-engineio gives it to the connect handler: CGI names, and the ASGI scope."""
    query = scope["query_string"].decode("latin-1")
    client, server = scope.get("client") or ("", 0), scope.get("server") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.get("method", "GET"),
        "PATH_INFO": scope["path"],
        "QUERY_STRING": query,
        "RAW_URI": f"{scope['path']}?{query}" if query else scope["path"],
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "asgi",
        "SERVER_NAME": str(server[0]),
        "SERVER_PORT": str(server[1] or 0),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "asgi.scope": scope,
    }
    for name, value in scope["headers"]:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        text = value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ","  # HTTP/2 may bring the cookies one by one
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    environ["wsgi.url_scheme"] = environ.get("HTTP_X_FORWARDED_PROTO", _http_scheme(scope.get("scheme")))
    return environ


def what_is_asked_of(scope: Scope) -> dict[str, Any]:
    """Of `environ_of` what this product asks for; the scope has all else."""
    environ: dict[str, Any] = {
        "PATH_INFO": scope["path"],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "REMOTE_ADDR": scope["client"][0] if scope.get("client") else "",
        "asgi.scope": scope,
    }
    by_name = scope.get(BY_NAME)
    if by_name is not None and b"cookie" not in by_name and b"origin" not in by_name:
        return environ
    for name, value in scope["headers"]:
        if name == b"cookie":
            text = value.decode("latin-1")
            environ["HTTP_COOKIE"] = f"{environ['HTTP_COOKIE']}; {text}" if "HTTP_COOKIE" in environ else text
        elif name == b"origin":
            text = value.decode("latin-1")
            environ["HTTP_ORIGIN"] = f"{environ['HTTP_ORIGIN']},{text}" if "HTTP_ORIGIN" in environ else text
    return environ


def _http_scheme(scheme: str | None) -> str:
    return {"ws": "http", "wss": "https"}.get(scheme or "http", scheme or "http")
