"""Requests begin so many a turn of the loop, in the order in which they came."""

from __future__ import annotations

import asyncio

from collab_server.realtime.lean.starts import AT_ONCE, Starts


async def test_many_requests_at_once_begin_a_few_a_turn_in_their_order() -> None:
    starts, begun = Starts(), list[int]()
    for number in range(3 * AT_ONCE):
        starts.begin(lambda number=number: begun.append(number))  # type: ignore[misc]
    in_turns = [len(begun)]
    while len(begun) < 3 * AT_ONCE:
        await asyncio.sleep(0)
        in_turns.append(len(begun) - sum(in_turns))
    assert begun == list(range(3 * AT_ONCE))
    assert max(in_turns) == AT_ONCE


async def test_one_after_a_while_begins_at_once() -> None:
    starts, begun = Starts(), list[int]()
    for number in range(2 * AT_ONCE):
        starts.begin(lambda: begun.append(0))
        assert len(begun) == number + 1
        await asyncio.sleep(0)
        await asyncio.sleep(0)
