"""A load balancer for several members of the stand-in."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.demo.standin.requests import cookie_header
from collab_server.domain.cookies import find_cookie

__all__ = ["Balancer"]

ROUTE_COOKIE = "LIBRARYROUTE"


class Balancer:
    """In front of several members: sends each request to the one that its cookie names."""

    def __init__(self, members: Sequence[ASGIApp]) -> None:
        self._members = members
        self._turns = itertools.cycle(range(len(members)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number, _, _ = (find_cookie(cookie_header(scope), ROUTE_COOKIE) or "").partition(".")
        member = int(number) if number in map(str, range(len(self._members))) else next(self._turns)

        async def send_renewed(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{ROUTE_COOKIE}={member}.{secrets.token_hex(8)}; Path=/; HttpOnly; SameSite=Lax"
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._members[member](scope, receive, send_renewed)
