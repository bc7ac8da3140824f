"""What operators and load balancers ask: `/status`, `/health/live`, `/health/ready`, `/metrics`.

Answered from memory, without a token, with GET or HEAD. Only `/status?verbose=1` says more than counters, and
only to whom the given predicate lets see it; the others get the plain answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from collab_server.status import Status

__all__ = ["operations_router"]


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
        """200 while clients should be sent to this node; 503 while the database is away or not migrated yet, and
        while the node drains."""
        answer: dict[str, Any] = {"ready": status.is_ready}
        if status.is_ready:
            return JSONResponse(answer)
        answer["reason"] = "The server is stopping" if status.is_draining else status.reason
        return JSONResponse(answer, status_code=503, headers={"Retry-After": "2"})

    async def get_metrics() -> Response:
        """Counters and latencies for Prometheus."""
        return Response(generate_latest(status.counters.registry), media_type=CONTENT_TYPE_LATEST)

    for path, answer in (
        ("/status", get_status),
        ("/health/live", get_live),
        ("/health/ready", get_ready),
        ("/metrics", get_metrics),
    ):
        router.add_api_route(path, answer, methods=["GET"], response_class=Response)
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
    return router
