"""Readers: clients that follow topics through every fault and write down all that reaches them.

A reader comes back after each lost connection, to any node or through NGINX, gives `after` and `epoch`, and follows
`more` with `topic.events`. If it is greeted with another epoch, it forgets what it had and starts afresh. It looks
every second whether its connection still answers, for a frozen node or a half-open connection would be silent for the
45 s of a heartbeat. Wanderers also leave by themselves.

What is written down is what came, in the order it came: nothing is sorted, dropped or repaired here.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Any

from collab_server.domain.topics import MAX_EVENTS
from tests.faults.arena import Arena
from tests.faults.connections import LOST, Connection, Hear, Kind, ask, connect
from tests.faults.history import Delivery, History, Session, event_key
from tests.harness.clients import Failed, LibraryUser, Refused

LOOK_SECONDS = 1.0
PAUSE_SECONDS = (0.05, 0.5)
AWAY_SECONDS = (0.5, 6.0)
STAY_SECONDS = (5.0, 20.0)
AGAIN_PROBABILITY = 0.2
LEAVE_PROBABILITY = 0.05
RETRY_PROBABILITY = 0.5
LEAVE_TRIES = 5
PAGE, PAGES_AT_MOST = 40, 10


class Reader:
    """One reader of `topics`, which says when it has got what. `run` goes on until cancelled."""

    def __init__(
        self,
        name: str,
        person: LibraryUser,
        arena: Arena,
        history: History,
        topics: Sequence[str],
        chance: random.Random,
        *,
        kind: Kind = "lean",
        is_wanderer: bool = False,
    ) -> None:
        self.name = name
        self.person = person
        self.topics = topics
        self.is_wanderer = is_wanderer
        self.is_away = False
        self.unexpected: list[str] = []
        self.connections = 0
        self.lost_at: list[float] = []
        self._arena = arena
        self._history = history
        self._chance = chance
        self._kind: Kind = kind
        self._positions: dict[str, int] = {}
        self._current: dict[str, Session] = {}
        self._epoch: str | None = None
        self._resume_token: str | None = None
        self._stays = asyncio.Event()

    # --- what others ask

    def has(self, topic: str, seq: int) -> bool:
        """Whether it has the topic's log up to `seq`, and follows it now."""
        session = self._current.get(topic)
        return session is not None and session.has_caught_up and session.position >= seq

    def stay(self) -> None:
        """Wander no more."""
        self._stays.set()

    # --- what it does

    async def run(self) -> None:
        while True:
            with contextlib.suppress(*LOST):
                await self._visit()
            await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))

    async def _visit(self) -> None:
        """One connection, from beginning to end."""
        url = self._chance.choice(
            [*map(self._arena.url, range(len(self._arena.nodes))), self._arena.balancer_url]
        )
        is_over = False

        def hear(name: str, data: Any) -> None:
            if is_over:
                return
            if name == "topic.closed":
                self._end(data["topic"])
            elif isinstance(data, dict) and "seq" in data and data.get("topic") in self.topics:
                self._note(data)

        connection = await self._connect(url, hear)
        self.connections += 1
        node = connection.hello["node"]
        if connection.hello["epoch"] != self._epoch:  # what was told in another one is void
            self._positions.clear()
            self._epoch = connection.hello["epoch"]
        try:
            for topic in self.topics:
                await self._subscribe(connection, node, topic)
            await self._watch(connection, node)
        except LOST:
            self.lost_at.append(time.monotonic())
            raise
        finally:
            is_over = True
            for topic in list(self._current):
                self._end(topic)
            connection.leave()
        if self.is_wanderer and not self._stays.is_set():
            self.is_away = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(*AWAY_SECONDS)):
                    await self._stays.wait()
            self.is_away = False

    async def _connect(self, url: str, hear: Hear) -> Connection:
        if self._resume_token is not None and self._chance.random() < 0.8:
            auth = {"resumeToken": self._resume_token}
        else:
            auth = {"identityToken": await self.person.identity_token()}
        try:
            connection = await connect(self._kind, url, auth, hear)
        except Refused as refusal:
            if refusal.code == "unauthenticated":
                self.unexpected.append(f"{self.name} was refused with {next(iter(auth))}: {refusal}")
                self._resume_token = None
            raise
        self._resume_token = connection.hello["resumeToken"]
        return connection

    async def _subscribe(self, connection: Connection, node: str, topic: str) -> None:
        """Subscribe and catch up. What is pushed from the acknowledgement on is noted as it comes."""
        earlier = self._current.get(topic)
        after = earlier.position if earlier is not None else self._positions.get(topic, 0)
        payload: dict[str, Any] = {
            "topic": topic,
            "after": after,
            "limit": self._chance.choice([5, 100, 500]),
        }
        if self._epoch is not None:
            payload["epoch"] = self._epoch

        def begin(data: dict[str, Any]) -> Session:
            session = Session(
                self.name,
                self.person.id,
                topic,
                node,
                after,
                data["seq"],
                data["recovered"],
                time.monotonic(),
                _deliveries(data["events"]),
                not data["more"],
                is_again=earlier is not None,
                epoch=data["epoch"],
            )
            if data["epoch"] == self._epoch:  # else the connection is about to be closed
                self._history.sessions.append(session)
            self._current[topic] = session
            return session

        # The session begins in the callback itself: what is pushed behind the acknowledgement finds it.
        try:
            session: Session = await ask(connection, "topic.subscribe", payload, begin)
        except Failed as error:
            if error.code in ("not_found", "forbidden"):
                return
            raise
        while not session.has_caught_up and self._current.get(topic) is session:
            reached = session.caught_up[-1].seq
            # After another epoch all is read again: in some few pages, or that takes longer than a fault may.
            limit = min(MAX_EVENTS, max(PAGE, (session.seq - reached) // PAGES_AT_MOST))
            payload = {"topic": topic, "after": reached, "limit": limit}
            try:
                page = await ask(connection, "topic.events", payload)
            except Failed as error:
                if error.code in ("not_found", "forbidden"):
                    return  # put out; the subscription goes on until the node has heard so, and says `topic.closed`
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))
                continue
            if self._current.get(topic) is not session:
                return  # it has ended meanwhile, and comes back from where it was then
            # The head has moved since; what lies beyond the acknowledged one is pushed.
            session.caught_up += [d for d in _deliveries(page["events"]) if d.seq <= session.seq]
            session.has_caught_up = session.caught_up[-1].seq >= session.seq or not page["events"]

    def _note(self, data: dict[str, Any]) -> None:
        topic = data["topic"]
        delivery = Delivery(data["seq"], event_key(data), time.monotonic())
        session = self._current.get(topic)
        if session is None:
            self._history.early.append((self.name, topic, delivery))
        else:
            session.live.append(delivery)

    def _end(self, topic: str) -> None:
        session = self._current.pop(topic, None)
        if session is not None:
            self._positions[topic] = session.position

    async def _watch(self, connection: Connection, node: str) -> None:
        """Until the connection ends, is silent, or a wanderer wants to leave."""
        leaves_at = time.monotonic() + self._chance.uniform(*STAY_SECONDS)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await connection.ended.wait()
            if connection.ended.is_set():
                self.lost_at.append(time.monotonic())
                return
            if self.is_wanderer and not self._stays.is_set() and time.monotonic() > leaves_at:
                return
            with contextlib.suppress(Failed):  # a refusal is an answer, too
                await ask(connection, "me", {})
                await self._fidget(connection, node)

    async def _fidget(self, connection: Connection, node: str) -> None:
        """Subscribe again to what it follows, or leave a topic and come back at once, or try one it may not have."""
        for topic in self.topics:
            if topic not in self._current and self._chance.random() < RETRY_PROBABILITY:
                await self._subscribe(connection, node, topic)
        if not self._current:
            return
        topic = self._chance.choice(sorted(self._current))
        if self._chance.random() < LEAVE_PROBABILITY:
            await ask(connection, "topic.unsubscribe", {"topic": topic}, lambda _: self._end(topic))
            for _ in range(LEAVE_TRIES):
                with contextlib.suppress(Failed):
                    await self._subscribe(connection, node, topic)
                    return
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))
        elif self._chance.random() < AGAIN_PROBABILITY and self._current[topic].has_caught_up:
            await self._subscribe(connection, node, topic)


def _deliveries(events: Sequence[dict[str, Any]]) -> list[Delivery]:
    now = time.monotonic()
    return [Delivery(event["seq"], event_key(event), now) for event in events]
