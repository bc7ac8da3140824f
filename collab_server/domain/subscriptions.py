"""Commands about a topic as such: subscribing, reading its log, its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Text, Whole

MAX_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Subscribe:
    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    after: Whole | None = None
    epoch: Text | None = None
    limit: Whole = MAX_EVENTS


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text


@dataclass(frozen=True, slots=True)
class GetTopic:
    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text


@dataclass(frozen=True, slots=True)
class ListEvents:
    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    after: Whole = 0
    limit: Whole = MAX_EVENTS


@dataclass(frozen=True, slots=True)
class RefreshSession:
    __pydantic_config__: ClassVar[Any] = WIRE
    identity_token: Text | None = None
    auth_token: Text | None = None


@dataclass(frozen=True, slots=True)
class AboutMe:
    __pydantic_config__: ClassVar[Any] = WIRE
