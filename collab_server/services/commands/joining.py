"""Joining: commands that wait for one another share a transaction.

A transaction costs the same whether it stores one comment or thirty, and commands on one topic have to wait for each
other anyway, so whatever waits goes together. Nothing waits in order to be joined while nothing is under way: then a
transaction begins, with what has come in the same turn of the loop. Each command has its own answer; one that is
refused does not touch the others, and if a transaction fails by a bug its commands are carried out again one by one, so
that only the culprit fails.

The more go together, the less each costs. So beside a transaction that is under way another one begins when as many
have come as are in the first; or when that is held up, because somebody else has locked one of its topics or PostgreSQL
is slow. No two of them are about the same topic: a node never waits for itself on a topic's lock, and what is held up
holds up nothing else.

A transaction may take as long as the one that has waited longest has left, and whoever has waited for too long for it
to be worth it is refused instead. Each runs in a task, which goes on with what has come meanwhile, and ends, so nobody
has to see to the commands of others. `stop` ends the tasks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Paused
from collab_server.services.commands.once import Answer, Request
from collab_server.storage.database import COMMAND_SECONDS, LOCK_SECONDS, Database

HELD_UP_SECONDS = 0.01
"""A transaction that takes longer is held up."""
MOST_PROMPT, MOST_AT_ONCE = 2, 4
"""So many transactions are under way at once that are not held up, and so many of all."""
MOST_JOINED = 64
MOST_BYTES = 200_000
"""So many go together, or so much, and at least one: to put them into one statement keeps the loop busy."""
MOST_WAITING = 4096
LEAST_SECONDS = LOCK_SECONDS + 0.05
"""With less left before its deadline, a command could be cut while it waits for its topic, and cut the others short."""

T = TypeVar("T")
C = TypeVar("C")
F = TypeVar("F")


@dataclass(frozen=True, slots=True)
class Asked(Generic[C, F]):
    """A command that somebody wants carried out; `facts` is what was settled before, `trace` names what came of it: it
    may be carried out in the context of another one."""

    who: Identity
    command: C
    facts: F
    trace: str = ""


Commit = Callable[
    [Database, Sequence[T], Sequence[Request | None], float], Awaitable[tuple[list[Answer], Sequence[Any]]]
]
"""Carries out several commands in one transaction, each once; the last argument is since when one of them has waited
(time of the loop). Returns their answers and what the transaction recorded."""


@dataclass(slots=True)
class _Waiting(Generic[T]):
    topic: str
    item: T
    size: int
    request: Request | None
    since: float
    answer: asyncio.Future[JsonText] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(slots=True, eq=False)
class _Turn(Generic[T]):
    """A transaction that is under way; when its timer ends, it is held up."""

    batch: list[_Waiting[T]]
    timer: asyncio.TimerHandle = field(init=False)


class Joiner(Generic[T]):
    """Carries out commands of one kind together. `publish` gets what a transaction recorded, after its COMMIT.

    `size_of` says how many bytes, more or less, a command brings.
    """

    def __init__(
        self,
        database: Database,
        commit: Commit[T],
        publish: Callable[[Sequence[Any]], None],
        size_of: Callable[[T], int] = lambda item: 0,
    ) -> None:
        self._database = database
        self._commit = commit
        self._publish = publish
        self._size_of = size_of
        self._queue: deque[_Waiting[T]] = deque()
        self._come = 0  # since the last transaction began, on topics that none of those under way is about
        self._is_due = False
        self._under_way = 0
        self._prompt: list[_Turn[T]] = []  # of those under way, what is not held up
        self._topics: set[str] = set()  # of all that is under way
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many commands wait now, those under way left out."""
        return len(self._queue)

    async def run(self, topic: str, item: T, request: Request | None, since: float) -> JsonText:
        """Carry out a command on a topic, for a client that has waited `since` then; the JSON text of its answer.

        Raises its `ClientError`, or `Paused` as `Database.run` does.
        """
        if len(self._queue) >= MOST_WAITING:
            raise Paused("the database is busy")
        waiting = _Waiting(topic, item, self._size_of(item), request, since)
        self._queue.append(waiting)
        if topic not in self._topics:
            self._come += 1
            if not self._is_due and self._may_begin:
                # In the next turn of the loop: what comes in this one goes along.
                self._is_due = True
                asyncio.get_running_loop().call_soon(self._go_on)
        return await waiting.answer

    async def stop(self) -> None:
        """End what still runs. Those who asked for it must have gone before: they get no answer."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _may_begin(self) -> bool:
        prompt = self._prompt
        if self._under_way >= MOST_AT_ONCE or len(prompt) >= MOST_PROMPT:
            return False
        return not prompt or self._come >= len(prompt[0].batch)

    def _begin(self) -> _Turn[T] | None:
        """Take what waits into a transaction, if it is time for one and something may go into it."""
        if not self._may_begin:
            return None
        loop = asyncio.get_running_loop()
        batch = _take(self._queue, self._topics, loop.time())
        if not batch:
            return None
        turn = _Turn(batch)
        turn.timer = loop.call_later(HELD_UP_SECONDS, self._is_held_up, turn)
        self._come = 0
        self._under_way += 1
        self._prompt.append(turn)
        self._topics.update([waiting.topic for waiting in batch])
        return turn

    async def _run(self, turn: _Turn[T]) -> None:
        try:
            await self._run_batch(turn.batch)
        finally:
            turn.timer.cancel()
            self._under_way -= 1
            if turn in self._prompt:
                self._prompt.remove(turn)
            self._topics.difference_update([waiting.topic for waiting in turn.batch])

    def _is_held_up(self, turn: _Turn[T]) -> None:
        self._prompt.remove(turn)
        self._go_on()

    def _go_on(self) -> None:
        self._is_due = False
        if turn := self._begin():
            task = asyncio.create_task(self._run_all(turn))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_all(self, turn: _Turn[T] | None) -> None:
        while turn is not None:
            await self._run(turn)
            turn = self._begin()

    async def _run_batch(self, batch: list[_Waiting[T]]) -> None:
        """Answer every command of the batch, one way or another. Never raises."""
        try:
            answers = await self._carry_out(batch)
        except ClientError as error:
            answers = [error] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                _answer(batch[0], error)
                return
            for waiting in batch:
                await self._run_batch([waiting])
            return
        for waiting, answer in zip(batch, answers, strict=True):
            _answer(waiting, answer)

    async def _carry_out(self, batch: list[_Waiting[T]]) -> list[Answer]:
        items = [waiting.item for waiting in batch]
        asked = [waiting.request for waiting in batch]
        since = min(waiting.since for waiting in batch)
        answers, recorded = await self._commit(self._database, items, asked, since)
        self._publish(recorded)  # reached only after COMMIT
        return answers


def _take(queue: deque[_Waiting[T]], busy: Collection[str], now: float) -> list[_Waiting[T]]:
    """What goes together now: all that waits, in order, up to the limit and to a request that is in already.

    What is on a busy topic stays. Answers those that have waited for too long.
    """
    batch: list[_Waiting[T]] = []
    size = 0
    keys: set[tuple[str, str]] = set()
    staying: list[_Waiting[T]] = []
    while queue and len(batch) < MOST_JOINED:
        waiting = queue[0]
        if waiting.since + COMMAND_SECONDS - LEAST_SECONDS < now:
            _answer(queue.popleft(), Paused("the database is busy"))
            continue
        if waiting.topic in busy:
            staying.append(queue.popleft())
            continue
        request = waiting.request
        if request is not None:
            if request.key in keys:
                break
            keys.add(request.key)
        size += waiting.size
        if batch and size > MOST_BYTES:
            break
        batch.append(queue.popleft())
    queue.extendleft(reversed(staying))
    return batch


def _answer(waiting: _Waiting[Any], answer: JsonText | Exception) -> None:
    if waiting.answer.done():
        return  # whoever asked has given up
    if isinstance(answer, str):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(answer)
