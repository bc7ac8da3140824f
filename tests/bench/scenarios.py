"""What the setups are put through, and what is read off them.

A scenario prepares a setup - clients join their rooms - and then gives a function that does a slice of the work, as
often as it is called, and says what the slice took. So setups can take turns many times within a round: a machine
that is busy for two seconds is so for all of them. What a slice began it awaits: its processor time and its
deliveries belong together, to the last one.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import uuid4

from tests.bench.load import (
    Dialect,
    Http,
    Member,
    Tally,
    connect_as_official_clients_do,
    join,
    join_all,
    open_polling,
)
from tests.bench.setups import TEXT_CHARACTERS, Setup, Tree
from tests.harness.wire import Wire

WARM_SECONDS = 0.5
SLICE_SECONDS = 0.2
ANSWER_SECONDS = 60
REST_SECONDS, LEAVING_SECONDS = 0.5, 0.1
STALLED_CHARACTERS, STALLED_EVENTS, STALLED_AT_ONCE = 8_000, 3_000, 8
ADDING_TOPICS, ADDING_WRITERS = 64, 16


@dataclass(slots=True)
class Sample:
    """Of one slice, or of several together: so many deliveries, connects or commands, and what they took of B."""

    count: int
    busy_seconds: float = 0.0
    seconds: float = 0.0
    generator_seconds: float = 0.0
    bytes: int = 0
    waited: list[float] = field(default_factory=list)  # seconds, in order

    def __add__(self, other: Sample) -> Sample:
        return Sample(
            self.count + other.count,
            self.busy_seconds + other.busy_seconds,
            self.seconds + other.seconds,
            self.generator_seconds + other.generator_seconds,
            self.bytes + other.bytes,
            sorted(self.waited + other.waited),
        )

    def figures(self) -> dict[str, float]:
        """What the rows show; only what was measured."""
        found: dict[str, float] = {}
        if self.busy_seconds:
            found["us"] = self.busy_seconds / self.count * 1e6
        if self.seconds:
            found["rate"] = self.count / self.seconds
        if self.generator_seconds:
            found["generator us"] = self.generator_seconds / self.count * 1e6
        if self.bytes:
            found["KiB"] = self.bytes / self.count / 1024
        if self.waited:
            found["p50"] = self.waited[len(self.waited) // 2] * 1e3
            found["p99"] = self.waited[int(len(self.waited) * 0.99)] * 1e3
        return found


Work = Callable[[float], Awaitable[Sample]]
"""Does a slice of about so many seconds, or of a fixed number of things"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`group`: those of one group share the processes of a round, in the order in which they stand. Clients of all
    setups are connected at once (`is_side_by_side`) where they are few. `is_ours_alone`: the peers cannot do it."""

    group: int
    slices: int
    work: Callable[[Setup], AbstractAsyncContextManager[Work]]
    is_side_by_side: bool = True
    is_ours_alone: bool = False


class _Watch:
    """Processor time of a setup's B and of the generator, and the time, since it was made."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._began = (setup.busy_seconds(), time.process_time(), time.monotonic())

    def sample(self, count: int, waited: list[float] | None = None) -> Sample:
        busy, own, now = self._began
        return Sample(
            count,
            self._setup.busy_seconds() - busy,
            time.monotonic() - now,
            time.process_time() - own,
            waited=sorted(waited or []),
        )


# --- deliveries


async def _pump(
    publishers: list[Member], tallies: dict[str, Tally], members: int, outstanding: int, seconds: float
) -> None:
    """Keep `outstanding` publishes under way, in turn through the rooms, until each has reached its room."""
    rooms = list(tallies)
    published = dict.fromkeys(rooms, 0)
    turns = itertools.cycle(rooms)
    until = time.monotonic() + seconds

    async def slot(publisher: Member) -> None:
        while time.monotonic() < until:
            room = next(turns)
            published[room] += 1
            target = published[room] * members
            answer = await asyncio.wait_for(publisher.publish(room, TEXT_CHARACTERS), ANSWER_SECONDS)
            assert b'"ok"' in answer, answer
            async with asyncio.timeout(ANSWER_SECONDS):
                while tallies[room].delivered < target:
                    await asyncio.sleep(0.0005)

    await asyncio.gather(*(slot(publishers[index % len(publishers)]) for index in range(outstanding)))


async def _delivered(
    setup: Setup,
    tallies: dict[str, Tally],
    publishers: list[Member],
    members: int,
    outstanding: int,
    seconds: float,
) -> Sample:
    for tally in tallies.values():
        tally.delivered = 0
        tally.waited.clear()
    watch = _Watch(setup)
    try:
        await _pump(publishers, tallies, members, outstanding, seconds)
    except TimeoutError:
        seen = {room: tally.delivered for room, tally in tallies.items()}
        raise RuntimeError(
            f"{setup.name} did not deliver or answer within {ANSWER_SECONDS} s: {seen}"
        ) from None
    waited = [wait for tally in tallies.values() for wait in tally.waited]
    return watch.sample(sum(tally.delivered for tally in tallies.values()), waited)


async def _publishers(setup: Setup, count: int) -> list[Member]:
    return [await join(setup.a, setup.dialect, room, Tally()) for room in setup.rooms(count)]


@asynccontextmanager
async def fan_out(setup: Setup, *, rooms: int, members: int, outstanding: int) -> AsyncIterator[Work]:
    """Deliveries over websocket, and the latency from publishing to delivery."""
    tallies, joined = await join_all(setup.b, setup.dialect, setup.rooms(rooms), members)
    publishers = await _publishers(setup, outstanding)
    work = partial(_delivered, setup, tallies, publishers, members, outstanding)
    await work(WARM_SECONDS)
    yield work
    lost = sum(member.is_lost for member in joined)
    assert setup.tree is None or not lost, f"{lost} clients of {setup.name} were lost"
    for member in [*joined, *publishers]:
        member.transport.close()


@asynccontextmanager
async def polling(setup: Setup, *, members: int, outstanding: int) -> AsyncIterator[Work]:
    """The same for clients that poll: each delivery a request of its own, at a pace they can follow."""
    room = setup.rooms(1)[0]
    tally = Tally()
    gate = asyncio.Semaphore(20)

    async def member() -> tuple[Http, Http, str]:
        async with gate:
            down, up, sid, _ = await open_polling(setup.b, setup.dialect, room)
            return down, up, sid

    async def poll(number: int, down: Http, up: Http, sid: str) -> None:
        query = f"transport=polling&sid={sid}"
        while True:
            for packet in (await down.ask("GET", query)).split(b"\x1e"):
                if packet.startswith(setup.dialect.event):
                    tally.delivered += 1
                    if number == 0:
                        at = packet.find(b"at:") + 3
                        tally.waited.append(time.monotonic() - int(packet[at : at + 16]) / 1e6)
                elif packet == b"2":
                    await up.ask("POST", query, b"3")

    opened = await asyncio.gather(*(member() for _ in range(members)))
    polls = [asyncio.ensure_future(poll(number, *one)) for number, one in enumerate(opened)]
    publishers = await _publishers(setup, outstanding)
    work = partial(_delivered, setup, {room: tally}, publishers, members, outstanding)
    await work(WARM_SECONDS)
    yield work
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    for down, up, _ in opened:
        down.close()
        up.close()
    for publisher in publishers:
        publisher.transport.close()


# --- connections


@asynccontextmanager
async def idle(setup: Setup, *, clients: int) -> AsyncIterator[Work]:
    """The memory that websockets keep which sign in and then do nothing."""
    room = setup.rooms(1)[0]
    _, kept = await join_all(setup.b, setup.dialect, [room], 100)

    async def work(_: float) -> Sample:
        before = await _memory_at_rest(setup)
        kept.extend((await join_all(setup.b, _bare(setup), [room], clients))[1])
        return Sample(clients, bytes=await _memory_at_rest(setup) - before)

    yield work
    for member in kept:
        member.transport.close()


def _bare(setup: Setup) -> Dialect:
    """Signing in, and joining nothing."""
    return replace(setup.dialect, join=lambda room: None, is_ready=setup.hello)


async def _memory_at_rest(setup: Setup) -> int:
    """Bytes that B has resident, once it has done what is left to do."""
    await asyncio.sleep(REST_SECONDS)
    return int(setup.b_process.memory_info().rss)


@asynccontextmanager
async def websocket(setup: Setup, *, clients: int) -> AsyncIterator[Work]:
    """Connect over websocket at once; they are closed when they have been counted."""
    room = setup.rooms(1)[0]

    async def work(_: float) -> Sample:
        watch = _Watch(setup)
        joined = (await join_all(setup.b, _bare(setup), [room], clients))[1]
        sample = watch.sample(clients)
        for member in joined:
            member.transport.close()
        await asyncio.sleep(LEAVING_SECONDS)  # the next slice is not to pay for it
        return sample

    await work(0)
    yield work


@asynccontextmanager
async def connects(setup: Setup, *, clients: int) -> AsyncIterator[Work]:
    """Connect as official clients do them by default: polling first, then the upgrade."""
    gate = asyncio.Semaphore(50)

    async def one() -> asyncio.StreamWriter:
        async with gate, asyncio.timeout(ANSWER_SECONDS):
            return await connect_as_official_clients_do(setup.b, setup.dialect, "warm")

    async def work(_: float) -> Sample:
        watch = _Watch(setup)
        writers = await asyncio.gather(*(one() for _ in range(clients)))
        sample = watch.sample(clients)
        for writer in writers:
            writer.close()
        await asyncio.sleep(LEAVING_SECONDS)
        return sample

    await work(0)
    yield work


@asynccontextmanager
async def stalled(setup: Setup, *, clients: int) -> AsyncIterator[Work]:
    """Memory that clients cost which have stopped reading, and what one that reads notices of them."""
    room = setup.rooms(1)[0]
    tallies, reading = await join_all(setup.b, setup.dialect, [room], 1)
    asleep = [await join(setup.b, setup.dialect, room, Tally()) for _ in range(clients)]
    [publisher] = await _publishers(setup, 1)

    async def work(_: float) -> Sample:
        before = most = await _memory_at_rest(setup)
        for member in asleep:
            member.transport.pause_reading()
        tally = tallies[room]
        for number in range(1, STALLED_EVENTS // STALLED_AT_ONCE + 1):
            answers = [publisher.publish(room, STALLED_CHARACTERS) for _ in range(STALLED_AT_ONCE)]
            async with asyncio.timeout(ANSWER_SECONDS):
                await asyncio.gather(*answers)
                while tally.delivered < number * STALLED_AT_ONCE:
                    await asyncio.sleep(0.0005)
            most = max(most, setup.b_process.memory_info().rss)
        assert not reading[0].is_lost, f"{setup.name} put out the client that reads"
        return Sample(clients, bytes=most - before, waited=sorted(tally.waited))

    yield work
    for member in [*reading, *asleep, publisher]:
        member.transport.abort()


# --- ours alone


@asynccontextmanager
async def adding(setup: Setup) -> AsyncIterator[Work]:
    """`comment.add` on B by writers who each go through all topics; nobody is subscribed there."""
    assert setup.auth is not None
    rooms = setup.rooms(ADDING_TOPICS)
    wires = [await Wire.connect(setup.b, setup.auth) for _ in range(ADDING_WRITERS)]
    numbers = itertools.count()
    run = uuid4().hex

    async def write(wire: Wire, first: int, until: float, waited: list[float]) -> None:
        for topic in itertools.cycle(rooms[first:] + rooms[:first]):
            began = time.monotonic()
            if began >= until:
                return
            request = {"topic": topic, "text": "x" * TEXT_CHARACTERS, "requestId": f"{run}-{next(numbers)}"}
            answer = await wire.ask("comment.add", request)
            assert answer.startswith('{"ok":true'), answer
            waited.append(time.monotonic() - began)

    async def work(seconds: float) -> Sample:
        waited: list[float] = []
        watch = _Watch(setup)
        until = time.monotonic() + seconds
        await asyncio.gather(*(write(wire, i * 4, until, waited) for i, wire in enumerate(wires)))
        return watch.sample(len(waited), waited)

    await work(WARM_SECONDS)
    yield work
    for wire in wires:
        wire.close()


@asynccontextmanager
async def rest(setup: Setup) -> AsyncIterator[Work]:
    """The memory of a node that has just become ready."""

    async def work(_: float) -> Sample:
        return Sample(1, bytes=await _memory_at_rest(setup))

    yield work


@asynccontextmanager
async def importing(setup: Setup) -> AsyncIterator[Work]:
    """The processor time of a process that imports a node and ends."""
    assert setup.tree is not None
    tree = setup.tree

    async def work(_: float) -> Sample:
        return Sample(1, await asyncio.to_thread(_import_seconds, tree))

    yield work


def _import_seconds(tree: Tree) -> float:
    command = [sys.executable, "-P", "-c", "import collab_server.app"]
    process = subprocess.Popen(command, env=tree.environ(), cwd=tree.folder)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{tree.name} cannot be imported")
    return usage.ru_utime + usage.ru_stime


SCENARIOS: dict[str, Scenario] = {
    "rest": Scenario(1, 1, rest),
    "idle": Scenario(1, 1, partial(idle, clients=3000), is_side_by_side=False),
    "websocket": Scenario(1, 12, partial(websocket, clients=100)),
    "connects": Scenario(1, 12, partial(connects, clients=100)),
    "import": Scenario(1, 2, importing, is_ours_alone=True),
    "s100": Scenario(2, 24, partial(fan_out, rooms=10, members=100, outstanding=8)),
    "s1000": Scenario(2, 24, partial(fan_out, rooms=1, members=1000, outstanding=4)),
    "hot": Scenario(2, 24, partial(fan_out, rooms=1, members=100, outstanding=32)),
    "polling": Scenario(2, 24, partial(polling, members=100, outstanding=2)),
    "add": Scenario(2, 24, adding, is_ours_alone=True),
    "stalled": Scenario(2, 1, partial(stalled, clients=40), is_side_by_side=False),
    "wide": Scenario(3, 24, partial(fan_out, rooms=50, members=100, outstanding=8), is_side_by_side=False),
}
"""By the name that ROWS takes"""
