"""Joining: commands that wait for one another share a transaction.

A transaction costs the same whether it stores one comment or thirty, and commands on one topic have to wait for each
other anyway, so whatever waits goes together. Nothing waits in order to be joined while nothing is under way: then a
transaction begins, with what has come in the same turn of the loop. Each command has its own answer; one that is
refused does not touch the others, and if a transaction fails by a bug its commands are carried out again one by one, so
that only the culprit fails.

The more go together, the less each costs. So beside a transaction that is under way another one begins when as many
have come as are in the first, or when that is held up, because PostgreSQL is slow. No two of them are about the same
topic: a node never waits for itself on a topic's lock.

What waits for a topic that somebody else has locked holds up nothing else, however many such topics there are. Only a
transaction about a single topic waits for its lock, as any other does (`storage.permits`), and only so many do at once.
All others leave out what is on topics that cannot be locked at once (`Held`). That is carried out next, each topic by
itself, where one more may wait; else it is tried again after a while, with others. What is on a topic that somebody
makes (`Locked`) is not: with that a transaction would wait, though there is nothing yet to be locked.

A transaction may take as long as the one that has waited longest has left. Whoever has too little left to wait for a
lock goes without waiting for one, beside others of whom that is so, as long as it is worth it; then they are refused.
Each runs in a task, which goes on with what has come meanwhile, and ends, so nobody has to see to the commands of
others. `stop` ends the tasks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Paused
from collab_server.services.commands.once import Answer, Request
from collab_server.storage.database import COMMAND_SECONDS, LOCK_SECONDS, Database
from collab_server.storage.failures import Locked

HELD_UP_SECONDS = 0.01
"""A transaction that takes longer is held up."""
MOST_PROMPT, MOST_FOR_LOCKS, MOST_AT_ONCE = 2, 3, 5
"""So many transactions are under way at once that are not held up, that may wait for a topic's lock, and so many of
all."""
TRIED_AGAIN_SECONDS = (0.01, 0.08)
"""What is held and may not wait for its lock stays for so long the first time, then twice as long, at most so long."""
MOST_JOINED = 64
MOST_BYTES = 200_000
"""So many go together, or so much, and at least one: to put them into one statement keeps the loop busy."""
MOST_WAITING = 4096
MOST_WAITING_BYTES = 64_000_000
LEAST_SECONDS, LEAST_FREE_SECONDS = LOCK_SECONDS + 0.05, 0.4
"""With less left before its deadline, a command could be cut while it waits for its topic, or for PostgreSQL to store
it, and cut the others short."""

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)
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


class Held(Paused):
    """Nothing of a command is stored: its topic could not be locked at once."""

    def __init__(self) -> None:
        super().__init__("the database is busy")


class Commit(Protocol[T_contra]):
    def __call__(
        self,
        database: Database,
        items: Sequence[T_contra],
        requests: Sequence[Request | None],
        since: float,
        /,
        *,
        waits: bool,
    ) -> Awaitable[tuple[list[Answer], Sequence[Any]]]:
        """Carry out several commands in one transaction, each once; one of them has waited `since` then (time of the
        loop). Returns their answers and what the transaction recorded. `Held` are those whose topic somebody else has
        made meanwhile, and, unless it `waits`, those whose topic cannot be locked at once. Where something else is
        locked, it raises `Locked` then.
        """


@dataclass(slots=True)
class _Waiting(Generic[T]):
    """`is_apart`: with it a transaction waits, so it goes with nothing but what is on its topic."""

    topic: str
    item: T
    size: int
    request: Request | None
    since: float
    times_held: int = 0
    is_apart: bool = False
    answer: asyncio.Future[JsonText] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(slots=True, eq=False)
class _Turn(Generic[T]):
    """A transaction that is under way, and whether it waits for the lock of its topic; when its timer ends, it is held
    up."""

    batch: list[_Waiting[T]]
    waits: bool
    is_held_up: bool = False
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
        self._bytes = 0  # that somebody waits for, also of what is under way
        self._come = 0  # since the last transaction began, on topics that none of those under way is about
        self._is_due = False
        self._under_way: list[_Turn[T]] = []
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
        size = self._size_of(item)
        if len(self._queue) >= MOST_WAITING or self._bytes + size > MOST_WAITING_BYTES:
            raise Paused("the database is busy")
        waiting = _Waiting(topic, item, size, request, since)
        self._queue.append(waiting)
        self._bytes += size
        if topic not in self._topics:
            self._has_come()
        try:
            return await waiting.answer
        finally:
            self._bytes -= size

    async def stop(self) -> None:
        """End what still runs. Those who asked for it must have gone before: they get no answer."""
        self._queue.clear()  # nothing begins any more
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _may_begin(self) -> bool:
        prompt = [turn for turn in self._under_way if not turn.is_held_up]
        if len(self._under_way) >= MOST_AT_ONCE or len(prompt) >= MOST_PROMPT:
            return False
        return not prompt or self._come >= len(prompt[0].batch)

    @property
    def _may_wait(self) -> bool:
        """Whether one more may wait for the lock of its topic."""
        return sum(turn.waits for turn in self._under_way) < MOST_FOR_LOCKS

    def _has_come(self) -> None:
        self._come += 1
        if not self._is_due and self._may_begin:
            # In the next turn of the loop: what comes in this one goes along.
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _begin(self) -> _Turn[T] | None:
        """Take what waits into a transaction, if it is time for one and something may go into it."""
        if not self._may_begin:
            return None
        loop = asyncio.get_running_loop()
        may_wait, now = self._may_wait, loop.time()
        batch = _take(self._queue, self._topics, now, may_wait=may_wait)
        if not batch:
            return None
        topics = {waiting.topic for waiting in batch}
        turn = _Turn(batch, waits=may_wait and len(topics) == 1 and not _is_late(batch[0], now))
        turn.timer = loop.call_later(HELD_UP_SECONDS, self._is_held_up, turn)
        # What has come and is not held still waits for as many.
        self._come = max(0, self._come - len(batch)) if may_wait and batch[0].times_held else 0
        self._under_way.append(turn)
        self._topics |= topics
        return turn

    async def _run(self, turn: _Turn[T]) -> None:
        try:
            await self._run_batch(turn.batch, waits=turn.waits)
        finally:
            turn.timer.cancel()
            self._under_way.remove(turn)
            self._topics.difference_update([waiting.topic for waiting in turn.batch])
        if held := [waiting for waiting in turn.batch if not waiting.answer.done()]:
            self._put_back(held)

    def _put_back(self, held: list[_Waiting[T]]) -> None:
        """In front of all that waits, as they were. Where they could only be tried again they stay for a while."""
        self._queue.extendleft(reversed(held))
        loop = asyncio.get_running_loop()
        if self._may_wait and not _is_late(held[0], loop.time()):
            self._come += len(held)
            return
        first, most = TRIED_AGAIN_SECONDS
        # As long as it is time for the first of each topic, which has been held most often.
        for topic, times in {waiting.topic: waiting.times_held for waiting in reversed(held)}.items():
            self._topics.add(topic)
            loop.call_later(min(first * 2 ** (times - 1), most), self._try_again, topic)

    def _try_again(self, topic: str) -> None:
        self._topics.discard(topic)
        self._has_come()

    def _is_held_up(self, turn: _Turn[T]) -> None:
        turn.is_held_up = True
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

    async def _run_batch(self, batch: list[_Waiting[T]], *, waits: bool) -> None:
        """Answer every command of the batch, one way or another, but for those that are held. Never raises."""
        try:
            answers = await self._carry_out(batch, waits=waits)
        except Locked:
            await self._run_each_topic(batch)
            return
        except ClientError as error:
            answers = [error] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                _answer(batch[0], error)
                return
            for waiting in batch:
                await self._run_batch([waiting], waits=waits)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Held):
                waiting.times_held += 1
            else:
                _answer(waiting, answer)

    async def _run_each_topic(self, batch: list[_Waiting[T]]) -> None:
        """Somebody makes one of these topics, which is nothing to be locked yet: find out which, and keep it apart."""
        topics = dict.fromkeys(waiting.topic for waiting in batch)
        if len(topics) == 1:
            for waiting in batch:
                waiting.times_held += 1
                waiting.is_apart = True
            return
        for topic in topics:
            await self._run_batch([waiting for waiting in batch if waiting.topic == topic], waits=False)

    async def _carry_out(self, batch: list[_Waiting[T]], *, waits: bool) -> list[Answer]:
        items = [waiting.item for waiting in batch]
        asked = [waiting.request for waiting in batch]
        since = min(waiting.since for waiting in batch)
        answers, recorded = await self._commit(self._database, items, asked, since, waits=waits)
        self._publish(recorded)  # reached only after COMMIT
        return answers


def _take(
    queue: deque[_Waiting[T]], busy: Collection[str], now: float, *, may_wait: bool
) -> list[_Waiting[T]]:
    """What goes together now: all that waits, in order, up to the limit and to a request that is in already.

    What is on a busy topic stays. What is held goes first where that `may_wait`, with nothing but what is on its topic;
    else like all others. Those that are late go together. Answers those that have waited for too long.
    """
    batch: list[_Waiting[T]] = []
    size = 0
    keys: set[tuple[str, str]] = set()
    staying: list[_Waiting[T]] = []
    held: set[str] = set()  # topics that are to go alone next time
    apart: set[str] = set()
    alone: str | None = None
    while queue and len(batch) < MOST_JOINED:
        waiting = queue[0]
        if waiting.since + COMMAND_SECONDS - LEAST_FREE_SECONDS < now:
            _answer(queue.popleft(), Paused("the database is busy"))
            continue
        topic, is_late = waiting.topic, _is_late(waiting, now)
        may_go_alone = may_wait and (waiting.is_apart or (waiting.times_held and not is_late))
        if may_go_alone and alone is None and topic not in busy:
            if batch:
                held.add(topic)
            else:
                alone = topic
        if waiting.is_apart and not may_wait:
            apart.add(topic)
        if topic in busy or topic in held or topic in apart or (alone is not None and topic != alone):
            staying.append(queue.popleft())
            continue
        if batch and is_late is not _is_late(batch[0], now):
            break
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


def _is_late(waiting: _Waiting[Any], now: float) -> bool:
    """Whether it has too little time left to wait for a lock."""
    return waiting.since + COMMAND_SECONDS - LEAST_SECONDS < now


def _answer(waiting: _Waiting[Any], answer: JsonText | Exception) -> None:
    if waiting.answer.done():
        return  # whoever asked has given up
    if isinstance(answer, str):
        waiting.answer.set_result(answer)
    else:
        waiting.answer.set_exception(answer)
