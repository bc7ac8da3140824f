"""Subscriptions: getting what happens on a topic, as it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from collab_server.domain.topics import MAX_EVENTS, MAX_SUMMARIES
from collab_server.domain.wire import WIRE, AtMost, Text, Whole


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
class WatchTopics:
    """Be told the counts of these topics, without their events, whenever they change; and of no others any more."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topics: Annotated[list[Text], AtMost(MAX_SUMMARIES)]
