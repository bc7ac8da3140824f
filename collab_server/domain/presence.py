"""Presence and typing: who has a topic open, and who is writing in it. Signals, never stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from collab_server.domain.people import User
from collab_server.domain.wire import WIRE, Flag, Text

GRACE_SECONDS = 2.0
"""How long somebody stays present whose connection, or whose node, has gone: time to come back unnoticed."""


@dataclass(frozen=True, slots=True)
class SetTyping:
    """Say that one is typing, or is not any more; ends by itself unless it is said again."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    typing: Flag


@dataclass(frozen=True, slots=True)
class Present:
    """Somebody who has a topic open. `since` is in milliseconds since 1970, and only for order."""

    user: User
    since: int
