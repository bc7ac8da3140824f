"""Private discussions: who is in them, who owns them, what they are called.

Whoever is removed learns it from the log: `member.removed` is the last event that reaches them, and each node puts
their clients out when it applies it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from collab_server.domain.comments import AddComment, CommentFacts, check_text
from collab_server.domain.discussions import (
    CreateDiscussion,
    DeleteDiscussion,
    Discussion,
    GetDiscussion,
    InviteMembers,
    LeaveDiscussion,
    ListDiscussions,
    Member,
    RemoveMember,
    RenameDiscussion,
    TransferDiscussion,
    check_name,
)
from collab_server.domain.ids import uuid7
from collab_server.domain.inbox import Notice, Reason
from collab_server.domain.jsontext import NOTHING, JsonText, dumps, json_object, now_ms
from collab_server.domain.people import Identity, User
from collab_server.domain.topics import Topic, inbox_topic, read_topic
from collab_server.errors import Conflict, Invalid, NotFound, TooLarge
from collab_server.services import comments
from collab_server.services.access import access_content, access_discussion, lock_topic
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import page_limit, page_of
from collab_server.services.mentions import checked_mentions
from collab_server.services.people import people_named
from collab_server.services.reading import move_mark
from collab_server.services.succession import settle_owner
from collab_server.storage import discussions, event_log, inbox, reviews, topics
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic

PATIENCE_SECONDS = 0.75
"""What looking at a discussion waits at most to know whether its owner is there."""


@dataclass(frozen=True, slots=True)
class CreateFacts:
    """Everything of a new discussion that was settled before the transaction."""

    name: str
    members: tuple[User, ...]
    about: tuple[str, str] | None
    first: CommentFacts | None
    topic: Topic


async def ask_create(backends: Backends, who: Identity, command: CreateDiscussion) -> CreateFacts:
    about = None if command.about is None else await access_content(backends, who, command.about, "about")
    name = check_name(command.name)
    members = await people_named(backends, who, command.members, "members")
    _check_size(backends, 1 + len(members))
    topic = Topic("discussion", str(uuid7()))
    first = None
    if command.text is not None:
        text = check_text(command.text, backends.limits.textCharacters)
        mentions, mentioned = await checked_mentions(backends, who, text)
        said, body = await comments.said_by(text), await comments.body_by(text, command.format)
        first = CommentFacts(topic, text, said, mentions, mentioned, body=body)
    told = {user.id for user in members} | (first.mentioned.keys() - {who.user.id} if first else set())
    backends.recipients.spend_whole(who.user.id, len(told))
    return CreateFacts(name, tuple(members), about, first, topic)


async def create(tx: Transaction, who: Identity, command: CreateDiscussion, facts: CreateFacts) -> JsonText:
    topic = await topics.lock(tx, facts.topic)
    id = UUID(facts.topic.first)
    at = now_ms()
    everybody = (who.user, *facts.members)
    await discussions.insert(tx, id, topic, facts.name, who.user.id, facts.about, at)
    await discussions.add_members(tx, id, everybody, at)
    members = tuple(Member(user, at) for user in everybody)
    discussion = Discussion(id, facts.name, who.user.id, members, facts.about, at, last_seq=1)
    event = await event_log.append(
        tx, topic, "discussion.created", who.user, at, json_object(discussion=discussion.as_json())
    )
    await _tell_invited(tx, who, discussion, [user.id for user in facts.members], event.seq, at)
    if facts.first is not None:
        first = AddComment(topic=topic.name, text=facts.first.text)
        await comments.add(tx, who, first, facts.first)
    # Nobody is invited by themselves: this is how their other devices hear that it is there.
    own = await topics.lock(tx, inbox_topic(who.user.id))
    await move_mark(tx, who, own, topic, event.seq, at)
    return await _answer(tx, who, id, event.seq)


@dataclass(frozen=True, slots=True)
class DiscussionFacts:
    """Which discussion, and whom or what the command is about."""

    id: UUID
    users: tuple[User, ...] = ()
    user_id: str = ""
    name: str = ""
    limit: int = 0

    @property
    def topic(self) -> Topic:
        return Topic("discussion", str(self.id))


async def ask_rename(backends: Backends, who: Identity, command: RenameDiscussion) -> DiscussionFacts:
    id = await access_discussion(backends, who, command.discussion_id, "discussion.rename")
    return DiscussionFacts(id, name=check_name(command.name))


async def rename(
    tx: Transaction, who: Identity, command: RenameDiscussion, facts: DiscussionFacts
) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "discussion.rename")
    if command.of_name is not None:
        found = await discussions.get_for(tx, facts.id, who.user.id)
        assert found is not None  # its topic is locked
        if found.name != command.of_name:
            now = {"discussion": json.loads(found.as_json())}
            raise Conflict("the discussion was renamed meanwhile", field="ofName", now=now)
    await discussions.rename(tx, facts.id, facts.name)
    event = await event_log.append(
        tx, topic, "discussion.renamed", who.user, now_ms(), dumps({"name": facts.name})
    )
    return await _answer(tx, who, facts.id, event.seq)


async def ask_invite(backends: Backends, who: Identity, command: InviteMembers) -> DiscussionFacts:
    id = await access_discussion(backends, who, command.discussion_id, "discussion.invite")
    users = await people_named(backends, who, command.members, "members")
    backends.recipients.spend_whole(who.user.id, len(users))
    return DiscussionFacts(id, tuple(users), limit=backends.limits.discussionMembers)


async def invite(tx: Transaction, who: Identity, command: InviteMembers, facts: DiscussionFacts) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "discussion.invite")
    discussion = await _reload(tx, facts.id)
    new = [user for user in facts.users if discussion.member(user.id) is None]
    if not new:
        return await _answer(tx, who, facts.id, topic.last_seq)
    if len(discussion.members) + len(new) > facts.limit:
        raise TooLarge(f"expected at most {facts.limit} members", field="members")
    at = now_ms()
    await discussions.add_members(tx, facts.id, new, at)
    invited = await _reload(tx, facts.id)
    data = dumps({"members": [_member_wire(invited, user.id) for user in new]})
    event = await event_log.append(tx, topic, "member.added", who.user, at, data)
    await _tell_invited(tx, who, discussion, [user.id for user in new], event.seq, at)
    return await _answer(tx, who, facts.id, event.seq)


async def ask_remove(backends: Backends, who: Identity, command: RemoveMember) -> DiscussionFacts:
    id = await access_discussion(backends, who, command.discussion_id, "discussion.remove")
    return DiscussionFacts(id, user_id=backends.gate.read_id(command.user_id, "userId"))


async def remove(tx: Transaction, who: Identity, command: RemoveMember, facts: DiscussionFacts) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "discussion.remove")
    discussion = await _reload(tx, facts.id)
    if discussion.member(facts.user_id) is None:
        raise NotFound("member")
    if facts.user_id == who.user.id:
        raise Conflict("you cannot remove yourself; leave the discussion instead")
    seq = await _take_out(tx, topic, who, facts.id, facts.user_id)
    return await _answer(tx, who, facts.id, seq)


async def ask_transfer(backends: Backends, who: Identity, command: TransferDiscussion) -> DiscussionFacts:
    id = await access_discussion(backends, who, command.discussion_id, "discussion.transfer")
    return DiscussionFacts(id, user_id=backends.gate.read_id(command.user_id, "userId"))


async def transfer(
    tx: Transaction, who: Identity, command: TransferDiscussion, facts: DiscussionFacts
) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "discussion.transfer")
    discussion = await _reload(tx, facts.id)
    if discussion.member(facts.user_id) is None:
        raise NotFound("member")
    if facts.user_id == discussion.owner_id:
        return await _answer(tx, who, facts.id, topic.last_seq)
    seq = await _hand_over(tx, topic, who, facts.id, facts.user_id)
    return await _answer(tx, who, facts.id, seq)


async def ask_leave(backends: Backends, who: Identity, command: LeaveDiscussion) -> DiscussionFacts:
    return DiscussionFacts(await access_discussion(backends, who, command.discussion_id, "discussion.leave"))


async def leave(tx: Transaction, who: Identity, command: LeaveDiscussion, facts: DiscussionFacts) -> JsonText:
    """The owner's place goes to the longest-standing member; the last who leaves deletes the discussion."""
    topic = await lock_topic(tx, who, facts.topic, "discussion.leave")
    discussion = await _reload(tx, facts.id)
    others = [member for member in discussion.members if member.user.id != who.user.id]
    if not others:
        await _delete(tx, topic, who, facts.id)
        return NOTHING
    if discussion.owner_id == who.user.id:
        await _hand_over(tx, topic, who, facts.id, others[0].user.id)
    await _take_out(tx, topic, who, facts.id, who.user.id)
    return NOTHING


async def ask_delete(backends: Backends, who: Identity, command: DeleteDiscussion) -> DiscussionFacts:
    return DiscussionFacts(await access_discussion(backends, who, command.discussion_id, "discussion.delete"))


async def delete(
    tx: Transaction, who: Identity, command: DeleteDiscussion, facts: DiscussionFacts
) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "discussion.delete")
    await _delete(tx, topic, who, facts.id)
    return NOTHING


async def get(backends: Backends, who: Identity, command: GetDiscussion) -> JsonText:
    """The Discussion, with the asker's `unread` and `muted`."""
    id = await access_discussion(backends, who, command.discussion_id, "discussion.get")
    found = await discussions.get_for(backends.database, id, who.user.id)
    if found is not None and await settle_owner(backends, who, found, patience_seconds=PATIENCE_SECONDS):
        found = await discussions.get_for(backends.database, id, who.user.id)
    if found is None:
        raise NotFound("discussion")
    return found.as_json()


async def list_mine(backends: Backends, who: Identity, command: ListDiscussions) -> JsonText:
    """`{items: [Discussion], next}`: the asker's, the latest active first."""
    limit = page_limit(command.limit)
    about = None
    if command.about is not None:
        content = read_topic(command.about, backends.gate.read_id, "about")
        if content.kind != "content":
            raise Invalid("expected the topic of a dashboard: content:{projectId}:{objectId}", field="about")
        about = (content.first, content.second)
    before = None
    cursor = backends.cursors.read(who, "discussion.list", command.cursor, parts=2)
    if cursor is not None:
        before = (datetime.fromtimestamp(0, UTC) + _MICROSECOND * cursor[0], cursor[1])
    found = await discussions.listed(backends.database, who.user.id, about, before, limit + 1)

    def cursor_after(last: discussions.Listed) -> str:
        moment = (last.last_at - datetime.fromtimestamp(0, UTC)) // _MICROSECOND
        return backends.cursors.write(who, "discussion.list", moment, last.topic_id)

    return page_of(found, limit, lambda item: item.discussion.as_json(), cursor_after)


_MICROSECOND = datetime.resolution


def _check_size(backends: Backends, members: int) -> None:
    limit = backends.limits.discussionMembers
    if members > limit:
        raise TooLarge(f"expected at most {limit} members", field="members")


async def _reload(tx: Transaction, id: UUID) -> Discussion:
    """The discussion as this transaction, which has locked its topic, sees it."""
    discussion = await discussions.get(tx, id)
    if discussion is None:
        raise NotFound("discussion")
    return discussion


async def _answer(tx: Transaction, who: Identity, id: UUID, seq: int) -> JsonText:
    """The discussion as it is for who asked, and the command's `seq`."""
    discussion = await discussions.get_for(tx, id, who.user.id)
    assert discussion is not None  # its topic is locked
    return json_object(discussion=discussion.as_json(), seq=seq)


async def _take_out(tx: Transaction, topic: LockedTopic, who: Identity, id: UUID, user_id: str) -> int:
    await discussions.remove_member(tx, id, user_id)
    await reviews.ask_of_topic(tx, [user_id], topic.name)
    event = await event_log.append(
        tx, topic, "member.removed", who.user, now_ms(), dumps({"userId": user_id})
    )
    return event.seq


async def _hand_over(tx: Transaction, topic: LockedTopic, who: Identity, id: UUID, user_id: str) -> int:
    await discussions.hand_over(tx, id, user_id)
    event = await event_log.append(tx, topic, "owner.changed", who.user, now_ms(), dumps({"userId": user_id}))
    return event.seq


async def _delete(tx: Transaction, topic: LockedTopic, who: Identity, id: UUID) -> None:
    at = now_ms()
    await reviews.ask_of_topic(tx, await discussions.member_ids(tx, id), topic.name)
    await discussions.delete(tx, id, at)
    await event_log.append(tx, topic, "discussion.deleted", who.user, at, NOTHING)


async def _tell_invited(
    tx: Transaction, who: Identity, discussion: Discussion, users: Sequence[str], seq: int, at: datetime
) -> None:
    notice = Notice(
        cause=uuid7(),
        topic=discussion.topic.name,
        topic_seq=seq,
        comment_id=None,
        by=dumps(who.user.as_wire()),
        text=discussion.name,
        created_at=at,
    )
    await inbox.store(
        tx, notice, {user: Reason("invited", "invited you", user) for user in users}, is_permitted=True
    )


def _member_wire(discussion: Discussion, user_id: str) -> dict[str, str]:
    member = discussion.member(user_id)
    assert member is not None
    return member.as_wire()
