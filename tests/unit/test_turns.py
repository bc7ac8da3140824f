"""Turns: the commands of those who ask a lot begin one by one, and nobody's wait behind those of another."""

from __future__ import annotations

import asyncio

import pytest

from collab_server.errors import RateLimited
from collab_server.services.commands import turns as module
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.turns import EACH, EACH_WAITING, FEW, MANY, Turns


class Node:
    """Commands that last until they are let go, in the order in which they began; `busy` says that turns are long."""

    def __init__(self) -> None:
        self.computed = 0.0
        self.busy = False
        self.begun: list[str] = []
        self.limiter = RateLimiter(per_second=10, burst=100)
        self.turns = Turns(self.limiter, cpu_clock=self._clock)
        self._ends: list[asyncio.Event] = []

    def _clock(self) -> float:
        self.computed += 1.0 if self.busy else 0.0
        return self.computed

    async def command(self, whose: str) -> None:
        await self.turns.wait(whose)
        try:
            self.begun.append(whose)
            self._ends.append(asyncio.Event())
            await self._ends[-1].wait()
        finally:
            self.turns.done(whose)

    def start(self, whose: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.command(one)) for one in whose]

    async def end(self, number: int) -> None:
        self._ends[number].set()
        await settle()

    async def end_all(self, tasks: list[asyncio.Task[None]]) -> None:
        ended = 0
        async with asyncio.timeout(20):
            while not all(task.done() for task in tasks):
                for one in self._ends[ended:]:
                    one.set()
                    ended += 1
                await asyncio.sleep(0)


async def settle() -> None:
    for _ in range(MANY + 20):
        await asyncio.sleep(0)


def test_only_who_has_just_asked_a_lot_has_to_wait() -> None:
    node = Node()
    assert node.turns.is_quiet("ann")
    for _ in range(10):
        node.limiter.spend("ann")
    assert node.turns.is_quiet("ann")
    for _ in range(5):
        node.limiter.spend("ann")
    assert not node.turns.is_quiet("ann")
    assert node.turns.is_quiet("bob")


async def test_who_comes_late_with_one_command_does_not_wait_for_the_many_of_others() -> None:
    node = Node()
    node.busy = True
    tasks = node.start("e" * 20 + "f" * 20)
    await settle()
    assert len(node.begun) == FEW
    tasks += node.start("b")
    await node.end(0)
    await node.end(1)
    await node.end(2)
    assert "b" in node.begun
    await node.end_all(tasks)
    assert sorted(node.begun) == sorted("e" * 20 + "f" * 20 + "b")


async def test_while_turns_are_short_many_are_under_way_but_few_of_one() -> None:
    node = Node()
    tasks = node.start("e" * 20)
    await settle()
    assert node.begun == ["e"] * EACH
    tasks += node.start("".join(chr(ord("A") + number) * EACH for number in range(20)))
    await settle()
    assert len(node.begun) == MANY
    await node.end_all(tasks)
    assert len(node.begun) == 20 + 20 * EACH


async def test_after_long_turns_it_goes_on_by_itself_when_they_are_short_again() -> None:
    node = Node()
    node.busy = True
    tasks = node.start("abcdefgh")
    await settle()
    assert len(node.begun) == FEW
    node.busy = False
    async with asyncio.timeout(20):
        while len(node.begun) < 8:
            await asyncio.sleep(0.001)
    await node.end_all(tasks)


async def test_who_stops_waiting_leaves_no_place_behind() -> None:
    node = Node()
    tasks = node.start("e" * (EACH + 3))
    await settle()
    for task in tasks[EACH : EACH + 2]:
        task.cancel()
    await node.end(0)
    tasks[-1].cancel()  # it was let in, and may not know yet
    await asyncio.gather(*tasks[EACH:], return_exceptions=True)
    await node.end_all(tasks)
    again = node.start("e" * EACH)
    await settle()
    assert node.begun[-EACH:] == ["e"] * EACH
    await node.end_all(again)
    assert not node.turns._queues
    assert not node.turns._under_way


async def test_who_gives_up_as_their_turn_comes_leaves_it_to_the_next() -> None:
    node = Node()
    tasks = node.start("e" * (EACH + 1))
    await settle()
    node._ends[0].set()
    async with asyncio.timeout(20):
        while node.turns.waiting:
            await asyncio.sleep(0)
    tasks[-1].cancel()  # it was let in, and does not know yet
    await asyncio.gather(tasks[-1], return_exceptions=True)
    assert len(node.begun) == EACH
    await node.end_all(tasks)
    assert (node.turns._under_way, node.turns._all_under_way) == ({}, 0)


async def test_who_waits_too_long_or_with_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node()
    tasks = node.start("e" * EACH)
    await settle()
    monkeypatch.setattr(module, "TURN_SECONDS", 0.01)
    tasks += node.start("e")
    with pytest.raises(RateLimited, match="too long"):
        await tasks[-1]
    monkeypatch.setattr(module, "TURN_SECONDS", 10)
    tasks += node.start("e" * EACH_WAITING)
    await settle()
    with pytest.raises(RateLimited, match="too many"):
        await node.turns.wait("e")
    await node.end_all(tasks[:EACH] + tasks[EACH + 1 :])
