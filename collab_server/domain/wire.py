"""How a command's fields are spelled and typed on the wire: camelCase, no unknown ones, no guessing of types.

The doors build each command from its payload with pydantic; these annotations are all it is told.
"""

from __future__ import annotations

from typing import Any

from pydantic import StrictBool as Flag
from pydantic import StrictInt as Whole
from pydantic import StrictStr as Text

__all__ = ["WIRE", "Flag", "Text", "Whole", "camel"]


def camel(name: str) -> str:
    """`reply_to` → `replyTo`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


WIRE: dict[str, Any] = {"extra": "forbid", "alias_generator": camel}
"""The `__pydantic_config__` of every command."""
