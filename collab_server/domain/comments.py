"""Comments: what people say about a dashboard, where in it, and whom they mention."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

from collab_server.domain.events import actor_text
from collab_server.domain.inbox import Reason
from collab_server.domain.jsontext import (
    NOTHING,
    NULL,
    JsonText,
    dumps,
    json_begun,
    json_ended,
    json_object_text,
    json_shape,
    json_string,
    json_time,
)
from collab_server.domain.letters import is_blank
from collab_server.domain.people import User
from collab_server.domain.topics import Topic
from collab_server.domain.wire import (
    ADDED,
    APART,
    CONDITION,
    WIRE,
    AtMost,
    Cursor,
    Flag,
    Prose,
    Text,
    Whole,
    camel,
)
from collab_server.errors import Invalid, TooLarge

VIEW_STATE_LEVELS = 64
ANCHOR_KEY_CHARACTERS = 256
ANCHOR_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where in the object a comment belongs: page, visualization, data point. Any of them may be missing."""

    __pydantic_config__: ClassVar[Any] = WIRE

    page_key: Text | None = None
    visualization_key: Text | None = None
    data_point: Annotated[Any, AtMost(ANCHOR_BYTES)] = None

    def as_wire(self) -> dict[str, Any]:
        wire = {
            "pageKey": self.page_key,
            "visualizationKey": self.visualization_key,
            "dataPoint": self.data_point,
        }
        return {key: value for key, value in wire.items() if value is not None}


Format = Literal["plain", "markdown"]
"""How a text is to be read. It is plain where nothing is said of it."""

NOWHERE = Anchor()
NO_MENTIONS = JsonText("[]")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment as it stands. What is JSON is as it is stored."""

    id: UUID
    topic: str
    seq: int
    thread_id: UUID
    author: User
    text: str
    mentions: JsonText
    anchor: JsonText | None
    view_state: JsonText | None
    created_at: datetime
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    revision: int = 1
    reactions: JsonText = NOTHING
    reply_count: int = 0
    resolved: JsonText | None = None
    body: JsonText | None = None

    @property
    def is_root(self) -> bool:
        return self.thread_id == self.id

    @property
    def is_deleted(self) -> bool:
        return self.deleted_at is not None

    def as_json(self) -> JsonText:
        """The wire's Comment as JSON text."""
        return comment_text(self.begun_json(), self.seq)

    def begun_json(self) -> str:
        """The same, up to its `seq`, which comes last: for one whose place is not known yet. See `comment_text`."""
        author = self.author
        whole = _comment(
            id=json_string(str(self.id)),
            topic=json_string(self.topic),
            threadId=json_string(str(self.thread_id)),
            author=actor_text(author.id, author.name, author.initials),
            text=json_string(self.text),
            mentions=self.mentions,
            anchor=self.anchor or NULL,
            viewState=self.view_state or NULL,
            createdAt=json_time(self.created_at),
            editedAt=json_time(self.edited_at),
            deletedAt=json_time(self.deleted_at),
            revision=self.revision,
            reactions=self.reactions,
            replyCount=self.reply_count,
            resolved=self.resolved or NULL,
            body=self.body or NULL,
        )
        return json_begun(whole)

    def buried(self, at: datetime) -> Comment:
        """The tombstone that it leaves: its place in the conversation, and none of its words."""
        return Comment(
            **{name: getattr(self, name) for name in _KEPT},
            text="",
            mentions=NO_MENTIONS,
            anchor=_without_data(self.anchor),
            view_state=None,
            body=None,
            deleted_at=at,
        )

    def as_tombstone(self) -> JsonText:
        """Of a tombstone, what is another in it than in the comment that it was, as the wire has it."""
        wire = json.loads(self.as_json())
        return dumps({name: value for name, value in wire.items() if name not in _KEPT_KEYS})


_KEPT = (
    *("id", "topic", "seq", "thread_id", "author", "created_at", "edited_at"),
    *("revision", "reactions", "reply_count", "resolved"),
)
"""What a tombstone keeps as it was. Everything else it loses, also what is yet to be thought of."""
_KEPT_KEYS = {camel(name) for name in _KEPT}

_comment = json_shape(*[camel(field.name) for field in fields(Comment) if field.name != "seq"])

_place = json_shape("seq")


def comment_text(begun: str, seq: int) -> JsonText:
    """The wire's Comment, of what `Comment.begun_json` has made and its place in the topic."""
    return json_ended(begun, _place(seq=seq))


def check_text(text: str, max_characters: int, field: str = "text") -> str:
    """A text that people will read: 1 to `max_characters` code points and not blank.

    Raises `Invalid` or `TooLarge`, naming `field`.
    """
    if len(text) > max_characters:
        raise TooLarge(f"expected at most {max_characters} characters, got {len(text)}", field=field)
    if is_blank(text):
        raise Invalid("expected a text that is not blank", field=field)
    return text


def check_of_revision(revision: int | None) -> None:
    """Of which revision a change was made, where it says so.

    Raises `Invalid` unless it is 1 or more.
    """
    if revision is not None and revision < 1:
        raise Invalid("expected a revision: 1 or a whole number above", field="ofRevision")


def anchor_text(anchor: Anchor | None) -> JsonText | None:
    """The anchor as JSON text.

    Raises `Invalid` for a key that is empty or too long and `TooLarge` for a data point that is too large.
    """
    if anchor is None:
        return None
    for name, key in (("pageKey", anchor.page_key), ("visualizationKey", anchor.visualization_key)):
        if key is not None and not 0 < len(key) <= ANCHOR_KEY_CHARACTERS:
            raise Invalid(f"expected 1 to {ANCHOR_KEY_CHARACTERS} characters", field=f"anchor.{name}")
    return json_object_text(
        anchor.as_wire(), field="anchor", max_bytes=ANCHOR_BYTES, max_levels=VIEW_STATE_LEVELS
    )


def _without_data(anchor: JsonText | None) -> JsonText | None:
    """What a deleted comment keeps of its anchor: the page and the visualization, which name its place."""
    kept = {key: value for key, value in json.loads(anchor or NOTHING).items() if key != "dataPoint"}
    return dumps(kept) if kept else None


def view_state_text(view_state: dict[str, Any] | None, max_bytes: int) -> JsonText | None:
    """The view state as the JSON text in which it is kept.

    Raises `Invalid` when it is nested too deep or `TooLarge` when it has more than `max_bytes` bytes.
    """
    if view_state is None:
        return None
    return json_object_text(view_state, field="viewState", max_bytes=max_bytes, max_levels=VIEW_STATE_LEVELS)


@dataclass(frozen=True, slots=True)
class AddComment:
    """Add a comment, or a reply to one. Send a `requestId`: repeated without, it is added twice."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    text: Prose
    reply_to: Text | None = None
    anchor: Anchor | None = None
    view_state: Annotated[dict[str, Any], AtMost("viewStateBytes")] | None = None
    request_id: Text | None = None
    comment_id: Text | None = field(default=None, metadata=ADDED)
    format: Format | None = field(default=None, metadata=APART)


@dataclass(frozen=True, slots=True)
class CommentFacts:
    """What was settled of a comment before its transaction. Without an `id` it gets one there.

    `said` is the `said_text`; `mentioned` says of whom the mentions are, user id → why; `body` is what `bodies.body_of`
    makes of the text where that is markdown.
    """

    topic: Topic
    text: str
    said: str
    mentions: JsonText
    mentioned: Mapping[str, Reason]
    anchor: JsonText | None = None
    view_state: JsonText | None = None
    reply_to: UUID | None = None
    id: UUID | None = None
    body: JsonText | None = None

    @property
    def size(self) -> int:
        """How much the comment brings, more or less, in bytes."""
        return len(self.text) + len(self.view_state or "") + len(self.anchor or "") + len(self.body or "")

    @property
    def is_plain(self) -> bool:
        """Whether to add it needs no look at anything but its topic's head, and tells nobody."""
        return self.topic.kind == "content" and self.reply_to is None and not self.mentioned

    def as_comment(
        self, command: AddComment, author: User, *, id: UUID, thread_id: UUID, seq: int, at: datetime
    ) -> Comment:
        """The comment that `command` comes to, at its place in the topic."""
        return Comment(
            id=id,
            topic=self.topic.name,
            seq=seq,
            thread_id=thread_id,
            author=author,
            text=self.text,
            mentions=self.mentions,
            anchor=self.anchor,
            view_state=self.view_state,
            created_at=at,
            body=self.body,
        )


@dataclass(frozen=True, slots=True)
class EditComment:
    """Give one's own comment a new text; the old one stays as a revision."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    text: Prose
    request_id: Text | None = None
    format: Format | None = field(default=None, metadata=APART)
    of_revision: Whole | None = field(default=None, metadata=CONDITION)


@dataclass(frozen=True, slots=True)
class DeleteComment:
    """Delete one's own comment. What is left is a tombstone: when, and the replies."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    request_id: Text | None = None
    of_revision: Whole | None = field(default=None, metadata=CONDITION)


@dataclass(frozen=True, slots=True)
class GetComment:
    """One comment as it stands, deleted or not."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text


@dataclass(frozen=True, slots=True)
class ListRevisions:
    """What a comment has said, oldest first, ending with what it says now. A deleted one shows nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    comment_id: Text
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class ListComments:
    """The comments of a topic, or of one thread or place of it, in the order of their `seq`."""

    __pydantic_config__: ClassVar[Any] = WIRE
    topic: Text
    thread: Text | None = None
    page_key: Text | None = None
    visualization_key: Text | None = None
    resolved: Flag | None = None
    order: Literal["newest", "oldest"] = "oldest"
    cursor: Cursor | None = None
    limit: Whole = 50
