"""The inbox: what a person is told, how far they have read, what they have muted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from collab_server.domain.bodies import plain_text
from collab_server.domain.jsontext import NULL, JsonText, json_object, json_string, json_time
from collab_server.domain.mentions import excerpt
from collab_server.domain.wire import WIRE, AtMost, Cursor, Flag, Text, Whole

Kind = Literal["mention", "reply", "invited", "shared"]

EXCERPT_CHARACTERS = 500
"""So much of a comment is told at the most."""
MAX_IDS = 500


def told_of(text: str, body: JsonText | None) -> str:
    """What people are told of a comment with this text and body: the beginning of what it says."""
    return excerpt(text if body is None else plain_text(json.loads(body)), EXCERPT_CHARACTERS)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened and that people are to be told of, whoever they are.

    One `cause` tells a person once. `by` is the JSON text of a person, `view_state` JSON text or None, `thread_id` that
    of a reply. `topic_seq` is the event in the topic after which somebody who has read the topic has read this too.
    """

    cause: UUID
    topic: str
    topic_seq: int | None
    comment_id: UUID | None
    by: JsonText
    text: str
    created_at: datetime
    view_state: JsonText | None = None
    thread_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why one person is told: the notification's `kind`, and `why` in words for people.

    `through` is the id of the user or group that was mentioned, invited or shared with.
    """

    kind: Kind
    why: str
    through: str = ""


REPLIED = Reason("reply", "replied in a thread you take part in")
FOLLOWED = Reason("reply", "replied in a thread you follow")


@dataclass(frozen=True, slots=True)
class Notified:
    """That notifications for these users were stored and wait for delivery into their inboxes, or reviews of these.

    `is_permitted` says that their right to know is settled; otherwise Library must be asked as each of them.
    """

    users: tuple[str, ...]
    is_permitted: bool


@dataclass(frozen=True, slots=True)
class Notification:
    """What one person is told.

    `notice_id` says under which id its words are stored, if not with it, `is_outdated` that its comment was edited
    since: these are not the words of now.
    """

    id: UUID
    seq: int
    kind: Kind
    topic: str
    comment_id: UUID | None
    thread_id: UUID | None
    by: JsonText
    text: str
    why: str
    view_state: JsonText | None
    created_at: datetime
    read_at: datetime | None
    notice_id: UUID | None = None
    is_outdated: bool = False

    def saying(self, text: str) -> Notification:
        """The same with the words of now."""
        return replace(self, text=text, notice_id=None, is_outdated=False)

    def as_json(self) -> JsonText:
        """The wire's Notification as JSON text."""
        return self._as_json(json_string(self.text), self.view_state or NULL)

    def without_words(self) -> JsonText:
        """The same, with null for what a notice has of it."""
        return self._as_json(NULL, NULL)

    def _as_json(self, text: JsonText, view_state: JsonText) -> JsonText:
        return json_object(
            id=json_string(str(self.id)),
            kind=json_string(self.kind),
            topic=json_string(self.topic),
            commentId=_id_or_null(self.comment_id),
            threadId=_id_or_null(self.thread_id),
            by=self.by,
            text=text,
            why=json_string(self.why),
            viewState=view_state,
            createdAt=json_time(self.created_at),
            readAt=json_time(self.read_at),
        )


def in_words_of_now(told: Iterable[Notification], said: Mapping[UUID, str]) -> list[Notification]:
    """The same, where comments were edited since, with what is `said` of them now; with no words where that is not
    known, or not to be."""
    return [
        notification.saying(said.get(notification.comment_id, ""))
        if notification.is_outdated and notification.comment_id is not None
        else notification
        for notification in told
    ]


def _id_or_null(id: UUID | None) -> JsonText:
    return NULL if id is None else json_string(str(id))


@dataclass(frozen=True, slots=True)
class ReadNotifications:
    """Mark notifications read, by their ids or all up to a `seq` of the inbox. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    ids: Annotated[list[Text], AtMost(MAX_IDS)] | None = None
    up_to: Whole | None = None
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class ListNotifications:
    """The asker's notifications, the latest first."""

    __pydantic_config__: ClassVar[Any] = WIRE
    unread: Flag | None = None
    kind: Kind | None = None
    cursor: Cursor | None = None
    limit: Whole = 50


@dataclass(frozen=True, slots=True)
class CountNotifications:
    """How many notifications are unread: the badge."""

    __pydantic_config__: ClassVar[Any] = WIRE
