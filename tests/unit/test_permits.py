"""Permits: who may wait for a lock on a connection, how many, in which order; nothing is left of who is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from collab_server.errors import Paused
from collab_server.storage.failures import Locked
from collab_server.storage.permits import GLANCE_SECONDS, LEAST_SECONDS, MOST_WAITING, Permits
from collab_server.storage.server import LOCK_SECONDS, PROMPT_SECONDS


class Waiters:
    """Some who wait for locks. Glances find nothing; a wait with a permit ends when the test says so."""

    def __init__(self, connections: int = 10) -> None:
        self.permits = Permits(connections, chance=lambda: 0.0)
        self.long: list[str] = []
        """Who waits with a permit now, in the order in which they were given."""
        self.glanced: list[str] = []
        self._ends: dict[str, asyncio.Future[str]] = {}
        self._tasks: list[asyncio.Task[str]] = []

    async def come(self, *names: str, seconds: float = 60.0, on: str | None = "") -> list[asyncio.Task[str]]:
        """Have these come, each for what is called as its first letter, or for what nobody knows."""
        deadline = asyncio.get_running_loop().time() + seconds
        tasks = [
            asyncio.create_task(self._wait(name, None if on is None else name[0], deadline)) for name in names
        ]
        self._tasks += tasks
        await turns()
        return tasks

    async def _wait(self, name: str, on: str | None, deadline: float) -> str:
        async def attempt(seconds: float) -> str:
            if seconds == GLANCE_SECONDS:
                self.glanced.append(name)
                raise Locked(on)
            self.long.append(name)
            self._ends[name] = asyncio.get_running_loop().create_future()
            try:
                return await self._ends[name]
            finally:
                self.long.remove(name)

        return await self.permits.wait(on, deadline, attempt)

    async def end(self, name: str, *, is_locked: bool = False) -> None:
        """End the wait of one that has a permit."""
        if is_locked:
            self._ends[name].set_exception(Locked())
        else:
            self._ends[name].set_result(name)
        await turns()

    async def stop(self) -> None:
        """Have all give up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def turns() -> None:
    """Some turns of the loop, more than anything here takes."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def waiters() -> AsyncIterator[Waiters]:
    made = Waiters()
    yield made
    await made.stop()
    assert made.permits.waiting == 0
    assert not made.permits._behind
    again = await made.come(*"abcdefghijk")
    assert made.long == [*"abcde"], "every permit is there again"
    for task in again:
        task.cancel()
    await asyncio.gather(*again, return_exceptions=True)


async def test_half_of_the_connections_are_for_waiting(waiters: Waiters) -> None:
    await waiters.come(*"abcdefg")
    assert waiters.long == [*"abcde"]
    assert waiters.permits.waiting == 7
    await waiters.end("c")
    assert waiters.long == [*"abdef"]


async def test_whoever_wants_one_topic_takes_one_permit(waiters: Waiters) -> None:
    tasks = await waiters.come("a1", "a2", "a3", "b1")
    assert waiters.long == ["a1", "b1"]
    await waiters.end("a1")
    assert waiters.long == ["b1", "a2"]
    await waiters.end("a2")
    await waiters.end("a3")
    assert [await task for task in tasks[:3]] == ["a1", "a2", "a3"]


async def test_nobody_tries_for_what_somebody_waits_for(waiters: Waiters) -> None:
    await waiters.come("a1", "a2", "b1")
    assert waiters.permits.is_waited_for("a")
    assert waiters.permits.is_waited_for("b")
    assert not waiters.permits.is_waited_for("c")
    await waiters.end("a1")
    assert waiters.permits.is_waited_for("a"), "the next one is the first"
    await waiters.end("a2")
    await waiters.end("b1")
    assert not waiters.permits.is_waited_for("a")
    assert not waiters.permits.is_waited_for("b")


async def test_what_one_has_had_the_next_one_tries_without_a_permit(waiters: Waiters) -> None:
    await waiters.come("a1", "a2", "a3", *"bcdefghi")
    assert waiters.long == [*("a1", *"bcde")]
    await waiters.end("a1")
    assert sorted(waiters.long) == ["a2", *"bcdef"]
    await waiters.end("a2", is_locked=True)
    assert sorted(waiters.long) == [*"bcdef"]


async def test_what_somebody_has_waited_for_in_vain_is_not_tried_without_a_permit(waiters: Waiters) -> None:
    first, *_ = await waiters.come("a1", "a2", *"bcdefghi")
    first.cancel()
    await turns()
    assert waiters.long == [*"bcdef"]


async def test_who_comes_waits_for_next_to_nothing_where_more_is_locked_than_there_are_connections(
    waiters: Waiters,
) -> None:
    await waiters.come("a", *"abcdefghij")
    seconds = [waiters.permits.prompt_seconds]
    await waiters.come("k")
    seconds.append(waiters.permits.prompt_seconds)
    await waiters.end("b")
    seconds.append(waiters.permits.prompt_seconds)
    assert seconds == [None, GLANCE_SECONDS, None]


async def test_whoever_has_had_none_yet_is_given_one_first(waiters: Waiters) -> None:
    await waiters.come(*"abcdefg")
    await waiters.end("a", is_locked=True)
    await waiters.come("h")
    await waiters.end("b", is_locked=True)
    await waiters.end("c")
    assert waiters.long == [*"defgh"]
    await waiters.end("d")
    assert waiters.long == [*"efgha"]


async def test_those_of_whom_nobody_knows_what_they_wait_for_stand_behind_nobody(waiters: Waiters) -> None:
    await waiters.come(*"abc", on=None)
    assert waiters.long == [*"abc"]


async def test_who_has_no_permit_glances_now_and_then(waiters: Waiters) -> None:
    await waiters.come(*"abcdef")
    assert waiters.glanced == ["f"]
    async with asyncio.timeout(5):
        while len(waiters.glanced) < 3:
            await asyncio.sleep(0.01)
    assert {*waiters.glanced} == {"f"}


async def test_whoever_gives_up_lets_the_next_one_in(waiters: Waiters) -> None:
    tasks = await waiters.come("a1", "a2", "a3")
    tasks[1].cancel()
    tasks[0].cancel()
    await turns()
    assert waiters.long == ["a3"]


async def test_a_place_that_comes_as_one_gives_up_is_passed_on(waiters: Waiters) -> None:
    tasks = await waiters.come("a1", "a2", "a3")
    waiters._ends["a1"].set_result("a1")
    while not tasks[0].done():
        await asyncio.sleep(0)
    tasks[1].cancel()
    await turns()
    assert waiters.long == ["a3"]


async def test_all_waiting_ends_by_the_deadline(waiters: Waiters) -> None:
    await waiters.come(*"abcde")
    late = await waiters.come("f1", "f2", "a2", seconds=LEAST_SECONDS + 0.05)
    for task in late:
        with pytest.raises(Paused):
            await task
    assert waiters.permits.waiting == 5


async def test_no_more_wait_than_can_be_served(waiters: Waiters) -> None:
    waiters.permits._waiting = MOST_WAITING
    [task] = await waiters.come("a")
    with pytest.raises(Paused):
        await task
    waiters.permits._waiting = 0


async def test_a_bug_in_an_attempt_is_told_and_lets_the_next_one_in(waiters: Waiters) -> None:
    tasks = await waiters.come("a1", "a2")
    waiters._ends["a1"].set_exception(ValueError("a bug"))
    with pytest.raises(ValueError, match="a bug"):
        await tasks[0]
    await turns()
    assert waiters.long == ["a2"]


async def test_waits_are_short_where_few_permits_are_left_and_prompt_where_there_is_none() -> None:
    async def seconds_of(permits: Permits, count: int) -> list[float]:
        given: list[float] = []

        async def attempt(seconds: float) -> None:
            given.append(seconds)
            if len(given) == count:
                all_in.set()
            await all_in.wait()

        all_in = asyncio.Event()
        deadline = asyncio.get_running_loop().time() + 60
        await asyncio.gather(*(permits.wait(None, deadline, attempt) for _ in range(count)))
        return given

    many = await seconds_of(Permits(10), 5)
    assert many[:2] == [LOCK_SECONDS] * 2
    assert len({*many[2:]}) == 1
    assert max(many[2:]) < LOCK_SECONDS
    assert await seconds_of(Permits(1), 1) == [PROMPT_SECONDS]
