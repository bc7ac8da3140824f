"""Lines for questions to Library: who has many waiting waits for himself, and nobody waits for another kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collab_server.authority.library.lines import Line, Pace
from collab_server.ports import Busy


class Calls:
    """Calls that last until they are let go, in the order in which they began."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.begun: list[str] = []
        self._ends: list[asyncio.Event] = []

    async def call(self, whom: str) -> None:
        async with self.line.turn(whom):
            self.begun.append(whom)
            self._ends.append(asyncio.Event())
            await self._ends[-1].wait()

    def start(self, *whom: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.call(one)) for one in whom]

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def finish(calls: Calls, tasks: list[asyncio.Task[None]]) -> list[Any]:
    for number in range(len(tasks)):
        if number < len(calls.begun):
            await calls.end(number)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_who_comes_late_but_alone_is_served_before_the_many_of_another() -> None:
    calls = Calls(Line(1))
    tasks = calls.start(*"aaaaa")
    await settle()
    tasks += calls.start("b")
    await settle()
    for number in range(3):
        await calls.end(number)
    assert calls.begun[:3] in (["a", "a", "b"], ["a", "b", "a"])
    assert await finish(calls, tasks) == [None] * 6
    assert sorted(calls.begun) == list("aaaaab")


async def test_nobody_has_more_places_than_one_may_have_while_others_use_the_rest() -> None:
    calls = Calls(Line(4, each_at_once=2))
    tasks = calls.start(*"aaaa", *"bc")
    await settle()
    assert calls.begun == ["a", "a", "b", "c"]
    await calls.end(2)  # one place is free, but not for a
    assert len(calls.begun) == 4
    await calls.end(0)
    assert calls.begun[4:] == ["a"]
    assert await finish(calls, tasks) == [None] * 6


async def test_a_full_line_is_said_and_who_has_most_waiting_makes_room() -> None:
    calls = Calls(Line(1, most_waiting=3, each_waiting=3))
    tasks = calls.start("a", "a", "a", "a")
    await settle()
    with pytest.raises(Busy):
        await calls.call("a")
    tasks += calls.start("b")
    await settle()
    assert calls.line.waiting == 3
    assert [type(one) for one in await finish(calls, tasks)].count(Busy) == 1
    assert calls.begun.count("a") == 3
    assert calls.begun.count("b") == 1


async def test_nobody_makes_room_for_who_would_then_have_as_many_waiting() -> None:
    """Else two who both ask a lot put each other out all the time."""
    calls = Calls(Line(1, most_waiting=3))
    tasks = calls.start(*"xaab")
    await settle()
    with pytest.raises(Busy):
        await asyncio.wait_for(calls.call("b"), 5)
    assert await finish(calls, tasks) == [None] * 4
    assert sorted(calls.begun) == list("aabx")


async def test_who_stops_waiting_leaves_no_place_behind() -> None:
    calls = Calls(Line(2, each_at_once=1))
    tasks = calls.start(*"aabc")
    await settle()
    for place in (1, 3):
        tasks[place].cancel()
    await calls.end(0)
    for task in tasks[2:3]:
        task.cancel()
    await settle()
    assert calls.line.waiting == 0
    again = calls.start(*"ab")
    await settle()
    assert calls.begun[-2:] == ["a", "b"]
    for task in again:
        task.cancel()
    await asyncio.gather(*tasks, *again, return_exceptions=True)
    last = calls.start(*"xy")
    await settle()
    assert calls.begun[-2:] == ["x", "y"]
    for task in last:
        task.cancel()
    await asyncio.gather(*last, return_exceptions=True)


async def test_who_stops_waiting_in_the_turn_in_which_a_place_is_free_holds_nobody_up() -> None:
    calls = Calls(Line(1, most_waiting=2))
    tasks = calls.start(*"abc")
    await settle()
    tasks[1].cancel()
    calls._ends[0].set()  # both at once: b has not left the line yet
    await settle()
    assert calls.begun == ["a", "c"]
    tasks += calls.start(*"dd")
    await settle()
    tasks[4].cancel()
    tasks += calls.start("e")  # the line is full of those who have gone
    await settle()
    await calls.end(1)
    await calls.end(2)
    assert calls.begun[2:] == ["d", "e"]
    await calls.end(3)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert calls.line.waiting == 0


async def test_who_is_cancelled_in_the_turn_in_which_they_are_served_gives_the_place_on() -> None:
    calls = Calls(Line(1))
    tasks = calls.start(*"abc")
    await settle()
    calls._ends[0].set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[1].cancel()
    await settle()
    assert calls.begun[-1] == "c"
    await calls.end(len(calls.begun) - 1)
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_next_of_the_same_is_served_where_one_is_cancelled_in_the_turn_of_being_served() -> None:
    calls = Calls(Line(2, each_at_once=1))
    tasks = calls.start(*"aaa")
    await settle()
    calls._ends[0].set()
    await asyncio.sleep(0)
    tasks[1].cancel()
    await settle()
    assert calls.begun == ["a", "a"]
    await calls.end(1)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert calls.line.waiting == 0


def test_one_and_the_same_asks_at_a_pace_and_is_told_when_that_would_take_too_long() -> None:
    pace = Pace(per_second=10, burst=5, most_seconds=0.35)
    assert [pace.seconds("a", 100.0) for _ in range(5)] == [0] * 5
    assert [pace.seconds("a", 100.0) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    with pytest.raises(Busy):
        pace.seconds("a", 100.0)
    assert pace.seconds("b", 100.0) == 0
    assert pace.seconds("a", 100.1) == pytest.approx(0.3)
    assert pace.seconds("a", 200.0) == 0
    for _ in range(5):
        pace.count("a")
    assert pace.seconds("a", 200.0) == pytest.approx(0.2)


async def test_what_comes_too_soon_waits_beside_the_line() -> None:
    calls = Calls(Line(1, each_pace=Pace(per_second=20, burst=1, most_seconds=1)))
    tasks = calls.start(*"aab")
    await settle()
    assert calls.begun == ["a"]
    assert calls.line.waiting == 1
    await calls.end(0)
    assert calls.begun == ["a", "b"]
    await calls.end(1)
    async with asyncio.timeout(20):
        while len(calls.begun) < 3:
            await asyncio.sleep(0.001)
    await calls.end(2)
    await asyncio.gather(*tasks)
