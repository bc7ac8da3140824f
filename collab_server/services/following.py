"""Which threads somebody wants to hear of: followed ones, though they do not take part; muted ones not, though they do.

What is chosen for a thread goes before what is chosen for its topic. It is the person's own: it is told to their
devices, and to nobody else.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from collab_server.domain.jsontext import FALSE, TRUE, JsonText, json_object, json_string, now_ms
from collab_server.domain.people import Identity
from collab_server.domain.threads import FollowThread, ListThreadMarks, MuteThread
from collab_server.domain.topics import Topic, inbox_topic
from collab_server.errors import NotFound
from collab_server.services.access import access_comments_topic, access_topic
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import page_of
from collab_server.storage import comments, event_log, thread_marks, topics
from collab_server.storage.database import Transaction
from collab_server.storage.thread_marks import ThreadMark

MOST_MARKS = 500
"""How many of them one answer tells."""
FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True)
class FollowFacts:
    """Which thread, of which topic."""

    topic: Topic
    thread_id: UUID


async def ask_follow(backends: Backends, who: Identity, command: FollowThread) -> FollowFacts:
    return await _ask(backends, who, command.comment_id, "thread.follow")


async def ask_mute(backends: Backends, who: Identity, command: MuteThread) -> FollowFacts:
    return await _ask(backends, who, command.comment_id, "thread.mute")


async def _ask(backends: Backends, who: Identity, comment_id: str, command: str) -> FollowFacts:
    id, topic = await access_comments_topic(backends, who, comment_id, command)
    comment = await comments.get(backends.database, id)
    if comment is None:
        raise NotFound("comment")
    return FollowFacts(topic, comment.thread_id)


async def follow(tx: Transaction, who: Identity, command: FollowThread, facts: FollowFacts) -> JsonText:
    return await _choose(tx, who, facts, is_followed=True, is_chosen=command.following)


async def mute(tx: Transaction, who: Identity, command: MuteThread, facts: FollowFacts) -> JsonText:
    return await _choose(tx, who, facts, is_followed=False, is_chosen=command.muted)


async def _choose(
    tx: Transaction, who: Identity, facts: FollowFacts, *, is_followed: bool, is_chosen: bool
) -> JsonText:
    """Tell the person's devices what is so now, if it was not; answer it in any case."""
    topic = await topics.find(tx, facts.topic)
    if topic is None:
        raise NotFound("comment")  # its discussion was purged meanwhile
    own = await topics.lock(tx, inbox_topic(who.user.id))
    thread_id, user_id = facts.thread_id, who.user.id
    if is_chosen:
        is_new = await thread_marks.mark(tx, thread_id, user_id, topic.id, is_followed)
    else:
        is_new = await thread_marks.unmark(tx, thread_id, user_id, is_followed)
    shown = _shown(await thread_marks.of(tx, thread_id, user_id))
    if is_new:
        data = json_object(topic=json_string(facts.topic.name), thread=shown)
        await event_log.append(tx, own, "thread.was_marked", who.user, now_ms(), data)
    return shown


async def list_marks(backends: Backends, who: Identity, command: ListThreadMarks) -> JsonText:
    """`{items: [{threadId, following, muted}], next}`."""
    topic, _ = await access_topic(backends, who, command.topic, "thread.marks")
    cursor = backends.cursors.read(who, "thread.marks", command.cursor)
    after = UUID(int=cursor[0]) if cursor else FIRST
    found = await thread_marks.listed(
        backends.database, topic.name, who.user.id, after=after, limit=MOST_MARKS + 1
    )
    return page_of(
        found,
        MOST_MARKS,
        _shown,
        lambda last: backends.cursors.write(who, "thread.marks", last.thread_id.int),
    )


def _shown(mark: ThreadMark) -> JsonText:
    return json_object(
        threadId=json_string(str(mark.thread_id)),
        following=TRUE if mark.is_followed else FALSE,
        muted=TRUE if mark.is_muted else FALSE,
    )
