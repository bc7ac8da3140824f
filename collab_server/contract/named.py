"""Schemas with names, for whatever makes types of them: events told apart by their `type`, a title for each object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from collab_server.contract.events import EVENTS
from collab_server.contract.rows import EventType
from collab_server.contract.schemas import (
    REF,
    Schema,
    all_object_schemas,
    exactly,
    object_schemas,
    shape_schema,
)

_CHOICES = ("oneOf", "anyOf", "allOf")


def type_name(name: str) -> str:
    """`topic.was_read` → `TopicWasRead`, `viewState` → `ViewState`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[._]", name))


def event_name(row: EventType) -> str:
    """The name of the schema of an event: `comment.added` → `CommentAddedEvent`."""
    return f"{type_name(row.name)}Event"


@cache
def event_schemas() -> Mapping[str, Schema]:
    """The schema of every type of event as it is sent, by its name."""
    return {event_name(row): _event(row) for row in EVENTS.values()}


def with_events(objects: Mapping[str, Schema], discriminator: Any) -> dict[str, Schema]:
    """The schemas of objects, in which an `Event` is one of those that there are. `discriminator` says, as the document
    they are for wants it, that it is `type` that tells which."""
    event: Schema = {
        "description": objects["Event"]["description"],
        "oneOf": [{"$ref": REF + name} for name in event_schemas()],
        "discriminator": discriminator,
    }
    return dict(sorted({**objects, **event_schemas(), "Event": event}.items()))


@cache
def rest_schemas() -> Mapping[str, Schema]:
    """The schemas of what REST answers hold, for OpenAPI."""
    mapping = {name: REF + event_name(row) for name, row in EVENTS.items()}
    return with_events(object_schemas(), {"propertyName": "type", "mapping": mapping})


@cache
def message_schemas() -> Mapping[str, Schema]:
    """The schemas of what messages hold, for AsyncAPI, each with its name as title."""
    schemas = with_events(all_object_schemas(), "type")
    return {name: titled(name, schema) for name, schema in schemas.items()}


def titled(name: str, schema: Schema) -> Schema:
    """The schema with this title, and with others made of it for the objects and choices inside: what has none gets a
    number for a name when types are made of it."""
    if "$ref" in schema:
        return schema
    inner = {key: _titled_inside(name, key, value) for key, value in schema.items()}
    return {"title": name, **inner} if _makes_a_type(schema) else inner


def _titled_inside(name: str, key: str, value: Any) -> Any:
    if key == "properties":
        return {field: titled(name + type_name(field), schema) for field, schema in value.items()}
    if key == "items":
        return titled(f"{name}Item", value)
    if key in _CHOICES:
        return [titled(f"{name}{number}", option) for number, option in enumerate(value, 1)]
    return value


def _makes_a_type(schema: Schema) -> bool:
    is_word = schema.get("type") == "string" and "const" in schema  # of which an enumeration of one is made
    return (
        is_word
        or schema.get("type") == "object"
        or any(key in schema for key in ("enum", "properties", *_CHOICES))
    )


def _event(row: EventType) -> Schema:
    general = object_schemas()["Event"]["properties"]
    fields = {
        **general,
        "type": {"type": "string", "const": row.name, "description": general["type"]["description"]},
        "data": shape_schema(row.name, row.data),
    }
    return {**exactly(fields), "description": row.means}
