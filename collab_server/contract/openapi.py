"""The OpenAPI document: the commands as REST calls, and what operators and load balancers ask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from collab_server import __version__
from collab_server.contract.catalogue import FAMILIES, ROUTES
from collab_server.contract.examples import answer_example, error_example, payload_example
from collab_server.contract.named import rest_schemas
from collab_server.contract.rows import REPEATABLE, WAIT, CommandType, Route
from collab_server.contract.schemas import REF, Schema, object_name, object_schemas, payload_schema, plain
from collab_server.contract.wording import WORDINGS
from collab_server.errors import CODES

_INTRODUCTION = """\
Comments and discussions on dashboards. Every call is a command that Socket.IO at `/socket.io/` has too: its name is \
the `operationId`, its fields and its answer are the same. Live events come over Socket.IO, or by `wait` of \
`topic.events`.

- Show who you are with **one** of the headers `X-MSTR-IdentityToken`, `X-MSTR-AuthToken` (with Library's \
cookies, where there are any) and `Authorization: Bearer`.
- Where a token is from: Library's `POST /auth/login`, with `username`, `password` and `loginMode` 1 in JSON, answers \
with the header `X-MSTR-AuthToken`, which is good until that session ends. Library's `POST /auth/identityToken`, with \
that header, answers with `X-MSTR-IdentityToken`, which lets others act for the user and lasts for a minute or so. In \
the page `/docs` *Authorize* takes either; in that of the demo a name at the top is enough.
- Every refusal is an `Error`. What is not known, in a body or a query, is refused as `invalid`.
- A writing call may be repeated: under the same `Idempotency-Key` it takes effect once and is answered as it was.
- Lists answer `{items, next}`; `next` is the `cursor` of the next page.
"""

_CALLED = {route.row.family for route in ROUTES}
TAGS = {
    **{name: says for name, says in FAMILIES.items() if name in _CALLED},
    "operations": "For operators and load balancers; without a token.",
}

SECURITY_SCHEMES: Schema = {
    "IdentityToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-MSTR-IdentityToken",
        "description": "An identity token of Library: the header of this name in the answer of `POST"
        " /auth/identityToken` there, which is asked with an auth token. It lasts for a minute or so. Preferred.",
    },
    "AuthToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-MSTR-AuthToken",
        "description": "An auth token of Library: the header of this name in the answer of `POST /auth/login` there."
        " With its cookies where there are any: `JSESSIONID`, its balancer's.",
    },
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "Either of them, or a resume token of this server.",
    },
}

_STATUS_EXAMPLE: Schema = {
    "version": __version__,
    "enableTls": False,
    "scaling": "horizontal",
    "logging": False,
    "state": "running",
    "main": {
        "cpu": {"current": 3, "max": 17},
        "memory": {"current": 62758912, "max": 85626880},
        "connections": {"total": 12, "current": 4, "max": 11},
        "messages": {"processed": 5},
        "restCalls": {"received": 3},
        "up_since": "2026-11-23 18:07:00",
        "pid": 900,
    },
}

_OPERATIONS: Mapping[str, tuple[str, str, Schema]] = {
    "/status": (
        "How this node is",
        "Always 200, so that it can be opened in a browser. `?verbose=1` says more, to administrators and to"
        " whoever shows the operator's `statusToken`.",
        {
            "200": {
                "description": "Its state and counters",
                "content": {"application/json": {"example": _STATUS_EXAMPLE}},
            }
        },
    ),
    "/health/live": (
        "Whether the process runs",
        "200 while the process runs its loop.",
        {"200": {"description": "It does", "content": {"application/json": {"example": {"live": True}}}}},
    ),
    "/health/ready": (
        "Whether to send clients here",
        "200 while people can read, though the database may take nothing; 503 while the database is away or not"
        " migrated yet, and while the node drains.",
        {
            "200": {"description": "Yes", "content": {"application/json": {"example": {"ready": True}}}},
            "503": {
                "description": "No",
                "content": {
                    "application/json": {"example": {"ready": False, "reason": "The server is stopping"}}
                },
            },
        },
    ),
    "/metrics": (
        "Counters for Prometheus",
        "Of this node. Load balancers do not forward it: ask each node.",
        {
            "200": {
                "description": "Prometheus' text format",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    ),
}


_explained = WORDINGS[WAIT]
_WAIT: Schema = {
    "type": "integer",
    "description": _explained.means,
    "examples": [_explained.example],
    **_explained.rules,
}


@lru_cache(maxsize=4)  # a prefix comes from outside
def openapi(prefix: str = "") -> Schema:
    """The OpenAPI document. `prefix` is the path under which a proxy offers `/api`, such as `/collaboration`."""
    paths: dict[str, Schema] = {}
    for route in ROUTES:
        paths.setdefault(f"/api{route.path}", {})[route.method.lower()] = _operation(route)
    for path, (summary, description, responses) in _OPERATIONS.items():
        paths[path] = {
            "get": {
                "tags": ["operations"],
                "operationId": path.strip("/").replace("/", "."),
                "summary": summary,
                "description": description,
                "security": [],
                "responses": responses,
            }
        }
        if prefix:
            paths[path]["servers"] = [{"url": "/"}]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Collaboration server", "version": __version__, "description": _INTRODUCTION},
        "servers": [{"url": prefix or "/"}],
        "security": [{name: []} for name in SECURITY_SCHEMES],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {"schemas": dict(rest_schemas()), "securitySchemes": SECURITY_SCHEMES},
    }


def _operation(route: Route) -> Schema:
    row = route.row
    description = f"{row.says}\n\nWho may: {row.who.words} Over Socket.IO: `{row.name}`."
    operation: Schema = {
        "tags": [row.family],
        "operationId": row.name,
        "summary": route.call.summary,
        "description": description,
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
    }
    if route.has_body:
        schema = _body(route)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": _body_example(route)}},
        }
    return operation


def _body(route: Route) -> Schema:
    schema = payload_schema(route.command)
    outside = {REPEATABLE, *route.call.in_path}
    fields = {name: field for name, field in schema["properties"].items() if name not in outside}
    required = [name for name in schema.get("required", ()) if name in fields]
    body: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": fields,
        "required": required,
    }
    return {**body, "oneOf": schema["oneOf"]} if "oneOf" in schema else body


def _body_example(route: Route) -> Schema:
    outside = {REPEATABLE, *route.call.in_path}
    return {name: value for name, value in payload_example(route.command).items() if name not in outside}


def _parameters(route: Route) -> Iterator[Schema]:
    """What a call takes besides a body."""
    schema = payload_schema(route.command)
    for name, field in schema["properties"].items():
        if name == REPEATABLE:
            yield _parameter("Idempotency-Key", "header", field, is_required=False)
        elif name in route.call.in_path:
            yield _parameter(name, "path", field, is_required=True)
        elif not route.has_body:
            yield _parameter(name, "query", field, is_required=name in schema.get("required", ()))
    if route.call.may_wait:
        yield _parameter(WAIT, "query", _WAIT, is_required=False)


def _parameter(name: str, place: str, field: Schema, *, is_required: bool) -> Schema:
    schema = plain(field)
    parameter = {
        "name": name,
        "in": place,
        "required": is_required,
        "description": schema.pop("description", ""),
        "schema": schema,
    }
    examples = schema.pop("examples", None)
    if examples and name != "cursor":  # a cursor that somebody made up is refused
        parameter["example"] = examples[0]
    return parameter


def _responses(route: Route) -> Schema:
    schema = {"$ref": REF + object_name(route.answer)}
    done: Schema = {
        "description": _first_sentence(
            object_schemas()[object_name(route.answer)].get("description", "Done.")
        ),
        "content": {"application/json": {"schema": schema, "example": answer_example(route)}},
    }
    if links := _links(route):
        done["links"] = links
    responses: Schema = {str(route.call.status): done}
    for code in _refusals(route.row):
        error, shown = CODES[code], error_example(code)
        response = responses.setdefault(
            str(error.http_status),
            {
                "description": "",
                "content": {"application/json": {"schema": {"$ref": REF + "Error"}, "examples": {}}},
            },
        )
        response["description"] = f"{response['description']} `{code}`: {error.meaning}".strip()
        response["content"]["application/json"]["examples"][code] = {"value": shown}
        if "retryAfter" in shown:
            response["headers"] = {
                "Retry-After": {
                    "description": "Whole seconds after which to try again.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
    return responses


def _refusals(row: CommandType) -> Iterator[str]:
    """The codes of the errors that a call of this command may be answered with."""
    for code in CODES:
        if code != "unknown_command" and (code != "conflict" or row.is_write):
            yield code


def _links(route: Route) -> Schema:
    return {
        target: {
            "operationId": target,
            "parameters": {
                name: f"$response.body#{place}"
                for name, _, place in (part.partition("=") for part in taken.split(";"))
            },
        }
        for taken, targets in route.call.links.items()
        for target in targets
    }


def _first_sentence(text: str) -> str:
    return " ".join(text.split())
