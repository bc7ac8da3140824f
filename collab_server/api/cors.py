"""Lets pages of other origins call, credentials included: what browsers ask before, and what they have to be told."""

from __future__ import annotations

import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.domain.jsontext import dumps
from collab_server.errors import Forbidden
from collab_server.services.origins import Origins
from collab_server.telemetry import traces
from collab_server.telemetry.journal import Journal, stranger

METHODS = "GET, POST, PUT, PATCH, DELETE"
HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, X-MSTR-AuthToken, X-MSTR-IdentityToken, X-Requested-With,"
    " X-Request-ID, traceparent, tracestate"
)
EXPOSED = f"Retry-After, {traces.HEADER}"
PREFLIGHT_SECONDS = 600
"""So long a browser may remember what it was told before."""
_ASKED = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}(?: *, *[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}){0,63}")


class Cors:
    """Around the door: an allowed page's origin is named in each answer, never `*`, which goes with no cookie."""

    def __init__(self, app: ASGIApp, origins: Origins, journal: Journal) -> None:
        self._app = app
        self._origins = origins
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = Headers(scope=scope).getlist("origin") if scope["type"] == "http" else []
        if not sent:
            await self._app(scope, receive, send)
            return
        origin = ", ".join(sent)
        is_allowed = self._origins.admits(origin, scope["headers"], scope["scheme"], scope.get("client"))
        if scope["method"] == "OPTIONS" and "access-control-request-method" in Headers(scope=scope):
            answered = _preflight(scope, origin) if is_allowed else self._refusal(scope)
            await answered(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.add_vary_header("Origin")
                if is_allowed:
                    headers.update(_shared_with(origin))
                    headers["Access-Control-Expose-Headers"] = EXPOSED
            await send(message)

        await self._app(scope, receive, answer)

    def _refusal(self, scope: Scope) -> Response:
        client = scope.get("client")
        heard = self._journal.error(
            Forbidden("pages of this origin may not call"),
            stranger(client[0] if client else None),
            command="unknown",
            door="rest",
        )
        return Response(
            dumps(heard.as_wire()), 403, headers={"Vary": "Origin"}, media_type="application/json"
        )


def _preflight(scope: Scope, origin: str) -> Response:
    """The answer to a browser that asks whether a page of this origin may, which it may."""
    # Whatever else a page's tools put in (tracing has many names) does no harm here, and a browser that misses one
    # name does not call at all.
    asked = ", ".join(Headers(scope=scope).getlist("access-control-request-headers"))
    headers = f"{HEADERS}, {asked}" if _ASKED.fullmatch(asked) else HEADERS
    return Response(
        status_code=204,
        headers={
            **_shared_with(origin),
            "Access-Control-Allow-Methods": METHODS,
            "Access-Control-Allow-Headers": headers,
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
            "Vary": "Origin",
        },
    )


def _shared_with(origin: str) -> dict[str, str]:
    return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}
