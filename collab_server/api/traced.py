"""The trace of a call: taken from its headers or begun, and given back with the answer, whatever that is."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.telemetry import traces


class Traced:
    """Around everything else: what `app` does for a call belongs to its trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = traces.of_request(scope["headers"])

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[traces.HEADER] = trace
            await send(message)

        before = traces.CURRENT.set(trace)
        try:
            await self._app(scope, receive, answer)
        finally:
            traces.CURRENT.reset(before)
