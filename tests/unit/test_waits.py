"""How long one waits over HTTP: for what is to come, and before one asks again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from collab_server.api.door import _refusal
from collab_server.api.waiting import answer_in_time
from collab_server.errors import RateLimited

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


@pytest.mark.parametrize(
    ("exactly", "told"),
    [(0.02, "1"), (1, "1"), (1.02, "2"), (1.4, "2"), (1.6, "2"), (5, "5"), (720.001, "721")],
)
def test_whoever_waits_for_the_whole_seconds_of_the_header_does_not_come_too_early(
    exactly: float, told: str
) -> None:
    assert _refusal(RateLimited("slowly", retry_after=exactly)).headers["Retry-After"] == told
