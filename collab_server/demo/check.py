"""The scripted conversation of `demo --check`: three clients on three nodes, and a Redis restart in between.

What it promises: every line of the table is something a client saw, or did not see in time; the first failure
ends the conversation; all of it is over within `CHECK_SECONDS`. What runs concurrently: the clients, in one
event loop. How it stops: the clients leave, whatever happened.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from .tied import EmbeddedError

__all__ = ["Stage", "play"]

CHECK_SECONDS = 60
STEP_SECONDS = 5
WITHOUT_REDIS_SECONDS = 3  # promised: 2
FILTER = {"filters": [{"key": "W81", "attribute": "Region", "elements": ["North", "South"]}], "page": "P1"}


class StageNode(Protocol):
    """One node of it."""

    @property
    def url(self) -> str:
        """Where it answers by itself."""

    def status(self) -> dict[str, Any] | None:
        """Its `/status`, or None when it does not answer."""


class StageServer(Protocol):
    """A server that can be taken away."""

    def kill(self) -> None:
        """End it at once."""

    def start(self) -> object:
        """Start it again."""


class Stage(Protocol):
    """Where the conversation is played: three nodes, Redis, and the stand-in for Library. A `Demo` is one."""

    @property
    def library_url(self) -> str:
        """Library's REST base."""

    @property
    def dashboards(self) -> Sequence[tuple[str, str]]:
        """Topics, with the names of their dashboards."""

    @property
    def nodes(self) -> Sequence[StageNode]:
        """The nodes."""

    @property
    def valkey(self) -> StageServer:
        """What is between the nodes."""


class _Failed(Exception):
    """A step did not go as promised; the text says how."""


class _Person:
    """One client of `collab_client`, and what it received on the topic, in order of arrival."""

    def __init__(self, login: str, library_url: str, topic: str) -> None:
        self.login = login
        self.node = ""
        self.topic = topic
        self.events: list[dict[str, Any]] = []
        self.start: int | None = None
        self._library_url = library_url
        self._client: Any = None
        self._following: Any = None
        self._reading: asyncio.Task[None] | None = None

    async def arrive(self, node_url: str) -> None:
        """Connect, and follow the topic: on from what was received, or from now on."""
        from collab_client import Client, Refused, library

        self._client = Client(node_url, library(self._library_url, self.login, self.login))
        self._client.sign_in()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                await self._client.live()
                self.node = self._client.node
                if self.start is None:
                    self.start = (await self._client.ask("topic.get", {"topic": self.topic}))["seq"]
        except Refused as refused:
            raise _Failed(f"{self.login} cannot come in: {refused}") from refused
        except TimeoutError:
            raise _Failed(f"{self.login} does not get in within {STEP_SECONDS} s") from None
        last = self.seqs[-1] if self.events else self.start
        epoch = None if self._following is None else self._following.epoch
        self._following = self._client.follow(self.topic, after=last, epoch=epoch)
        self._reading = asyncio.create_task(self._read())
        await self._until(self._is_present, "presence", STEP_SECONDS)

    async def change(self, command: str, payload: dict[str, Any]) -> dict[str, Any]:
        """What a command answers that changes something. Raises `_Failed`."""
        from collab_client import Refused

        try:
            async with asyncio.timeout(STEP_SECONDS):
                data: dict[str, Any] = await self._client.change(command, payload)
        except Refused as refused:
            raise _Failed(f"{command} was refused: {refused}") from refused
        return data

    async def sees(self, seq: int, seconds: float = STEP_SECONDS) -> dict[str, Any]:
        """The event with this `seq`, once it is there."""
        await self._until(lambda: seq in self.seqs, f"number {seq}", seconds)
        return next(event for event in self.events if event["seq"] == seq)

    @property
    def seqs(self) -> list[int]:
        """The numbers of the events received."""
        return [event["seq"] for event in self.events]

    async def leave(self) -> None:
        """Disconnect; may be called twice."""
        if self._client is not None:
            await self._client.close()
        if self._reading is not None:
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        async for event in self._following:
            self.events.append(event)

    def _is_present(self) -> bool:
        return any(user["id"] == self._client.me["id"] for user in self._following.present)

    async def _until(self, is_there: Callable[[], bool], what: str, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not is_there():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise _Failed(f"{self.login} on {self.node} did not get {what} within {seconds:g} s") from None


class _Conversation:
    def __init__(self, demo: Stage, say: Callable[[str], None]) -> None:
        self._demo = demo
        self._say = say
        self._topic, self._dashboard = demo.dashboards[0]
        names = ("ann", "bob", "carol")
        self._people = [_Person(name, demo.library_url, self._topic) for name in names]
        self._start = 0
        self._expected: list[int] = []

    async def play(self) -> bool:
        steps: Sequence[tuple[str, str, Callable[[], Awaitable[str]]]] = [
            ("ann, bob, carol", f'sign in, open "{self._dashboard}"', self._sign_in),
            ("ann", "comments, with her filter", self._comment_with_filter),
            ("bob", "replies", self._reply),
            ("carol", "goes away", self._go_away),
            ("ann", "edits her comment", self._edit),
            ("Redis", "is killed; bob comments", self._comment_without_redis),
            ("Redis", "is started again", self._redis_returns),
            ("carol", "comes back, on another node", self._catch_up),
            ("carol", "comments", self._comment_again),
            ("all", "compare what they have seen", self._compare),
        ]
        self._say(f"  {'who':<16} {'what':<36} {'seconds':>7}   result")
        self._say(f"  {'-' * 16} {'-' * 36} {'-' * 7}   {'-' * 40}")
        try:
            for who, what, step in steps:
                began = time.monotonic()
                try:
                    result, is_good = await step(), True
                except (_Failed, EmbeddedError, TimeoutError) as error:
                    result, is_good = f"FAILED: {error or type(error).__name__}", False
                self._say(f"  {who:<16} {what:<36} {time.monotonic() - began:>7.2f}   {result}")
                if not is_good:
                    return False
            return True
        finally:
            await asyncio.gather(*(person.leave() for person in self._people), return_exceptions=True)

    async def _sign_in(self) -> str:
        for person, node in zip(self._people, self._demo.nodes, strict=True):
            await person.arrive(node.url)
        self._start = self._people[0].start or 0
        if len({person.node for person in self._people}) != len(self._people):
            raise _Failed("they are not on three nodes")
        return f"on three nodes, {self._start} events so far"

    async def _comment_with_filter(self) -> str:
        event, result = await self._post(self._people[0], {"text": "Look at North!", "viewState": FILTER})
        self._thread = event["data"]["comment"]
        if self._thread["viewState"] != FILTER:
            raise _Failed("the filter did not arrive as it was sent")
        return f"{result}, with the filter"

    async def _reply(self) -> str:
        event, result = await self._post(self._people[1], {"text": "I see", "replyTo": self._thread["id"]})
        if event["data"]["comment"]["threadId"] != self._thread["id"]:
            raise _Failed("the reply is not in the thread")
        return f"{result}, in the thread"

    async def _go_away(self) -> str:
        carol = self._people[2]
        await carol.leave()
        return f"having seen everything up to {carol.seqs[-1]}"

    async def _edit(self) -> str:
        ann, bob, _ = self._people
        answer = await ann.change(
            "comment.edit", {"commentId": self._thread["id"], "text": "Look at North and South!"}
        )
        self._expected.append(answer["seq"])
        event = await bob.sees(answer["seq"])
        if event["type"] != "comment.edited" or event["data"]["comment"]["revision"] < 2:
            raise _Failed(f"bob got {event['type']} instead of the edit")
        return "seen by bob"

    async def _comment_without_redis(self) -> str:
        self._demo.valkey.kill()
        present = self._people[:2]
        _, result = await self._post(
            self._people[1], {"text": "Still here?"}, to=present, seconds=WITHOUT_REDIS_SECONDS
        )
        return f"{result}, through PostgreSQL"

    async def _redis_returns(self) -> str:
        self._demo.valkey.start()  # in this thread, for its life hangs on it; 0.1 s
        async with asyncio.timeout(3 * STEP_SECONDS):
            while not all(await asyncio.gather(*(_is_running(node) for node in self._demo.nodes))):
                await asyncio.sleep(0.05)
        return "all nodes say running"

    async def _catch_up(self) -> str:
        carol, node = self._people[2], self._demo.nodes[0]
        before = carol.node
        missed = [seq for seq in self._expected if seq > carol.seqs[-1]]
        await carol.arrive(node.url)
        if carol.node == before:
            raise _Failed("carol is on the same node")
        await carol.sees(missed[-1])
        if carol.seqs[-len(missed) :] != missed:
            raise _Failed(f"carol did not get {missed}, but {carol.seqs}")
        return f"given the {len(missed)} events she missed"

    async def _comment_again(self) -> str:
        _, result = await self._post(self._people[2], {"text": "Back again"})
        return result

    async def _compare(self) -> str:
        wanted = list(range(self._start + 1, self._start + 1 + len(self._expected)))
        for person in self._people:
            if person.seqs != wanted:
                raise _Failed(f"{person.login} has seen {person.seqs} instead of {wanted}")
        return f"each {wanted[0]} to {wanted[-1]}, in order, once"

    async def _post(
        self,
        author: _Person,
        comment: dict[str, Any],
        to: Sequence[_Person] | None = None,
        seconds: float = STEP_SECONDS,
    ) -> tuple[dict[str, Any], str]:
        """Add a comment; the event as the others got it, and the words for the table."""
        readers = self._people if to is None else to
        answer = await author.change("comment.add", {"topic": self._topic, **comment})
        self._expected.append(answer["seq"])
        events = await asyncio.gather(*(reader.sees(answer["seq"], seconds) for reader in readers))
        if any(event["data"]["comment"]["text"] != comment["text"] for event in events):
            raise _Failed("the text did not arrive as it was sent")
        return events[0], "seen by " + ", ".join(reader.login for reader in readers)


async def play(demo: Stage, say: Callable[[str], None]) -> bool:
    """Play the conversation on what is up, saying a line per step; whether everything went as
    promised."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            is_good = await _Conversation(demo, say).play()
    except TimeoutError:
        say(f"  not done within {CHECK_SECONDS} s")
        is_good = False
    say(f"\n{'Passed' if is_good else 'FAILED'} after {time.monotonic() - began:.1f} s.")
    return is_good


async def _is_running(node: StageNode) -> bool:
    status = await asyncio.to_thread(node.status)
    return status is not None and status.get("state") == "running"
