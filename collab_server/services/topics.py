"""Reading a topic: its state and its log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from collab_server.contract.rights import rights_text
from collab_server.domain.commenting import SwitchTopic
from collab_server.domain.jsontext import JsonText, dumps, json_list, json_object, json_string, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.permissions import Standing
from collab_server.domain.topics import (
    MAX_EVENTS,
    GetTopic,
    ListAnchors,
    ListEvents,
    ListSummaries,
    Topic,
    read_topic,
)
from collab_server.errors import Invalid, NotFound
from collab_server.ports import MOST_CALLS_PER_USER
from collab_server.services.access import access_topic, check_still_member
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import fitting, page_text
from collab_server.services.roles import role_on
from collab_server.services.words_of_now import events_of_now
from collab_server.storage import event_log, topics
from collab_server.storage.topics import Snapshot, Summary

MAX_SEQ = 2**53
MOST_PLACES = 5000
"""How many places, and how many threads with unread comments, one answer tells."""


def check_after(after: int, field: str = "after") -> int:
    """A `seq` to go on from.

    Raises `Invalid` unless it is 0 or more.
    """
    if not 0 <= after < MAX_SEQ:
        raise Invalid("expected a seq: 0 or a whole number above", field=field)
    return after


def check_event_limit(limit: int) -> int:
    """How many events to send at once.

    Raises `Invalid` unless it is 1 to `MAX_EVENTS`.
    """
    if not 1 <= limit <= MAX_EVENTS:
        raise Invalid(f"expected 1 to {MAX_EVENTS}", field="limit")
    return limit


async def get(backends: Backends, who: Identity, command: GetTopic) -> JsonText:
    """`{topic, epoch, seq, comments, readSeq, unread, muted, commenting, rights, present}`."""
    topic, role = await access_topic(backends, who, command.topic, "topic.get")
    snapshot = await _snapshot(backends, who, topic)
    return json_object(
        topic=json_string(topic.name),
        epoch=json_string(backends.epoch.name),
        seq=snapshot.seq,
        comments=snapshot.comments,
        readSeq=snapshot.read_seq,
        unread=snapshot.unread,
        muted=snapshot.muted,
        commenting=snapshot.is_commenting,
        rights=rights_text(Standing(role, snapshot.is_commenting), who),
        present=backends.presence.present(topic.name, who.user.id),
    )


async def _snapshot(backends: Backends, who: Identity, topic: Topic) -> Snapshot:
    """The topic in one moment in which the person was a member. Raises `NotFound`: they may have been put out since
    they were permitted.
    """
    [snapshot] = await topics.snapshots(backends.database, [(topic.name, who.user.id)])
    if topic.kind == "discussion" and not snapshot.is_member:
        raise NotFound("discussion")
    return snapshot


async def ask_switch(backends: Backends, who: Identity, command: SwitchTopic) -> Topic:
    topic, _ = await access_topic(backends, who, command.topic, "topic.switch")
    return topic


async def list_events(backends: Backends, who: Identity, command: ListEvents) -> JsonText:
    """`{epoch, seq, events, more}`: what follows `after`, oldest first; `more` says that `limit` cut it short."""
    topic, _ = await access_topic(backends, who, command.topic, "topic.events")
    after = check_after(command.after)
    limit = check_event_limit(command.limit)
    snapshot = await _snapshot(backends, who, topic)
    events = []
    if snapshot.id is not None and after < snapshot.seq:
        events = await event_log.read(
            backends.database, snapshot.id, topic.name, after=after, upto=snapshot.seq, limit=limit
        )
        events = await events_of_now(backends, who, topic, events)
    return json_object(
        epoch=json_string(backends.epoch.name),
        seq=snapshot.seq,
        events=json_list(event.body for event in events),
        more=bool(events) and events[-1].seq < snapshot.seq,
    )


async def list_summaries(backends: Backends, who: Identity, command: ListSummaries) -> JsonText:
    """`{items: [{topic, seq, comments, readSeq, unread, lastAt}]}` in the order asked, without those the asker may not
    open."""
    found = await shown_summaries(backends, who, named_topics(backends, command.topics))
    return json_object(items=json_list(map(summary_text, found)))


def named_topics(backends: Backends, names: Sequence[str]) -> list[Topic]:
    """The topics that a command names in `topics`, each once. Raises `Invalid`."""
    return [
        *dict.fromkeys(
            read_topic(name, backends.gate.read_id, f"topics[{index}]") for index, name in enumerate(names)
        )
    ]


async def shown_summaries(backends: Backends, who: Identity, asked: Sequence[Topic]) -> list[Summary]:
    """What somebody finds on those of the topics that they may open.

    One query, whatever the number of topics. Library is asked in rounds, so that each of its answers has its own time.
    """
    if not asked:
        return []
    shown: list[Topic] = []
    for start in range(0, len(asked), MOST_CALLS_PER_USER):
        some = asked[start : start + MOST_CALLS_PER_USER]
        may_open = await asyncio.gather(*(_may_summarize(backends, who, topic) for topic in some))
        shown += [topic for topic, may in zip(some, may_open, strict=True) if may]
    return await topics.summaries(backends.database, shown, who.user.id)


def summary_text(summary: Summary) -> JsonText:
    """A topic at a glance, as answers and signals have it."""
    return dumps(
        {
            "topic": summary.topic,
            "seq": summary.seq,
            "comments": summary.comments,
            "readSeq": summary.read_seq,
            "unread": summary.unread,
            "lastAt": None if summary.last_at is None else rfc3339(summary.last_at),
        }
    )


async def _may_summarize(backends: Backends, who: Identity, topic: Topic) -> bool:
    if topic.kind == "discussion":
        return True  # the query tells
    try:
        await role_on(backends.database, backends.gate, who, topic)
    except NotFound:
        return False
    return True


async def list_anchors(backends: Backends, who: Identity, command: ListAnchors) -> JsonText:
    """`{items, threads, next}`: what there is at each place of the object, and which threads have unread comments.

    An item is `{pageKey, visualizationKey, open, unread, total}`, a thread `{threadId, unread}`. Two queries. A page
    holds `MOST_PLACES` of each, less where their names are long.
    """
    topic, _ = await access_topic(backends, who, command.topic, "topic.anchors")
    skips = backends.cursors.read(who, "topic.anchors", command.cursor, parts=2) or (0, 0)
    database, user_id, limit = backends.database, who.user.id, MOST_PLACES + 1
    places = await topics.anchors(database, topic.name, user_id, skip=skips[0], limit=limit)
    threads = await topics.unread_threads(database, topic.name, user_id, skip=skips[1], limit=limit)
    await check_still_member(backends, who, topic)
    items = fitting(
        dumps(
            {
                "pageKey": place.page_key,
                "visualizationKey": place.visualization_key,
                "open": place.open,
                "unread": place.unread,
                "total": place.total,
            }
        )
        for place in places[:MOST_PLACES]
    )
    unread = [
        json_object(threadId=json_string(str(id)), unread=number) for id, number in threads[:MOST_PLACES]
    ]
    next_cursor = None
    if len(items) < len(places) or len(unread) < len(threads):
        next_cursor = backends.cursors.write(
            who, "topic.anchors", skips[0] + len(items), skips[1] + len(unread)
        )
    return page_text(items, next_cursor, threads=json_list(unread))
