"""Discussions: private conversations of their members."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from collab_server.domain.comments import Format
from collab_server.domain.jsontext import JsonText, dumps, rfc3339
from collab_server.domain.letters import is_blank, is_clear_name, one_name
from collab_server.domain.people import People, User
from collab_server.domain.topics import Content, Topic
from collab_server.domain.wire import APART, CONDITION, WIRE, Cursor, Prose, Text, Whole
from collab_server.errors import Invalid, TooLarge

NAME_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Member:
    """A member, the owner included."""

    user: User
    joined_at: datetime

    def as_wire(self) -> dict[str, str]:
        return {**self.user.as_wire(), "joinedAt": rfc3339(self.joined_at)}


@dataclass(frozen=True, slots=True)
class Discussion:
    """A discussion as it stands; `members` by the time they joined."""

    id: UUID
    name: str
    owner_id: str
    members: tuple[Member, ...]
    about: tuple[str, str] | None
    created_at: datetime
    last_seq: int
    unread: int = 0
    is_muted: bool = False

    @property
    def topic(self) -> Topic:
        return Topic("discussion", str(self.id))

    def member(self, user_id: str) -> Member | None:
        """The member of this id, if there is one."""
        return next((member for member in self.members if member.user.id == user_id), None)

    def as_json(self) -> JsonText:
        """The wire's Discussion as JSON text."""
        owner = self.member(self.owner_id)
        about = None if self.about is None else {"projectId": self.about[0], "objectId": self.about[1]}
        return dumps(
            {
                "id": str(self.id),
                "topic": self.topic.name,
                "name": self.name,
                "owner": owner.user.as_wire() if owner else None,
                "members": [member.as_wire() for member in self.members],
                "about": about,
                "createdAt": rfc3339(self.created_at),
                "lastSeq": self.last_seq,
                "unread": self.unread,
                "muted": self.is_muted,
            }
        )


def check_name(name: str) -> str:
    """The name of a discussion, as `one_name`: 1 to `NAME_CHARACTERS` code points, not blank, a clear name.

    Raises `Invalid` or `TooLarge`.
    """
    if len(name) > NAME_CHARACTERS:
        raise TooLarge(f"expected at most {NAME_CHARACTERS} characters, got {len(name)}", field="name")
    if is_blank(name):
        raise Invalid("expected a name that is not blank", field="name")
    if not is_clear_name(name):
        raise Invalid(
            "expected a name on one line, without control and other unseen characters", field="name"
        )
    return one_name(name)


@dataclass(frozen=True, slots=True)
class CreateDiscussion:
    """Begin a private discussion. Send a `requestId`: repeated without, there are two."""

    __pydantic_config__: ClassVar[Any] = WIRE
    name: Prose
    members: People
    about: Content | None = None
    text: Prose | None = None
    request_id: Text | None = None
    format: Format | None = field(default=None, metadata=APART)


@dataclass(frozen=True, slots=True)
class RenameDiscussion:
    """Give a discussion another name."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    name: Prose
    request_id: Text | None = None
    of_name: Prose | None = field(default=None, metadata=CONDITION)


@dataclass(frozen=True, slots=True)
class InviteMembers:
    """Add users, or the users of groups, to a discussion. Who is a member already stays one."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    members: People
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Put a member out of a discussion."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    user_id: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class TransferDiscussion:
    """Make another member the owner. Repeating it changes nothing."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    user_id: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class LeaveDiscussion:
    """Leave a discussion. An owner's place goes to the longest-standing member; the last to leave deletes it."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class DeleteDiscussion:
    """Delete a discussion for everybody."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class GetDiscussion:
    """One discussion, with the asker's `unread` and `muted`."""

    __pydantic_config__: ClassVar[Any] = WIRE
    discussion_id: Text


@dataclass(frozen=True, slots=True)
class ListDiscussions:
    """The asker's discussions, the latest active first."""

    __pydantic_config__: ClassVar[Any] = WIRE
    about: Text | None = None
    cursor: Cursor | None = None
    limit: Whole = 50
