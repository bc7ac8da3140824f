"""Library's name is looked up once at a time, however many calls want a connection to it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvloop

from collab_server import lookups
from collab_server.authority.library import calls as module
from collab_server.authority.library.calls import Call, Calls
from collab_server.authority.library.health import Health
from collab_server.authority.library.words import silent

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
CALL = Call("GET", "/status")


class Resolver:
    """Stands in for the system's, for all that this loop looks up."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        cast("Any", asyncio.get_running_loop()).getaddrinfo = self._look_up

    async def _look_up(self, host: str | bytes, port: Any, **_: Any) -> list[Any]:
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        return await asyncio.shield(self.answer)


class Cookies:
    """Nobody has any."""

    def hear(self, set_cookies: list[str], jar: Any, *, is_librarys: bool) -> None: ...


async def _ask(times: int) -> Health:
    """Call Library so many times at once: all hear that it is silent; the administrator, why."""
    health = Health(has_address=True)
    calls = Calls("https://library.example.com/api", cookies=cast("Any", Cookies()), health=health)
    await calls.start()
    ways = [calls.make(CALL, lambda response: response) for _ in range(times)]
    errors = await asyncio.gather(*ways, return_exceptions=True)
    assert {(type(error), str(error)) for error in errors} == {(type(silent()), str(silent()))}
    await calls.stop()
    return health


async def _ask_where_dns_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.1)
    resolver = Resolver()
    health = await _ask(50)
    assert resolver.asked == ["library.example.com"]
    assert "does a firewall swallow it, or is DNS away?" in str(health.problem)
    resolver.answer.set_exception(socket.gaierror(-2, "Name or service not known"))
    while lookups._under_way[asyncio.get_running_loop()]:
        await asyncio.sleep(0)
    health = await _ask(1)
    assert resolver.asked == ["library.example.com"] * 2
    assert "the name in library.example.com cannot be found" in str(health.problem)


@pytest.mark.parametrize("loop", LOOPS)
def test_of_many_calls_one_looks_for_library_and_all_end_where_dns_says_nothing(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_ask_where_dns_says_nothing(monkeypatch))
