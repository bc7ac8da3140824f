"""A node listens at all that its name means here or at nothing, and at nothing any more once it has stopped."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import uvloop

from collab_server.demo.embedded import free_port
from collab_server.realtime.handover import listener as module
from collab_server.realtime.handover.listener import Listener, Told, Where
from collab_server.realtime.lean import listening
from tests.harness.homes import Handing, Neighbours

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [asyncio.new_event_loop, uvloop.new_event_loop]
ADDRESSES = ("127.0.0.1", "127.0.0.2")
MOST_TURNS = 40


def _bound(address: str, port: int) -> socket.socket:
    return listening._bound(socket.AF_INET, (address, port))


def _listener(where: Where) -> Listener:
    handing = Handing(Neighbours(), "a", where=where)
    told = Told(handing._announcement, handing.elsewhere.home)
    return Listener(cast("Any", None), handing.elsewhere.keys, where, told)


def _resolve() -> None:
    """Every name has both addresses."""

    async def found(host: str, port: int | None, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in ADDRESSES]

    cast("Any", asyncio.get_running_loop()).getaddrinfo = found


def _who_listens(port: int) -> list[str]:
    found = []
    for address in ADDRESSES:
        with socket.socket() as probe:
            if probe.connect_ex((address, port)) == 0:
                found.append(address)
    return found


def _sockets(*of: object) -> list[Any]:
    """What the open ones of this process are bound to that are bound to one of these ports or paths, or to a name that
    begins like it. What else there is may be other threads', of the servers of other tests."""
    found: list[Any] = []
    for number in os.listdir("/proc/self/fd"):
        try:
            if not os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(number))) as one:
                name = one.getsockname()
        except OSError:  # it is closed by now
            continue
        if isinstance(name, str) and name.startswith(tuple(map(str, of))):
            found.append(name)
        elif isinstance(name, tuple) and name[1] in of:
            found.append(name)
    return found


async def _lose_one_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    _resolve()
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    sockets_of, other = listening.sockets_of, _bound(ADDRESSES[1], port)
    seen: list[tuple[list[str], list[Any]]] = []

    def sockets_that_another_takes(host: str, found: Any) -> list[socket.socket]:
        if len(seen) < 3:
            seen.append((_who_listens(port), _sockets(port)))
            if len(seen) == 3:
                other.close()
        sockets = sockets_of(host, found)
        if other.fileno() >= 0:
            other.listen()  # another program of this machine, in between
        return sockets

    monkeypatch.setattr(listening, "sockets_of", sockets_that_another_takes)
    listener = _listener(Where("node.example.com", port))
    running = asyncio.create_task(listener.run())
    async with asyncio.timeout(30):
        while not listener.places and not running.done():
            await asyncio.sleep(0)
    assert not running.done() or not running.exception(), running.exception()
    assert _who_listens(port) == list(ADDRESSES)
    assert [who for who, _ in seen] == [[], [ADDRESSES[1]], [ADDRESSES[1]]], "half of it was listened at"
    assert [ours for _, ours in seen] == [[(ADDRESSES[1], port)]] * 3, "more is held than what another has"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert _who_listens(port) == []


@pytest.mark.parametrize("loop", LOOPS)
def test_where_one_of_several_addresses_is_taken_none_is_held_and_all_are_tried_again(
    loop: Callable[[], asyncio.AbstractEventLoop], monkeypatch: pytest.MonkeyPatch
) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_lose_one_of_two(monkeypatch))


async def _stop_while_it_begins(path: str) -> None:
    port = free_port()
    _resolve()
    for turns in range(MOST_TURNS):
        listener = _listener(Where("node.example.com", port, path=path))
        running = asyncio.create_task(listener.run())
        for _ in range(turns):
            await asyncio.sleep(0)
        has_begun = bool(listener.places)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (_who_listens(port), _sockets(port, path)) == ([], []), f"after {turns} turns of the loop"
        with closing(socket.socket(socket.AF_UNIX)) as probe:
            assert probe.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT)
        if has_begun:
            return
    pytest.fail("it never listened")


@pytest.mark.parametrize("loop", LOOPS)
def test_whenever_it_is_stopped_while_it_begins_to_listen_nothing_is_left(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(_stop_while_it_begins(str(tmp_path / "home")))
    assert caplog.messages == []
