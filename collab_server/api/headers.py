"""What every answer of the HTTP door says to browsers and caches, whichever route, page or error it comes from."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DEFAULTS = {
    # Answers are for one person, and their tokens come in headers that shared caches do not know to be credentials.
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # An answer is no page. The pages there are have policies of their own.
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


class SafeHeaders:
    """Adds them to the answers of `app` that say nothing else themselves."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _DEFAULTS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)
