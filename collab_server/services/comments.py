"""What people do with comments. Each writing command: ask Library, then carry it out in one transaction."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from collab_server.domain.comments import (
    AddComment,
    Comment,
    DeleteComment,
    EditComment,
    GetComment,
    ListComments,
    ListRevisions,
    Mention,
    anchor_text,
    check_text,
    mentions_in,
    view_state_text,
)
from collab_server.domain.ids import own_id, uuid7
from collab_server.domain.jsontext import dumps, now_ms, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.topics import Topic
from collab_server.errors import Conflict, Forbidden, Invalid, NotFound
from collab_server.services.access import access_comment, access_comments_topic, access_topic
from collab_server.services.backends import Backends
from collab_server.storage import comments, event_log, topics
from collab_server.storage.database import Transaction

MAX_PAGE = 200


@dataclass(frozen=True, slots=True)
class CommentFacts:
    """What was settled before the transaction; the last three are JSON text."""

    topic: Topic
    text: str
    mentions: str
    anchor: str | None = None
    view_state: str | None = None
    reply_to: UUID | None = None


async def ask_add(backends: Backends, who: Identity, command: AddComment) -> CommentFacts:
    topic, _ = await access_topic(backends, who, command.topic, "comment.add")
    reply_to = None
    if command.reply_to is not None:
        reply_to = own_id(command.reply_to, "replyTo")
        if await comments.topic_of(backends.database, reply_to) != topic.name:
            raise NotFound("comment")
    limits = backends.limits
    text = check_text(command.text, limits.textCharacters)
    return CommentFacts(
        topic,
        text,
        await _checked_mentions(backends, who, text),
        anchor_text(command.anchor),
        view_state_text(command.view_state, limits.viewStateBytes),
        reply_to,
    )


async def add(tx: Transaction, who: Identity, command: AddComment, facts: CommentFacts) -> str:
    topic = await topics.lock(tx, facts.topic)
    id = uuid7()
    thread_id = id
    if facts.reply_to is not None:
        parent = await access_comment(tx, who, facts.topic, facts.reply_to, "comment.add")
        if parent.is_deleted:
            raise Conflict("the comment to reply to was deleted")
        thread_id = parent.thread_id
    at = now_ms()
    comment = Comment(
        id=id,
        topic=topic.name,
        seq=topic.last_seq + 1,
        thread_id=thread_id,
        author=who.user,
        text=facts.text,
        mentions=facts.mentions,
        anchor=facts.anchor,
        view_state=facts.view_state,
        created_at=at,
    )
    shown = comment.as_json()
    anchor = command.anchor
    await comments.insert(
        tx,
        topic,
        comment,
        page_key=anchor.page_key if anchor else None,
        visualization_key=anchor.visualization_key if anchor else None,
    )
    event = await event_log.append(
        tx, topic, "comment.added", who.user, at, f'{{"comment":{shown}}}', comment_id=id, added_comments=1
    )
    return f'{{"comment":{shown},"seq":{event.seq}}}'


async def ask_edit(backends: Backends, who: Identity, command: EditComment) -> CommentFacts:
    _, topic = await access_comments_topic(backends, who, command.comment_id, "comment.edit")
    await _check_author(backends, who, command.comment_id)
    text = check_text(command.text, backends.limits.textCharacters)
    return CommentFacts(topic, text, await _checked_mentions(backends, who, text))


async def edit(tx: Transaction, who: Identity, command: EditComment, facts: CommentFacts) -> str:
    topic = await topics.lock(tx, facts.topic)
    comment = await access_comment(tx, who, facts.topic, UUID(command.comment_id), "comment.edit")
    if comment.is_deleted:
        raise Conflict("the comment was deleted")
    at = now_ms()
    edited = await comments.edit(tx, comment, facts.text, facts.mentions, at)
    shown = edited.as_json()
    event = await event_log.append(
        tx, topic, "comment.edited", who.user, at, f'{{"comment":{shown}}}', comment_id=comment.id
    )
    return f'{{"comment":{shown},"seq":{event.seq}}}'


async def ask_delete(backends: Backends, who: Identity, command: DeleteComment) -> Topic:
    _, topic = await access_comments_topic(backends, who, command.comment_id, "comment.delete")
    return topic


async def delete(tx: Transaction, who: Identity, command: DeleteComment, on: Topic) -> str:
    topic = await topics.lock(tx, on)
    comment = await access_comment(tx, who, on, UUID(command.comment_id), "comment.delete")
    if comment.is_deleted:
        raise Conflict("the comment was deleted already")
    at = now_ms()
    tombstone: dict[str, Any] = {"text": "", "mentions": [], "viewState": None, "deletedAt": rfc3339(at)}
    await comments.bury(tx, comment, dumps(tombstone), at)
    data = dumps({"commentId": str(comment.id), "threadId": str(comment.thread_id)})
    event = await event_log.append(
        tx, topic, "comment.deleted", who.user, at, data, comment_id=comment.id, added_comments=-1
    )
    return f'{{"seq":{event.seq}}}'


async def get(backends: Backends, who: Identity, command: GetComment) -> str:
    id, _ = await access_comments_topic(backends, who, command.comment_id, "comment.get")
    comment = await comments.get(backends.database, id)
    if comment is None:
        raise NotFound("comment")
    return comment.as_json()


async def list_revisions(backends: Backends, who: Identity, command: ListRevisions) -> str:
    """`{items: [{revision, text, mentions, at}], next: null}`, oldest first, ending with what stands now.

    A deleted comment has none to show.
    """
    id, _ = await access_comments_topic(backends, who, command.comment_id, "comment.revisions")
    comment = await comments.get(backends.database, id)
    if comment is None:
        raise NotFound("comment")
    if comment.is_deleted:
        return '{"items":[],"next":null}'
    kept = await comments.revisions(backends.database, id)
    earlier = [revision for revision in kept if revision.revision < comment.revision]
    now = comments.Revision(
        comment.revision, comment.text, comment.mentions, comment.edited_at or comment.created_at
    )
    items = (
        f'{{"revision":{item.revision},"text":{dumps(item.text)},"mentions":{item.mentions}'
        f',"at":"{rfc3339(item.at)}"}}'
        for item in (*earlier, now)
    )
    return f'{{"items":[{",".join(items)}],"next":null}}'


async def list_comments(backends: Backends, who: Identity, command: ListComments) -> str:
    """`{items: [Comment], next}`, ordered by `seq`; `next` is the cursor of the following page or null."""
    topic, _ = await access_topic(backends, who, command.topic, "topic.comments")
    limit = page_limit(command.limit)
    found = await comments.listed(
        backends.database,
        topic.name,
        comments.Filter(
            None if command.thread is None else own_id(command.thread, "thread"),
            command.page_key,
            command.visualization_key,
            command.resolved,
        ),
        is_newest_first=command.order == "newest",
        from_seq=read_cursor(command.cursor),
        limit=limit + 1,
    )
    items = found[:limit]
    next_cursor = write_cursor(items[-1].seq) if len(found) > limit else None
    return f'{{"items":[{",".join(item.as_json() for item in items)}],"next":{dumps(next_cursor)}}}'


def page_limit(limit: int) -> int:
    """The size of a page as asked for.

    Raises `Invalid` unless it is 1 to `MAX_PAGE`.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"expected 1 to {MAX_PAGE}", field="limit")
    return limit


def write_cursor(seq: int) -> str:
    """The opaque cursor that goes on after `seq`."""
    return base64.urlsafe_b64encode(f"s{seq}".encode()).decode().rstrip("=")


def read_cursor(cursor: str | None) -> int | None:
    """The `seq` that a cursor of ours goes on from.

    Raises `Invalid` for anything else.
    """
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode(
            "ascii"
        )
        if text[:1] == "s" and text[1:].isdecimal() and len(text) < 20:
            return int(text[1:])
    except (binascii.Error, ValueError):
        pass
    raise Invalid("expected a cursor from `next` of an earlier page", field="cursor")


async def _check_author(backends: Backends, who: Identity, comment_id: str) -> None:
    """Rights come before values: refuse a stranger's edit before looking at its text."""
    comment = await comments.get(backends.database, UUID(comment_id))
    if comment is not None and comment.author.id != who.user.id:
        raise Forbidden("comment.edit is for the author of the comment")


async def _checked_mentions(backends: Backends, who: Identity, text: str) -> str:
    """The mentions of a text as JSON text, with the names that Library knows.

    Raises `Invalid` when somebody mentioned does not exist, `Unavailable` when Library cannot tell.
    """
    checked: list[Mention] = []
    for mention in mentions_in(text, backends.limits.mentionsPerComment):
        if mention.kind == "user":
            user = await backends.library.user(who, mention.id)
            if user is None:
                raise Invalid(f"there is no user {mention.id} to mention", field="text")
            checked.append(Mention("user", user.id, user.name))
        else:
            if await backends.library.group_members(who, mention.id) is None:
                raise Invalid(f"there is no group {mention.id} to mention", field="text")
            checked.append(mention)
    return dumps([mention.as_wire() for mention in checked])
