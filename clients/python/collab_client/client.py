"""Everything together: one connection, however many topics."""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

from typing_extensions import override

from collab_client.connection import Auth, Connection, State
from collab_client.following import Following
from collab_client.ids import spelled, uuid7
from collab_client.inbox import Inbox
from collab_client.keeping import Entry, Keeping
from collab_client.outbox import Outbox
from collab_client.refused import Refused
from collab_client.store import tell
from collab_client.topic import Topic
from collab_client.wire import Commands, User


class Client(Commands):
    """A client of the server at `url`, with a path where a proxy offers it under one.

    `auth` are credentials, or a function that gets some whenever they are needed (see `library`). `outbox` names a file
    for what is not answered yet, so that the next process sends it; without, it waits in memory. `tls` is what `https`
    is spoken by.

    `async with Client(…) as client` connects; it comes back by itself until the block ends. What waits then is
    answered with `Refused`, and kept where there is a file.

    Raises `ValueError` for a `url` that is none, and `TypeError` for `auth` that can sign nobody in, such as a text.
    """

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        outbox: str | os.PathLike[str] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._readers: dict[str, list[Following]] = {}
        self._listeners: dict[str, list[Callable[[Any], None]]] = {}
        self._skew = 0.0  # the server's clock less one's own, in seconds
        self._connection = Connection(
            url, auth, tls=tls, heard=self._heard, hello=self._hello, changed=self._changed
        )
        self._topics: dict[str, Topic] = {}
        self._owner = ""
        self.outbox = Outbox(
            self._connection,
            None if outbox is None else Keeping(outbox),
            changed=self._outbox_changed,
            answered=self._answered,
        )
        self.inbox = Inbox(self._connection, self.outbox, self._readers, self._inbox_event)

    @property
    def state(self) -> State:
        """Whether one is connected."""
        return self._connection.state

    @property
    def problem(self) -> Refused | None:
        """Why one is not connected, where that is known."""
        return self._connection.problem

    @property
    def me(self) -> User | None:
        """Who is signed in; None before the first connection, kept while offline."""
        return self._connection.user

    @property
    def node(self) -> str:
        """Which node one is, or was last, connected to."""
        return self._connection.node

    def now(self) -> float:
        """The server's time, in seconds since 1970, as well as it is known."""
        return time.time() + self._skew

    async def live(self) -> User:
        """Who is signed in, once one is, however long that takes.

        Raises `Refused` when the credentials are refused, or the client is closed.
        """
        return await self._connection.live()

    def follow(self, topic: str, *, after: int | None = None, epoch: str | None = None) -> Following:
        """A topic, to be iterated over: `content:{projectId}:{objectId}`, `discussion:{id}` or `inbox:{userId}`.

        `after` is the last `seq` that is known already, 0 for the whole log; left out: what is new. `epoch` is the one
        in which `after` was learned.
        """
        return Following(self._connection, spelled(topic), after, epoch, self._readers)

    def topic(self, name: str) -> Topic:
        """What a topic shows: `content:{projectId}:{objectId}` or `discussion:{id}`. The same one for the same name."""
        name = spelled(name)
        if name not in self._topics:
            self._topics[name] = Topic(
                name, self._connection, self.outbox, self._readers, self.now, self.inbox.open
            )
        return self._topics[name]

    def on(self, name: str, listener: Callable[[Any], None]) -> Callable[[], None]:
        """Hear an event or a signal of the server, of whatever topic, by its name. Returns what ends that."""
        listeners = self._listeners.setdefault(name, [])
        listeners.append(listener)
        return lambda: listeners.remove(listener)

    def sign_in(self) -> None:
        """Connect, also after `signed_out`."""
        self._connection.sign_in()

    async def sign_out(self) -> None:
        """End the sign-in, wherever it is shared."""
        await self._connection.sign_out()

    async def close(self) -> None:
        """Disconnect for good."""
        self.outbox.close()
        await asyncio.gather(self._connection.close(), self.inbox.close())
        await asyncio.gather(*(topic.close() for topic in self._topics.values()))

    async def __aenter__(self) -> Self:
        self.sign_in()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @override
    async def _ask(self, name: str, payload: Mapping[str, Any]) -> Any:
        return await self._connection.ask(name, payload)

    @override
    def _change(self, name: str, payload: Mapping[str, Any], topic: str | None) -> asyncio.Future[Any]:
        if name == "comment.add":
            payload = {"commentId": uuid7(self.now()), **payload}
        about = topic or payload.get("topic")
        return self.outbox.add(name, payload, spelled(about) if isinstance(about, str) else None)

    def _hello(self, said: Mapping[str, Any]) -> None:
        owner = said["user"]["id"]
        is_another = self._owner not in ("", owner)
        self._owner = owner
        self.outbox.hello(owner)
        self.inbox.hello(owner, said)
        for topic in self._topics.values():
            topic.hello(is_another=is_another)

    def _outbox_changed(self) -> None:
        for topic in self._topics.values():
            topic.take_waiting()

    def _answered(self, entry: Entry, answer: Any) -> None:
        topic = self._topics.get(entry.lane)
        if topic is not None:
            topic.answered(entry, answer)

    def _inbox_event(self, event: Mapping[str, Any]) -> None:
        topic = self._topics.get(event["data"].get("topic", ""))
        if topic is not None:
            topic.inbox_event(event)

    def _changed(self) -> None:
        for readers in self._readers.values():
            for reader in readers:
                reader.woken()
        self.outbox.send()

    def _heard(self, name: str, said: Any) -> None:
        topic = said.get("topic") if isinstance(said, dict) else None
        for reader in self._readers.get(topic or "", ()):
            reader.heard(name, said)
        if name == "comment.added":
            self._skew = datetime.datetime.fromisoformat(said["at"]).timestamp() - time.time()
        tell(self._listeners.get(name, ()), said)
