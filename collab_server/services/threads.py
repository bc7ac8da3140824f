"""What people do to comments besides writing them: react, resolve a thread, reopen it.

All four may be repeated: what is so already stays so, without another event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.emoji import check_emoji
from collab_server.domain.jsontext import JsonText, dumps, json_object, now_ms, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.threads import React, ReopenThread, ResolveThread, Unreact
from collab_server.domain.topics import Topic
from collab_server.errors import Conflict, TooLarge
from collab_server.services.access import access_comment, access_comments_topic, lock_topic
from collab_server.services.backends import Backends
from collab_server.storage import comments, event_log
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic

MAX_EMOJI = 100
"""How many different emoji one comment can carry."""


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """Which comment, on which topic."""

    topic: Topic
    comment_id: UUID


@dataclass(frozen=True, slots=True)
class ReactionFacts(ThreadFacts):
    """And with which emoji, as it is kept."""

    emoji: str


async def ask_react(backends: Backends, who: Identity, command: React) -> ReactionFacts:
    id, topic = await access_comments_topic(backends, who, command.comment_id, "comment.react")
    return ReactionFacts(topic, id, check_emoji(command.emoji))


async def react(tx: Transaction, who: Identity, command: React, facts: ReactionFacts) -> JsonText:
    return await _react(tx, who, facts, is_added=True)


async def ask_unreact(backends: Backends, who: Identity, command: Unreact) -> ReactionFacts:
    id, topic = await access_comments_topic(backends, who, command.comment_id, "comment.unreact")
    return ReactionFacts(topic, id, check_emoji(command.emoji))


async def unreact(tx: Transaction, who: Identity, command: Unreact, facts: ReactionFacts) -> JsonText:
    return await _react(tx, who, facts, is_added=False)


async def _react(tx: Transaction, who: Identity, facts: ReactionFacts, *, is_added: bool) -> JsonText:
    name = "comment.react" if is_added else "comment.unreact"
    topic = await lock_topic(tx, who, facts.topic, name)
    comment = await access_comment(tx, who, facts.topic, facts.comment_id, name)
    if comment.is_deleted:
        raise Conflict("the comment was deleted")
    reactions: dict[str, list[str]] = json.loads(comment.reactions)
    users = reactions.get(facts.emoji, [])
    if (who.user.id in users) is is_added:
        return json_object(seq=topic.last_seq)
    if is_added:
        reactions[facts.emoji] = [*users, who.user.id]
        if len(reactions) > MAX_EMOJI:
            raise TooLarge(f"expected at most {MAX_EMOJI} different emoji on one comment", field="emoji")
    else:
        users.remove(who.user.id)
        if not users:
            del reactions[facts.emoji]
    await comments.set_reactions(tx, comment.id, dumps(reactions))
    data = dumps({"commentId": str(comment.id), "emoji": facts.emoji, "userId": who.user.id})
    type = "reaction.added" if is_added else "reaction.removed"
    event = await event_log.append(tx, topic, type, who.user, now_ms(), data)
    return json_object(seq=event.seq)


async def ask_resolve(backends: Backends, who: Identity, command: ResolveThread) -> ThreadFacts:
    id, topic = await access_comments_topic(backends, who, command.comment_id, "thread.resolve")
    return ThreadFacts(topic, id)


async def resolve(tx: Transaction, who: Identity, command: ResolveThread, facts: ThreadFacts) -> JsonText:
    topic, root = await _root(tx, who, facts, "thread.resolve")
    if root.resolved is not None:
        return json_object(seq=topic.last_seq)
    at = now_ms()
    await comments.set_resolved(tx, root.id, dumps({"by": who.user.as_wire(), "at": rfc3339(at)}))
    event = await event_log.append(
        tx, topic, "thread.resolved", who.user, at, dumps({"commentId": str(root.id)})
    )
    return json_object(seq=event.seq)


async def ask_reopen(backends: Backends, who: Identity, command: ReopenThread) -> ThreadFacts:
    id, topic = await access_comments_topic(backends, who, command.comment_id, "thread.reopen")
    return ThreadFacts(topic, id)


async def reopen(tx: Transaction, who: Identity, command: ReopenThread, facts: ThreadFacts) -> JsonText:
    topic, root = await _root(tx, who, facts, "thread.reopen")
    if root.resolved is None:
        return json_object(seq=topic.last_seq)
    await comments.set_resolved(tx, root.id, None)
    event = await event_log.append(
        tx, topic, "thread.reopened", who.user, now_ms(), dumps({"commentId": str(root.id)})
    )
    return json_object(seq=event.seq)


async def _root(
    tx: Transaction, who: Identity, facts: ThreadFacts, command: str
) -> tuple[LockedTopic, Comment]:
    """The root of the thread that a comment belongs to, its topic locked."""
    topic = await lock_topic(tx, who, facts.topic, command)
    comment = await access_comment(tx, who, facts.topic, facts.comment_id, command)
    if comment.is_root:
        return topic, comment
    return topic, await access_comment(tx, who, facts.topic, comment.thread_id, command)
