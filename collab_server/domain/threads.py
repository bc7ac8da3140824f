"""Threads: reactions to a comment, whether what was said is settled, and who wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Cursor, Flag, Text


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


@dataclass(frozen=True, slots=True)
class FollowThread:
    """Follow the thread that a comment belongs to, or follow it no more. Who follows one is told of every reply."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    following: Flag
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class MuteThread:
    """Mute the thread that a comment belongs to, or unmute it. A muted one makes no notifications."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    muted: Flag
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class ListThreadMarks:
    """The threads of a topic that the asker follows or has muted."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    cursor: Cursor | None = None
