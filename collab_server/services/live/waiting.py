"""Waiting: who asks over HTTP what follows on a topic, and is answered when there is something.

What it promises. A wait hears of the topic's next event as soon as the feed of this node has it; whatever is lost on
the way the feed finds in Postgres. It tells nothing: whoever waits asks again, with the rights of then. While it waits,
it holds no connection to the database and keeps nobody from asking. There are at most `MOST_WAITING` on a node and
`EACH_WAITING` of one user.

Runs nothing of its own. `drain` ends all waits, and from then on none is begun.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from collab_server.domain.ids import ReadId
from collab_server.domain.topics import read_topic
from collab_server.errors import Invalid, RateLimited
from collab_server.services.live.feed import Feed

MOST_WAITING = 1000
EACH_WAITING = 8
FULL_SECONDS = 5.0


class Wait:
    """One who waits for what follows on a topic."""

    def __init__(self, feed: Feed, name: str, topic: str) -> None:
        self._feed = feed
        self._name = name
        self._topic = topic
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is something, or nothing is to be waited for any more."""
        self._rung.set()

    def learn(self, seq: int) -> None:
        """This was the topic's last `seq` when it was read."""
        self._feed.learn(self._name, self._topic, seq)

    async def rung(self) -> None:
        """Return when something has come since the wait began, or since this was called last."""
        await self._rung.wait()
        self._rung.clear()


class Waiting:
    """Those of one node. `feed` is what they hear of events by; `read_id` judges the ids in topics' names."""

    def __init__(self, feed: Feed, read_id: ReadId) -> None:
        self._feed = feed
        self._read_id = read_id
        self._waits: dict[str, Wait] = {}
        self._of_user: Counter[str] = Counter()
        self._numbers = itertools.count()
        self.is_over = False

    @contextmanager
    def on(self, user_id: str, topic: str) -> Iterator[Wait | None]:
        """Begin to wait for events on a topic, as somebody spells it, before it is read; None where there is no use.

        Raises `RateLimited` when too many wait.
        """
        try:
            name = read_topic(topic, self._read_id).name
        except Invalid:  # which they hear when they read it
            name = ""
        if self.is_over or not name:
            yield None
            return
        if self._of_user[user_id] >= EACH_WAITING:
            raise RateLimited(
                f"expected at most {EACH_WAITING} requests of one user that wait", retry_after=1
            )
        if len(self._waits) >= MOST_WAITING:
            raise RateLimited("too many requests wait on this node", retry_after=FULL_SECONDS)
        client = f"wait {next(self._numbers)}"  # no connection is called so
        wait = self._waits[client] = Wait(self._feed, client, name)
        self._of_user[user_id] += 1
        self._feed.watch(client, name, wait.ring)
        try:
            yield wait
        finally:
            self._feed.leave(client, name)
            del self._waits[client]
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def drain(self) -> None:
        """End all waits: the node is about to go."""
        self.is_over = True
        for wait in self._waits.values():
            wait.ring()
