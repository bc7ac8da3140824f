"""`schema.json`: one JSON schema of all that a client sends and gets, for whatever makes the types of a client of it.

Its root has the commands, events, signals and errors by their names, so that a generator makes of them one type to look
names up in, such as `Wire["commands"]["comment.add"]["payload"]`; what they are made of stands under `$defs`, each with
a name that is good for a type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from collab_server import __version__
from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.events import EVENTS, SIGNALS
from collab_server.contract.examples import error_example
from collab_server.contract.named import type_name
from collab_server.contract.rows import CommandType, EventType, Incomplete
from collab_server.contract.schemas import (
    REF,
    Schema,
    all_object_schemas,
    exactly,
    object_name,
    payload_parts,
    plain,
    shape_schema,
)
from collab_server.errors import CODES

_REF = "#/$defs/"

_DESCRIPTION = """\
What a client of the collaboration server sends and gets. A command takes its `payload`; what it answers is `answer`, \
over Socket.IO as `{ok: true, data: answer}` or `{ok: false, error}`, over REST by itself. Events are stored and come \
with their `seq`, signals are not. Within a version of the protocol, fields, commands, events, signals and errors may \
be added: what is not known is to be ignored."""


def schema_json() -> str:
    """The text of `schema.json`."""
    return json.dumps(document(), indent=2) + "\n"


def document() -> Schema:
    """The schema.

    Raises `Incomplete`, also where two things would have one name.
    """
    types = _Types()
    for name, schema in all_object_schemas().items():
        types.add(name, schema)
    parts = {
        "commands": {name: _command(types, row) for name, row in COMMANDS.items()},
        "events": {
            name: types.add(f"{type_name(name)}Event", _event(types, row)) for name, row in EVENTS.items()
        },
        "signals": {
            name: types.add(
                f"{type_name(name)}Signal", shape_schema(name, row.data) | {"description": row.means}
            )
            for name, row in SIGNALS.items()
        },
        "errors": {code: types.add(f"{type_name(code)}Error", _error(code)) for code in CODES},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Wire",
        "description": _DESCRIPTION,
        "version": __version__,
        **exactly(
            {part: types.add(f"{type_name(part)}ByName", exactly(named)) for part, named in parts.items()}
        ),
        "$defs": types.by_name(),
    }


class _Types:
    """What stands under `$defs`."""

    def __init__(self) -> None:
        self._known: dict[str, Schema] = {}

    def add(self, name: str, schema: Schema) -> Schema:
        """Name a type; returns the reference to it."""
        schema = _pointing_here(schema)
        if self._known.setdefault(name, schema) != schema:
            raise Incomplete(f"contract/client_types.py: two types would have the name {name}")
        return {"$ref": _REF + name}

    def by_name(self) -> Mapping[str, Schema]:
        """All of them."""
        return {name: self._known[name] for name in sorted(self._known)}


def _command(types: _Types, row: CommandType) -> Schema:
    payload, inner = payload_parts(row.name, _REF + "{model}Payload")
    for name, schema in inner.items():
        types.add(f"{name}Payload", schema)
    if isinstance(row.answer, type):
        answer = {"$ref": _REF + object_name(row.answer)}
    else:
        answer = types.add(f"{type_name(row.name)}Answer", shape_schema(row.name, row.answer))
    payload = {"description": row.says, **(_either(payload, row.either) if row.either else payload)}
    both = exactly({"payload": types.add(f"{type_name(row.name)}Payload", payload), "answer": answer})
    return types.add(f"{type_name(row.name)}Command", both)


def _either(payload: Schema, names: Sequence[str]) -> Schema:
    """The payload as one object for each field of which it has just one: generators make no types of `oneOf` beside
    properties."""
    options = []
    for one in names:
        fields = {
            name: plain(schema) if name == one else schema
            for name, schema in payload["properties"].items()
            if name == one or name not in names
        }
        options.append({**payload, "properties": fields, "required": [*payload.get("required", ()), one]})
        del options[-1]["oneOf"]
    return {"oneOf": options}


def _event(types: _Types, row: EventType) -> Schema:
    general = all_object_schemas()["Event"]
    return {
        **exactly(
            {
                **general["properties"],
                "type": {"const": row.name, "description": general["properties"]["type"]["description"]},
                "data": types.add(f"{type_name(row.name)}Data", shape_schema(row.name, row.data)),
            }
        ),
        "description": row.means,
    }


def _error(code: str) -> Schema:
    """An error with this code, which has what its example has."""
    fields = {name: plain(schema) for name, schema in all_object_schemas()["Error"]["properties"].items()}
    always = [name for name in fields if name in error_example(code) and name != "field"]
    return {
        "type": "object",
        "description": CODES[code].meaning,
        "required": always,
        "properties": {**fields, "code": {"const": code, "description": fields["code"]["description"]}},
    }


def _pointing_here(value: Any) -> Any:
    """The schema with its references to `$defs`: with nothing beside one, of which generators make another type."""
    if isinstance(value, dict):
        if "$ref" in value:
            beside = {key: item for key, item in value.items() if key != "$ref"}
            reference = {"$ref": _REF + value["$ref"].removeprefix(REF).removeprefix(_REF)}
            return {"allOf": [reference], **beside} if beside else reference
        return {key: _pointing_here(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_pointing_here(item) for item in value]
    return value
