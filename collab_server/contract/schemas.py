"""JSON schemas of what is on the wire: of a command's payload, of the objects that answers hold, of a shape in words.

Made on demand and kept; nothing here asks anybody. A field that nobody has explained is `Incomplete`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from collab_server.contract import shapes
from collab_server.contract.catalogue import COMMANDS
from collab_server.contract.events import OBJECTS
from collab_server.contract.rows import Incomplete, Shape
from collab_server.contract.wording import BOB, COMMENT_ID, TIME, wording
from collab_server.errors import CODES

Schema = dict[str, Any]

REF = "#/components/schemas/"

_SIMPLE: dict[str, Schema] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "time": {"type": "string", "format": "date-time", "examples": [TIME]},
    "id": {"type": "string", "format": "uuid", "examples": [COMMENT_ID]},
    "libraryId": {"type": "string", "pattern": "^[0-9A-F]{32}$", "examples": [BOB]},
}


# --- objects of answers


def object_name(model: type[BaseModel]) -> str:
    """The name of an object of the wire: `CommentShape` is `Comment`."""
    return model.__name__.removesuffix("Shape")


@cache
def object_schemas() -> Mapping[str, Schema]:
    """The schema of every object that answers hold, by its name. References go to `REF`.

    Raises `Incomplete`.
    """
    models = [
        model
        for _, model in inspect.getmembers(shapes, inspect.isclass)
        if issubclass(model, shapes.Answered) and model is not shapes.Answered
    ]
    modes: list[tuple[type[BaseModel], Literal["validation"]]] = [(model, "validation") for model in models]
    _, made = models_json_schema(modes, ref_template=REF + "{model}")
    renamed = {object_name(model): _referring(made["$defs"][model.__name__]) for model in models}
    renamed["Error"]["properties"]["code"]["enum"] = list(CODES)
    return {name: _worded(name, schema) for name, schema in sorted(renamed.items())}


@cache
def all_object_schemas() -> Mapping[str, Schema]:
    """The schema of every object there is, also of those that only signals carry.

    What an `Event` has as `data` is said by its type (`events.py`), not here.
    """
    ours = {**object_schemas(), **{name: shape_schema(name, shape) for name, shape in OBJECTS.items()}}
    return {name: ours[name] for name in sorted(ours)}


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


# --- payloads


@cache
def payload_schema(name: str) -> Schema:
    """The schema of a command's payload, complete in itself.

    Raises `Incomplete`.
    """
    made, inner = payload_parts(name, "{model}")
    schema: Schema = _inlined(made, inner)
    return schema


@cache
def field_names() -> frozenset[str]:
    """All fields of all payloads."""
    return frozenset(field for row in COMMANDS.values() for field in row.fields)


def payload_parts(name: str, reference: str) -> tuple[Schema, Mapping[str, Schema]]:
    """The schema of a command's payload, and by their names those of the objects in it, which it refers to by
    `reference` with `{model}` in it.

    Raises `Incomplete`.
    """
    row = COMMANDS[name]
    made = TypeAdapter(row.payload).json_schema(by_alias=True, ref_template=reference)
    inner = {key: _worded(key, schema) for key, schema in made.pop("$defs", {}).items()}
    schema = _worded(name, made)
    schema.pop("description", None)
    schema["additionalProperties"] = False
    if row.either:
        schema["oneOf"] = [_only(one, row.either) for one in row.either]
    return schema, inner


def _only(one: str, names: Sequence[str]) -> Schema:
    """That of these fields just this one is given."""
    absent: Schema = {other: {"type": "null"} for other in names if other != one}
    return {"required": [one], "properties": {one: {"not": {"type": "null"}}, **absent}}


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


def plain(schema: Schema) -> Schema:
    """A field's schema without the `null` that only says that it may be left out, and without that default."""
    options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
    rest = {
        key: value for key, value in schema.items() if key != "anyOf" and (key, value) != ("default", None)
    }
    return (
        {**options[0], **rest} if len(options) == 1 else rest if not options else {**rest, "anyOf": options}
    )


# --- fields in words


def _worded(owner: str, schema: Schema) -> Schema:
    """The schema with its fields described, and without the titles that only repeat their names."""
    schema = _untitled(schema)
    properties: dict[str, Schema] = schema.get("properties", {})
    for name, field in properties.items():
        found = wording(owner, name)
        if found is None:
            if "description" not in field:
                raise Incomplete(f"contract/wording.py does not say what {owner}.{name} means")
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


# --- shapes in words


def shape_schema(owner: str, shape: Shape) -> Schema:
    """The schema of an object whose fields are given as types of the wire (see `rows.py`).

    Raises `Incomplete`.
    """
    properties = {name: _schema_of(f"{owner}.{name}", kind) for name, kind in shape.items()}
    for name, schema in properties.items():
        found = wording(owner, name)
        if found is not None:
            schema["description"] = found.means
            if found.example is not None:
                schema.setdefault("examples", [found.example])
    return exactly(properties)


def exactly(properties: dict[str, Any]) -> Schema:
    """The schema of an object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _schema_of(where: str, kind: str) -> Schema:
    options = kind.split(" | ")
    if kind.startswith("'"):
        return {"enum": [option.strip("'") for option in options]}
    if len(options) > 1:
        return {"anyOf": [_schema_of(where, option) for option in options]}
    if kind.endswith("[]"):
        return {"type": "array", "items": _schema_of(where, kind.removesuffix("[]"))}
    if kind in _SIMPLE:
        return dict(_SIMPLE[kind])
    if kind not in object_schemas() and kind not in OBJECTS:
        raise Incomplete(f"{where} is of the type {kind}, which contract/shapes.py does not have")
    return {"$ref": REF + kind}
