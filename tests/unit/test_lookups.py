"""A name that nobody finds takes one thread, and nobody else's time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
import uvloop

from collab_server import lookups
from collab_server.storage.failures import in_words
from collab_server.storage.server import Server


class Resolver:
    """Stands in for the system's: what is asked waits for `answer`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        monkeypatch.setattr(lookups, "_look_up", self._look_up)

    async def _look_up(self, host: str) -> None:
        self.asked.append(host)
        await self.answer


async def test_those_who_give_up_leave_one_lookup_and_the_next_ask_share_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver = Resolver(monkeypatch)
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await lookups.find("db.example.com")
    waiting = [asyncio.create_task(lookups.find("db.example.com")) for _ in range(3)]
    await asyncio.sleep(0)
    assert resolver.asked == ["db.example.com"]
    resolver.answer.set_exception(socket.gaierror(-3, "Temporary failure in name resolution"))
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, socket.gaierror)
    resolver.answer = asyncio.get_running_loop().create_future()
    resolver.answer.set_result(None)
    await lookups.find("db.example.com")
    assert resolver.asked == ["db.example.com"] * 2, "what was said is not kept"


async def test_an_error_that_nobody_waits_for_is_told_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    resolver = Resolver(monkeypatch)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await lookups.find("db.example.com")
    resolver.answer.set_exception(socket.gaierror(-3, "Temporary failure in name resolution"))
    while lookups._under_way[asyncio.get_running_loop()]:
        await asyncio.sleep(0)
    assert told == []
    asyncio.get_running_loop().set_exception_handler(None)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_addresses_paths_and_this_machine_are_found(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def find_all() -> None:
        for host in ("127.0.0.1", "::1", "fe80::1%lo", "/run/postgresql", "localhost"):
            await lookups.find(host)

    loop = new_loop()
    try:
        loop.run_until_complete(find_all())
    finally:
        loop.close()


async def test_a_database_whose_name_nobody_finds_in_time_is_said_as_such(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolver, server = Resolver(monkeypatch), Server("db.example.com", 5432, "user", None, "db")
    with pytest.raises(OSError, match="not found in time") as error:
        await server.connect(0.01)
    assert in_words(error.value, server) == "the host of db.example.com:5432 cannot be found"
    resolver.answer.set_result(None)
