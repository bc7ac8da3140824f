"""The bus between the workers of a node, beside what every bus promises (`test_bus_contract`): who is slow, frozen,
killed, or robbed of a socket.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.cluster import between_workers
from collab_server.cluster.between_workers import WorkersBus
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from tests.harness.waiting import until

KEYS = KeyRing.of(b"k" * 32)


@asynccontextmanager
async def running(folder: Path, *names: str) -> AsyncIterator[list[WorkersBus]]:
    buses = [WorkersBus(folder, worker=name, limits=(2_000_000, 1_000)) for name in names]
    try:
        for bus in buses:
            await bus.start("e1", KEYS)
        await until(lambda: all(bus.is_hearing and len(bus.nodes) == len(names) - 1 for bus in buses))
        yield buses
    finally:
        await asyncio.gather(*(bus.stop() for bus in buses))


@contextmanager
def frozen(folder: Path) -> Iterator[str]:
    """The socket of a worker that lets everybody in and never reads; its name."""
    name = "frozen.bus"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / name))
        listening.listen(16)
        yield name


def sockets(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_frozen_worker_holds_up_nobody_and_what_waits_for_it_is_bounded_and_grows_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between_workers, "STALE_AFTER_SECONDS", 0.5)
    async with running(tmp_path, "a", "b") as (a, b):
        heard: list[int] = []
        b.listen(Kind.EVENT, lambda node, payload: heard.append(int(payload[:8])))
        with frozen(tmp_path) as name:
            await until(lambda: name in a.sockets.others)
            waits = a.sockets.others[name]
            for end in (150, 300, 450, 600):
                for number in range(end - 150, end):
                    a.publish(Kind.EVENT, b"%08d" % number + bytes(10_000))
                await until(lambda end=end: len(heard) == end)  # type: ignore[misc]
                assert waits.bytes <= 2_000_000
            assert heard == list(range(600))
            assert a.counters.dropped > 0
            await until(lambda: waits.bytes < 10_000, what="what is stale is given up")
            assert (a.is_hearing, b.is_hearing) == (True, True)


async def test_whoever_was_too_slow_to_hear_of_a_new_channel_is_connected_to_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take all that follows for another channel's, and be deaf to this worker for ever."""
    monkeypatch.setattr(between_workers, "STALE_AFTER_SECONDS", 0.2)
    async with running(tmp_path, "a", "b") as (a, _):
        with frozen(tmp_path) as name:
            await until(lambda: name in a.sockets.others)
            slow = a.sockets.others[name]
            for number in range(150):
                a.publish(Kind.EVENT, b"%08d" % number + bytes(10_000))
            await until(lambda: slow.bytes > 0)
            a.set_epoch("e2", KEYS)
            await until(lambda: a.sockets.others.get(name, slow) is not slow)


async def test_the_socket_of_a_killed_worker_goes_and_one_that_was_taken_away_is_made_anew(
    tmp_path: Path,
) -> None:
    with frozen(tmp_path) as name:
        pass  # its file stays, as that of a process that was killed
    async with running(tmp_path, "a", "b") as (a, _):
        await until(lambda: not (tmp_path / name).exists())
        for left in sockets(tmp_path):
            left.unlink()
        await until(lambda: len(sockets(tmp_path)) == 2, what="both have a socket again")
        # By that a newcomer finds them.
        async with running(tmp_path, "c"):
            await until(lambda: set(a.nodes) == {"b", "c"})
        await until(lambda: set(a.nodes) == {"b"})


async def test_that_an_old_connection_has_ended_ends_not_the_one_in_its_place(tmp_path: Path) -> None:
    sockets = WorkersBus(tmp_path, worker="a").sockets
    old, new = (cast("Any", SimpleNamespace(name="b.bus")) for _ in range(2))
    sockets.others["b.bus"] = new
    sockets._gone(old)
    assert sockets.others == {"b.bus": new}
    sockets._gone(new)
    assert sockets.others == {}


async def test_what_is_no_frame_ends_its_connection_alone(tmp_path: Path) -> None:
    async with running(tmp_path, "a", "b") as (a, b):
        heard: list[bytes] = []
        b.listen(Kind.EVENT, lambda node, payload: heard.append(payload))
        for there in sockets(tmp_path):
            reader, writer = await asyncio.open_unix_connection(str(there))
            writer.write(b"\xff" * 100)
            async with asyncio.timeout(20):
                assert await reader.read() == b""
            writer.close()
        a.publish(Kind.EVENT, b"still there")
        await until(lambda: heard == [b"still there"])
