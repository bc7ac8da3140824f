"""Answers `OPTIONS`: what may be done at a path, for whoever asks before, people and balancers alike."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.status import Status

__all__ = ["Options"]

WHOLE_SERVER = frozenset({"/", "*"})
OF_PAGES = "GET, HEAD"


class Options:
    """Around `app`: 204 with `Allow` for each path at which there is something, its own answer elsewhere.

    `OPTIONS /` and `OPTIONS *` are about the server as a whole. They are what balancers ask that were not told what to
    ask (HAProxy's bare `option httpchk`), so while the node drains they are 503.
    """

    def __init__(self, app: ASGIApp, status: Status) -> None:
        self._app = app
        self._status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
        elif scope["path"] in WHOLE_SERVER:
            leaving = Response(status_code=503, headers={"Retry-After": "2"})
            answer = leaving if self._status.is_draining else _allowed(OF_PAGES)
            await answer(scope, receive, send)
        else:
            await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """No route takes OPTIONS: that the method is not known, and which are, is what is to be told."""
        is_told = False

        async def tell(message: Message) -> None:
            nonlocal is_told
            if message["type"] == "http.response.start" and message["status"] == 405:
                is_told = True
                headers = Headers(raw=message["headers"])
                await _allowed(headers.get("allow", OF_PAGES))(scope, receive, send)
            elif not is_told:
                await send(message)

        await self._app(scope, receive, tell)


def _allowed(methods: str) -> Response:
    return Response(status_code=204, headers={"Allow": f"{methods}, OPTIONS"})
