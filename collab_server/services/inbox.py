"""A person's inbox and reading: notifications, read marks, mutes, sharing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from collab_server.domain.comments import view_state_text
from collab_server.domain.ids import own_id, uuid7
from collab_server.domain.inbox import (
    CountNotifications,
    ListNotifications,
    MuteTopic,
    Notice,
    Notification,
    ReadNotifications,
    ReadTopic,
    Reason,
    Share,
)
from collab_server.domain.jsontext import NOTHING, JsonText, dumps, json_object, now_ms, read_rfc3339, rfc3339
from collab_server.domain.people import Identity
from collab_server.domain.topics import Topic, content_topic, inbox_topic
from collab_server.errors import Invalid, TooLarge
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import page_limit, page_of
from collab_server.services.discussions import content_ids, people_named
from collab_server.services.topics import check_after
from collab_server.storage import event_log, inbox, topics
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic

# -- reading a topic ---------------------------------------------------------------------------------------------


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
        has_moved = seq > 0 and await inbox.mark_read(tx, user_id, found.id, seq)
        unread = await inbox.unread_comments(tx, user_id, found.id)
        if has_moved:
            data = dumps({"topic": on.name, "seq": seq, "unread": unread})
            await event_log.append(tx, own, "topic.was_read", who.user, at, data)
    await _tell_read(tx, who, own, await inbox.read_of_topic(tx, user_id, on.name, seq, at), at)
    return json_object(unread=unread)


@dataclass(frozen=True, slots=True)
class MuteFacts:
    """Which topic, and until when."""

    topic: Topic
    until: datetime | None


async def ask_mute_topic(backends: Backends, who: Identity, command: MuteTopic) -> MuteFacts:
    topic, _ = await access_topic(backends, who, command.topic, "topic.mute")
    return MuteFacts(topic, _until(command))


def _until(command: MuteTopic) -> datetime | None:
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
    if until <= datetime.now(UTC):
        raise Invalid("expected a time to come", field="until")
    return now_ms(until)


async def mute_topic(tx: Transaction, who: Identity, command: MuteTopic, facts: MuteFacts) -> JsonText:
    topic = await topics.find(tx, facts.topic) or await topics.lock(tx, facts.topic)
    own = await topics.lock(tx, inbox_topic(who.user.id))
    await inbox.mute(tx, who.user.id, topic.id, command.muted, facts.until)
    until = None if facts.until is None else rfc3339(facts.until)
    data = dumps({"topic": facts.topic.name, "muted": command.muted, "until": until})
    await event_log.append(tx, own, "topic.was_muted", who.user, now_ms(), data)
    return NOTHING


# -- notifications -----------------------------------------------------------------------------------------------


async def ask_read_notifications(
    backends: Backends, who: Identity, command: ReadNotifications
) -> Sequence[UUID]:
    """The ids of the command; empty when it goes by `upTo`."""
    if (command.ids is None) == (command.up_to is None):
        raise Invalid("expected either ids or upTo", field="ids")
    if command.ids is None:
        check_after(command.up_to or 0, "upTo")
        return ()
    return [own_id(id, f"ids[{index}]") for index, id in enumerate(command.ids)]


async def read_notifications(
    tx: Transaction, who: Identity, command: ReadNotifications, ids: Sequence[UUID]
) -> JsonText:
    own = await topics.lock(tx, inbox_topic(who.user.id))
    at = now_ms()
    if command.up_to is not None:
        read = await inbox.read_up_to(tx, who.user.id, command.up_to, at)
    else:
        read = await inbox.read_by_id(tx, who.user.id, ids, at)
    unread = await _tell_read(tx, who, own, read, at)
    return json_object(unread=unread)


async def _tell_read(
    tx: Transaction, who: Identity, own: LockedTopic, read: Sequence[UUID], at: datetime
) -> int:
    """Tell the person's devices what is read now, if anything; returns the badge."""
    unread = await inbox.unread(tx, who.user.id)
    if read:
        data = dumps({"ids": [str(id) for id in read], "unread": unread})
        await event_log.append(tx, own, "notification.read", who.user, at, data)
    return unread


async def list_notifications(backends: Backends, who: Identity, command: ListNotifications) -> JsonText:
    """`{items: [Notification], next}`, the latest first."""
    limit = page_limit(command.limit)
    cursor = backends.cursors.read(who, "notification.list", command.cursor)
    await backends.deliver(backends.database, who)
    found = await inbox.listed(
        backends.database,
        who.user.id,
        is_unread=command.unread,
        kind=command.kind,
        before=cursor[0] if cursor else None,
        limit=limit + 1,
    )
    return page_of(
        found,
        limit,
        Notification.as_json,
        lambda last: backends.cursors.write(who, "notification.list", last.seq),
    )


async def count_notifications(backends: Backends, who: Identity, command: CountNotifications) -> JsonText:
    """`{unread}`: the badge."""
    await backends.deliver(backends.database, who)
    return json_object(unread=await inbox.unread(backends.database, who.user.id))


# -- sharing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ShareFacts:
    """What is shared with whom: user id → why."""

    topic: Topic
    told: dict[str, Reason]
    view_state: JsonText | None


async def ask_share(backends: Backends, who: Identity, command: Share) -> ShareFacts:
    topic = content_topic(*await content_ids(backends, who, command.content, "content"))
    if command.message is not None and len(command.message) > backends.limits.textCharacters:
        raise TooLarge(f"expected at most {backends.limits.textCharacters} characters", field="message")
    view_state = view_state_text(command.view_state, backends.limits.viewStateBytes)
    if not command.recipients:
        raise Invalid("expected at least one recipient", field="recipients")
    people = await people_named(backends, who, command.recipients, "recipients")
    backends.recipients.spend_whole(who.user.id, len(people))
    told = {user.id: Reason("shared", "shared this with you", user.id) for user in people}
    return ShareFacts(topic, told, view_state)


async def share(tx: Transaction, who: Identity, command: Share, facts: ShareFacts) -> JsonText:
    """`{shared}`: with how many people."""
    notice = Notice(
        cause=uuid7(),
        topic=facts.topic.name,
        topic_seq=None,
        comment_id=None,
        by=dumps(who.user.as_wire()),
        text=command.message or "",
        created_at=now_ms(),
        view_state=facts.view_state,
    )
    await inbox.store(tx, notice, facts.told, is_permitted=False)
    return json_object(shared=len(facts.told))
