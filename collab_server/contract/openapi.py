"""The OpenAPI document, made of the table of commands, the REST calls and the wordings; and the schemas in it.

Made on demand and kept; nothing here asks anybody.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from collab_server import __version__
from collab_server.contract import shapes
from collab_server.contract.commands import ROUTES, Route
from collab_server.contract.wording import CURSOR, DISCUSSION, wording
from collab_server.domain.permissions import OF_ONES_OWN, RIGHTS, Role
from collab_server.errors import CODES, ClientError
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE, Entry

Schema = dict[str, Any]

REF = "#/components/schemas/"

_INTRODUCTION = """\
Comments and discussions on dashboards. Every call is a command that Socket.IO at `/socket.io/` has too: its name is \
the `operationId`, its fields and its answer are the same. Live events come over Socket.IO only.

- Show who you are with **one** of the headers `X-MSTR-IdentityToken`, `X-MSTR-AuthToken` (with Library's \
cookies, where there are any) and `Authorization: Bearer`.
- Every refusal is an `Error`. What is not known, in a body or a query, is refused as `invalid`.
- A writing call may be repeated: under the same `Idempotency-Key` it takes effect once and is answered as it was.
- Lists answer `{items, next}`; `next` is the `cursor` of the next page.
"""

TAGS = {
    "topic": "Topics: what there is, what is new, what was read.",
    "comment": "Comments, replies, reactions.",
    "thread": "Threads: resolved or open.",
    "discussion": "Private discussions of their members.",
    "notification": "One's inbox.",
    "share": "Sending content to people.",
    "recipients": "Whom one can mention, invite or send to.",
    "comments": "Looking for comments.",
    "me": "The asker.",
    "session": "The asker's sign-in.",
    "operations": "For operators and load balancers; without a token.",
}

SECURITY_SCHEMES: Schema = {
    "IdentityToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-MSTR-IdentityToken",
        "description": "An identity token of Library (`POST /auth/identityToken` there). Preferred.",
    },
    "AuthToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-MSTR-AuthToken",
        "description": "An auth token of Library, with its cookies where there are any: `JSESSIONID`, its balancer's.",
    },
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "Either of them, or a resume token of this server.",
    },
}

_COMMENT = (
    "comment.get",
    "comment.edit",
    "comment.delete",
    "comment.revisions",
    "comment.react",
    "thread.resolve",
)
_NEW_DISCUSSION = (
    "discussion.get",
    "discussion.rename",
    "discussion.invite",
    "discussion.leave",
    "discussion.delete",
)

LINKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "comment.add": {"commentId=/comment/id": _COMMENT},
    "comment.edit": {"commentId=/comment/id": ("comment.revisions",)},
    "discussion.create": {
        "discussionId=/discussion/id": _NEW_DISCUSSION,
        "topic=/discussion/topic": ("topic.get", "topic.comments", "comment.add"),
    },
    "discussion.get": {"topic=/topic": ("topic.get", "topic.comments", "comment.add")},
    "topic.get": {"topic=/topic": ("topic.comments", "topic.events")},
    "comment.get": {"topic=/topic": ("topic.get",), "thread=/threadId;topic=/topic": ("topic.comments",)},
}
"""Call → `parameter=/place in its answer` → the calls that take it."""

_SHOWN: Mapping[str, tuple[str, ...]] = {
    "topic.subscribe": ("after", "epoch"),
    "topic.events": ("after",),
    "topic.comments": ("order", "limit"),
    "topic.mute": ("until",),
    "comment.add": ("anchor", "viewState", "requestId"),
    "discussion.create": ("about", "text", "requestId"),
    "share": ("message", "viewState", "requestId"),
    "notification.list": ("unread",),
    "notification.read": ("upTo",),
    "session.refresh": ("identityToken",),
}
"""What an example of a payload shows besides the fields that are required."""

_EITHER: Mapping[str, tuple[str, ...]] = {
    "notification.read": ("ids", "upTo"),
    "session.refresh": ("identityToken", "authToken"),
}
"""Of which fields a payload has just one."""

_ROLES: Mapping[Role, str] = {
    "viewer": "whoever may open the object",
    "member": "the members of a discussion",
    "owner": "the owner of a discussion",
    "self": "each person in their own inbox",
}

_SAID: Mapping[str, ClientError] = {
    error.code: error
    for error in (
        CODES["invalid"]("expected a text that is not blank", field="text"),
        CODES["unauthenticated"]("Library does not accept this token"),
        CODES["forbidden"]("comment.edit is for the author of the comment"),
        CODES["not_found"]("comment"),
        CODES["unknown_command"]("there is no such command"),
        CODES["conflict"]("the comment was deleted"),
        CODES["too_large"]("expected at most 10000 characters, got 10001", field="text"),
        CODES["rate_limited"]("expected at most 50 commands a second, 200 at once", retry_after=0.02),
        CODES["unavailable"](),  # type: ignore[call-arg]
        CODES["paused"](),  # type: ignore[call-arg]
        CODES["internal"](),  # type: ignore[call-arg]
    )
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
        "503 while the database is away or not migrated yet, and while the node drains.",
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


# -- schemas -------------------------------------------------------------------------------------------------------


def object_name(model: type[BaseModel]) -> str:
    """The name of an object of the wire: `CommentShape` is `Comment`."""
    return model.__name__.removesuffix("Shape")


@cache
def objects() -> Mapping[str, Schema]:
    """The schema of every object that answers hold, by its name. References go to `REF`."""
    models = [
        model
        for _, model in inspect.getmembers(shapes, inspect.isclass)
        if issubclass(model, BaseModel) and model.__module__ == shapes.__name__
    ]
    modes: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in models]
    _, made = models_json_schema(modes, ref_template=REF + "{model}")
    renamed = {object_name(model): _referring(made["$defs"][model.__name__]) for model in models}
    renamed["Error"]["properties"]["code"]["enum"] = list(CODES)
    return {name: _worded(name, schema) for name, schema in sorted(renamed.items())}


@cache
def payload(name: str) -> Schema:
    """The schema of a command's payload, complete in itself."""
    made = TypeAdapter(TABLE[name].command).json_schema(by_alias=True)
    definitions = made.pop("$defs", {})
    inner = {key: _worded(key, schema) for key, schema in definitions.items()}
    schema: Schema = _inlined(_worded(name, made), inner)
    schema.pop("description", None)
    schema["additionalProperties"] = False
    if name in _EITHER:
        schema["oneOf"] = [_only(one, _EITHER[name]) for one in _EITHER[name]]
    return schema


def _only(one: str, names: Sequence[str]) -> Schema:
    """That of these fields just this one is given."""
    absent: Schema = {other: {"type": "null"} for other in names if other != one}
    return {"required": [one], "properties": {one: {"not": {"type": "null"}}, **absent}}


def plain(schema: Schema) -> Schema:
    """A field's schema without the `null` that only says that it may be left out, and without that default."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    rest = {
        key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)
    }
    return (
        {**options[0], **rest} if len(options) == 1 else rest if not options else {**rest, "anyOf": options}
    )


def _worded(owner: str, schema: Schema) -> Schema:
    """The schema with its fields described, and without the titles that only repeat their names."""
    schema = _untitled(schema)
    properties: dict[str, Schema] = schema.get("properties", {})
    for name, field in properties.items():
        found = wording(owner, name)
        if found is None:
            continue
        field["description"] = found.means
        if field.get("default", 0) is None:
            del field["default"]  # says no more than that it may be left out
        if found.example is not None:
            field["examples"] = [found.example]
        for option in field.get("anyOf", [field]):
            if option.get("type") != "null":
                option.update(found.rules)
    return schema


def _untitled(value: Any) -> Any:
    if isinstance(value, dict):
        is_schema = isinstance(value.get("title"), str)
        return {key: _untitled(item) for key, item in value.items() if not (is_schema and key == "title")}
    if isinstance(value, list):
        return [_untitled(item) for item in value]
    return value


def _referring(value: Any) -> Any:
    """The schema with references to the objects by their names on the wire."""
    if isinstance(value, dict):
        return {
            key: item.removesuffix("Shape") if key == "$ref" else _referring(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_referring(item) for item in value]
    return value


def _inlined(value: Any, definitions: Mapping[str, Schema]) -> Any:
    """A schema with its references replaced by what they refer to."""
    if isinstance(value, dict):
        if "$ref" in value:
            beside = {key: item for key, item in value.items() if key != "$ref"}
            return {**_inlined(definitions[value["$ref"].rpartition("/")[2]], definitions), **beside}
        return {key: _inlined(item, definitions) for key, item in value.items()}
    if isinstance(value, list):
        return [_inlined(item, definitions) for item in value]
    return value


def payload_example(name: str) -> Schema:
    """An example of a command's payload."""
    schema = payload(name)
    shown = (*schema.get("required", ()), *_SHOWN.get(name, ()))
    return {field: example(about) for field, about in schema["properties"].items() if field in shown}


def example(schema: Schema, known: Mapping[str, Schema] | None = None) -> Any:
    """An example of what a schema describes; `known` are the schemas that references may name, by default ours."""
    known = objects() if known is None else known
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example(known[schema["$ref"].rpartition("/")[2]], known)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
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


# -- commands in words ---------------------------------------------------------------------------------------------


def says(entry: Entry) -> str:
    """What a command does, in one or two sentences; empty where nobody has said it."""
    text = inspect.getdoc(entry.command) or ""
    return "" if text.startswith(f"{entry.command.__name__}(") else text


def who_may(name: str) -> str:
    """Who may give a command, in words."""
    if name == "comments.search":
        return "Whoever is signed in, and finds what they may read."
    roles = [role for role, rights in RIGHTS.items() if name in rights]
    if not roles:
        return "Whoever is signed in."
    if "member" in roles:
        roles.remove("owner")
    words = ", ".join(_ROLES[role] for role in roles)
    own = ", and only on what they wrote" if name in OF_ONES_OWN else ""
    return f"{words[0].upper()}{words[1:]}{own}."


def error_example(code: str) -> Schema:
    """An error object with this code, as it may come."""
    return {**_SAID[code].as_wire(), "ticketId": "9f86d081884c7d65"}


def may_be_refused(entry: Entry) -> Iterator[str]:
    """The codes of the errors that a REST call of this command may be answered with."""
    for code in CODES:
        if code != "unknown_command" and (code != "conflict" or isinstance(entry, Write)):
            yield code


# -- the document --------------------------------------------------------------------------------------------------


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
        "components": {"schemas": dict(objects()), "securitySchemes": SECURITY_SCHEMES},
    }


def _operation(route: Route) -> Schema:
    entry = TABLE[route.command]
    description = f"{says(entry)}\n\nWho may: {who_may(route.command)} Over Socket.IO: `{route.command}`."
    operation: Schema = {
        "tags": [route.command.partition(".")[0]],
        "operationId": route.command,
        "summary": route.summary,
        "description": description.strip(),
        "parameters": list(_parameters(route, entry)),
        "responses": _responses(route, entry),
    }
    if route.has_body:
        schema = _body(route)
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": _body_example(route)}},
        }
    return operation


def in_path(route: Route) -> list[str]:
    """The fields of a call's command that its path spells, in order."""
    return re.findall(r"\{(\w+)\}", route.path)


def _body(route: Route) -> Schema:
    schema = payload(route.command)
    outside = {"requestId", *in_path(route)}
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
    outside = {"requestId", *in_path(route)}
    return {name: value for name, value in payload_example(route.command).items() if name not in outside}


def _parameters(route: Route, entry: Entry) -> Iterator[Schema]:
    """What a call takes besides a body."""
    schema = payload(route.command)
    for name, field in schema["properties"].items():
        if name == "requestId":
            yield _parameter("Idempotency-Key", "header", field, is_required=False)
        elif name in in_path(route):
            yield _parameter(name, "path", field, is_required=True)
        elif not route.has_body:
            yield _parameter(name, "query", field, is_required=name in schema.get("required", ()))


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


def _responses(route: Route, entry: Entry) -> Schema:
    schema = {"$ref": REF + object_name(route.answer)}
    done: Schema = {
        "description": _first_sentence(objects()[object_name(route.answer)].get("description", "Done.")),
        "content": {"application/json": {"schema": schema, "example": answer_example(route)}},
    }
    if links := _links(route.command):
        done["links"] = links
    responses: Schema = {str(route.status): done}
    for code in may_be_refused(entry):
        error = CODES[code]
        response = responses.setdefault(
            str(error.http_status),
            {
                "description": "",
                "content": {"application/json": {"schema": {"$ref": REF + "Error"}, "examples": {}}},
            },
        )
        response["description"] = f"{response['description']} `{code}`: {error.meaning}".strip()
        response["content"]["application/json"]["examples"][code] = {"value": error_example(code)}
        if _SAID[code].retry_after is not None:
            response["headers"] = {
                "Retry-After": {
                    "description": "Whole seconds after which to try again.",
                    "schema": {"type": "integer", "minimum": 1},
                }
            }
    return responses


def answer_example(route: Route) -> Any:
    """An example of what a call answers."""
    answer = example(objects()[object_name(route.answer)])
    if answer.get("next", "") is None and "cursor" in payload(route.command)["properties"]:
        answer["next"] = CURSOR
    if route.command == "topic.summaries":
        answer["items"].append({**answer["items"][0], "topic": DISCUSSION})
    return answer


def _links(command: str) -> Schema:
    return {
        target: {
            "operationId": target,
            "parameters": {
                name: f"$response.body#{place}"
                for name, _, place in (part.partition("=") for part in taken.split(";"))
            },
        }
        for taken, targets in LINKS.get(command, {}).items()
        for target in targets
    }


def _first_sentence(text: str) -> str:
    return " ".join(text.split())
