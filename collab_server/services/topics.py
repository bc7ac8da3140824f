"""Reading a topic: its state and its log."""

from __future__ import annotations

from collab_server.domain.jsontext import dumps
from collab_server.domain.people import Identity
from collab_server.domain.permissions import RIGHTS
from collab_server.domain.subscriptions import MAX_EVENTS, AboutMe, GetTopic, ListEvents
from collab_server.errors import Invalid
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.storage import event_log, topics

MAX_SEQ = 2**53


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


async def get(backends: Backends, who: Identity, command: GetTopic) -> str:
    """`{topic, epoch, seq, comments, unread, muted, rights, present}`."""
    topic, role = await access_topic(backends, who, command.topic, "topic.get")
    [snapshot] = await topics.snapshots(backends.database, [(topic.name, who.user.id)])
    return dumps(
        {
            "topic": topic.name,
            "epoch": backends.epoch(),
            "seq": snapshot.seq,
            "comments": snapshot.comments,
            "unread": snapshot.unread,
            "muted": snapshot.muted,
            "rights": RIGHTS[role],
            "present": [],
        }
    )


async def list_events(backends: Backends, who: Identity, command: ListEvents) -> str:
    """`{epoch, seq, events, more}`: what follows `after`, oldest first; `more` says that `limit` cut it short."""
    topic, _ = await access_topic(backends, who, command.topic, "topic.events")
    after = check_after(command.after)
    limit = check_event_limit(command.limit)
    [snapshot] = await topics.snapshots(backends.database, [(topic.name, who.user.id)])
    events = []
    if snapshot.id is not None and after < snapshot.seq:
        events = await event_log.read(
            backends.database, snapshot.id, topic.name, after=after, upto=snapshot.seq, limit=limit
        )
    more = bool(events) and events[-1].seq < snapshot.seq
    bodies = ",".join(event.body for event in events)
    return (
        f'{{"epoch":{dumps(backends.epoch())},"seq":{snapshot.seq},"events":[{bodies}]'
        f',"more":{"true" if more else "false"}}}'
    )


async def about_me(backends: Backends, who: Identity, command: AboutMe) -> str:
    """`{user, administrator}`."""
    return dumps({"user": who.user.as_wire(), "administrator": who.is_administrator})
