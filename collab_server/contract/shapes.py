"""The shapes of answers, for the OpenAPI document. Services write what is sent; tests hold both together."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Block = Literal["paragraph", "quote", "list", "item", "codeBlock"]
Inline = Literal["text", "break", "code", "bold", "italic", "strike", "link", "mention"]


class Answered(BaseModel):
    """What is made a schema of, and never by a node that nobody asks for its documents: then it takes no memory."""

    model_config = ConfigDict(defer_build=True)


class UserShape(Answered):
    """A person as Library knows them."""

    id: str = Field(examples=["0000000000000000000000000000A001"], description="32 hex digits, upper case.")
    name: str = Field(examples=["Ann Archer"])
    initials: str = Field(examples=["AA"])


class MentionShape(Answered):
    """Somebody named in a text."""

    kind: str = Field(examples=["user"], description="`user` or `group`.")
    id: str
    name: str


class ResolvedShape(Answered):
    """Who resolved a thread, and when."""

    by: UserShape
    at: str


class BodyPartShape(Answered):
    """A part of a comment's body. What it has besides `type` hangs on that; what it has not is left out."""

    type: Block | Inline
    children: list[BodyPartShape] = []
    text: str = ""
    start: int = 1
    language: str = ""
    url: str = ""
    title: str = ""
    kind: str = ""
    id: str = ""
    name: str = ""


class CommentShape(Answered):
    """A comment as it stands."""

    id: str = Field(description="A UUIDv7.")
    topic: str = Field(examples=["content:00000000000000000000000000000B01:00000000000000000000000000000D01"])
    threadId: str = Field(description="The root comment's id; a root's own id.")
    author: UserShape
    text: str = Field(description="Plain text; empty when deleted.")
    mentions: list[MentionShape]
    anchor: dict[str, Any] | None = Field(description="`pageKey`, `visualizationKey`, `dataPoint`.")
    viewState: dict[str, Any] | None = Field(description="Kept and returned as it came.")
    createdAt: str = Field(examples=["2026-11-23T18:07:00.123Z"])
    editedAt: str | None
    deletedAt: str | None
    revision: int
    reactions: dict[str, list[str]]
    replyCount: int
    resolved: ResolvedShape | None
    body: list[BodyPartShape] | None = Field(
        description="What it is shown as, where it came as markdown and has any of it; else null: as written."
    )
    seq: int = Field(description="Its place in the topic: the `seq` of its `comment.added`.")


class CommentAndSeqShape(Answered):
    """A comment that was just stored and the `seq` of its event."""

    comment: CommentShape
    seq: int


class SeqShape(Answered):
    """The `seq` of the event that was stored."""

    seq: int


class ThreadMarkShape(Answered):
    """What the asker has chosen for a thread."""

    threadId: str
    following: bool
    muted: bool


class ThreadMarksShape(Answered):
    """Threads that the asker follows or has muted."""

    items: list[ThreadMarkShape]
    next: str | None


class CommentsShape(Answered):
    """A page of comments."""

    items: list[CommentShape]
    seq: int = Field(
        description="The last event of the topic that these show: those after it are still to take effect on them.",
    )
    next: str | None = Field(description="The `cursor` of the next page.")


class RevisionShape(Answered):
    """What a comment said from `at` on."""

    revision: int
    text: str
    mentions: list[MentionShape]
    at: str


class RevisionsShape(Answered):
    """A page of revisions, oldest first."""

    items: list[RevisionShape]
    next: str | None


class EventShape(Answered):
    """A stored fact."""

    topic: str
    seq: int
    type: str = Field(examples=["comment.added"])
    at: str
    actor: UserShape
    data: dict[str, Any]


class EventsShape(Answered):
    """A stretch of a topic's log."""

    epoch: str
    seq: int = Field(description="The topic's last `seq`.")
    events: list[EventShape]
    more: bool


class TopicShape(Answered):
    """A topic as the asker finds it."""

    topic: str
    epoch: str
    seq: int
    comments: int = Field(description="How many there are, deleted ones left out.")
    readSeq: int
    unread: int
    muted: bool
    commenting: bool
    rights: list[str]
    present: list[UserShape]


class UnreadShape(Answered):
    """How much is not read."""

    unread: int


class BadgeShape(UnreadShape):
    """How many notifications are not read."""

    seq: int = Field(
        description="The last event of the inbox that is counted: those after it are still to take effect.",
    )


class EmptyShape(Answered):
    """Done, and nothing more to say."""


class SummaryShape(Answered):
    """A topic at a glance."""

    topic: str
    seq: int
    comments: int
    readSeq: int
    unread: int
    lastAt: str | None


class SummariesShape(Answered):
    """Topics at a glance, without those that the asker may not open."""

    items: list[SummaryShape]


class PlaceShape(Answered):
    """What there is at one place: unresolved threads, the asker's unread comments, all comments."""

    pageKey: str | None
    visualizationKey: str | None
    open: int
    unread: int
    total: int


class UnreadThreadShape(Answered):
    """A thread in which the asker has not read everything."""

    threadId: str
    unread: int


class AnchorsShape(Answered):
    """Every place that has comments, and every thread with unread ones."""

    items: list[PlaceShape]
    threads: list[UnreadThreadShape]
    next: str | None


class MemberShape(UserShape):
    """A member of a discussion."""

    joinedAt: str


class ContentShape(Answered):
    """An object of Library."""

    projectId: str
    objectId: str


class DiscussionShape(Answered):
    """A discussion as it stands; `unread` and `muted` are the asker's."""

    id: str
    topic: str
    name: str
    owner: UserShape
    members: list[MemberShape]
    about: ContentShape | None
    createdAt: str
    lastSeq: int
    unread: int
    muted: bool


class DiscussionAndSeqShape(Answered):
    """A discussion and the `seq` of the event that made it so."""

    discussion: DiscussionShape
    seq: int


class DiscussionsShape(Answered):
    """A page of discussions."""

    items: list[DiscussionShape]
    next: str | None


class NotificationShape(Answered):
    """What one person is told."""

    id: str
    kind: str = Field(examples=["mention"], description="`mention`, `reply`, `invited` or `shared`.")
    topic: str
    commentId: str | None
    threadId: str | None
    by: UserShape
    text: str
    why: str = Field(examples=["mentioned you"])
    viewState: dict[str, Any] | None = Field(description="What was shared with it.")
    createdAt: str
    readAt: str | None


class NotificationsShape(Answered):
    """A page of notifications."""

    items: list[NotificationShape]
    seq: int = Field(
        description="The last event of the inbox that these show: those after it are still to take effect on them.",
    )
    next: str | None


class SharedShape(Answered):
    """With how many people."""

    shared: int


class RecipientShape(Answered):
    """Somebody, or a group, that can be mentioned, invited and shared with."""

    kind: str = Field(examples=["user"], description="`user` or `group`.")
    id: str
    name: str


class RecipientsShape(Answered):
    """A page of users and groups; with a `kind` it may be short and still have a next one."""

    items: list[RecipientShape]
    next: str | None


class FoundCommentShape(Answered):
    """A comment that was found."""

    comment: CommentShape
    highlights: list[list[int]] = Field(
        examples=[[[4, 5]]],
        description="What was found in the comment's text: first code point and how many, in order.",
    )


class FoundShape(Answered):
    """A page of what was found; it may be short, or empty, and still have a next one."""

    items: list[FoundCommentShape]
    next: str | None


class MeShape(Answered):
    """Who the asker is."""

    user: UserShape
    administrator: bool


class ErrorShape(Answered):
    """What went wrong."""

    code: str = Field(examples=["invalid"])
    message: str
    ticketId: str
    field: str | None = None
    retryAfter: float | None = None
    outcome: str | None = None
    comment: CommentShape | None = None
    discussion: DiscussionShape | None = None
