"""What operators and load balancers ask: `/status`, `/health/live`, `/health/ready`, `/metrics`.

Answered from memory, without a token, with GET or HEAD. Only `/status?verbose=1` says more than counters, and
only to whom the given predicate lets see it; the others get the plain answer.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from collab_server.domain.people import Identity
from collab_server.errors import ClientError
from collab_server.status import Status
from collab_server.telemetry.metrics import CONTENT_TYPE

__all__ = ["Observers", "operations_router"]


class Observers:
    """Who may see all of `/status`: whoever shows the status token, and administrators, as `identify` tells them.

    Where they come from says nothing about them.
    """

    def __init__(self, token: SecretStr | None, identify: Callable[[Request], Awaitable[Identity]]) -> None:
        self._token = token
        self._identify = identify

    def use_token(self, token: SecretStr | None) -> None:
        """This is the status token from now on."""
        self._token = token

    async def may_see(self, request: Request) -> bool:
        """Whether this request may. Never raises for what a client sends."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        if self._token is not None and scheme.lower() == "bearer":
            expected = self._token.get_secret_value().encode()
            if hmac.compare_digest(shown.strip().encode(), expected):
                return True
        try:
            return (await self._identify(request)).is_administrator
        except ClientError:
            return False


def operations_router(status: Status, may_see_verbose: Callable[[Request], Awaitable[bool]]) -> APIRouter:
    """The four routes. `may_see_verbose` is asked only for `?verbose=1`; it may wait, but must not raise."""
    router = APIRouter(tags=["operations"])

    async def get_status(request: Request) -> Response:
        """The state of this node. Always 200, so that it can be opened in a browser."""
        is_verbose = request.query_params.get("verbose") in ("1", "true") and await may_see_verbose(request)
        return JSONResponse(status.verbose_report() if is_verbose else status.report())

    async def get_live() -> Response:
        """200 while the process runs its loop."""
        return JSONResponse({"live": True})

    async def get_ready() -> Response:
        """200 while clients should be sent to this node, which is while they can read; 503 while the database is away
        or not migrated yet, and while the node drains."""
        is_ready = status.accepts_clients()
        answer: dict[str, Any] = {"ready": is_ready}
        if is_ready:
            return JSONResponse(answer)
        answer["reason"] = "The server is stopping" if status.is_draining else status.reason
        return JSONResponse(answer, status_code=503, headers={"Retry-After": "2"})

    async def get_metrics() -> Response:
        """Counters and latencies for Prometheus; of a node of several workers those of each."""
        together, metrics = status.counters.together, status.counters.metrics
        page = metrics.render() if together is None else await together.metrics()
        return Response(page, media_type=CONTENT_TYPE)

    for path, answer in (
        ("/status", get_status),
        ("/health/live", get_live),
        ("/health/ready", get_ready),
        ("/metrics", get_metrics),
    ):
        router.add_api_route(path, answer, methods=["GET"], response_class=Response)
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    return router
