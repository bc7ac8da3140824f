"""The stand-in as an application, and as a server in the foreground."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount
from starlette.types import ASGIApp
from typing_extensions import override

from collab_server.demo.standin.balancer import Balancer
from collab_server.demo.standin.data import LibraryData, load_data
from collab_server.demo.standin.library_calls import LibraryCalls
from collab_server.demo.standin.members import Member
from collab_server.demo.standin.own_calls import OwnCalls
from collab_server.demo.standin.refusals import Refusal, answer_refusal

__all__ = ["app_of", "create_members", "create_standin", "serve_standin"]

BASES = ("/MicroStrategyLibrary", "")
PAGES = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"
"""Origins of pages that somebody develops on this machine."""
TOKENS = ("X-MSTR-AuthToken", "X-MSTR-IdentityToken")


def create_standin(
    data: LibraryData | None = None,
    *,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
    balanced: int | None = None,
) -> ASGIApp:
    """The stand-in as an ASGI app. Without `data` it has that of the package. Not for production.

    `balanced`: so many members behind a balancer, see the module.
    """
    members = create_members(
        balanced or 1,
        data,
        session_timeout_seconds=session_timeout_seconds,
        identity_token_seconds=identity_token_seconds,
    )
    return CORSMiddleware(
        members[0] if balanced is None else Balancer(members),
        allow_origin_regex=PAGES,
        allow_credentials=True,
        allow_methods=("*",),
        allow_headers=("*",),
        expose_headers=TOKENS,
    )


def create_members(
    number: int,
    data: LibraryData | None = None,
    *,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
) -> list[ASGIApp]:
    """Stand-ins to be put behind a load balancer, all on one event loop: see the module."""
    members: list[Member] = []
    for _ in range(number):
        first = members[0] if members else None
        members.append(Member(data or load_data(), session_timeout_seconds, identity_token_seconds, first))
    return [app_of(member) for member in members]


def app_of(member: Member) -> ASGIApp:
    """What this member serves."""
    routes = [Mount("/api", routes=LibraryCalls(member).routes()), *OwnCalls(member).routes()]
    mounts = [Mount(base, routes=routes) for base in BASES]
    return Starlette(routes=mounts, exception_handlers={Refusal: answer_refusal})


def serve_standin(
    sockets: list[socket.socket],
    began: Callable[[], None],
    *,
    data: LibraryData | None = None,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
    balanced: int | None = None,
) -> None:
    """Serve the stand-in at bound sockets, in the foreground, until SIGINT or SIGTERM. `began` is called as soon as
    clients can come."""
    import uvicorn

    class Server(uvicorn.Server):
        @override
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            began()

    app = create_standin(
        data,
        session_timeout_seconds=session_timeout_seconds,
        identity_token_seconds=identity_token_seconds,
        balanced=balanced,
    )
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets)
