"""Losses: what somebody was told of a dashboard waits again, once Library no longer lets them open it.

Whatever this node hears of a refusal, asked here or elsewhere, leads to a look into that person's inbox. Nobody asks
only for that, but when they look at their inbox: then, once in `RECHECK_SECONDS`, about some of the dashboards that
something unread is about and that Library was not asked about for a minute.

Every node that hears a refusal looks; the inbox's lock lets one of them find something. At most `AT_ONCE` people are
worked for at a time, until `stop`. What is lost here is found at the next refusal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from cachetools import TTLCache

from collab_server.domain.people import Identity
from collab_server.domain.topics import content_topic, parse_topic
from collab_server.errors import ClientError
from collab_server.ports import ContentAnswer, Gate
from collab_server.services.live import withdrawals
from collab_server.services.live.publisher import Publisher
from collab_server.services.live.workers import Workers
from collab_server.storage import reviews
from collab_server.storage.database import Database, Patience, Transaction

RECHECK_SECONDS = 60.0
RECHECKED = 4
"""So many dashboards are asked about when somebody looks at their inbox."""
ASKED_SECONDS = 60.0
PATIENCE_SECONDS = 0.75
MOST_TOPICS = 200
MOST_PEOPLE = 20_000


class Losses:
    """Those of the people whom this node hears of from `gate`."""

    def __init__(self, database: Database, gate: Gate, publisher: Publisher) -> None:
        self._database = database
        self._gate = gate
        self._publisher = publisher
        self._lost: dict[str, set[str]] = {}
        self._workers = Workers(self._take_back_lost)
        self._rechecked: TTLCache[str, bool] = TTLCache(MOST_PEOPLE, RECHECK_SECONDS)
        self._asked: set[asyncio.Task[bool]] = set()
        gate.on_refused(self._hear)

    def start(self) -> None:
        """Nothing runs before something is refused."""

    async def stop(self) -> None:
        """End what still runs."""
        tasks = [*self._workers.tasks, *self._asked]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _hear(self, answer: ContentAnswer) -> None:
        if answer.user_id not in self._lost and len(self._lost) >= MOST_PEOPLE:
            return
        topics = self._lost.setdefault(answer.user_id, set())
        if len(topics) < MOST_TOPICS:
            topics.add(content_topic(answer.project_id, answer.object_id).name)
        self._workers.queue((answer.user_id,))

    async def _take_back_lost(self, user_id: str) -> None:
        if lost := self._lost.pop(user_id, None):
            await self._take_back(self._database, user_id, [*lost])

    async def recheck(self, database: Database | Patience, who: Identity) -> None:
        """Before somebody looks at their inbox: take back what they may no longer open, as far as that is soon known.

        Raises `Paused`.
        """
        user_id = who.user.id
        if user_id in self._rechecked or self._gate.is_silent:
            return
        self._rechecked[user_id] = True
        ages = {
            name: self._gate.content_age_seconds(user_id, *name.split(":")[1:])
            for name in await reviews.unread_topics(database, user_id, MOST_TOPICS)
        }
        old = [name for name, age in ages.items() if age is None or age > ASKED_SECONDS]
        old.sort(key=lambda name: -(ages[name] or float("inf")))
        asked = {name: self._ask(who, name) for name in old[:RECHECKED]}
        if asked:
            await asyncio.wait(asked.values(), timeout=PATIENCE_SECONDS)
        lost = [name for name, answer in asked.items() if answer.done() and not answer.result()]
        if lost:
            await self._take_back(database, user_id, lost)

    def _ask(self, who: Identity, name: str) -> asyncio.Task[bool]:
        task = asyncio.create_task(self._may_open(who, name))
        self._asked.add(task)
        task.add_done_callback(self._asked.discard)
        return task

    async def _may_open(self, who: Identity, name: str) -> bool:
        """False only where Library says so."""
        topic = parse_topic(name)
        with contextlib.suppress(ClientError):
            return await self._gate.may_open(who, topic.first, topic.second) is not None
        return True

    async def _take_back(
        self, database: Database | Patience, user_id: str, topic_names: Sequence[str]
    ) -> None:
        lost = await reviews.told_of(database, user_id, topic_names)

        async def take_back(tx: Transaction) -> tuple[bool, Sequence[Any]]:
            return await withdrawals.take_back(tx, user_id, lost), tx.recorded

        is_done = not lost
        while not is_done:
            is_done, recorded = await database.run(take_back)
            self._publisher.announce(recorded)
