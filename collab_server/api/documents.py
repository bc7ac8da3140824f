"""`/openapi.json` and `/docs`: what the REST calls are, for tools and for people; `/asyncapi.json`: what Socket.IO
carries. Nothing in them is from outside.

A document is built when somebody first asks for it, in a thread, for that takes a tenth of a second; then it is kept.

Behind a proxy that offers them under a prefix, as `deploy/nginx/sticky.conf` does, the page finds everything beside
itself, and the document names the prefix, which the proxy has to say in `X-Forwarded-Prefix`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import fastapi_offline
from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from typing_extensions import override

from collab_server.contract.asyncapi import asyncapi
from collab_server.contract.openapi import openapi
from collab_server.domain.jsontext import dumps

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")
_PLACE = "/the-prefix-comes-here"
_NO_CACHE = {"Cache-Control": "no-cache"}  # kept, but asked about at each use

THREADS = 4
"""So many read files at a time, of which anybody may ask for any number: a thread takes 64 MB of addresses and more."""

_SCRIPT = """\
let page;
const documentIsRead = new Promise((isRead) => {
  page = SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#page",
    deepLinking: true,
    displayRequestDuration: true,
    persistAuthorization: false,
    validatorUrl: null,
    onComplete: isRead,
  });
});
"""

_PAGE = f"""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Collaboration server: REST</title>
<link rel="icon" href="docs-static/favicon.png">
<link rel="stylesheet" href="docs-static/swagger-ui.css">
<div id="page"></div>
<script src="docs-static/swagger-ui-bundle.js"></script>
<script>{_SCRIPT}</script>
</html>
"""
_SIGN_IN = '<script type="module" src="js/sign-in.js"></script>\n</html>'
"""Of the page to try the server with, which is served beside this one."""

_SCRIPT_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()

_POLICY = (
    f"default-src 'none'; script-src 'self' 'sha256-{_SCRIPT_HASH}'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def documents_router(*, has_page: bool, has_sign_in: bool) -> APIRouter:
    """The three routes, or those of the documents alone; the page needs the files of `DocumentFiles` at `/docs-static`.
    Where people try the server with a stand-in for Library, they can sign in there on the page."""
    router = APIRouter()
    one_at_a_time = anyio.CapacityLimiter(1)
    page = _PAGE.replace("</html>", _SIGN_IN) if has_sign_in else _PAGE

    async def get_openapi(request: Request) -> Response:
        prefix = _prefix(request)
        if not _is_built(prefix):
            await anyio.to_thread.run_sync(document, prefix, limiter=one_at_a_time)
        headers = {**_NO_CACHE, "Vary": "X-Forwarded-Prefix"}
        return Response(document(prefix), headers=headers, media_type="application/json")

    async def get_asyncapi() -> Response:
        if not _messages.cache_info().currsize:
            await anyio.to_thread.run_sync(_messages, limiter=one_at_a_time)
        return Response(_messages(), headers=_NO_CACHE, media_type="application/json")

    async def get_page() -> Response:
        return HTMLResponse(page, headers={**_NO_CACHE, "Content-Security-Policy": _POLICY})

    router.add_api_route("/openapi.json", get_openapi, methods=["GET"], include_in_schema=False)
    router.add_api_route("/asyncapi.json", get_asyncapi, methods=["GET"], include_in_schema=False)
    if has_page:
        router.add_api_route("/docs", get_page, methods=["GET"], include_in_schema=False)
    return router


def document(prefix: str) -> bytes:
    """`/openapi.json` behind a proxy that offers all this under `prefix`, empty where none does.

    Anybody may ask for it, with any prefix: it is built once with one and once without.
    """
    if not prefix:
        return _without_prefix()
    before, after = _around_prefix()
    return b"".join((before, prefix.encode(), after))


def _is_built(prefix: str) -> bool:
    return bool((_around_prefix if prefix else _without_prefix).cache_info().currsize)


@functools.cache
def _messages() -> bytes:
    return asyncapi().encode()


@functools.cache
def _without_prefix() -> bytes:
    return dumps(openapi()).encode()


@functools.cache
def _around_prefix() -> tuple[bytes, bytes]:
    before, after = dumps(openapi(_PLACE)).encode().split(_PLACE.encode())
    return before, after


class DocumentFiles(StaticFiles):
    """The scripts and styles of `/docs`."""

    def __init__(self) -> None:
        super().__init__(directory=Path(fastapi_offline.__file__).parent / "static")

    @override
    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, read by one of few threads, or that there is none."""
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        return await super().get_response(path, scope)

    @override
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_NO_CACHE)
        return response


def _prefix(request: Request) -> str:
    """Where a proxy offers all this, without a slash at the end; empty where none says so in a fit way."""
    given = request.headers.get("x-forwarded-prefix", "").rstrip("/")
    return given if _PREFIX.fullmatch(given) else ""
