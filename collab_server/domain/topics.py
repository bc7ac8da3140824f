"""Topics: what one can subscribe to. A topic has an audience and a log of events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from typing_extensions import override

from collab_server.domain.ids import ReadId, opaque_id, own_id
from collab_server.domain.wire import WIRE, AtMost, Cursor, Text, Whole
from collab_server.errors import Invalid

Kind = Literal["content", "discussion", "inbox"]

MAX_EVENTS = 500
MAX_SUMMARIES = 500
MOST_WAIT_SECONDS = 25
"""So long a request may wait for events: proxies and load balancers give up after 30 s at the earliest."""

EXPECTED = "expected content:{projectId}:{objectId}, discussion:{id} or inbox:{userId}"


@dataclass(frozen=True, slots=True)
class Topic:
    """A parsed topic name.

    `first` is the project id, the discussion id or the user id; `second` is the object id of a content topic,
    otherwise empty.
    """

    kind: Kind
    first: str
    second: str = ""

    @property
    def name(self) -> str:
        """The one spelling of the topic, as it is stored and sent."""
        return (
            f"{self.kind}:{self.first}:{self.second}"
            if self.kind == "content"
            else f"{self.kind}:{self.first}"
        )

    @override
    def __str__(self) -> str:
        return self.name


def parse_topic(name: str) -> Topic:
    """The topic that `name` spells, one of our own writing.

    Raises `Invalid` (naming `topic`) when it spells none.
    """
    return read_topic(name, opaque_id)


def read_topic(name: str, read_id: ReadId, field: str = "topic") -> Topic:
    """The topic that somebody's `name` spells; `read_id` judges the ids in it.

    Raises `Invalid` (naming `field`) when it spells none.
    """
    parts = name.split(":")
    match parts:
        case ["content", project, content]:
            return Topic("content", read_id(project, field), read_id(content, field))
        case ["discussion", discussion]:
            return Topic("discussion", str(own_id(discussion, field)))
        case ["inbox", user]:
            return Topic("inbox", read_id(user, field))
        case _:
            raise Invalid(EXPECTED, field=field)


def content_topic(project_id: str, object_id: str) -> Topic:
    """The topic of an object, ids as their authority writes them."""
    return Topic("content", project_id, object_id)


def inbox_topic(user_id: str) -> Topic:
    """The inbox of a user."""
    return Topic("inbox", user_id)


def inbox_name(user_id: str) -> str:
    """The name of that topic."""
    return f"inbox:{user_id}"


@dataclass(frozen=True, slots=True)
class Content:
    """An object of Library by its ids, as a command names it."""

    __pydantic_config__: ClassVar[Any] = WIRE

    project_id: Text
    object_id: Text


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
class ListSummaries:
    """Many topics at a glance, in the order asked, without those that the asker may not open."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topics: Annotated[list[Text], AtMost(MAX_SUMMARIES)]


@dataclass(frozen=True, slots=True)
class ListAnchors:
    """What there is at each place of an object, and which threads have unread comments."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    cursor: Cursor | None = None
