"""A call that waits over HTTP ends when its time is over, however often it is woken in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from collab_server.api.waiting import answer_in_time

EMPTY = '{"seq":7,"events":[]}'


class Restless:
    """Wakes who waits again and again."""

    is_over = False

    @contextmanager
    def on(self, _user_id: str, _topic: str) -> Iterator[Any]:
        yield self

    def learn(self, _seq: int) -> None: ...

    async def rung(self) -> None:
        await asyncio.sleep(0.02)


async def test_whoever_is_woken_in_vain_waits_no_longer_for_that() -> None:
    asked, admitted = 0, 0

    async def ask() -> str:
        nonlocal asked
        asked += 1
        return EMPTY

    def admit() -> None:
        nonlocal admitted
        admitted += 1

    async def receive() -> Any:
        await asyncio.Event().wait()

    seconds = cast("Any", 0.2)
    async with asyncio.timeout(10):
        answer = await answer_in_time(
            ask, admit, cast("Any", Restless()), "ann", {"topic": "t", "after": 7}, seconds, receive
        )
    assert answer == EMPTY
    assert admitted == asked - 1 > 0
