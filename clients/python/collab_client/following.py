"""One topic's log, followed: whatever happens to the connection, its reader gets every event, each once, in order."""

from __future__ import annotations

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final, Literal, Protocol, TypedDict

from collab_client.connection import Connection
from collab_client.refused import Refused
from collab_client.wire import TopicEvent, TopicSubscribeAnswer, User

_MOST_WAITING: Final = 1000  # events; what comes beyond is caught up with when these are read
_CLOSED: Final = {
    "rights lost": "You may no longer open this.",
    "removed": "You are not a member of this discussion any more.",
    "deleted": "This discussion was deleted.",
}


class Gap(TypedDict):
    """The server has no events between the last one and `seq`: the log was purged, or a new `epoch` has begun. What is
    shown has to be read anew (`topic.comments`); the events after `seq` follow."""

    type: Literal["gap"]
    topic: str
    seq: int
    epoch: str


class Watcher(Protocol):
    """Who shows what a topic has come to, besides its events."""

    async def caught_up(self, answer: TopicSubscribeAnswer) -> bool:
        """It is followed, from `answer` on: where that is not `recovered`, read what is to be shown. False has it begin
        afresh with the next connection, too. Raises `Refused`."""

    def signalled(self, name: str, said: Any) -> None:
        """A signal has come."""

    def woken(self) -> None:
        """The connection is there, or lost."""


class Following:
    """A topic that is followed while somebody iterates over it; iterated again it goes on from where it was.

    `seq` is that of the last event given, and `epoch` its epoch: with both, another process goes on from there.
    `present` is who has the topic open, `rights` the commands that this person may use there, `commenting` false where
    an administrator has switched comments off; they are right while it is iterated over.
    """

    def __init__(
        self,
        connection: Connection,
        topic: str,
        after: int | None,
        epoch: str | None,
        readers: dict[str, list[Following]],
        watcher: Watcher | None = None,
    ) -> None:
        self.topic = topic
        self.seq = after
        self.epoch = epoch
        self.present: tuple[User, ...] = ()
        self.rights: frozenset[str] = frozenset()
        self.commenting = True
        self._connection = connection
        self._readers = readers
        self._watcher = watcher
        self._events: collections.deque[Any] = collections.deque()
        self._signals: list[tuple[str, Any]] | None = None  # what is said while catching up
        self._live_on: object | None = None  # the connection on which nothing is missing
        self._over: Refused | None = None
        self._news = asyncio.Event()

    @property
    def is_live(self) -> bool:
        """Whether nothing is missing, but for what is yet to be iterated over."""
        return self._live_on is not None and self._live_on is self._connection.live_on

    async def __aiter__(self) -> AsyncIterator[TopicEvent | Gap]:
        """The events, as they come. Ends when the client is closed.

        Raises `Refused` when the topic cannot be followed, or not any more.
        """
        self._readers.setdefault(self.topic, []).append(self)
        self._over = None
        try:
            while True:
                while self._events:
                    event = self._events.popleft()
                    if event["type"] != "gap" and event["seq"] <= (self.seq or 0):
                        continue
                    if event["type"] != "gap" and event["seq"] > (self.seq or 0) + 1:
                        self._live_on = None  # never seen, but closed like this
                        self._events.clear()
                        break
                    self.seq = event["seq"]
                    if event["type"] == "topic.switched":
                        self.commenting = event["data"]["commenting"]
                    yield event
                if self._over is not None:
                    raise self._over
                if self._connection.state == "closed":
                    return
                if not self.is_live:
                    await self._catch_up()
                elif not self._events:
                    self._news.clear()
                    await self._news.wait()
        except Refused as problem:
            if problem.code != "closed":
                raise
        finally:
            await self._leave()

    def woken(self) -> None:
        """The connection is there, or lost."""
        self._news.set()
        if self._watcher is not None:
            self._watcher.woken()

    def heard(self, name: str, said: Any) -> None:
        """Something was said of this topic."""
        if isinstance(said.get("seq"), int) and "type" in said:
            if len(self._events) < _MOST_WAITING:
                self._events.append(said)
            else:
                self._live_on = None
        elif self._signals is not None:
            self._signals.append((name, said))
        else:
            self._signal(name, said)
        self._news.set()

    async def _catch_up(self) -> None:
        """Subscribe, and get what was missed. Returns when nothing is missing, or to be called again."""
        await self._connection.live()
        live_on = self._connection.live_on
        self._events.clear()
        self._signals = []
        try:
            where = {"after": self.seq, "epoch": self.epoch} if self.seq is not None else {}
            answer: TopicSubscribeAnswer = await self._connection.ask(
                "topic.subscribe", {"topic": self.topic, **where}
            )
            is_exact = self._watcher is None or await self._watcher.caught_up(answer)
            told = self._missed(answer)
            while answer["recovered"] and answer["more"] and told and told[-1]["seq"] < answer["seq"]:
                # No more than may wait: the rest follows when these are read.
                if len(told) >= _MOST_WAITING:
                    live_on = None
                    break
                page = await self._connection.ask(
                    "topic.events", {"topic": self.topic, "after": told[-1]["seq"]}
                )
                if not page["events"]:
                    break
                told += page["events"]
        except Refused as problem:
            self._signals = None
            if not problem.is_passing:
                raise
            await asyncio.sleep(problem.retry_after or 1)
            return
        self._events.extendleft(reversed(told))
        self.epoch = answer["epoch"] if is_exact else "none"
        self.present = tuple(answer["present"])
        self.rights = frozenset(answer["rights"])
        self.commenting = answer.get("commenting", True)
        signals, self._signals = self._signals, None
        for name, said in signals:
            self._signal(name, said)
        self._live_on = live_on
        if self._watcher is not None:
            self._watcher.woken()

    def _missed(self, answer: TopicSubscribeAnswer) -> list[Any]:
        if answer["recovered"]:
            return list(answer["events"])
        if self.seq is None:
            self.seq = answer["seq"]
            return []
        return [Gap(type="gap", topic=self.topic, seq=answer["seq"], epoch=answer["epoch"])]

    def _signal(self, name: str, said: Any) -> None:
        if name == "topic.closed":
            reason = said["reason"]
            self._over = Refused("forbidden", _CLOSED.get(reason, reason))
            self.present, self.rights = (), frozenset()
        elif name == "presence":
            left = {user["id"] for user in said["left"]}
            known = {user["id"] for user in self.present}
            joined = (user for user in said["joined"] if user["id"] not in known)
            self.present = (*(user for user in self.present if user["id"] not in left), *joined)
        elif name == "topic.rights":
            self.rights = frozenset(said["rights"])
        if self._watcher is not None:
            self._watcher.signalled(name, said)

    async def _leave(self) -> None:
        self._live_on = None
        readers = self._readers[self.topic]
        readers.remove(self)
        if not readers:
            del self._readers[self.topic]
            if self._connection.live_on is not None and self._over is None:
                with contextlib.suppress(Refused):
                    await self._connection.ask("topic.unsubscribe", {"topic": self.topic})
