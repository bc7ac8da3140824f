"""What is to be changed, until the server has answered: sent again under the same requestId for as long as it takes, so
that it takes effect once; in the order in which it was asked, topic by topic."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from collab_client.connection import Connection
from collab_client.ids import random_id, wired
from collab_client.keeping import Entry, Keeping
from collab_client.refused import Refused

_ENTRIES: Final = 200
_DAYS: Final = 7 * 24 * 3600  # for so long the server knows a requestId


class Outbox:
    """Everything that waits. `keeping` None: in memory. `changed` is called whenever something has become of an entry,
    `answered` with what was answered, before its entry goes."""

    def __init__(
        self,
        connection: Connection,
        keeping: Keeping | None,
        *,
        changed: Callable[[], None],
        answered: Callable[[Entry, Any], None],
    ) -> None:
        self._connection = connection
        self._keeping = keeping
        self._changed, self._answered = changed, answered
        self._entries: dict[str, Entry] = {}
        self._askers: dict[str, asyncio.Future[Any]] = {}
        self._space = ""
        self._last_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """What is not answered yet or was refused, in order."""
        return self._of(self._space)

    def _of(self, space: str) -> tuple[Entry, ...]:
        return tuple(entry for entry in self._entries.values() if entry.space == space)

    def hello(self, space: str) -> None:
        """The connection is there, for this person."""
        # What somebody else has left waits until they are back; what nobody had is this person's.
        own = [dataclasses.replace(entry, space=space) for entry in self._of("")]
        if self._space != space:
            left = () if self._keeping is None else self._keeping.entries()
            found = {entry.key: entry for entry in left if entry.space == space}
            self._entries = {**found, **self._entries}
            self._space = space
        for entry in own:
            self._entries[entry.key] = entry
            self._keep(entry)
        for entry in self.entries:
            if entry.state == "sending":
                self._entries[entry.key] = dataclasses.replace(entry, state="waiting")
        self._changed()

    def add(self, name: str, payload: Mapping[str, Any], topic: str | None) -> asyncio.Future[Any]:
        """Have a command take effect, once. The answer may be left alone; an entry that is refused stays until it is
        discarded. Raises `TypeError` and `ValueError` for what is no JSON."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(_look)
        if self._connection.state == "closed":
            answer.set_exception(Refused("closed", "The client is closed."))
        elif len(self._of(self._connection.owner)) >= _ENTRIES:
            answer.set_exception(Refused("outbox_full", f"{_ENTRIES} changes wait."))
        else:
            sent = wired(payload)
            self._last_at = max(time.time(), self._last_at + 1e-6)  # what is kept is put in order by it
            lane = topic or self._lane(sent)
            space = self._connection.owner
            entry = Entry(random_id(), space, name, sent, random_id(), lane, self._last_at)
            entry = dataclasses.replace(entry, after=self._made_on(sent))
            self._askers[entry.key] = answer
            self._put(entry)
            self.send()
        return answer

    def retry(self, key: str, payload: Mapping[str, Any] | None = None) -> None:
        """Send a refused command again, perhaps with another payload."""
        entry = self._entries.get(key)
        if entry is None or entry.state != "refused":
            return
        again = wired(entry.payload if payload is None else payload)
        self._put(
            dataclasses.replace(
                entry, payload=again, request_id=random_id(), at=time.time(), state="waiting", problem=None
            )
        )
        self.send()

    def discard(self, key: str) -> None:
        """Forget a refused command."""
        entry = self._entries.get(key)
        if entry is not None and entry.state == "refused":
            self._drop(key)

    def close(self) -> None:
        """Send nothing more. What is kept in a file stays there."""
        for task in self._tasks:
            task.cancel()
        for answer in self._askers.values():
            if not answer.done():
                answer.set_exception(Refused("closed", "The client is closed."))
        if self._keeping is not None:
            self._keeping.close()
            self._keeping = None

    def send(self) -> None:
        """Send the first of each lane that is not under way."""
        if self._connection.live_on is None or not self._space:
            return
        busy = set()
        for entry in self.entries:
            if entry.state == "refused" or entry.lane in busy:
                continue
            busy.add(entry.lane)
            if entry.state == "waiting":
                sending = dataclasses.replace(entry, state="sending", problem=None)
                self._entries[entry.key] = sending  # in a file it waits
                self._changed()
                self._start(self._send_one(sending))

    def _lane(self, payload: Mapping[str, Any]) -> str:
        """What follows on a comment that waits goes after it; else each topic, comment or discussion has its own."""
        about = payload.get("commentId")
        for entry in reversed(self._of(self._connection.owner)):
            if about is not None and entry.payload.get("commentId") == about:
                return entry.lane
        return str(payload.get("topic") or about or payload.get("discussionId") or "")

    def _made_on(self, payload: Mapping[str, Any]) -> str | None:
        """The key of the edit whose words the comment of this change shows already."""
        about = payload.get("commentId")
        for entry in reversed(self._of(self._connection.owner)):
            is_shown = entry.name == "comment.edit" and entry.state != "refused"
            if is_shown and about is not None and entry.payload.get("commentId") == about:
                return entry.key
        return None

    async def _send_one(self, entry: Entry) -> None:
        if self._connection.live_on is None or entry.space != self._space:
            # The connection has ended since: it would wait for the next one, which may be somebody else's.
            if self._is_still(entry):
                self._entries[entry.key] = dataclasses.replace(entry, state="waiting")
                self._changed()
            return
        payload = {**entry.payload, "requestId": entry.request_id}
        if entry.is_unnamed:
            del payload["commentId"]
        try:
            if time.time() - entry.at > _DAYS:
                raise Refused("expired", "Not sent for a week.")
            answer = await self._connection.ask(entry.name, payload)
        except Refused as problem:
            if self._is_still(entry):
                await self._trouble(entry, problem)
        else:
            if self._is_still(entry):
                if entry.is_unnamed:
                    self._named(entry.payload["commentId"], answer["comment"]["id"])
                if entry.name == "comment.edit":
                    self._revised(entry.key, answer["comment"]["revision"])
                self._answered(entry, answer)
                asker = self._askers.get(entry.key)
                if asker is not None and not asker.done():
                    asker.set_result(answer)
                self._drop(entry.key)
        self.send()

    async def _trouble(self, entry: Entry, problem: Refused) -> None:
        if problem.code == "closed":
            return
        if problem.is_passing:
            waits = dataclasses.replace(entry, problem=_plain(problem))
            self._entries[entry.key] = waits
            self._changed()
            await asyncio.sleep(problem.retry_after or 1)
            if self._is_still(waits):
                self._entries[entry.key] = dataclasses.replace(waits, state="waiting")
                self._changed()
        elif problem.field == "commentId" and entry.name == "comment.add" and not entry.is_unnamed:
            # It has waited for longer than an id may be old, or this clock is wrong. It was never stored: its requestId
            # would have been answered. The server gives it an id.
            self._put(dataclasses.replace(entry, is_unnamed=True, request_id=random_id(), state="waiting"))
        elif problem.code != "unauthenticated":  # else it waits until somebody is signed in
            self._refuse(entry, problem)

    def _named(self, given: str, got: str) -> None:
        """What waits for a comment that the server has given another id goes by that."""
        for entry in self.entries:
            payload = dict(entry.payload)
            for field in ("commentId", "replyTo"):
                if payload.get(field) == given and (field, entry.name) != ("commentId", "comment.add"):
                    payload[field] = got
            if payload != entry.payload:
                self._put(dataclasses.replace(entry, payload=payload))

    def _revised(self, key: str, revision: int) -> None:
        """What was made of one's own edit is of the revision that this has become."""
        for entry in self.entries:
            if entry.after == key and entry.state == "waiting" and entry.payload.get("ofRevision"):
                payload = {**entry.payload, "ofRevision": revision}
                self._put(dataclasses.replace(entry, payload=payload))

    def _refuse(self, entry: Entry, problem: Refused) -> None:
        self._put(dataclasses.replace(entry, state="refused", problem=_plain(problem)))
        asker = self._askers.pop(entry.key, None)
        if asker is not None and not asker.done():
            asker.set_exception(problem)

    def _is_still(self, entry: Entry) -> bool:
        """Whether nothing else has become of it."""
        return self._entries.get(entry.key) is entry

    def _put(self, entry: Entry) -> None:
        self._entries[entry.key] = entry
        self._keep(entry)
        self._changed()

    def _keep(self, entry: Entry) -> None:
        # Whoever is not signed in yet has no space of their own.
        if self._keeping is not None and entry.space:
            self._keeping.put(
                dataclasses.replace(entry, state="waiting") if entry.state == "sending" else entry
            )

    def _drop(self, key: str) -> None:
        self._entries.pop(key, None)
        self._askers.pop(key, None)
        if self._keeping is not None:
            self._keeping.remove(key)
        self._changed()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _plain(problem: Refused) -> dict[str, Any]:
    """A refusal as it can be kept."""
    told = {
        "code": problem.code,
        "message": problem.message,
        "field": problem.field,
        "retryAfter": problem.retry_after,
        "outcome": problem.outcome,
        "ticketId": problem.ticket_id,
        "comment": problem.comment,
        "discussion": problem.discussion,
    }
    return {name: value for name, value in told.items() if value is not None}


def _look(answer: asyncio.Future[Any]) -> None:
    """Not every caller waits for it: asyncio need not complain of what nobody has looked at."""
    if not answer.cancelled():
        answer.exception()
