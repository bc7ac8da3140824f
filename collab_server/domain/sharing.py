"""Sharing: sending content to people, with what one sees there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from collab_server.domain.people import People
from collab_server.domain.topics import Content
from collab_server.domain.wire import WIRE, AtMost, Prose, Text


@dataclass(frozen=True, slots=True)
class Share:
    """Send content to people, with a message and a view state, into their inboxes."""

    __pydantic_config__: ClassVar[Any] = WIRE
    content: Content
    recipients: People
    message: Prose | None = None
    view_state: Annotated[dict[str, Any], AtMost("viewStateBytes")] | None = None
    request_id: Text | None = None
