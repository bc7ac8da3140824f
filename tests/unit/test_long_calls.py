"""A call that waits is let in anew each time it asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from collab_server.api.waiting import answer_in_time
from collab_server.errors import RateLimited
from collab_server.services.live.waiting import Waiting

NOTHING = json.dumps({"events": [], "more": False, "seq": 7})
SOMETHING = json.dumps({"events": [{"seq": 8}], "more": False, "seq": 8})


class RungAtOnce:
    """Waits that are rung as soon as they begin; `learned` is up to where each had read by then."""

    is_over = False

    def __init__(self) -> None:
        self.learned: list[int] = []

    @contextlib.contextmanager
    def on(self, user_id: str, topic: str) -> Iterator[RungAtOnce]:
        yield self

    def learn(self, seq: int) -> None:
        self.learned.append(seq)

    async def rung(self) -> None: ...


async def wait_for(answers: list[str], units: int) -> tuple[str, int, list[int]]:
    """What a call is answered that has so many units to ask further, how often it was let in, and what it learned."""
    waits = RungAtOnce()
    coming = iter(answers)
    admitted = 0

    async def ask() -> str:
        return next(coming)

    def admit() -> None:
        nonlocal admitted
        if admitted == units:
            raise RateLimited("expected less")
        admitted += 1

    async def stay() -> Any:
        await asyncio.Event().wait()

    payload = {"topic": "content:a:b", "after": 7}
    answer = await answer_in_time(ask, admit, cast(Waiting, waits), "ann", payload, 25, stay)
    return answer, admitted, waits.learned


async def test_whoever_waits_is_let_in_for_each_further_question() -> None:
    assert await wait_for([SOMETHING], 0) == (SOMETHING, 0, [])
    assert await wait_for([NOTHING, SOMETHING], 1) == (SOMETHING, 1, [7])
    assert await wait_for([NOTHING, NOTHING, NOTHING, SOMETHING], 9) == (SOMETHING, 3, [7, 7, 7])


async def test_whoever_may_not_ask_again_is_refused() -> None:
    with pytest.raises(RateLimited):
        await wait_for([NOTHING, NOTHING, SOMETHING], 1)
