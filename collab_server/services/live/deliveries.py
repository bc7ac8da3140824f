"""Deliveries: putting stored notifications into their inboxes, once somebody may know of them.

A notification is stored in the transaction of its cause, without locking any inbox, however many people it reaches.
After that COMMIT it is delivered: it gets its `seq` in the person's inbox, in a transaction of its own. One about
content waits until a node where the person has a session has asked Library whether they may open it; other nodes are
told by a hint, and every `SWEEP_SECONDS` each node looks for what waits for the people it has, so that a lost hint or
a killed node delays a notification and never loses it.

Nobody's inbox is closed by what others have sent. Whoever reads it waits no longer than `READ_SECONDS` for what is
being asked of Library for them, and finds the rest when they read again. Where Library says no, it is asked again later
and later; of each sender the latest are asked about first, some of them together.

What is not to be told any more is taken out of inboxes likewise (`withdrawals`): what was changed has stored that they
have to be looked at.

What needs no leave of Library never waits behind what does: for each there are `AT_ONCE` workers at the most. They,
one task for each who reads meanwhile, and one sweeper, run until `stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from collab_server.domain.hints import Kind
from collab_server.domain.inbox import Notification, Notified, in_words_of_now
from collab_server.domain.jsontext import json_object, now_ms
from collab_server.domain.people import Identity, User
from collab_server.domain.topics import inbox_topic, parse_topic
from collab_server.errors import ClientError, NotFound, Unavailable
from collab_server.ports import Bus, Gate
from collab_server.services.hub import Hub
from collab_server.services.live import withdrawals
from collab_server.services.live.publisher import Publisher
from collab_server.services.live.workers import Workers
from collab_server.services.roles import role_on
from collab_server.storage import event_log, inbox, tellings, topics
from collab_server.storage.database import Database, Patience, Transaction
from collab_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

BATCH = 50
SWEEP_SECONDS = 5.0
SWEEP_USERS = 5000
MOST_TOPICS = 200
ASKED_TOGETHER = 8
READ_SECONDS = 0.75
MOST_AT_ONCE = 1000
ARRIVALS_SECONDS = 0.25
USERS_A_HINT = 1000


class Deliveries:
    """Delivers for one node: to those whom `hub` knows, as far as `gate` permits. Others are told over `bus`."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        hub: Hub,
        bus: Bus,
        publisher: Publisher,
        metrics: Metrics,
        channels: Sequence[str] = (),
    ) -> None:
        """`channels`: what tells people elsewhere of what is put into their inboxes."""
        self._database = database
        self._gate = gate
        self._hub = hub
        self._bus = bus
        self._publisher = publisher
        self._arrived: dict[str, None] = {}
        self._asks: dict[str, asyncio.Task[None]] = {}  # for whom Library is being asked
        self._putting = Workers(self._put_permitted)
        self._asking = Workers(self._put_asked)
        self._sweeper: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._channels = channels
        metrics.gauge("undelivered_people", lambda: self._putting.found)
        metrics.gauges(
            "queue_length", lambda: {("deliveries",): self._putting.waiting + self._asking.waiting}
        )
        bus.listen(Kind.NOTIFIED, self._hear)

    async def start(self) -> None:
        self._sweeper = asyncio.create_task(self._sweep_for_ever(), name="deliveries")

    async def stop(self) -> None:
        tasks = [*self._putting.tasks, *self._asking.tasks, *self._asks.values()]
        if self._sweeper is not None:
            tasks.append(self._sweeper)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what is to be delivered

    def notified(self, notified: Notified) -> None:
        """A command of this node has stored notifications. Never waits, never raises."""
        if notified.is_permitted:
            self._putting.queue(notified.users)
            return
        self._queue_connected(notified.users)
        for start in range(0, len(notified.users), USERS_A_HINT):
            self._bus.publish(Kind.NOTIFIED, ",".join(notified.users[start : start + USERS_A_HINT]).encode())

    def _hear(self, _node: str, payload: bytes) -> None:
        """Another node has stored notifications for these users, and they wait for somebody who may ask Library."""
        self._queue_connected(payload.decode().split(","))

    def _queue_connected(self, users: Iterable[str]) -> None:
        self._putting.queue(user for user in users if self._hub.of(user))

    def arrived(self, user_id: str) -> None:
        """Somebody has signed in here: what waited for them can be looked at."""
        self._arrived[user_id] = None
        self._wake.set()

    async def _sweep_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        next_sweep = loop.time() + SWEEP_SECONDS
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_sweep):
                    await self._wake.wait()
            self._wake.clear()
            try:
                if loop.time() >= next_sweep:
                    next_sweep = loop.time() + SWEEP_SECONDS
                    self._arrived.clear()
                    connected: Sequence[str] = self._hub.users()
                else:
                    await asyncio.sleep(ARRIVALS_SECONDS)  # those who come together are asked for together
                    connected = [*self._arrived]
                    self._arrived.clear()
                self._putting.find(await inbox.undelivered(self._database, connected, SWEEP_USERS))
            except ClientError:
                pass  # the database is away, which has a line of its own
            except Exception:
                log.exception("a sweep for deliveries failed; the next one tries again")

    # --- delivering

    async def deliver(self, database: Database | Patience, who: Identity) -> None:
        """Deliver what waits for somebody who reads their inbox, if it is soon known whether they may know of it.

        Raises `Paused`.
        """
        user_id = who.user.id
        await self._put(database, user_id, [])
        ends_at = asyncio.get_running_loop().time() + READ_SECONDS
        for _ in range(2):  # the first may be one that was about to end
            if not await inbox.due(database, user_id, 1):
                return
            left = 0.0 if self._gate.is_silent else ends_at - asyncio.get_running_loop().time()
            await asyncio.wait((self._ask_soon(who),), timeout=max(0.0, left))

    async def _put_permitted(self, user_id: str) -> None:
        await self._put(self._database, user_id, [])
        if self._hub.identity_of(user_id) is not None:
            self._asking.queue((user_id,))

    async def _put_asked(self, user_id: str) -> None:
        who = self._hub.identity_of(user_id)
        if who is not None:
            await asyncio.wait((self._ask_soon(who),))

    def _ask_soon(self, who: Identity) -> asyncio.Task[None]:
        """Ask what is to be asked for somebody, by one task at a time."""
        user_id = who.user.id
        task = self._asks.get(user_id)
        if task is None:
            task = self._asks[user_id] = asyncio.create_task(self._ask(who))
            task.add_done_callback(lambda _: self._asks.pop(user_id, None))
        return task

    async def _ask(self, who: Identity) -> None:
        """Ask Library about all that is due for somebody, and deliver what it permits. Never raises."""
        try:
            while await self._ask_some(who):
                pass
        except ClientError:
            pass  # the database or Library is away; the sweeper comes back to it
        except Exception:
            log.exception("asking about notifications failed")

    async def _ask_some(self, who: Identity) -> bool:
        """False when nothing more is due, or Library does not say.

        What it does not say of one topic keeps it from being asked of the others only where that goes for all of them.
        """
        database, user_id = self._database, who.user.id
        due = await inbox.due(database, user_id, MOST_TOPICS)
        may_open: dict[str, bool | None] = {}
        names = list(dict.fromkeys(item.topic for item in due))
        for start in range(0, len(names), ASKED_TOGETHER):
            some = names[start : start + ASKED_TOGETHER]
            answers = await asyncio.gather(*(self._may_open(who, topic) for topic in some))
            may_open.update(zip(some, answers, strict=True))
            if permitted := [topic for topic in some if may_open[topic]]:
                await self._put(database, user_id, permitted)
            if refused := [topic for topic in some if may_open[topic] is False]:
                await database.run(partial(inbox.refuse, user_id=user_id, topics=refused))
            if all(answer is None for answer in answers):
                break
        sent: dict[str, list[bool | None]] = {}
        for item in due:
            sent.setdefault(item.sender_id, []).append(may_open.get(item.topic))
        if unwelcome := [
            sender for sender, answers in sent.items() if not any(a is not False for a in answers)
        ]:
            await database.run(partial(inbox.keep_latest, user_id=user_id, senders=unwelcome))
        return bool(due) and None not in may_open.values()

    async def _put(
        self, database: Database | Patience, user_id: str, permitted_topics: Sequence[str]
    ) -> None:
        pending = await inbox.pending(database, user_id, permitted_topics, MOST_AT_ONCE)
        if pending.review_ids:
            await self._review(database, user_id, pending.review_ids)
            pending = await inbox.pending(database, user_id, permitted_topics, MOST_AT_ONCE)
        for start in range(0, len(pending.ids), BATCH):
            ids = pending.ids[start : start + BATCH]

            async def put(tx: Transaction, ids: Sequence[UUID] = ids) -> Sequence[Any]:
                own = await topics.lock(tx, inbox_topic(user_id))
                taken = await self._words_of_now(tx, user_id, permitted_topics, await inbox.take(tx, ids))
                for notification in taken:
                    event = await event_log.append(
                        tx,
                        own,
                        "notification.added",
                        _user(notification.by),
                        now_ms(),
                        json_object(notification=notification.as_json()),
                        event_log.Kept(
                            notification.comment_id, data=await inbox.stored_data(tx, notification)
                        ),
                    )
                    await inbox.put(tx, notification.id, event.seq)
                if self._channels and taken:
                    await tellings.store(tx, [notification.id for notification in taken], self._channels)
                return tx.recorded

            recorded = await database.run(put)
            self._publisher.announce(recorded)

    async def _words_of_now(
        self, tx: Transaction, user_id: str, permitted_topics: Sequence[str], taken: Sequence[Notification]
    ) -> list[Notification]:
        """What was edited while it waited is told as it is now: with no words, where nobody knows whether they may."""
        may_know = [
            notification.comment_id
            for notification in taken
            if notification.is_outdated
            and notification.comment_id is not None
            and (
                not notification.topic.startswith("content:")
                or notification.topic in permitted_topics
                or self._is_known_open(user_id, notification.topic)
            )
        ]
        return in_words_of_now(taken, await inbox.said_now(tx, user_id, may_know) if may_know else {})

    def _is_known_open(self, user_id: str, topic: str) -> bool:
        """Whether it is known that they may open a topic of content. Asks nothing; False says nothing."""
        age_seconds = self._gate.content_age_seconds(user_id, *topic.split(":")[1:])
        return age_seconds is not None and age_seconds <= self._gate.fresh_seconds

    async def _review(self, database: Database | Patience, user_id: str, review_ids: Sequence[int]) -> None:
        """Take out of an inbox what is not to be told any more."""

        async def review(tx: Transaction) -> tuple[bool, Sequence[Any]]:
            return await withdrawals.review(tx, user_id, review_ids), tx.recorded

        is_done = False
        while not is_done:
            is_done, recorded = await database.run(review)
            self._publisher.announce(recorded)

    async def _may_open(self, who: Identity, topic: str) -> bool | None:
        """None where Library does not say."""
        try:
            await role_on(self._database, self._gate, who, parse_topic(topic))
        except NotFound:
            return False
        except Unavailable:
            return None
        return True


def _user(text: str) -> User:
    by = json.loads(text)
    return User(by["id"], by["name"], by["initials"])
