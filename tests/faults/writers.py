"""Writers: people who add, answer, edit and delete comments through both doors, whatever happens around them.

Each intent has a `requestId`, written down before the first attempt and kept through all of them: after a refusal
with `paused`, a lost connection, an answer that never came, the writer tries again, at any node and through the same
door, until it is answered. Some requests are sent to two nodes at once. The `requestId` also stands in front of the
text.

Another operation is one more entry of `_KINDS` and a branch of `_command`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiohttp
from typing_extensions import override

from collab_server.demo.embedded import EmbeddedError
from tests.faults.arena import Arena
from tests.faults.connections import LOST, Connection, ask, connect
from tests.faults.history import Answer, History, Write
from tests.harness.clients import Failed, LibraryUser, Refused
from tests.harness.waiting import until

ANSWER_SECONDS = 4.0
LOOK_SECONDS = 30.0
PAUSE_SECONDS = (0.02, 0.3)
TWICE_PROBABILITY = 0.05
RESUME_PROBABILITY = 0.8
MINE_KEPT = 50
LARGE_CHARACTERS = 65_450
LARGE_ENDINGS = ("25", "75")
"""Which requests carry a view state that is too large for the bus: told by the id, so that a repetition is the same."""

ABOUT = ("edit", "delete", "remove", "invite")
"""Kinds whose target is known before: a comment, or a person to be put out of a discussion or let in."""

PASSING = ("paused", "unavailable", "rate_limited")
"""Refusals after which the same request is tried again."""

_KINDS = {"add": 60, "reply": 15, "edit": 15, "delete": 10}

Door = Literal["socket", "rest"]


class Writer:
    """One person at one door of any node, or only of one. `run` goes on until `stop`, and then until the last
    request is answered.
    """

    def __init__(
        self,
        name: str,
        person: LibraryUser,
        door: Door,
        arena: Arena,
        history: History,
        topics: Sequence[str],
        chance: random.Random,
        *,
        pause_seconds: float = 0.2,
        answer_seconds: float = ANSWER_SECONDS,
        node: int | None = None,
    ) -> None:
        self.name = name
        self.person = person
        self.door: Door = door
        self.trouble: Counter[str] = Counter()
        self.unexpected: list[str] = []
        self.answered: list[tuple[float, float]] = []  # at, after how many seconds; refusals too
        self._arena = arena
        self._history = history
        self._topics = topics
        self._chance = chance
        self._pause_seconds = pause_seconds
        self._answer_seconds = answer_seconds
        self._node = node
        self._is_stopping = asyncio.Event()
        self._number = 0
        self._mine: dict[str, list[str]] = {topic: [] for topic in topics}
        self._roots: dict[str, list[str]] = {topic: [] for topic in topics}
        self._connection: Connection | None = None
        self._asked_at = 0.0
        self._identity_token: str | None = None
        self._resume_token: str | None = None
        self._rewinds_known = 0

    def stop(self) -> None:
        """Begin nothing new."""
        self._is_stopping.set()

    async def run(self) -> None:
        try:
            while not self._is_stopping.is_set():
                await self.write(*self._next())
                with contextlib.suppress(TimeoutError):
                    pause = self._chance.expovariate(1 / self._pause_seconds)
                    async with asyncio.timeout(pause):
                        await self._is_stopping.wait()
        finally:
            self._hang_up()

    def _next(self) -> tuple[str, str, str | None]:
        """What to do where, and with which comment."""
        if self._was_put_back():
            for known in (*self._mine.values(), *self._roots.values()):
                known.clear()  # they may be gone
        topic = self._chance.choice(self._topics)
        [kind] = self._chance.choices(list(_KINDS), list(_KINDS.values()))
        if kind == "reply" and self._roots[topic]:
            return kind, topic, self._chance.choice(self._roots[topic])
        if kind in ("edit", "delete") and self._mine[topic]:
            return kind, topic, self._chance.choice(self._mine[topic])
        return "add", topic, None

    def _was_put_back(self) -> bool:
        """Whether the database has gone back in time since this was last asked."""
        known, self._rewinds_known = self._rewinds_known, len(self._arena.rewinds)
        return known != self._rewinds_known

    async def write(self, kind: str, topic: str, comment_id: str | None) -> Write:
        """Carry one intent through to its answer."""
        self._number += 1
        write = Write(
            f"{self.name}-{self._number}",
            kind,
            self.person.id,
            topic,
            time.monotonic(),
            comment_id if kind in ABOUT else None,
        )
        self._history.writes.append(write)
        is_first = True
        while not write.answers and write.refused is None:
            attempts = [self._attempt(write, comment_id, self.door)]
            if is_first and self._node is None and self._chance.random() < TWICE_PROBABILITY:
                attempts.append(self._attempt(write, comment_id, "rest"))
            await asyncio.gather(*attempts)
            is_first = False
            if not write.answers:
                await asyncio.sleep(self._chance.uniform(*PAUSE_SECONDS))
        if write.answers and self._rewinds_known == len(self._arena.rewinds):
            self._remember(write)
        return write

    def _remember(self, write: Write) -> None:
        id = write.answers[0].comment_id
        mine, roots = self._mine[write.topic], self._roots[write.topic]
        if write.kind == "delete":
            mine.remove(id)
            if id in roots:
                roots.remove(id)
        elif write.kind in ("add", "reply"):
            mine.append(id)
            if write.kind == "add":
                roots.append(id)
            del mine[:-MINE_KEPT], roots[:-MINE_KEPT]

    async def _attempt(self, write: Write, comment_id: str | None, door: Door) -> None:
        """One attempt; what comes of it is noted in `write`."""
        write.attempts += 1
        self._asked_at = time.monotonic()
        try:
            ask_by = self._ask_socket if door == "socket" else self._ask_rest
            data = await ask_by(write, comment_id)
            self._note_answer()
        except Failed as error:
            self._note_answer()
            self.trouble[error.code or str(error.status)] += 1
            if error.code == "unauthenticated":
                self._identity_token = None
                self.unexpected.append(f"{self.name}: {error}")
            elif error.code == "internal":
                self.unexpected.append(f"{self.name}: {write.kind} {write.request_id}: {error}")
            elif error.code is not None and error.code not in PASSING:
                write.refused = str(error)
        except LOST as error:
            self.trouble[type(error).__name__] += 1
            if door == "socket":
                self._hang_up()
        else:
            comment = data.get("comment")
            answered = str(comment["id"] if comment is not None else write.comment_id)
            write.answers.append(Answer(data["seq"], answered))
            write.acknowledged_at = write.acknowledged_at or time.monotonic()

    def _note_answer(self) -> None:
        now = time.monotonic()
        self.answered.append((now, now - self._asked_at))

    # Through the Socket.IO door

    async def _ask_socket(self, write: Write, comment_id: str | None) -> Mapping[str, Any]:
        connection = await self._connected()
        self._asked_at = time.monotonic()
        command, payload = self._command(write, comment_id)
        data: Mapping[str, Any] = await ask(connection, command, payload, timeout=self._answer_seconds)
        return data

    def _command(self, write: Write, comment_id: str | None) -> tuple[str, dict[str, Any]]:
        discussion_id = write.topic.partition(":")[2]
        if write.kind == "remove":
            return "discussion.remove", {
                "discussionId": discussion_id,
                "userId": comment_id,
                "requestId": write.request_id,
            }
        if write.kind == "invite":
            return "discussion.invite", {
                "discussionId": discussion_id,
                "members": [{"kind": "user", "id": comment_id}],
                "requestId": write.request_id,
            }
        text = f"{write.request_id} {write.kind} of {self.name}"
        if write.kind == "delete":
            return "comment.delete", {"commentId": comment_id, "requestId": write.request_id}
        if write.kind == "edit":
            return "comment.edit", {"commentId": comment_id, "text": text, "requestId": write.request_id}
        payload: dict[str, Any] = {"topic": write.topic, "text": text, "requestId": write.request_id}
        if write.kind == "reply":
            payload["replyTo"] = comment_id
        elif write.request_id.endswith(LARGE_ENDINGS):
            payload["viewState"] = {"filler": "x" * LARGE_CHARACTERS}
        return "comment.add", payload

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.ended.is_set():
            self._hang_up()
            auth = await self._auth()
            try:
                self._connection = await connect("lean", self._any_url(), auth, lambda *_: None)
            except Refused as refusal:
                if refusal.code == "unauthenticated":
                    self.unexpected.append(f"{self.name} was refused with {next(iter(auth))}: {refusal}")
                    self._identity_token = self._resume_token = None
                raise
            self._resume_token = self._connection.hello["resumeToken"]
        return self._connection

    async def _auth(self) -> dict[str, str]:
        """Mostly as clients come back that have been here before."""
        if self._resume_token is not None and self._chance.random() < RESUME_PROBABILITY:
            return {"resumeToken": self._resume_token}
        return {"identityToken": await self._token()}

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.leave()

    # --- through the REST door

    async def _ask_rest(self, write: Write, comment_id: str | None) -> Mapping[str, Any]:
        command, payload = self._command(write, comment_id)
        headers = {"X-MSTR-IdentityToken": await self._token(), "Idempotency-Key": payload.pop("requestId")}
        id, topic = payload.pop("commentId", None), payload.pop("topic", None)
        discussion, user = payload.pop("discussionId", None), payload.pop("userId", None)
        method, path, body = {
            "comment.add": ("POST", f"/topics/{topic}/comments", payload),
            "comment.edit": ("PATCH", f"/comments/{id}", payload),
            "comment.delete": ("DELETE", f"/comments/{id}", None),
            "discussion.remove": ("DELETE", f"/discussions/{discussion}/members/{user}", None),
            "discussion.invite": ("POST", f"/discussions/{discussion}/members", payload),
        }[command]
        url = self._any_url()
        base = f"{url}/collaboration/api" if url == self._arena.balancer_url else f"{url}/api"
        assert self._arena.http is not None
        async with self._arena.http.request(
            method,
            base + path,
            json=body,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._answer_seconds),
        ) as response:
            content = await response.json() if response.content_type == "application/json" else None
            if response.status >= 400 or not isinstance(content, dict):
                raise Failed(content if isinstance(content, dict) else {}, response.status)
            return content

    async def _token(self) -> str:
        if self._identity_token is None:
            self._identity_token = await self.person.identity_token()
        return self._identity_token

    def _any_url(self) -> str:
        if self._node is not None:
            return self._arena.url(self._node)
        urls = [self._arena.url(number) for number in range(len(self._arena.nodes))]
        return self._chance.choice([*urls, self._arena.balancer_url])


class Manager(Writer):
    """The owner of a discussion, who puts somebody out and lets them in again; in the end they are in."""

    def __init__(self, *arguments: Any, member_id: str, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._member_id = member_id

    @override
    async def run(self) -> None:
        try:
            while not self._is_stopping.is_set() or self._rewinds_known != len(self._arena.rewinds):
                kinds = ["remove", "invite"]
                if self._was_put_back() and not await self._is_member():
                    kinds = ["invite"]
                for kind in kinds:
                    await self.write(kind, self._topics[0], self._member_id)
                    with contextlib.suppress(TimeoutError):
                        pause = self._chance.expovariate(1 / self._pause_seconds)
                        async with asyncio.timeout(pause):
                            await self._is_stopping.wait()
                    if self._rewinds_known != len(self._arena.rewinds):
                        break  # and look anew who is in
        finally:
            self._hang_up()

    async def _is_member(self) -> bool:
        found: list[str] = []

        async def has_looked() -> bool:
            with contextlib.suppress(EmbeddedError):
                found.append(
                    await asyncio.to_thread(
                        self._arena.database.sql,
                        f"SELECT count(*) FROM collab.members WHERE user_id = '{self._member_id}'"
                        f" AND discussion_id = '{self._topics[0].partition(':')[2]}'",
                    )
                )
            return bool(found)

        await until(has_looked, LOOK_SECONDS, "the database is back")
        return found[0] != "0"
