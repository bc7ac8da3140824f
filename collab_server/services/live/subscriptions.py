"""Subscriptions: who of this node's listeners follows which topic, from asking for it to its end.

What it promises. Subscribing leaves no hole and no double: the topic's events are held from before its head is read
until the answer is out, and whatever is beyond the answer's `seq` comes after it. Whoever follows the topic already on
the same connection goes on without a hole: what is held and the answer passes over reaches it before the answer. Who
may not open a topic is refused before anything of it is read, and a member of a discussion who is removed meanwhile is
put out. Nothing of a topic follows `topic.closed`, nor the answer to unsubscribing. A listener follows at most
`topicsPerConnection` topics, and its inbox besides.

Whoever asks passes `acknowledge`, which queues the answer and does not wait. Nothing runs in here but what
was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from collab_server.contract.rights import require_commenting, rights_text
from collab_server.domain.jsontext import NOTHING, JsonText, json_list, json_object, json_string
from collab_server.domain.permissions import Role, Standing
from collab_server.domain.presence import SetTyping
from collab_server.domain.subscriptions import Subscribe, Unsubscribe
from collab_server.domain.topics import Topic, inbox_name, read_topic
from collab_server.errors import Forbidden, NotFound, Paused, TooLarge
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.weights import weight_of_answer
from collab_server.services.hub import Hub, Listener
from collab_server.services.live.audience import Audience
from collab_server.services.live.feed import Feed
from collab_server.services.live.repair import EVENTS_A_GAP
from collab_server.services.live.snapshots import Snapshots
from collab_server.services.live.watches import Watches
from collab_server.services.topics import check_after, check_event_limit
from collab_server.services.words_of_now import events_of_now
from collab_server.storage import event_log
from collab_server.storage.database import Database
from collab_server.storage.event_log import Gap
from collab_server.storage.topics import Snapshot

MOST_LOOKS = 5

NO_EVENTS = json_list(())

Acknowledge = Callable[[JsonText], None]


@dataclass(frozen=True, slots=True)
class _Found:
    """A topic as its new subscriber finds it, and what they had missed of it, as far as one answer carries."""

    topic: Topic
    role: Role
    epoch: str
    snapshot: Snapshot
    is_recovered: bool = False
    events: JsonText = NO_EVENTS
    has_more: bool = False


class Subscriptions:
    """Those of the listeners of one node. `limiter` is charged with what an answer weighs; `watches` end with them."""

    def __init__(
        self,
        database: Database,
        backends: Backends,
        hub: Hub,
        feed: Feed,
        audience: Audience,
        limiter: RateLimiter,
        watches: Watches,
    ) -> None:
        self.watches = watches
        self._database = database
        self._backends = backends
        self._presence = backends.presence
        self._hub = hub
        self._feed = feed
        self._audience = audience
        self._limiter = limiter
        self._snapshots = Snapshots(database)

    def start(self) -> None:
        """Nothing runs before somebody subscribes."""

    async def stop(self) -> None:
        """End what still runs, after the doors have."""
        await self._snapshots.stop()

    # --- topics

    async def subscribe(self, listener: Listener, command: Subscribe, acknowledge: Acknowledge) -> None:
        """Let a listener follow a topic from now on, or from the `seq` on that it brings.

        Raises `Invalid`, `NotFound`, `Forbidden`, `TooLarge`, `Unavailable` or `Paused`; a subscription of before then
        goes on as it was.
        """
        topic, role = await access_topic(self._backends, listener.who, command.topic, "topic.subscribe")
        name, connection = topic.name, listener.connection
        after = None if command.after is None else check_after(command.after)
        limit = check_event_limit(command.limit)
        if listener.is_closed:
            return
        self._take_place(listener, name, role)
        # The feed must be held before membership is looked at: whoever is removed after that look is put out by the
        # feed, whoever was removed before it is refused.
        self._feed.hold(connection, name)
        try:
            found = await self._find(listener, topic, role, after=after, epoch=command.epoch, limit=limit)
            await self._catch_up(connection, name, found.snapshot.seq)
        except BaseException:
            self._give_back(listener, name)
            raise
        if _has_left(listener):
            return  # it has left, and whoever signed in next on this connection may follow the topic
        self._feed.bring_up(connection, name, found.snapshot.seq)
        if not self._feed.follows(connection, name):
            listener.topics.pop(name, None)
            raise NotFound("topic")  # put out meanwhile
        listener.topics[name] = Standing(
            role, found.snapshot.is_commenting
        )  # what changes it is held till released
        if topic.kind != "inbox":
            self._presence.arrive(name, listener.who.user, connection)
        acknowledge(self._answer(listener, found))
        self._feed.release(connection, name, found.snapshot.seq)
        if found.events is not NO_EVENTS:
            self._limiter.charge(listener.who.user.id, weight_of_answer(len(found.events)))

    def _take_place(self, listener: Listener, name: str, role: Role) -> None:
        """Count the topic from now on, so that the limit holds for those that are asked for at once."""
        most = self._backends.limits.topicsPerConnection
        if name not in listener.topics and len(listener.topics) >= most:
            raise TooLarge(f"expected at most {most} topics a connection", field="topic")
        listener.topics.setdefault(name, Standing(role))

    def _give_back(self, listener: Listener, name: str) -> None:
        """It came to nothing: a subscription of before goes on."""
        if not _has_left(listener) and not self._feed.give_back(listener.connection, name):
            listener.topics.pop(name, None)

    async def _find(
        self,
        listener: Listener,
        topic: Topic,
        role: Role,
        *,
        after: int | None,
        epoch: str | None,
        limit: int,
    ) -> _Found:
        snapshot = await self._look(listener, topic.name)
        if topic.kind == "discussion" and not snapshot.is_member:
            raise NotFound("discussion")
        found = _Found(topic, role, self._backends.epoch.name, snapshot)
        if after is None or epoch not in (None, found.epoch) or after > snapshot.seq:
            return found
        if after == snapshot.seq or snapshot.id is None:
            return replace(found, is_recovered=True)
        events = await event_log.read(
            self._database, snapshot.id, topic.name, after=after, upto=snapshot.seq, limit=limit
        )
        events = await events_of_now(self._backends, listener.who, topic, events)
        return replace(
            found,
            is_recovered=True,
            events=json_list(event.body for event in events),
            has_more=bool(events) and events[-1].seq < snapshot.seq,
        )

    async def _catch_up(self, connection: str, name: str, seq: int) -> None:
        """Have the feed come to where the answer will be, for those whom it would pass over. Raises `Paused`."""
        for _ in range(MOST_LOOKS):
            position = self._feed.position(name)
            if position is None or not self._feed.lacks(connection, name, seq):
                return
            gap = Gap(name, position)
            self._feed.offer(await event_log.read_gaps(self._database, [gap], limit=EVENTS_A_GAP))

    async def _look(self, listener: Listener, name: str) -> Snapshot:
        """A topic as a listener that is held finds it: the feed brings it everything after that. Raises `Paused`."""
        for _ in range(MOST_LOOKS):
            snapshot = await self._snapshots.read(name, listener.who.user.id)
            if self._feed.learn(listener.connection, name, snapshot.seq, snapshot.head):
                return snapshot
        raise Paused("the database is behind what it has told before")

    def _answer(self, listener: Listener, found: _Found) -> JsonText:
        name, snapshot = found.topic.name, found.snapshot
        return json_object(
            topic=json_string(name),
            epoch=json_string(found.epoch),
            seq=snapshot.seq,
            events=found.events,
            present=self._presence.present(name, listener.who.user.id, subscriber=listener.connection),
            recovered=found.is_recovered,
            more=found.has_more,
            readSeq=snapshot.read_seq,
            unread=snapshot.unread,
            commenting=snapshot.is_commenting,
            rights=rights_text(Standing(found.role, snapshot.is_commenting), listener.who),
        )

    async def unsubscribe(self, listener: Listener, command: Unsubscribe, acknowledge: Acknowledge) -> None:
        """Let a listener follow a topic no more. Raises `Invalid`, and `NotFound` where it does not."""
        name = read_topic(command.topic, self._backends.gate.read_id).name
        if not self._feed.leave(listener.connection, name):
            raise NotFound("subscription")
        listener.topics.pop(name, None)
        self._presence.depart(name, listener.who.user.id, listener.connection, is_for_good=True)
        acknowledge(NOTHING)

    async def set_typing(self, listener: Listener, command: SetTyping, acknowledge: Acknowledge) -> None:
        """Tell the others on a topic that this listener's user types, or has stopped.

        Raises `Invalid`, `NotFound`, `Forbidden` or `Unavailable`.
        """
        topic, _ = await access_topic(self._backends, listener.who, command.topic, "typing")
        standing = listener.topics.get(topic.name)
        if standing is None:
            raise Forbidden("this connection is not subscribed to the topic")
        require_commenting(standing.is_commenting, "typing")
        self._presence.set_typing(topic.name, listener.who.user, listener.connection, command.typing)
        acknowledge(NOTHING)

    # --- the inbox

    def follow_inbox(self, listener: Listener) -> int | None:
        """Let a listener that has just come follow its inbox, where that is followed here already; the inbox's `seq`,
        which it has to be told now. None elsewhere: `hold_inbox` looks for it."""
        return self._feed.follow(listener.connection, inbox_name(listener.who.user.id))

    async def hold_inbox(self, listener: Listener) -> int | None:
        """Let a listener that has just come follow its inbox, held back until `release_inbox`; the inbox's `seq`.

        None where it has left meanwhile. Raises `Paused`; in both cases it follows nothing.
        """
        name = inbox_name(listener.who.user.id)
        self._feed.hold(listener.connection, name)
        seq = self._feed.position(name)
        try:
            seq = (await self._look(listener, name)).seq if seq is None else seq
        except BaseException:
            self._feed.leave(listener.connection, name)
            raise
        if listener.is_closed:
            self._feed.leave(listener.connection, name)
            return None
        return seq

    def release_inbox(self, listener: Listener, seq: int) -> None:
        """Let come what is beyond this `seq`, of which the listener has just been told."""
        self._feed.release(listener.connection, inbox_name(listener.who.user.id), seq)

    def inbox_seq(self, listener: Listener) -> int | None:
        """Up to which `seq` a listener that follows its inbox has got it; None while that is not known."""
        return self._feed.position(inbox_name(listener.who.user.id))

    # --- ends

    def leave_all(self, listener: Listener, *, is_for_good: bool) -> None:
        """End whatever a listener follows; unless `is_for_good`, its user may come back unnoticed."""
        self.watches.leave(listener)
        user_id = listener.who.user.id
        for name in listener.topics:
            self._feed.leave(listener.connection, name)
            self._presence.depart(name, user_id, listener.connection, is_for_good=is_for_good)
        self._feed.leave(listener.connection, inbox_name(user_id), may_come_back=not is_for_good)

    def close(self, user_id: str, topic: str, reason: str) -> int:
        """End a user's subscriptions to a topic on this node; nothing of it comes after `topic.closed`.

        Returns how many there were.
        """
        listeners = self._hub.of(user_id)
        subscribed = sum(topic in listener.topics for listener in listeners)
        for listener in listeners:
            self._feed.leave(listener.connection, topic)
            self._audience.close(listener, topic, reason)
        return subscribed


def _has_left(listener: Listener) -> bool:
    """Whether it is closed by now: what was looked at before an `await` need not be so after it."""
    return listener.is_closed
