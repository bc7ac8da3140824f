"""How a command's fields are spelled, typed and bounded on the wire: camelCase, no unknown ones, no guessing of types.

The doors build each command from its payload with pydantic; these annotations are all they are told. A bound belongs to
the type, so that it is looked at before the value is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, GetCoreSchemaHandler, StrictInt, StrictStr
from pydantic import StrictBool as Flag
from pydantic_core import CoreSchema

__all__ = [
    "ADDED",
    "APART",
    "CONDITION",
    "WIRE",
    "AtMost",
    "Cursor",
    "Flag",
    "Prose",
    "Text",
    "Token",
    "Whole",
    "camel",
]


@dataclass(frozen=True, slots=True)
class AtMost:
    """The most that a payload may give: characters of a text, items of a list, bytes of the text of free JSON.

    `most` is a number, or the name of one of the configuration's `limits`. A list's items are looked at up to the first
    wrong one. Every list and every piece of free JSON in a command has such a bound.
    """

    most: int | str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        return {**schema, "fail_fast": True} if schema["type"] == "list" else schema


def _without_fraction(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


Whole = Annotated[StrictInt, BeforeValidator(_without_fraction)]
"""A whole number. JSON Schema says that 110.0 is one, too, and some languages write it so."""
Text = Annotated[StrictStr, AtMost(1024)]
"""What programs read: an id, a key, a cursor, a time. What it has to be like is checked where that is known."""
Cursor = Annotated[StrictStr, AtMost(4096)]
"""Where a page goes on."""
Token = Annotated[StrictStr, AtMost(16_384)]
"""A token of Library."""
Prose = StrictStr
"""What people write; how long it may be is checked where that is known, together with the rest about it."""


def camel(name: str) -> str:
    """`reply_to` → `replyTo`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


ADDED: Mapping[str, bool] = {"is_added": True}
"""The metadata of a field that a command got later and that may be left out. Left out, it does not tell the command
from those of before: repeated on a node of the version before, or under it, it is the same one."""
APART: Mapping[str, bool] = {"is_apart": True}
"""The metadata of a field that got into a command later and tells it from no other: clients leave it out where a node
of the version before refuses it, and repeat the command with it on the next one."""
CONDITION: Mapping[str, bool] = {"is_condition": True}
"""The metadata of a field that says of what a change was made. It tells when the command may take effect, not what it
does: repeated without it, on a node of a version that does not know it, or with another one, it is the same command."""

WIRE: dict[str, Any] = {"extra": "forbid", "alias_generator": camel}
"""The `__pydantic_config__` of every command."""
