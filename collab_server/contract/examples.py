"""Examples: of payloads, answers, errors, and of whatever a schema describes. Their values stand in `wording.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.named import rest_schemas
from collab_server.contract.rows import Incomplete, Route
from collab_server.contract.schemas import Schema, object_name, object_schemas, payload_schema
from collab_server.contract.wording import CURSOR, DISCUSSION
from collab_server.errors import (
    ClientError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    NotFound,
    Paused,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownCommand,
)

TICKET = "9f86d081884c7d65"

_ERRORS: Mapping[str, ClientError] = {
    error.code: error
    for error in (
        Invalid("expected a text that is not blank", field="text"),
        Unauthenticated("Library does not accept this token"),
        Forbidden("comment.edit is for the author of the comment"),
        NotFound("comment"),
        UnknownCommand("there is no such command"),
        Conflict("the comment was deleted"),
        TooLarge("expected at most 10000 characters, got 10001", field="text"),
        RateLimited("expected at most 50 commands a second, 200 at once", retry_after=0.02),
        Unavailable("Library does not answer"),
        Paused(),
        Internal(),
    )
}


def payload_example(name: str) -> Schema:
    """An example of a command's payload."""
    schema = payload_schema(name)
    shown = (*schema.get("required", ()), *COMMANDS[name].shown)
    return {field: example(about) for field, about in schema["properties"].items() if field in shown}


def answer_example(route: Route) -> Any:
    """An example of what a call answers."""
    answer = example(rest_schemas()[object_name(route.answer)], rest_schemas())
    if answer.get("next", "") is None and "cursor" in payload_schema(route.command)["properties"]:
        answer["next"] = CURSOR
    if route.command == "topic.summaries":
        answer["items"].append({**answer["items"][0], "topic": DISCUSSION})
    return answer


def error_example(code: str) -> Schema:
    """An error object with this code, as it may come.

    Raises `Incomplete`.
    """
    if code not in _ERRORS:
        raise Incomplete(f"contract/examples.py has no example of the error {code}")
    return {**_ERRORS[code].as_wire(), "ticketId": TICKET}


def example(schema: Schema, known: Mapping[str, Schema] | None = None) -> Any:
    """An example of what a schema describes; `known` are the schemas that references may name, by default those of
    answers."""
    known = object_schemas() if known is None else known
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example(known[schema["$ref"].rpartition("/")[2]], known)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "oneOf" in schema and "properties" not in schema:
        return example(schema["oneOf"][0], known)
    if "anyOf" in schema:
        return None if {"type": "null"} in schema["anyOf"] else example(schema["anyOf"][0], known)
    match schema.get("type"):
        case "object":
            required = set(schema.get("required", ()))
            return {
                name: example(field, known)
                for name, field in schema.get("properties", {}).items()
                if name in required or field.get("examples", [None])[0] is not None
            }
        case "array":
            return [example(schema["items"], known)]
        case kind:
            return {"string": "", "integer": 0, "number": 0, "boolean": False}.get(str(kind))
