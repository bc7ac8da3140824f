"""Threads: reactions to a comment, and whether what was said is settled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Text


@dataclass(frozen=True, slots=True)
class React:
    """React to a comment with one emoji. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    emoji: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class Unreact:
    """Take one's reaction back. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    emoji: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class ResolveThread:
    """Mark the thread that a comment belongs to as resolved. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class ReopenThread:
    """Open the thread that a comment belongs to again. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    request_id: Text | None = None
