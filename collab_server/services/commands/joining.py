"""Joining: commands that wait for one another share a transaction.

A transaction costs the same whether it stores one comment or thirty, and commands on one topic have to wait for each
other anyway, so whatever waits goes together. Nothing waits in order to be joined: a free queue starts at once with
what is there. Each command has its own answer; one that is refused does not touch the others, and if a transaction
fails by a bug its commands are carried out again one by one, so that only the culprit fails.

Topics are spread over `QUEUES`; those of a queue take turns, so a node never waits for itself on a topic's lock. Who
finds a queue free carries their command out themselves; a task of the queue's does what has come meanwhile, and ends.
A transaction may take as long as the one that has waited longest has left, and whoever has waited for too long for it
to be worth it is refused instead. `stop` ends the tasks of the queues.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Paused
from collab_server.services.commands.once import Answer, Request
from collab_server.storage.database import COMMAND_SECONDS, LOCK_SECONDS, Database

QUEUES = 2
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
    item: T
    size: int
    request: Request | None
    since: float
    answer: asyncio.Future[JsonText] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


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
        self._queues: list[deque[_Waiting[T]]] = [deque() for _ in range(QUEUES)]
        self._running: dict[int, asyncio.Task[None] | None] = {}  # None: in the task of a command

    @property
    def waiting(self) -> int:
        """How many commands wait now, those under way left out."""
        return sum(map(len, self._queues))

    async def run(self, topic: str, item: T, request: Request | None, since: float) -> JsonText:
        """Carry out a command on a topic, for a client that has waited `since` then; the JSON text of its answer.

        Raises its `ClientError`, or `Paused` as `Database.run` does.
        """
        number = zlib.crc32(topic.encode()) % QUEUES
        queue = self._queues[number]
        if len(queue) >= MOST_WAITING:
            raise Paused("the database is busy")
        waiting = _Waiting(item, self._size_of(item), request, since)
        queue.append(waiting)
        if number not in self._running:
            self._running[number] = None
            try:
                await self._run_next(queue)
            finally:
                self._go_on(number, queue)
        return await waiting.answer

    async def stop(self) -> None:
        """End what still runs. Those who asked for it must have gone before: they get no answer."""
        tasks = [task for task in self._running.values() if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _go_on(self, number: int, queue: deque[_Waiting[T]]) -> None:
        """Leave what has come meanwhile to a task, so that nobody's command waits for those of others."""
        if queue:
            self._running[number] = asyncio.create_task(self._run_queue(number, queue))
        else:
            del self._running[number]

    async def _run_queue(self, number: int, queue: deque[_Waiting[T]]) -> None:
        try:
            while queue:
                await self._run_next(queue)
        finally:
            del self._running[number]

    async def _run_next(self, queue: deque[_Waiting[T]]) -> None:
        if batch := _take(queue, asyncio.get_running_loop().time()):
            await self._run_batch(batch)

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


def _take(queue: deque[_Waiting[T]], now: float) -> list[_Waiting[T]]:
    """What goes together now: all that waits, in order, up to the limit and to a request that is in already.

    Answers those that have waited for too long.
    """
    batch: list[_Waiting[T]] = []
    size = 0
    keys: set[tuple[str, str]] = set()
    while queue and len(batch) < MOST_JOINED:
        if queue[0].since + COMMAND_SECONDS - LEAST_SECONDS < now:
            _answer(queue.popleft(), Paused("the database is busy"))
            continue
        request = queue[0].request
        if request is not None:
            if request.key in keys:
                break
            keys.add(request.key)
        size += queue[0].size
        if batch and size > MOST_BYTES:
            break
        batch.append(queue.popleft())
    return batch


def _answer(waiting: _Waiting[Any], answer: JsonText | Exception) -> None:
    if waiting.answer.done():
        return  # whoever asked has given up
    if isinstance(answer, str):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(answer)
