"""The only ways to a topic or a comment for a user: find it, permit it, or say that it is not there."""

from __future__ import annotations

from uuid import UUID

from collab_server.contract.rights import OF_ONES_OWN, RIGHTS, require, require_commenting
from collab_server.domain.comments import Comment
from collab_server.domain.ids import own_id
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Role
from collab_server.domain.topics import Content, Topic, parse_topic, read_topic
from collab_server.errors import Forbidden, NotFound
from collab_server.services.backends import Backends
from collab_server.services.roles import role_in_discussion, role_on
from collab_server.services.succession import settle_owner
from collab_server.storage import comments, discussions, topics
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic


async def access_topic(backends: Backends, who: Identity, name: str, command: str) -> tuple[Topic, Role]:
    """The topic that `name` spells, if `who` may use `command` there.

    Raises `Invalid`, `NotFound`, `Forbidden` or `Unavailable`.
    """
    topic = read_topic(name, backends.gate.read_id)
    role = await role_on(backends.database, backends.gate, who, topic)
    if role == "viewer":
        role = await _as_commenter(backends, who, topic, command)
    require(role, command, who)
    return topic, role


async def _as_commenter(backends: Backends, who: Identity, topic: Topic, command: str) -> Role:
    """The part of somebody who may open the object, told also whether they may comment there."""
    if backends.commenting.is_for_all:
        return "commenter"
    return await backends.commenting.role_for(who, topic, command)


async def access_content(backends: Backends, who: Identity, content: Content, field: str) -> tuple[str, str]:
    """Project and object id of content that `who` may open.

    Raises `Invalid`, `NotFound` or `Unavailable`.
    """
    project = backends.gate.read_id(content.project_id, f"{field}.projectId")
    object_id = backends.gate.read_id(content.object_id, f"{field}.objectId")
    if await backends.gate.may_open(who, project, object_id) is None:
        raise NotFound("content")
    return project, object_id


async def access_comments_topic(
    backends: Backends, who: Identity, comment_id: str, command: str
) -> tuple[UUID, Topic]:
    """The id of a comment and the topic it is on, if `who` may use `command` there.

    A comment in somebody else's discussion takes the same one statement as one that does not exist.
    Raises `Invalid`, `NotFound`, `Forbidden` or `Unavailable`.
    """
    id = own_id(comment_id, "commentId")
    found = await comments.for_reader(backends.database, id, who.user.id)
    if found is None:
        raise NotFound("comment")
    name, is_owner = found
    topic = parse_topic(name)
    try:
        is_discussion = topic.kind == "discussion"
        role = (
            role_in_discussion(is_owner)
            if is_discussion
            else await role_on(backends.database, backends.gate, who, topic)
        )
    except NotFound:
        raise NotFound("comment") from None
    if role == "viewer":
        role = await _as_commenter(backends, who, topic, command)
    require(role, command, who)
    return id, topic


async def check_still_member(backends: Backends, who: Identity, topic: Topic) -> None:
    """Look at membership again, after something of the topic was read and before it is shown: whoever was put out since
    they were permitted sees nothing that came after it. Of other topics nothing is asked: what their authority says is
    older than that anyway. Raises `NotFound`.
    """
    if topic.kind == "discussion":
        role_in_discussion(await discussions.is_owner(backends.database, UUID(topic.first), who.user.id))


async def access_discussion(backends: Backends, who: Identity, discussion_id: str, command: str) -> UUID:
    """The id of a discussion, if `who` may use `command` on it; an owner who is gone is in nobody's way.

    Raises `Invalid`, `NotFound` or `Forbidden`.
    """
    id = own_id(discussion_id, "discussionId")
    topic = Topic("discussion", str(id))
    role = await role_on(backends.database, backends.gate, who, topic)
    if command not in RIGHTS[role]:
        discussion = await discussions.get(backends.database, id)
        if discussion is not None and await settle_owner(backends, who, discussion):
            role = await role_on(backends.database, backends.gate, who, topic)
    require(role, command, who)
    return id


async def lock_topic(tx: Transaction, who: Identity, topic: Topic, command: str) -> LockedTopic:
    """Lock a topic that `who` was permitted on, for a change.

    Membership is looked at again under the lock, for it may have ended since, and so is whether people may comment.
    Raises `NotFound` or `Forbidden`.
    """
    locked = await topics.lock(tx, topic)
    if topic.kind == "discussion":
        is_owner = await discussions.is_owner(tx, UUID(topic.first), who.user.id)
        require(role_in_discussion(is_owner), command, who)
    require_commenting(locked.is_commenting, command)
    return locked


async def access_comment(tx: Transaction, who: Identity, topic: Topic, id: UUID, command: str) -> Comment:
    """A comment of a topic that this transaction has locked and `who` was permitted on.

    Raises `NotFound`, or `Forbidden` for what only its author may do.
    """
    comment = await comments.get(tx, id)
    if comment is None or comment.topic != topic.name:
        raise NotFound("comment")
    if command in OF_ONES_OWN and comment.author.id != who.user.id:
        raise Forbidden(f"{command} is for the author of the comment")
    return comment
