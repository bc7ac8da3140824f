"""What a request of the stand-in says."""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.types import Scope

from collab_server.demo.standin.data import Model
from collab_server.demo.standin.refusals import Refusal

__all__ = ["body_of", "cookie_header", "page_of", "read"]

M = TypeVar("M", bound=Model)


def cookie_header(scope: Scope) -> str:
    """All cookies, as one header."""
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")


async def body_of(request: Request) -> dict[str, Any]:
    """Its body, a JSON object. Raises `Refusal`."""
    try:
        body = json.loads(await request.body())
    except (ValueError, ClientDisconnect):
        body = None
    if not isinstance(body, dict):
        raise Refusal(400, "ERR005", "The body must be a JSON object.")
    return body


def read(model: type[M], body: dict[str, Any]) -> M:
    """The model that the body describes. Raises `Refusal`."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise Refusal(400, "ERR005", str(error)) from None


def page_of(request: Request, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the found that are asked for by `offset` and `limit`. Raises `Refusal`."""
    try:
        offset = int(request.query_params.get("offset", "0"))
        limit = int(request.query_params.get("limit", "-1"))
    except ValueError:
        raise Refusal(400, "ERR005", "offset and limit must be numbers.") from None
    offset = max(offset, 0)
    return found[offset:] if limit < 0 else found[offset : offset + limit]
