"""A person's inbox: their notifications, and which of them are read."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from collab_server.domain.ids import own_id
from collab_server.domain.inbox import (
    CountNotifications,
    ListNotifications,
    Notification,
    ReadNotifications,
)
from collab_server.domain.jsontext import JsonText, dumps, json_object, now_ms
from collab_server.domain.people import Identity
from collab_server.domain.topics import inbox_topic
from collab_server.errors import Invalid
from collab_server.services.backends import Backends
from collab_server.services.commands.pages import page_limit, page_of
from collab_server.services.topics import check_after
from collab_server.services.words_of_now import notifications_of_now
from collab_server.storage import event_log, inbox, people, topics
from collab_server.storage.database import Transaction
from collab_server.storage.topics import LockedTopic


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
    unread = await tell_read(tx, who, own, read, at)
    return json_object(unread=unread)


async def tell_read(
    tx: Transaction, who: Identity, own: LockedTopic, read: Sequence[UUID], at: datetime
) -> int:
    """Tell the person's devices what is read now, if anything; returns the badge."""
    unread = await inbox.unread(tx, who.user.id)
    if read:
        data = dumps({"ids": [str(id) for id in read], "unread": unread})
        await event_log.append(tx, own, "notification.read", who.user, at, data)
    return unread


async def list_notifications(backends: Backends, who: Identity, command: ListNotifications) -> JsonText:
    """`{items: [Notification], seq, next}`, the latest first."""
    limit = page_limit(command.limit)
    cursor = backends.cursors.read(who, "notification.list", command.cursor)
    await _bring_up_to_date(backends, who)
    seq, found = await inbox.listed(
        backends.database,
        who.user.id,
        is_unread=command.unread,
        kind=command.kind,
        before=cursor[0] if cursor else None,
        limit=limit + 1,
    )
    return page_of(
        await people.notifications_today(backends.database, await notifications_of_now(backends, who, found)),
        limit,
        Notification.as_json,
        lambda last: backends.cursors.write(who, "notification.list", last.seq),
        seq=JsonText(str(seq)),
    )


async def count_notifications(backends: Backends, who: Identity, command: CountNotifications) -> JsonText:
    """`{unread, seq}`: the badge."""
    await _bring_up_to_date(backends, who)
    seq, unread = await inbox.counted(backends.database, who.user.id)
    return json_object(unread=unread, seq=seq)


async def _bring_up_to_date(backends: Backends, who: Identity) -> None:
    await backends.deliveries.deliver(backends.database, who)
    await backends.losses.recheck(backends.database, who)
