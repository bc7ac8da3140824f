"""What the workers of a node ask and tell each other, with two workers in one process."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvloop
from typing_extensions import override

from collab_server.workers import siblings
from collab_server.workers.figures import Number
from collab_server.workers.seat import Seat, seat_under
from collab_server.workers.siblings import OwnSiblings
from tests.harness.waiting import until

NAMES = [f"person {number}" for number in range(40)]
PATIENCE = 20


class Worker:
    """One worker: answers as `say` is, when `may_answer`; keeps what it heard."""

    def __init__(self, seat: Seat) -> None:
        seat.row.beat()
        seat.row[Number.HAS_STARTED] = 1
        self.seat = seat
        self.number = seat.number
        self.own = OwnSiblings(seat)
        self.own.listen(self.answer, lambda word: self.heard.append(word))
        self.heard: list[bytes] = []
        self.asked: list[bytes] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.says = b"what was asked"
        self.running: asyncio.Task[None] | None = None

    async def answer(self, question: bytes) -> bytes:
        self.asked.append(question)
        await self.may_answer.wait()
        if question == b"a bug":
            raise RuntimeError("a bug")
        return self.says

    @property
    def path(self) -> Path:
        return self.seat.folder / f"{self.number}.{os.getpid():x}.asked"

    async def start(self) -> None:
        self.running = asyncio.create_task(self.own.run())
        await until(self.path.exists, PATIENCE, "it listens")

    async def stop(self) -> None:
        if self.running is not None:
            self.running.cancel()
            await asyncio.gather(self.running, return_exceptions=True)

    def keeps(self, name: str) -> bool:
        return self.own.keeper_of(name) is None


@pytest_asyncio.fixture
async def two(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Worker, Worker]]:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(short_path))
    monkeypatch.setattr(siblings, "WORD_SECONDS", 60.0)
    monkeypatch.setattr("collab_server.workers.figures.SILENT_MILLISECONDS", 3_600_000)
    seats = [seat_under(os.getpid(), 2) for _ in range(2)]
    one, other = Worker(seats[0]), Worker(seats[1])
    for worker in (one, other):
        await worker.start()
    yield one, other
    for worker in (one, other):
        await worker.stop()
        worker.seat.leave()


def of_the_other(two: tuple[Worker, Worker]) -> str:
    """A name that the second keeps."""
    return next(name for name in NAMES if two[1].keeps(name))


async def test_each_name_has_one_keeper_and_each_worker_keeps_some(two: tuple[Worker, Worker]) -> None:
    one, other = two
    kept = [name for name in NAMES if one.keeps(name)]
    assert [name for name in NAMES if not other.keeps(name)] == kept
    assert 0 < len(kept) < len(NAMES)
    assert await one.own.ask(kept[0], b"?") is None, "its own are for it to find out"
    assert await one.own.ask(of_the_other(two), b"?") == b"what was asked"
    assert (one.asked, other.asked) == ([], [b"?"])
    assert await one.own.ask(kept[0], b"who else?", is_another=True) == b"what was asked"

    other.seat.row[Number.HAS_STARTED] = 0
    assert all(one.keeps(name) for name in NAMES)
    other.seat.row[Number.HAS_STARTED] = other.seat.row[Number.IS_DRAINING] = 1
    assert all(one.keeps(name) for name in NAMES)


async def test_who_is_at_it_is_waited_for_and_who_goes_is_not(
    two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "SIGN_SECONDS", 0.01)
    one, other = two
    other.may_answer.clear()
    many = [asyncio.create_task(one.own.ask(of_the_other(two), b"?")) for _ in range(500)]
    await until(lambda: len(other.asked) == 500, PATIENCE, "all are asked")
    [way] = one.own._ways.values()
    heard: list[tuple[int, int, bytes]] = []
    hear = way.heard

    def note(*frame: Any) -> None:
        heard.append(frame)
        hear(*frame)

    monkeypatch.setattr(way, "heard", note)
    way._heard_at -= 3600
    await until(lambda: len(heard) >= 3, PATIENCE, "it shows that it is at it")
    assert set(heard) == {(0, siblings.AT_IT, b"")}, "one sign is for all of them"
    way._look()
    assert not any(task.done() for task in many)
    other.may_answer.set()
    assert await asyncio.gather(*many) == [b"what was asked"] * 500

    other.asked.clear()
    other.may_answer.clear()
    asking = asyncio.create_task(one.own.ask(of_the_other(two), b"?"))
    await until(lambda: other.asked, PATIENCE, "it is asked")
    await other.stop()
    assert await asking == b"", "it may have heard"
    assert all(one.keeps(name) for name in NAMES), "it is not asked again for a while"


async def test_who_gives_no_sign_or_is_not_there_is_done_without(
    two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "WORD_SECONDS", 0.05)
    monkeypatch.setattr(siblings, "QUIET_SECONDS", 3600.0)
    one, other = two
    name = of_the_other(two)
    await other.stop()
    other.path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as frozen:
        frozen.bind(str(other.path))
        frozen.listen(10)
        assert await one.own.ask(name, b"?") == b"", "it may hear yet"
        assert one.keeps(name)
        one.own._quiet_until.clear()
        assert not one.keeps(name)
    other.path.unlink()
    one.own._ways.clear()
    assert await one.own.ask(name, b"?") is None
    assert one.keeps(name)


async def test_what_is_told_reaches_all_others_also_while_they_are_being_connected_to(
    two: tuple[Worker, Worker],
) -> None:
    one, other = two
    for word in (b"1", b"2"):
        one.own.tell(word)
    await until(lambda: other.heard == [b"1", b"2"], PATIENCE, "all was heard")
    one.own.tell(b"3")
    await until(lambda: other.heard == [b"1", b"2", b"3"], PATIENCE, "all was heard")
    assert one.heard == []


async def test_a_bug_and_what_is_too_much_are_answers_of_nobody(
    two: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(siblings, "QUIET_SECONDS", 0.0)
    one, other = two
    name = of_the_other(two)
    assert await one.own.ask(name, b"a bug") == b""
    assert "a question of another worker was not answered" in caplog.text
    monkeypatch.setattr(siblings, "MOST_FRAME_BYTES", 1000)
    assert await one.own.ask(name, b"x" * 1001) is None
    assert other.asked == [b"a bug"]
    other.says = b"x" * 1001
    assert await one.own.ask(name, b"?") == b""
    other.says = b"x" * 1000
    assert await one.own.ask(name, b"?") == other.says, "by a new connection"
    monkeypatch.setattr(siblings, "MOST_AT_ONCE", 0)
    assert await one.own.ask(name, b"?") is None


async def test_who_stops_being_at_one_question_says_so_while_it_is_at_others(
    two: tuple[Worker, Worker],
) -> None:
    one, other = two
    name = of_the_other(two)
    other.may_answer.clear()
    left = asyncio.create_task(one.own.ask(name, b"left"))
    await until(lambda: other.asked, PATIENCE, "it is asked")
    [answering] = other.own._answering
    [under_way] = answering._tasks
    kept = asyncio.create_task(one.own.ask(name, b"kept"))
    await until(lambda: len(other.asked) == 2, PATIENCE, "it is asked")
    under_way.cancel()
    assert await left == b""
    one.own._quiet_until.clear()
    other.may_answer.set()
    assert await kept == b"what was asked"


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_a_connection_that_was_made_when_time_was_up_is_there_or_is_not(
    new_loop: Callable[[], asyncio.AbstractEventLoop], short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "WORD_SECONDS", 0.05)

    class Late(siblings._Asking):
        @override
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            time.sleep(0.1)  # as where the worker is frozen just now

    async def connect() -> None:
        path = str(short_path / "other")
        server = await asyncio.get_running_loop().create_unix_server(asyncio.Protocol, path)
        async with server:
            late = Late(path)
            assert late._connecting is not None
            await asyncio.wait({late._connecting})
            late.tell(b"raises nothing")
            assert not await late.ask(b"has no answer")
            late.end()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(connect())
