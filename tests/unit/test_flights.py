"""One call for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from collab_server.domain.flights import Flights


async def test_a_failure_that_nobody_waits_for_any_more_is_told_nobody() -> None:
    told: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: told.append(context))
    flights, answer = Flights(), loop.create_future()

    async def ask() -> None:
        await answer

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await flights.join("the same", ask)
    last = asyncio.create_task(flights.join("the same", ask))
    await asyncio.sleep(0)
    answer.set_exception(ConnectionError("nobody is there"))
    with pytest.raises(ConnectionError, match="nobody is there"):
        await last
    assert told == []
    loop.set_exception_handler(None)
