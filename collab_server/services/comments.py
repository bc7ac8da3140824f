"""What people do with comments. Each writing command: ask Library, then carry it out in one transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from collab_server.contract.rights import require_commenting, switched_off
from collab_server.domain.bodies import body_of
from collab_server.domain.comments import (
    NO_MENTIONS,
    NOWHERE,
    AddComment,
    Comment,
    CommentFacts,
    DeleteComment,
    EditComment,
    Format,
    GetComment,
    ListComments,
    ListRevisions,
    anchor_text,
    check_of_revision,
    check_text,
    view_state_text,
)
from collab_server.domain.events import Event
from collab_server.domain.ids import new_id, own_id, uuid7
from collab_server.domain.inbox import FOLLOWED, REPLIED, Notice, Reason, told_of
from collab_server.domain.jsontext import (
    JsonText,
    dumps,
    json_object,
    json_shape,
    json_string,
    json_time,
    now_ms,
)
from collab_server.domain.people import Identity
from collab_server.domain.search import said_text
from collab_server.domain.topics import Topic
from collab_server.errors import ClientError, Conflict, Forbidden, NotFound
from collab_server.services.access import (
    access_comment,
    access_comments_topic,
    access_topic,
    check_still_member,
    lock_topic,
)
from collab_server.services.backends import Backends
from collab_server.services.commands.joining import Asked, Held
from collab_server.services.commands.once import Answer, Request, commit_once, same_answer, until_not_taken
from collab_server.services.commands.pages import MAX_PAGE, page_limit, page_of, page_text
from collab_server.services.mentions import (
    checked_mentions,
    mentions_checked_again,
    mentions_lost,
    newly_mentioned,
    quotes_in,
)
from collab_server.storage import (
    comments,
    discussions,
    event_log,
    inbox,
    new_comments,
    people,
    reviews,
    topics,
)
from collab_server.storage import requests as stored_requests
from collab_server.storage.database import Database, Transaction
from collab_server.storage.new_comments import NewComment
from collab_server.storage.requests import Answered

LONG_TEXT = 1000


async def ask_add(backends: Backends, who: Identity, command: AddComment) -> CommentFacts:
    topic, _ = await access_topic(backends, who, command.topic, "comment.add")
    id = None if command.comment_id is None else new_id(command.comment_id, "commentId", datetime.now(UTC))
    reply_to = None
    if command.reply_to is not None:
        reply_to = own_id(command.reply_to, "replyTo")
        if await comments.topic_of(backends.database, reply_to) != topic.name:
            raise NotFound("comment")
    limits = backends.limits
    text = check_text(command.text, limits.textCharacters)
    quotes = None if reply_to is None else quotes_in(backends, reply_to)
    mentions, mentioned = await checked_mentions(backends, who, text, quotes)
    anchor = anchor_text(command.anchor)
    view_state = view_state_text(command.view_state, limits.viewStateBytes)
    said = await said_by(text)
    body = await body_by(text, command.format)
    backends.recipients.spend_whole(who.user.id, len(mentioned.keys() - {who.user.id}))
    return CommentFacts(topic, text, said, mentions, mentioned, anchor, view_state, reply_to, id, body)


_added = json_shape("comment", "seq")
_Addition = Asked[AddComment, CommentFacts]


async def commit_together(
    database: Database,
    asked: Sequence[_Addition],
    requests: Sequence[Request | None],
    since: float,
    *,
    waits: bool,
) -> tuple[list[Answer], Sequence[Any]]:
    """Carry out several `comment.add` in one transaction, each once. See `joining.Commit`.

    Plain ones take one statement; where one among them is not plain, all take the transaction that can do everything.
    """
    if all(addition.facts.is_plain for addition in asked):
        try:
            return await _commit_plain(database, asked, requests, since, waits=waits)
        except new_comments.IdTaken:
            pass  # the transaction finds out whose id that is

    async def carry_out(tx: Transaction, places: Sequence[int]) -> list[Answer]:
        return await add_many(tx, [asked[place] for place in places], waits=waits)

    return await commit_once(database, requests, carry_out, since=since, waits=waits)


async def _commit_plain(
    database: Database,
    asked: Sequence[_Addition],
    requests: Sequence[Request | None],
    since: float,
    *,
    waits: bool,
) -> tuple[list[Answer], Sequence[Event]]:
    at = now_ms()
    plain = [_plain(addition, request, at) for addition, request in zip(asked, requests, strict=True)]
    placed = await until_not_taken(lambda: new_comments.add_plain(database, plain, waits=waits, since=since))
    for number, place in enumerate(placed):
        if place == "switched off":
            placed[number] = await _switched_off(database, requests[number])
    answers = [_answer(*of) for of in zip(plain, placed, requests, strict=True)]
    return answers, [place for place in placed if isinstance(place, Event)]


async def _switched_off(database: Database, request: Request | None) -> Answered | ClientError:
    """Nobody may comment there any more; the very same command may have taken effect elsewhere before."""
    if request is not None:
        try:
            found = await stored_requests.find(database, request.user_id, request.request_id)
        except ClientError as error:
            return error  # the others are stored, whatever becomes of this one
        if found is not None:
            return found
    return switched_off("comment.add")


def _answer(new: NewComment, place: new_comments.Placed, request: Request | None) -> Answer:
    if isinstance(place, Event):
        return _added(comment=new.shown(place.seq), seq=place.seq)
    if isinstance(place, ClientError):
        return place
    if place is None:
        return Held()
    assert isinstance(place, Answered)  # what is switched off was refused
    assert request is not None  # only a request can have been answered before
    return same_answer(place, request)


def _plain(addition: _Addition, request: Request | None, at: datetime) -> NewComment:
    comment = _comment(addition, {}, 0, at)
    return NewComment(
        comment,
        comment.begun_json(),
        addition.facts.said,
        addition.command.anchor or NOWHERE,
        request_id=request.request_id if request else None,
        fingerprint=request.fingerprint if request else None,
        trace=addition.trace,
    )


async def said_by(text: str) -> str:
    """Read a text for the index. A long one may take as long as a callback may: it has one of its own."""
    if len(text) > LONG_TEXT:
        await asyncio.sleep(0)
    return said_text(text)


async def body_by(text: str, format: Format | None) -> JsonText | None:
    """The body of a text of that format. A long one is read beside the loop."""
    if format != "markdown":
        return None
    return await asyncio.to_thread(body_of, text) if len(text) > LONG_TEXT else body_of(text)


async def add(tx: Transaction, who: Identity, command: AddComment, facts: CommentFacts) -> JsonText:
    [answer] = await add_many(tx, [Asked(who, command, facts)], waits=True)
    if isinstance(answer, ClientError):
        raise answer
    return answer


async def add_many(tx: Transaction, asked: Sequence[_Addition], *, waits: bool) -> list[Answer]:
    """Carry out several `comment.add`, of any people on any topics, in a few statements whatever their number.

    Each is answered as if it had been alone; a refused one leaves nothing behind and does not touch the others. Unless
    this `waits`, those whose topics cannot be locked at once are `Held`.
    """
    locked = await topics.lock_many(
        tx, sorted({addition.facts.topic.name for addition in asked}), waits=waits
    )
    may_add = await _members_allowed(tx, asked)
    replied_to = [addition.facts.reply_to for addition in asked if addition.facts.reply_to is not None]
    parents = await comments.parents(tx, replied_to) if replied_to else {}
    people = (
        await inbox.thread_people(tx, [parent.thread_id for parent in parents.values()]) if parents else {}
    )
    chosen = [addition.facts.id for addition in asked if addition.facts.id is not None]
    taken = await comments.there(tx, chosen) if chosen else set()
    heads = {name: topic.last_seq for name, topic in locked.items()}
    at = now_ms()
    added: list[NewComment] = []
    answers: list[Answer] = []
    for addition in asked:
        facts = addition.facts
        try:
            if facts.topic.name not in locked:
                raise Held
            if not may_add(addition):
                raise NotFound("discussion")
            require_commenting(locked[facts.topic.name].is_commenting, "comment.add")
            if facts.id in taken:
                raise Conflict("this id was used for another comment", field="commentId")
            comment = _comment(addition, parents, heads[facts.topic.name] + 1, at)
        except ClientError as error:
            answers.append(error)
            continue
        heads[comment.topic] = comment.seq
        taken.add(comment.id)
        place = addition.command.anchor or NOWHERE
        topic_id = locked[comment.topic].id
        new = NewComment(comment, comment.begun_json(), facts.said, place, topic_id, trace=addition.trace)
        added.append(new)
        answers.append(_added(comment=new.shown(comment.seq), seq=comment.seq))
        told = dict(facts.mentioned)
        if not comment.is_root:
            thread = people.setdefault(comment.thread_id, {})
            for user, takes_part in thread.items():
                told.setdefault(user, REPLIED if takes_part else FOLLOWED)
            thread[comment.author.id] = True
        if told:
            await _notify(tx, addition.who, facts.topic, comment, comment.seq, told)
    if added:
        await new_comments.add(tx, added)
    return answers


def _comment(addition: _Addition, parents: Mapping[UUID, comments.Parent], seq: int, at: datetime) -> Comment:
    """The comment under this `seq`, which may not be known yet.

    Raises `NotFound` or `Conflict` when there is nothing to reply to.
    """
    facts = addition.facts
    id = facts.id or uuid7()
    thread_id = id
    if facts.reply_to is not None:
        parent = parents.get(facts.reply_to)
        if parent is None or parent.topic != facts.topic.name:
            raise NotFound("comment")
        if parent.is_deleted:
            raise Conflict("the comment to reply to was deleted")
        thread_id = parent.thread_id
    return facts.as_comment(addition.command, addition.who.user, id=id, thread_id=thread_id, seq=seq, at=at)


async def _members_allowed(tx: Transaction, asked: Sequence[_Addition]) -> Callable[[_Addition], bool]:
    """Look again, under the locks, at who is a member of the discussions among the topics."""
    ids = {UUID(item.facts.topic.first) for item in asked if item.facts.topic.kind == "discussion"}
    members = {str(id): await discussions.member_ids(tx, id) for id in ids}

    def may_add(addition: _Addition) -> bool:
        topic = addition.facts.topic
        return topic.kind != "discussion" or addition.who.user.id in members[topic.first]

    return may_add


async def ask_edit(backends: Backends, who: Identity, command: EditComment) -> CommentFacts:
    _, topic = await access_comments_topic(backends, who, command.comment_id, "comment.edit")
    comment = await _own_comment(backends, who, command.comment_id)
    check_of_revision(command.of_revision)
    text = check_text(command.text, backends.limits.textCharacters)
    earlier = NO_MENTIONS if comment is None else comment.mentions
    mentions, mentioned = await mentions_checked_again(backends, who, text, earlier)
    format = command.format or ("markdown" if comment is not None and comment.body is not None else "plain")
    body = await body_by(text, format)
    backends.recipients.spend_whole(who.user.id, len(mentioned.keys() - {who.user.id}))
    return CommentFacts(topic, text, await said_by(text), mentions, mentioned, body=body)


async def edit(tx: Transaction, who: Identity, command: EditComment, facts: CommentFacts) -> JsonText:
    topic = await lock_topic(tx, who, facts.topic, "comment.edit")
    comment = await access_comment(tx, who, facts.topic, UUID(command.comment_id), "comment.edit")
    if comment.is_deleted:
        raise Conflict("the comment was deleted")
    await _check_revision(tx, comment, command.of_revision)
    # Later than all that was there before, whatever the clocks of nodes say: by its time a text is told from another.
    at = max(now_ms(), (comment.edited_at or comment.created_at) + timedelta(milliseconds=1))
    edited = await comments.edit(tx, comment, facts.text, facts.said, facts.mentions, at, body=facts.body)
    shown = edited.as_json()
    event = await event_log.append(
        tx, topic, "comment.edited", who.user, at, json_object(comment=shown), event_log.Kept(comment.id)
    )
    # An edit tells only whom it newly mentions; the others were told, or had muted the topic, when it was added.
    told = newly_mentioned(facts.mentioned, comment.mentions)
    await _notify(tx, who, facts.topic, edited, event.seq, told)
    if lost := mentions_lost(comment.mentions, edited.mentions):
        await reviews.ask_of_comment(tx, comment.id, mentions_lost=lost)
    return json_object(comment=shown, seq=event.seq)


async def ask_delete(backends: Backends, who: Identity, command: DeleteComment) -> Topic:
    _, topic = await access_comments_topic(backends, who, command.comment_id, "comment.delete")
    check_of_revision(command.of_revision)
    return topic


async def delete(tx: Transaction, who: Identity, command: DeleteComment, on: Topic) -> JsonText:
    topic = await lock_topic(tx, who, on, "comment.delete")
    comment = await access_comment(tx, who, on, UUID(command.comment_id), "comment.delete")
    if comment.is_deleted:
        raise Conflict("the comment was deleted already")
    await _check_revision(tx, comment, command.of_revision)
    at = now_ms()
    await bury(tx, comment, at)
    await reviews.ask_of_comment(tx, comment.id)
    data = dumps({"commentId": str(comment.id), "threadId": str(comment.thread_id)})
    event = await event_log.append(
        tx, topic, "comment.deleted", who.user, at, data, event_log.Kept(comment.id, added_comments=-1)
    )
    return json_object(seq=event.seq)


async def bury(tx: Transaction, comment: Comment, at: datetime) -> None:
    """Leave of a comment its place in the conversation, and none of its words."""
    buried = comment.buried(at)
    await comments.bury(tx, comment.id, buried.as_tombstone(), buried.anchor, at)


async def get(backends: Backends, who: Identity, command: GetComment) -> JsonText:
    id, topic = await access_comments_topic(backends, who, command.comment_id, "comment.get")
    comment = await comments.get(backends.database, id)
    if comment is None:
        raise NotFound("comment")
    await check_still_member(backends, who, topic)
    [today] = await people.comments_today(backends.database, [comment])
    return today.as_json()


async def list_revisions(backends: Backends, who: Identity, command: ListRevisions) -> JsonText:
    """`{items: [{revision, text, mentions, at}], next}`, oldest first, the last page ending with what stands now.

    A deleted comment has none to show.
    """
    id, topic = await access_comments_topic(backends, who, command.comment_id, "comment.revisions")
    comment = await comments.get(backends.database, id)
    if comment is None:
        raise NotFound("comment")
    if comment.is_deleted:
        return page_text([])
    [after] = backends.cursors.read(who, "comment.revisions", command.cursor) or (0,)
    kept = await comments.revisions(backends.database, id, after=after, limit=MAX_PAGE + 1)
    await check_still_member(backends, who, topic)
    found = [revision for revision in kept if revision.revision < comment.revision]
    if len(found) <= MAX_PAGE:
        at = comment.edited_at or comment.created_at
        found.append(comments.Revision(comment.revision, comment.text, comment.mentions, at))
    return page_of(
        found,
        MAX_PAGE,
        _shown_revision,
        lambda last: backends.cursors.write(who, "comment.revisions", last.revision),
    )


def _shown_revision(of: comments.Revision) -> JsonText:
    return json_object(
        revision=of.revision, text=json_string(of.text), mentions=of.mentions, at=json_time(of.at)
    )


async def list_comments(backends: Backends, who: Identity, command: ListComments) -> JsonText:
    """`{items: [Comment], seq, next}`, ordered by `seq`; `next` is the cursor of the following page or null."""
    topic, _ = await access_topic(backends, who, command.topic, "topic.comments")
    limit = page_limit(command.limit)
    cursor = backends.cursors.read(who, "topic.comments", command.cursor)
    seq, found = await comments.listed(
        backends.database,
        topic.name,
        comments.Filter(
            None if command.thread is None else own_id(command.thread, "thread"),
            command.page_key,
            command.visualization_key,
            command.resolved,
        ),
        is_newest_first=command.order == "newest",
        from_seq=cursor[0] if cursor else None,
        limit=limit + 1,
    )
    await check_still_member(backends, who, topic)
    return page_of(
        await people.comments_today(backends.database, found),
        limit,
        Comment.as_json,
        lambda last: backends.cursors.write(who, "topic.comments", last.seq),
        seq=JsonText(str(seq)),
    )


async def _check_revision(tx: Transaction, comment: Comment, of_revision: int | None) -> None:
    """Refuse what was made of another revision: whoever asks is shown first what it would take away."""
    if of_revision is None or of_revision == comment.revision:
        return
    [today] = await people.comments_today(tx, [comment])
    raise Conflict(
        "the comment was changed meanwhile",
        field="ofRevision",
        now={"comment": json.loads(today.as_json())},
    )


async def _own_comment(backends: Backends, who: Identity, comment_id: str) -> Comment | None:
    """Rights come before values: refuse a stranger's edit before looking at its text."""
    comment = await comments.get(backends.database, UUID(comment_id))
    if comment is not None and comment.author.id != who.user.id:
        raise Forbidden("comment.edit is for the author of the comment")
    return comment


async def _notify(
    tx: Transaction, who: Identity, topic: Topic, comment: Comment, seq: int, told: Mapping[str, Reason]
) -> None:
    """Tell these users of a comment: in a discussion its members only, and never the one who wrote it."""
    told = {user: reason for user, reason in told.items() if user != who.user.id}
    is_discussion = topic.kind == "discussion"
    if told and is_discussion:
        members = await discussions.member_ids(tx, UUID(topic.first))
        told = {user: reason for user, reason in told.items() if user in members}
    notice = Notice(
        cause=comment.id,
        topic=topic.name,
        topic_seq=seq,
        comment_id=comment.id,
        by=dumps(who.user.as_wire()),
        text=told_of(comment.text, comment.body),
        created_at=comment.edited_at or comment.created_at,
        thread_id=None if comment.is_root else comment.thread_id,
    )
    await inbox.store(tx, notice, told, is_permitted=is_discussion)
