"""Fan-out, polling, connections and memory: ours against Node socket.io + redis-adapter and plain python-socketio.

Run by `python -m tests.bench fanout`. Two nodes of each kind behind one Valkey: publishers are on node A, clients on
node B, and what is measured is B's processor time per delivery (user and system, of its process alone): that moves
least on a busy machine, and does not depend on how fast the others are. Ours runs as in production, with sign-in,
subscriptions, rights and limits on, and every event stored in Postgres before it is delivered; the peers store
nothing. The setups take turns; ratios are of medians, with the range of the single runs beside them.

The generator is not the bottleneck of a figure that counts another process's time; its own is shown, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import uvloop

from collab_server.demo.embedded import free_port
from collab_server.demo.tied import TiedProcess
from tests.bench.document import circumstances, put
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
from tests.harness.cluster import Cluster
from tests.harness.world import World, fresh_topic

PEERS = Path(__file__).parent / "peers"
NODE_PACKAGES = ["socket.io@4.8.4", "@socket.io/redis-adapter@8.3.0", "redis@4"]
WARM_SECONDS = 1.0
MEASURE_SECONDS = 4.0
TEXT_CHARACTERS = 200
EVENT_BYTES = 480
STALLED_CHARACTERS, STALLED_EVENTS, STALLED_AT_ONCE = 8_000, 3_000, 8

Found = dict[str, dict[str, list[dict[str, float]]]]
"""scenario → setup → the figures of each round"""

PEER = Dialect(
    auth=lambda room: {"room": room},
    join=lambda room: None,
    publish=lambda room, text: [
        "pub",
        room,
        {"text": text, "padding": "y" * (EVENT_BYTES - TEXT_CHARACTERS - 40)},
    ],
    event=b'42["ev"',
    is_ready=b'42["hello"',
)


def product(token: str) -> Dialect:
    """Ours: everybody signs in with one Library token."""
    return Dialect(
        auth=lambda room: {"authToken": token},
        join=lambda room: ["topic.subscribe", {"topic": room}],
        publish=lambda room, text: ["comment.add", {"topic": room, "text": text}],
        event=b'42["comment.added"',
        is_ready=b"430",
    )


@dataclass(slots=True)
class Setup:
    """Two nodes that run: where they are and how to talk to them."""

    name: str
    a: str
    b: str
    b_process: psutil.Process
    dialect: Dialect
    rooms: Callable[[int], list[str]]


# --- Starting the setups ----------------------------------------------------------------------------------------


def node_modules() -> Path:
    """Where Node's packages are; installed on the first run, outside the tree."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "collab-server-bench"
    if not (cache / "node_modules" / "@socket.io" / "redis-adapter").exists():
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--silent", *NODE_PACKAGES], cwd=cache, check=True
        )
    return cache / "node_modules"


async def _wait_for_port(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def peers(
    name: str, command: list[str], redis_url: str, environ: dict[str, str]
) -> AsyncIterator[Setup]:
    """Two processes of a peer."""
    ports = [free_port(), free_port()]
    environ = {**os.environ, **environ}
    processes = [
        TiedProcess([*command, str(port), redis_url], output=subprocess.DEVNULL, env=environ, cwd=PEERS)
        for port in ports
    ]
    try:
        for port in ports:
            await _wait_for_port(port)
        a, b = (f"http://127.0.0.1:{port}" for port in ports)
        yield Setup(
            name,
            a,
            b,
            psutil.Process(processes[1].pid),
            PEER,
            lambda count: [f"room-{secrets.token_hex(4)}" for _ in range(count)],
        )
    finally:
        for process in processes:
            process.kill()


@contextlib.asynccontextmanager
async def ours(world: World, environ: dict[str, str]) -> AsyncIterator[Setup]:
    """Two nodes as in production, with limits that do not stand in the generator's way."""
    no_end = {"connectionsPerUser": 100_000, "commandsPerSecond": 1_000_000, "commandsBurst": 1_000_000}
    cluster = Cluster(
        world.new_database(),
        world.library,
        world.valkey.url,
        nodes=2,
        overrides={"logging": False, "limits": no_end},
        env={"UVICORN_ACCESS_LOG": "false", **environ},
        is_warm=False,
    )
    async with cluster:
        ann = await cluster.person("ann")
        process = psutil.Process(cluster[1].process.pid)
        yield Setup(
            "ours",
            cluster[0].url,
            cluster[1].url,
            process,
            product(ann.auth_token),
            lambda count: [fresh_topic() for _ in range(count)],
        )


@contextlib.asynccontextmanager
async def started(name: str, world: World) -> AsyncIterator[Setup]:
    """A setup by its name."""
    if name == "ours":
        async with ours(world, {}) as setup:
            yield setup
    elif name == "ours-asgi":
        async with ours(world, {"COLLAB_TRANSPORT": "asgi"}) as setup:
            setup.name = name
            yield setup
    elif name == "node":
        environ = {"NODE_PATH": str(node_modules())}
        async with peers(
            name, [shutil.which("node") or "node", "node.js"], world.valkey.url, environ
        ) as setup:
            yield setup
    else:
        async with peers(name, [sys.executable, "stock.py"], world.valkey.url, {}) as setup:
            yield setup


# --- What is measured -------------------------------------------------------------------------------------------


def _busy(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _pump(
    publishers: list[Member], tallies: dict[str, Tally], members: int, outstanding: int, stop: asyncio.Event
) -> None:
    """Keep `outstanding` publishes under way, in turn through the rooms, until each has reached its room."""
    rooms = list(tallies)
    published = dict.fromkeys(rooms, 0)
    turns = iter(range(1_000_000_000))

    async def slot(publisher: Member) -> None:
        while not stop.is_set():
            room = rooms[next(turns) % len(rooms)]
            published[room] += 1
            target = published[room] * members
            answer = await asyncio.wait_for(publisher.publish(room, TEXT_CHARACTERS), 20)
            assert b'"ok"' in answer or b'"ok":true' in answer, answer
            async with asyncio.timeout(20):
                while tallies[room].delivered < target:
                    await asyncio.sleep(0.0005)

    await asyncio.gather(*(slot(publishers[index % len(publishers)]) for index in range(outstanding)))


async def fan_out(setup: Setup, *, rooms: int, members: int, outstanding: int) -> dict[str, float]:
    """B's CPU per delivery, and the latency from publishing to delivery."""
    tallies, joined = await join_all(setup.b, setup.dialect, setup.rooms(rooms), members)
    publishers = [await join(setup.a, setup.dialect, setup.rooms(1)[0], Tally()) for _ in range(outstanding)]
    stop = asyncio.Event()
    pumping = asyncio.ensure_future(_pump(publishers, tallies, members, outstanding, stop))
    figures = await _measure(setup, list(tallies.values()), pumping)
    stop.set()
    await pumping
    lost = sum(member.is_lost for member in joined)
    assert not lost, f"{lost} clients were lost"
    for member in [*joined, *publishers]:
        member.transport.close()
    return figures


async def _measure(setup: Setup, tallies: list[Tally], pumping: asyncio.Future[None]) -> dict[str, float]:
    own = psutil.Process()
    await asyncio.wait([pumping], timeout=WARM_SECONDS)
    for tally in tallies:
        tally.waited.clear()
    before, busy, own_busy, started_at = (
        sum(t.delivered for t in tallies),
        _busy(setup.b_process),
        _busy(own),
        time.monotonic(),
    )
    await asyncio.wait([pumping], timeout=MEASURE_SECONDS)
    seconds = time.monotonic() - started_at
    delivered = sum(t.delivered for t in tallies) - before
    used, own_used = _busy(setup.b_process) - busy, _busy(own) - own_busy
    if pumping.done():
        pumping.result()
    waited = sorted(wait for tally in tallies for wait in tally.waited)
    return {
        "us": used / delivered * 1e6,
        "p50": waited[len(waited) // 2] * 1e3,
        "p99": waited[int(len(waited) * 0.99)] * 1e3,
        "rate": delivered / seconds,
        "generator us": own_used / delivered * 1e6,
    }


async def poll_delivery(setup: Setup, *, members: int, outstanding: int) -> dict[str, float]:
    """The same for clients that poll: each delivery a request of its own, at a pace they can follow."""
    room = setup.rooms(1)[0]
    tally = Tally()
    gate = asyncio.Semaphore(20)

    async def member(number: int) -> tuple[Http, Http, str]:
        async with gate:
            down, up, sid, _ = await open_polling(setup.b, setup.dialect, room)
            return down, up, sid

    members_open = await asyncio.gather(*(member(number) for number in range(members)))
    requests = 0

    async def poll(number: int, down: Http, up: Http, sid: str) -> None:
        nonlocal requests
        query = f"transport=polling&sid={sid}"
        while True:
            packets = (await down.ask("GET", query)).split(b"\x1e")
            requests += 1
            for packet in packets:
                if packet.startswith(setup.dialect.event):
                    tally.delivered += 1
                    if number == 0:
                        at = packet.find(b"at:") + 3
                        tally.waited.append(time.monotonic() - int(packet[at : at + 16]) / 1e6)
                elif packet == b"2":
                    await up.ask("POST", query, b"3")

    polls = [asyncio.ensure_future(poll(number, *one)) for number, one in enumerate(members_open)]
    publishers = [await join(setup.a, setup.dialect, setup.rooms(1)[0], Tally()) for _ in range(outstanding)]
    stop = asyncio.Event()
    pumping = asyncio.ensure_future(_pump(publishers, {room: tally}, members, outstanding, stop))
    figures = await _measure(setup, [tally], pumping)
    stop.set()
    await pumping
    for task in polls:
        task.cancel()
    await asyncio.gather(*polls, return_exceptions=True)
    for down, up, _ in members_open:
        down.close()
        up.close()
    for publisher in publishers:
        publisher.transport.close()
    return figures


async def idle(setup: Setup, *, clients: int) -> dict[str, float]:
    """Memory per idle websocket that is signed in, and the time it takes."""
    room = setup.rooms(1)[0]
    await join_all(setup.b, setup.dialect, [room], 100)
    await asyncio.sleep(0.5)
    before = setup.b_process.memory_info().rss
    dialect = setup.dialect
    without_join = Dialect(
        dialect.auth, lambda room: None, dialect.publish, dialect.event,
        b'42["hello"' if dialect is PEER else b'42["server.hello"',
    )  # fmt: skip
    started_at, busy = time.monotonic(), _busy(setup.b_process)
    _, joined = await join_all(setup.b, without_join, [room], clients)
    seconds, used = time.monotonic() - started_at, _busy(setup.b_process) - busy
    await asyncio.sleep(1)
    after = setup.b_process.memory_info().rss
    for member in joined:
        member.transport.close()
    return {
        "KiB": (after - before) / clients / 1024,
        "connects/s": clients / seconds,
        "us/connect": used / clients * 1e6,
    }


async def connects(setup: Setup, *, clients: int) -> dict[str, float]:
    """Connects per second as official clients do by default: polling first, then the upgrade."""
    gate = asyncio.Semaphore(50)

    async def one() -> asyncio.StreamWriter:
        async with gate, asyncio.timeout(30):
            return await connect_as_official_clients_do(setup.b, setup.dialect, "warm")

    for writer in await asyncio.gather(*(one() for _ in range(100))):
        writer.close()
    started_at, busy = time.monotonic(), _busy(setup.b_process)
    writers = await asyncio.gather(*(one() for _ in range(clients)))
    seconds, used = time.monotonic() - started_at, _busy(setup.b_process) - busy
    for writer in writers:
        writer.close()
    return {"connects/s": clients / seconds, "us/connect": used / clients * 1e6}


async def stalled(setup: Setup, *, clients: int) -> dict[str, float]:
    """Memory that clients cost which have stopped reading, and what one that reads notices of them."""
    room = setup.rooms(1)[0]
    tallies, reading = await join_all(setup.b, setup.dialect, [room], 1)
    asleep = [await join(setup.b, setup.dialect, room, Tally()) for _ in range(clients)]
    publisher = await join(setup.a, setup.dialect, setup.rooms(1)[0], Tally())
    before = most = setup.b_process.memory_info().rss
    for member in asleep:
        member.transport.pause_reading()
    tally = tallies[room]
    for number in range(1, STALLED_EVENTS // STALLED_AT_ONCE + 1):
        answers = [publisher.publish(room, STALLED_CHARACTERS) for _ in range(STALLED_AT_ONCE)]
        async with asyncio.timeout(20):
            await asyncio.gather(*answers)
            while tally.delivered < number * STALLED_AT_ONCE:
                await asyncio.sleep(0.0005)
        most = max(most, setup.b_process.memory_info().rss)
    assert not reading[0].is_lost
    for member in [*reading, *asleep, publisher]:
        member.transport.abort()
    waited = sorted(tally.waited)
    return {"KiB": (most - before) / clients / 1024, "p99": waited[int(len(waited) * 0.99)] * 1e3}


SCENARIOS: dict[str, Callable[[Setup], Any]] = {
    "s100": lambda setup: fan_out(setup, rooms=10, members=100, outstanding=8),
    "s1000": lambda setup: fan_out(setup, rooms=1, members=1000, outstanding=4),
    "hot": lambda setup: fan_out(setup, rooms=1, members=100, outstanding=32),
    "polling": lambda setup: poll_delivery(setup, members=100, outstanding=2),
    "connects": lambda setup: connects(setup, clients=2000),
    "idle": lambda setup: idle(setup, clients=5000),
    "stalled": lambda setup: stalled(setup, clients=10),
}


# --- The run ----------------------------------------------------------------------------------------------------


async def run(setups: list[str], scenarios: list[str], rounds: int) -> Found:
    """Each scenario of each setup, taking turns: scenario → setup → the figures of each round."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {
        s: {name: [] for name in setups} for s in scenarios
    }
    with World() as world:
        for _ in range(rounds):
            for scenario in scenarios:
                for name in setups:
                    async with started(name, world) as setup:
                        figures = await SCENARIOS[scenario](setup)
                    found[scenario][name].append(figures)
                    shown = "  ".join(f"{key} {value:.4g}" for key, value in figures.items())
                    print(f"{scenario:10}{name:10}{shown}", flush=True)
    return found


ROWS: list[tuple[str, str, str, float]] = [
    ("s100", "us", "CPU us per delivery, 10 topics of 100, 8 publishes under way", 0.7),
    ("s1000", "us", "CPU us per delivery, a topic of 1000, 4 under way", 0.7),
    ("hot", "us", "CPU us per delivery, a topic of 100, 32 under way", 0.3),
    ("polling", "us", "CPU us per polling delivery, a topic of 100, 2 under way", 1.0),
    ("idle", "KiB", "memory per idle websocket, KiB, 5000 clients", 0.75),
    ("connects", "connects/s", "connects/s, polling first, then the upgrade", 1.0),
    ("connects", "us/connect", "CPU us per such connect", 1.0),
    ("idle", "connects/s", "connects/s, websocket", 1.0),
    ("idle", "us/connect", "CPU us per websocket connect", 1.0),
    ("stalled", "KiB", "KiB for each of 10 clients that have stopped reading, 24 MB of events later", 0.1),
    ("stalled", "p99", "p99 ms, a client that reads beside them", 0.0),
    ("s100", "p99", "p99 ms, 10 topics of 100", 1.0),
    ("s1000", "p99", "p99 ms, a topic of 1000", 1.0),
    ("hot", "p99", "p99 ms, hot topic", 1.0),
    ("polling", "p99", "p99 ms, polling", 1.0),
    ("s100", "generator us", "the generator's own CPU us per delivery, 10 topics of 100", 0.0),
]
"""scenario, figure, what it is, the goal as a ratio to Node (at most; of connects/s at least; 0: none)"""


def table(found: Found) -> str:
    """A Markdown table: the median of each setup with its range, its ratio to Node's, and the goal."""
    setups = list(next(iter(found.values())))
    lines = [
        "| figure | " + " | ".join(setups) + " | goal |",
        "|---|" + "---|" * len(setups) + "---|",
    ]
    for scenario, figure, what, goal in ROWS:
        if scenario in found:
            cells = [_cell(found[scenario], setup, figure) for setup in setups]
            sign = "≥" if figure == "connects/s" else "≤"
            lines.append(f"| {what} | " + " | ".join(cells) + f" | {f'{sign} {goal:g}' if goal else ''} |")
    return "\n".join(lines)


def _cell(by_setup: dict[str, list[dict[str, float]]], setup: str, figure: str) -> str:
    values = [run[figure] for run in by_setup[setup]]
    median = statistics.median(values)
    cell = f"{_shown(median)} ({_shown(min(values))}..{_shown(max(values))})"
    if setup == "node" or "node" not in by_setup:
        return cell
    ratio = median / statistics.median(run[figure] for run in by_setup["node"])
    return f"{cell} **x{ratio:.2f}**"


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def peers_versions() -> str:
    """What the peers are, in words."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    return f"Node {node}, {', '.join(NODE_PACKAGES)}"


def main(arguments: list[str] | None = None) -> int:
    """Run, print the table, and put it into `docs/benchmarks.md` if asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench fanout")
    parser.add_argument("--setups", default="node,stock,ours")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="keep the figures of every run in this file")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    setups, scenarios = options.setups.split(","), options.scenarios.split(",")
    found = uvloop.run(run(setups, scenarios, options.rounds))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    shown = f"{circumstances(peers_versions(), options.rounds)}\n\n{table(found)}"
    print(f"\n{shown}")
    if options.write:
        put("fanout", shown)
    return 0
