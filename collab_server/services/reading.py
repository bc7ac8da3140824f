"""Reading a topic: how far one has read, and whether one wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collab_server.domain.jsontext import NOTHING, JsonText, dumps, json_object, now_ms, read_rfc3339, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.reading import MuteTopic, ReadTopic, UnreadTopic
from collab_server.domain.topics import Topic, inbox_topic
from collab_server.errors import Invalid
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.services.inbox import tell_read
from collab_server.services.topics import check_after
from collab_server.storage import event_log, inbox, reading, topics
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic


async def ask_read_topic(backends: Backends, who: Identity, command: ReadTopic) -> Topic:
    topic, _ = await access_topic(backends, who, command.topic, "topic.read")
    check_after(command.seq, "seq")
    return topic


async def read_topic(tx: Transaction, who: Identity, command: ReadTopic, on: Topic) -> JsonText:
    """Move the read mark forward, never back, and read the topic's notifications up to there."""
    user_id = who.user.id
    found = await topics.find(tx, on)
    own = await topics.lock(tx, inbox_topic(user_id))
    at = now_ms()
    seq = unread = 0
    if found is not None:  # otherwise nothing was ever said there; it may have been shared
        seq = min(command.seq, found.last_seq)
        unread = await move_mark(tx, who, own, found, seq, at)
    await tell_read(tx, who, own, await inbox.read_of_topic(tx, user_id, on.name, seq, at), at)
    return json_object(unread=unread)


async def move_mark(
    tx: Transaction, who: Identity, own: LockedTopic, topic: LockedTopic, seq: int, at: datetime
) -> int:
    """Move the read mark forward, never back, and tell that to `own`, their inbox. Returns how much is unread then."""
    has_moved = seq > 0 and await reading.mark_read(tx, who.user.id, topic.id, seq)
    unread = await reading.unread_comments(tx, who.user.id, topic.id)
    if has_moved:
        data = dumps({"topic": topic.name, "seq": seq, "unread": unread})
        await event_log.append(tx, own, "topic.was_read", who.user, at, data)
    return unread


async def ask_unread_topic(backends: Backends, who: Identity, command: UnreadTopic) -> Topic:
    topic, _ = await access_topic(backends, who, command.topic, "topic.unread")
    check_after(command.from_seq, "fromSeq")
    return topic


async def unread_topic(tx: Transaction, who: Identity, command: UnreadTopic, on: Topic) -> JsonText:
    """Move the read mark back, never forward."""
    user_id = who.user.id
    found = await topics.find(tx, on)
    own = await topics.lock(tx, inbox_topic(user_id))
    if found is None:
        return json_object(unread=0)
    seq = max(0, command.from_seq - 1)
    has_moved = await reading.mark_unread(tx, user_id, found.id, seq)
    unread = await reading.unread_comments(tx, user_id, found.id)
    if has_moved:
        data = dumps({"topic": on.name, "seq": seq, "unread": unread})
        await event_log.append(tx, own, "topic.was_unread", who.user, now_ms(), data)
    return json_object(unread=unread)


@dataclass(frozen=True, slots=True)
class MuteFacts:
    """Which topic, and until when."""

    topic: Topic
    until: datetime | None


async def ask_mute_topic(backends: Backends, who: Identity, command: MuteTopic) -> MuteFacts:
    topic, _ = await access_topic(backends, who, command.topic, "topic.mute")
    return MuteFacts(topic, _until(command, backends.now()))


def _until(command: MuteTopic, now: datetime) -> datetime | None:
    if command.until is None:
        return None
    if not command.muted:
        raise Invalid("goes only with muted: true", field="until")
    try:
        until = read_rfc3339(command.until)
    except ValueError:
        until = None
    if until is None:
        raise Invalid("expected a time such as 2026-11-23T18:00:00Z", field="until")
    if until <= now:
        raise Invalid("expected a time to come", field="until")
    return now_ms(until)


async def mute_topic(tx: Transaction, who: Identity, command: MuteTopic, facts: MuteFacts) -> JsonText:
    topic = await topics.find(tx, facts.topic) or await topics.lock(tx, facts.topic)
    own = await topics.lock(tx, inbox_topic(who.user.id))
    await reading.mute(tx, who.user.id, topic.id, command.muted, facts.until)
    until = None if facts.until is None else rfc3339(facts.until)
    data = dumps({"topic": facts.topic.name, "muted": command.muted, "until": until})
    await event_log.append(tx, own, "topic.was_muted", who.user, now_ms(), data)
    return NOTHING
