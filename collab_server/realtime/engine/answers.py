"""Answers to requests: compressed where that is asked for and worth it, with CORS headers for pages of elsewhere."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable, Iterable
from typing import Any

from collab_server.realtime.engine.requests import BAD_REQUEST, environ_of, has_origin, header
from collab_server.realtime.engine.session import Exchange, Headers, Refusal

TEXT: Headers = [(b"content-type", b"text/plain; charset=UTF-8")]
_JSON: Headers = [(b"content-type", b"application/json")]
SAFE: Headers = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
"""What every answer carries: they are for one client, and no page or script, whatever text is in them."""
SAFE_LINES = b"".join(b"%b: %b\r\n" % header for header in SAFE)


class Answers:
    """Gives them.

    Args:
        compress_from: bodies of so many bytes are compressed; None for none.
        cors_headers: the headers for a request, given as `environ_of` makes it; None to say nothing of origins.
    """

    __slots__ = ("_compress_from", "_cors_headers")

    def __init__(
        self,
        compress_from: int | None,
        cors_headers: Callable[[dict[str, Any]], Iterable[tuple[str, str]]] | None,
    ) -> None:
        self._compress_from = compress_from
        self._cors_headers = cors_headers

    def respond(self, exchange: Exchange, status: int, headers: Headers, body: bytes) -> None:
        """Answer a request."""
        scope = exchange.scope
        if self._compress_from is not None and len(body) >= self._compress_from:
            accepted = header(scope, b"accept-encoding") or ""
            if "gzip" in accepted:
                body, headers = _gzip(body), [*headers, (b"content-encoding", b"gzip")]
            elif "deflate" in accepted:
                body, headers = _deflate(body), [*headers, (b"content-encoding", b"deflate")]
        if self._cors_headers is not None and has_origin(scope):
            cors = self._cors_headers(environ_of(scope))
            headers = [*headers, *((name.encode(), value.encode()) for name, value in cors)]
        exchange.respond(status, headers, body)

    def refuse(self, exchange: Exchange, refusal: Refusal = BAD_REQUEST) -> None:
        """Answer a request with an error."""
        headers = [*_JSON, (b"retry-after", b"1")] if refusal.status == 503 else _JSON
        self.respond(exchange, refusal.status, headers, refusal.body)


# One after the other is told the same.
@functools.lru_cache(1)
def _gzip(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


@functools.lru_cache(1)
def _deflate(body: bytes) -> bytes:
    return zlib.compress(body, 1)
