"""`protocol.md`: its prose from a template, its tables from the code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from typing import Any

from collab_server.config.limits import Limits
from collab_server.contract.catalogue import COMMANDS, ROUTES
from collab_server.contract.events import EVENTS, OBJECTS, SIGNALS
from collab_server.contract.examples import error_example, payload_example
from collab_server.contract.rows import REPEATABLE, WAIT, Call, CommandType, Incomplete, Shape
from collab_server.contract.schemas import Schema, object_name, object_schemas, payload_schema, plain
from collab_server.contract.wording import WORDINGS, wording
from collab_server.errors import CODES

GROUPS = {
    "Comments": ("comment", "thread"),
    "Topics": ("topic", "typing"),
    "Discussions": ("discussion",),
    "Inbox and sharing": ("notification", "share"),
    "Finding": ("comments", "recipients"),
    "The session": ("me", "session"),
}
"""Heading → the first parts of the names of the commands under it."""

BEYOND: dict[str, str] = {
    "textCharacters": "`too_large`",
    "viewStateBytes": "`too_large`",
    "packetBytes": "`too_large`; over Socket.IO the transport is closed, too",
    "discussionMembers": "`too_large`",
    "mentionsPerComment": "`too_large`",
    "recipientsPerCommand": "`too_large`",
    "recipientsPerHour": "`rate_limited`, with `retryAfter`",
    "topicsPerConnection": "`too_large`",
    "commandsPerSecond": "`rate_limited`, with `retryAfter`",
    "commandsBurst": "`rate_limited`, with `retryAfter`",
    "commandsWaiting": "`rate_limited`",
    "connectionsPerUser": "CONNECT_ERROR `rate_limited`",
    "strangers": "the oldest of them is closed",
    "strangersPerAddress": "the oldest of the address is closed",
    "strangersBytes": "the oldest of them is closed",
    "strangerPacketBytes": "the transport is closed; over long-polling HTTP 413",
    "signInTries": "the transport is closed",
    "failedSignIns": "tokens of this address wait for one another, and may be `unavailable`",
    "requestsPerUser": "`rate_limited`, with `retryAfter`",
    "outgoingBytes": "the transport is closed",
}
"""Limit → what happens beyond it."""


def protocol(template: str) -> str:
    """The text of `protocol.md`: the template with each `{{part}}` in its place."""
    parts: dict[str, Callable[[], str]] = {
        "command-index": _command_index,
        "objects": _object_tables,
        "commands": _commands,
        "events": _events,
        "signals": _signals,
        "rest": _rest,
        "error-object": lambda: _fields_table("Error", object_schemas()["Error"]),
        "errors": _errors,
        "limits": _limits,
    }
    used = set(re.findall(r"{{(.*?)}}", template))
    if used != parts.keys():
        raise Incomplete(f"the template and contract/markdown.py differ in the parts {used ^ parts.keys()}")
    return re.sub(r"{{(.*?)}}", lambda match: parts[match[1]](), template)


# --- types in words


def type_text(schema: Schema) -> str:
    """A schema's type as people write it: `string`, `Comment[]`, `"newest" | "oldest"`, `{kind, id}`."""
    if "$ref" in schema:
        return _object_text(schema["$ref"].rpartition("/")[2])
    if "enum" in schema:
        return " \\| ".join(f'`"{value}"`' for value in schema["enum"])
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        rest = {
            key: value for key, value in schema.items() if key not in ("anyOf", "description", "examples")
        }
        text = " or ".join(type_text({**rest, **option}) for option in options)
        return text + (" or null" if len(options) < len(schema["anyOf"]) else "")
    match schema.get("type"):
        case "array":
            return f"{type_text(schema['items'])}[]"
        case "object" if "properties" in schema:
            required = schema.get("required", ())
            fields = (name if name in required else f"{name}?" for name in schema["properties"])
            return "`{" + ", ".join(fields) + "}`"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"{{…: {type_text(schema['additionalProperties'])}}}"
        case "string" if "format" in schema:
            return {"uuid": "id", "date-time": "time"}[schema["format"]]
        case None:
            return "any JSON"
        case kind:
            return str(kind)


def _object_text(name: str) -> str:
    return f"[{name}](#{name.lower()})" if name in _shown_objects() else _inline(object_schemas()[name])


def _shape_type(text: str) -> str:
    """A type of the catalogue as people write it."""
    words = {"libraryId": "string"}
    parts = []
    for part in text.split(" | "):
        name = part.removesuffix("[]")
        if name.startswith("'"):
            parts.append(f'`"{name[1:-1]}"`')
        else:
            shown = (
                _object_text(name) if name in object_schemas() or name in OBJECTS else words.get(name, name)
            )
            parts.append(shown + "[]" * part.endswith("[]"))
    return (" \\| " if "'" in text else " or ").join(parts)


def _inline(schema: Schema) -> str:
    """`{comment: Comment, seq: integer}`."""
    fields = (f"{name}: {type_text(field)}" for name, field in schema.get("properties", {}).items())
    return "{" + ", ".join(fields) + "}"


def _inline_shape(shape: Shape) -> str:
    return "{" + ", ".join(f"{name}: {_shape_type(kind)}" for name, kind in shape.items()) + "}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines)


# --- objects


def _shown_objects() -> list[str]:
    """The objects with a table of their own: all that something else refers to, and those of signals."""
    referred: set[str] = set()
    for schema in object_schemas().values():
        referred |= set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    first = [
        "Comment",
        "User",
        "Mention",
        "Resolved",
        "Discussion",
        "Member",
        "Content",
        "Notification",
        "Event",
    ]
    others = sorted((referred | OBJECTS.keys()) - {*first, "Error"})
    return [*first, *others]


def _object_tables() -> str:
    return "\n\n".join(_object(name) for name in _shown_objects())


def _object(name: str) -> str:
    if name in OBJECTS:
        rows = (
            (f"`{field}`", _shape_type(kind), _SHAPE_WORDS[f"{name}.{field}"])
            for field, kind in OBJECTS[name].items()
        )
        return f"### {name}\n\n{_table(('field', 'type', ''), rows)}"
    schema = object_schemas()[name]
    return f"### {name}\n\n{schema['description']}\n\n{_fields_table(name, schema)}"


def _fields_table(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    if name == "Error":
        del (schema := deepcopy(schema))["properties"]["code"]["enum"]  # there is a table of them
    rows = (
        (
            f"`{field}`" if field in required else f"`{field}`, only where it applies",
            type_text(_plain_if_optional(about, field in required)),
            about.get("description", ""),
        )
        for field, about in schema["properties"].items()
    )
    return _table(("field", "type", ""), rows)


def _plain_if_optional(schema: Schema, is_required: bool) -> Schema:
    """The schema, without null where a field is either there or not."""
    return schema if is_required else plain(schema)


_SHAPE_WORDS = {
    "Serving.reads": "Whether reading commands work.",
    "Serving.writes": "Whether writing commands work.",
    "Serving.live": "Whether events of other nodes come at once; otherwise within 2 s.",
}


# --- commands


def _grouped() -> Iterator[tuple[str, list[CommandType]]]:
    left = list(COMMANDS)
    for heading, firsts in GROUPS.items():
        rows = [row for row in COMMANDS.values() if row.name.partition(".")[0] in firsts]
        left = [name for name in left if COMMANDS[name] not in rows]
        if rows:
            yield heading, rows
    if left:
        raise Incomplete(f"contract/markdown.py: GROUPS has no heading for {', '.join(left)}")


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _command_index() -> str:
    return " · ".join(f"[{row.name}](#{_anchor(row.name)})" for _, rows in _grouped() for row in rows)


def _commands() -> str:
    sections = []
    for heading, rows in _grouped():
        sections.append(f"### {heading}")
        sections += [_command(row) for row in rows]
    return "\n\n".join(sections)


def _command(row: CommandType) -> str:
    lines = [f"#### `{row.name}`", f"{row.says} {row.remark}".strip()]
    facts = [f"Who may: {row.who.words}"]
    if row.call is not None:
        facts.append(f"REST: {_call(row.call)}")
    else:
        facts.append("REST: none; it is about the connection.")
    facts.append(f"Answer: {_answer(row)}")
    caused = [f"`{event.name}`" for event in EVENTS.values() if row.name in event.by]
    if caused:
        facts.append(f"Events: {', '.join(caused)}")
    if row.refusals:
        facts.append(f"Refusals: {'; '.join(row.refusals)}.")
    lines.append("\n".join(f"- {fact}" for fact in facts))
    schema = payload_schema(row.name)
    if schema["properties"]:
        lines.append(_payload_table(row.name, schema))
        lines.append(f"```json\n{json.dumps(payload_example(row.name), ensure_ascii=False)}\n```")
    else:
        lines.append("It takes no fields.")
    return "\n\n".join(lines)


def _payload_table(name: str, schema: Schema) -> str:
    required = schema.get("required", ())
    rows = []
    for field, about in schema["properties"].items():
        default = about.get("default")
        rest = "" if default is None else f" Left out: {json.dumps(default)}."
        is_topic = wording(name, field) is WORDINGS["topic"]
        means = "The name of a [topic](#topics-and-their-logs)." if is_topic else about["description"]
        rows.append(
            (
                f"**`{field}`**" if field in required else f"`{field}`",
                type_text(plain(about)),
                means + rest,
            )
        )
    return _table(("field", "type", ""), rows)


def _call(call: Call) -> str:
    return f"`{call.method} /api{call.path}`{' → 201' if call.status == 201 else ''}"


def _answer(row: CommandType) -> str:
    if isinstance(row.answer, type):
        return _object_text(object_name(row.answer))
    return _inline_shape(row.answer)


# --- events, signals, REST, errors, limits


def _events() -> str:
    rows = (
        (f"`{event.name}`", ", ".join(event.on), _inline_shape(event.data), event.means)
        for event in EVENTS.values()
    )
    return _table(("type", "on", "`data`", ""), rows)


def _signals() -> str:
    rows = ((f"`{signal.name}`", _inline_shape(signal.data), signal.means) for signal in SIGNALS.values())
    return _table(("signal", "argument", ""), rows)


def _rest() -> str:
    rows = []
    for route in ROUTES:
        schema = payload_schema(route.command)
        taken = [
            f"**{name}**" if name in schema.get("required", ()) else name
            for name in schema["properties"]
            if name not in route.call.in_path and name != REPEATABLE
        ]
        if route.call.may_wait:
            taken.append(WAIT)
        place = "body" if route.has_body else "query"
        rows.append(
            (
                _call(route.call),
                f"[{route.command}](#{_anchor(route.command)})",
                f"{place}: {', '.join(taken)}" if taken else "",
                "yes" if route.row.is_write else "",
            )
        )
    return _table(("call", "command", "takes, besides the path", "`Idempotency-Key`"), rows)


def _errors() -> str:
    rows = []
    for code, error in CODES.items():
        more = {key: value for key, value in error_example(code).items() if key in ("retryAfter", "outcome")}
        rows.append(
            (f"`{code}`", str(error.http_status), error.meaning, ", ".join(f"`{key}`" for key in more))
        )
    return _table(("code", "HTTP", "", "always with"), rows)


def _limits() -> str:
    rows: list[tuple[str, str, str, str]] = []
    for name, field in Limits.model_fields.items():
        if name not in BEYOND:
            raise Incomplete(f"contract/markdown.py: BEYOND does not say what happens beyond {name}")
        default: Any = field.default
        rows.append((f"`{name}`", str(default), str(field.description), BEYOND[name]))
    return _table(("limit", "default", "", "beyond it"), rows)
