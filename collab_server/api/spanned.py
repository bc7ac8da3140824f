"""The calls under `/api` of a node whose traces are collected."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.telemetry.spans import Spans


class Spanned:
    """Makes a span of each call that `app` answers: a child of what its `traceparent` names, if it brings one."""

    def __init__(self, app: ASGIApp, spans: Spans) -> None:
        self._app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/api/"):
            await self._app(scope, receive, send)
            return
        parents = [value for name, value in scope["headers"] if name == b"traceparent"]
        parent = parents[0].decode("latin-1") if len(parents) == 1 else ""
        method = scope["method"]
        with self._spans.during(method, "server", {"http.request.method": method}, parent=parent) as span:

            async def answer(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.say(http__response__status_code=status)
                    if status >= 500:
                        span.fail(str(status))
                await send(message)

            try:
                await self._app(scope, receive, answer)
            finally:
                # As it is written in the documents, without the ids of what was asked for.
                if (route := getattr(scope.get("route"), "path", None)) is not None:
                    span.call(f"{method} {route}")
                    span.say(http__route=route)
