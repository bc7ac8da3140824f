"""Reading: how far somebody has read a topic, and whether they want to hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Flag, Text, Whole


@dataclass(frozen=True, slots=True)
class ReadTopic:
    """Mark a topic read up to a `seq`, and its notifications with it. Never goes back."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    seq: Whole
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class UnreadTopic:
    """Mark a topic unread from a `seq` on. Never goes forward; notifications stay as they are."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    from_seq: Whole
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class MuteTopic:
    """Mute a topic, for ever or until a time, or unmute it. A muted one makes no notifications."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    muted: Flag
    until: Text | None = None
    request_id: Text | None = None
