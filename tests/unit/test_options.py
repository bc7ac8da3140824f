"""What OPTIONS is answered, also by a node that drains."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from collab_server.api.options import Options


async def asked(
    method: str, path: str, own: Response, *, is_draining: bool
) -> tuple[int, dict[str, str], bytes]:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await own(scope, receive, send)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing of a body is asked for")

    status = cast("Any", SimpleNamespace(is_draining=is_draining))
    await Options(app, status)({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    start, *rest = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return start["status"], headers, b"".join(message.get("body", b"") for message in rest)


NOT_ALLOWED = JSONResponse({"code": "unknown_command"}, 405, headers={"Allow": "GET, POST"})


@pytest.mark.parametrize("path", ["/", "*"])
async def test_the_whole_server_may_be_asked_until_it_drains(path: str) -> None:
    status, headers, body = await asked("OPTIONS", path, NOT_ALLOWED, is_draining=False)
    assert (status, headers["allow"], body) == (204, "GET, HEAD, OPTIONS", b"")
    status, headers, _ = await asked("OPTIONS", path, NOT_ALLOWED, is_draining=True)
    assert (status, headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize("is_draining", [False, True])
async def test_what_is_not_allowed_tells_what_is(is_draining: bool) -> None:
    status, headers, body = await asked("OPTIONS", "/api/x", NOT_ALLOWED, is_draining=is_draining)
    assert (status, headers["allow"], body) == (204, "GET, POST, OPTIONS", b"")


@pytest.mark.parametrize(("method", "own"), [("PUT", 405), ("OPTIONS", 404), ("OPTIONS", 200), ("GET", 200)])
async def test_other_answers_are_as_they_were(method: str, own: int) -> None:
    answer = JSONResponse({"as": "it was"}, own)
    assert await asked(method, "/api/x", answer, is_draining=False) == (
        own,
        dict(answer.headers),
        answer.body,
    )
