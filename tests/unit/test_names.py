"""What people are called is kept, whatever an authority says that one of them is called."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from collab_server.domain.people import User
from collab_server.errors import Paused
from collab_server.services.names import Names
from collab_server.storage.database import Database
from tests.harness.waiting import until


class Storing:
    """Takes what PostgreSQL takes: no text with U+0000 or half of a surrogate pair in it."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.stored: list[str] = []

    async def execute(self, _: str, ids: list[str], names: list[str], *more: Any) -> None:
        for name in names:
            name.encode()
            assert "\0" not in name
        self.kept.update(ids)
        self.stored += names

    async def run(self, work: Callable[[Any], Awaitable[None]]) -> None:
        await work(self)


@pytest.mark.parametrize("name", ["Eve\0", "Eve\ud800"])
async def test_a_name_that_cannot_be_kept_keeps_no_other_from_it(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    storing = Storing()
    names = Names(cast(Database, storing))
    for user in (User("A", "Ann", "A"), User("E", name, "E"), User("B", "Bob", "B")):
        names.hear(user)
    running = asyncio.create_task(names.run())
    await until(lambda: storing.kept == {"A", "B"})
    names.hear(User("C", "Carol", "C"))
    await until(lambda: storing.kept == {"A", "B", "C"})
    assert not running.done()
    running.cancel()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "what somebody is called was not kept"
    ]


async def test_names_that_cannot_be_kept_are_told_of_by_one_line_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    storing = Storing()
    names = Names(cast(Database, storing), clock=lambda: now)
    running = asyncio.create_task(names.run())

    async def meet(beginning: str) -> int:
        for number in range(40):
            names.hear(User(f"{beginning}{number}", "Eve\0", "E"))
        names.hear(User(beginning, "Ann", "A"))
        await until(lambda: beginning in storing.kept)
        return sum(record.exc_info is not None for record in caplog.records)

    assert await meet("A") == 1
    now += 59
    assert await meet("B") == 1
    now += 1
    assert await meet("C") == 2
    running.cancel()


async def test_names_wait_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab_server.services.names.AGAIN_SECONDS", 0)
    storing = Storing()
    refusals = iter([Paused("the database is away", outcome="none")] * 3)
    store = storing.run

    async def away(work: Callable[[Any], Awaitable[None]]) -> None:
        for refusal in refusals:
            raise refusal
        await store(work)

    storing.run = away  # type: ignore[method-assign]
    names = Names(cast(Database, storing))
    names.hear(User("A", "Ann", "A"))
    running = asyncio.create_task(names.run())
    await until(lambda: storing.kept == {"A"})
    running.cancel()


async def test_who_is_called_as_before_is_not_stored_again() -> None:
    storing = Storing()
    names = Names(cast(Database, storing))
    running = asyncio.create_task(names.run())
    for name in ("Ann", "Ann", "Ann Archer", "Ann Archer", "Ann"):
        names.hear(User("A", name, "A"))
        await until(lambda: not names._waiting)
    assert storing.stored == ["Ann", "Ann Archer", "Ann"]
    running.cancel()
