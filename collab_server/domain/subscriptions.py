"""Commands about a topic as such: subscribing, reading its log, its state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Text, Token, Whole

MAX_EVENTS = 500


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Get a topic's events from here on, and with `after` those that were missed."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    after: Whole | None = None
    epoch: Text | None = None
    limit: Whole = MAX_EVENTS


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Get no more of a topic's events and signals."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text


@dataclass(frozen=True, slots=True)
class GetTopic:
    """The state of a topic."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text


@dataclass(frozen=True, slots=True)
class ListEvents:
    """A stretch of a topic's log, oldest first."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    after: Whole = 0
    limit: Whole = MAX_EVENTS


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """Go on with a fresh token of the same user, without a new connection."""

    __pydantic_config__: ClassVar[Any] = WIRE
    identity_token: Token | None = None
    auth_token: Token | None = None


@dataclass(frozen=True, slots=True)
class AboutMe:
    """Who the asker is."""

    __pydantic_config__: ClassVar[Any] = WIRE
