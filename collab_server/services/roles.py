"""The part that somebody plays on a topic, as far as Library and the members of a discussion say."""

from __future__ import annotations

from uuid import UUID

from collab_server.domain.people import Identity
from collab_server.domain.permissions import Role
from collab_server.domain.topics import Topic
from collab_server.errors import NotFound
from collab_server.ports import Gate
from collab_server.storage import discussions
from collab_server.storage.database import Database, Patience


async def role_on(database: Database | Patience, gate: Gate, who: Identity, topic: Topic) -> Role:
    """The part that `who` plays on the topic.

    Raises `NotFound` when they play none, `Unavailable` when only Library could tell and it is silent.
    """
    match topic.kind:
        case "content":
            if await gate.may_open(who, topic.first, topic.second) is None:
                raise NotFound("topic")
            return "viewer"
        case "inbox":
            if topic.first != who.user.id:
                raise NotFound("topic")
            return "self"
        case "discussion":
            return role_in_discussion(await discussions.is_owner(database, UUID(topic.first), who.user.id))


def role_in_discussion(is_owner: bool | None) -> Role:
    """The part of a member, told whether the discussion is theirs; None is no member. Raises `NotFound`."""
    if is_owner is None:
        raise NotFound("discussion")
    return "owner" if is_owner else "member"
