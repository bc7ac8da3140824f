"""Asking the authority in time: as if it were awaited, but that it is over when time is."""

from __future__ import annotations

import asyncio

import pytest

from collab_server.errors import NotFound, Unavailable
from collab_server.services import backends
from collab_server.services.backends import in_time


async def test_what_is_known_already_is_there_at_once() -> None:
    async def asking() -> str:
        return "known"

    with pytest.raises(StopIteration) as done:
        in_time("Library", asking()).send(None)
    assert done.value.value == "known"


async def test_what_is_waited_for_is_there_in_the_end() -> None:
    answers = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def asking() -> list[str]:
        await asyncio.sleep(0)
        return [await answer for answer in answers]

    asked = asyncio.create_task(in_time("Library", asking()))
    for word, answer in zip(("first", "second"), answers, strict=True):
        await asyncio.sleep(0)
        answer.set_result(word)
    assert await asked == ["first", "second"]


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_what_it_raises_is_raised_whenever_that_is(turns: int) -> None:
    async def asking() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        raise NotFound("content")

    with pytest.raises(NotFound):
        await in_time("Library", asking())


async def test_an_error_of_what_is_awaited_reaches_who_awaits_it() -> None:
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def asking() -> str:
        try:
            return await answer
        except ConnectionError:
            return "caught"

    asked = asyncio.create_task(in_time("Library", asking()))
    await asyncio.sleep(0)
    answer.set_exception(ConnectionResetError())
    assert await asked == "caught"


async def test_when_time_is_up_it_is_ended_and_said_to_be_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(backends, "ASK_SECONDS", 0.001)
    has_ended = False

    async def asking() -> None:
        nonlocal has_ended
        try:
            await asyncio.Event().wait()
        finally:
            has_ended = True

    with pytest.raises(Unavailable, match="Library takes too long"):
        await in_time("Library", asking())
    assert has_ended


async def test_whoever_gives_up_ends_it_too_and_what_it_still_does_is_waited_for() -> None:
    ended: list[str] = []

    async def asking() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("in its own time")

    asked = asyncio.create_task(in_time("Library", asking()))
    await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert ended == ["in its own time"]
