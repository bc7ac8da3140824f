"""The same schedule of faults against the ready-made stack (`stock`), measured by the same readers' diligence.

Counted is only what a reader could expect of it: an event is *lost* when its write was acknowledged while the reader
was connected and subscribed, stayed so for three more seconds, and never got it. What was missed between two
connections, which the stack has no means to fetch, is counted apart. *Doubled* is a request with two rows, or an
event that came twice; *out of order* an event of a writer that came after a later one of the same writer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import asyncpg
import socketio
from typing_extensions import override

from collab_server.demo.tied import TiedProcess
from tests.faults.arena import Arena
from tests.faults.checker import Finding
from tests.faults.history import Answer, History, Write, first_word
from tests.faults.injection import inject
from tests.faults.run import GAP_SECONDS, Interval, Outcome, Say
from tests.faults.schedule import Fault, Step
from tests.harness.cluster import ROOT, Node

READERS = 10
WRITERS = 6
TOPICS = [f"topic{number}" for number in range(1, 6)]
ANSWER_SECONDS = 4.0
SETTLE_SECONDS = 3.0
HEAL_SECONDS = 20.0
PROBE_SECONDS = 1.5
ROUNDS_OF_RESTARTS = 3

LOST = (TimeoutError, OSError, aiohttp.ClientError, socketio.exceptions.SocketIOError)


class StockNode(Node):
    """A process of the ready-made stack; `config` holds the two URLs."""

    @override
    def spawn(self) -> None:
        assert not self.is_running, "the node runs already"
        with self.log_path.open("ab") as log:
            self._process = TiedProcess(
                [
                    *(sys.executable, "-m", "uvicorn", "tests.faults.stock:app"),
                    *("--host", "127.0.0.1", "--port", str(self.port), "--timeout-graceful-shutdown", "2"),
                ],
                output=log,
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
                    **self.config,
                },
                cwd=ROOT,
            )


class StockArena(Arena):
    """The same servers and edges, with other nodes."""

    locked_table = "stock_comments"

    @override
    def _make_nodes(self) -> None:
        for number in range(self._count):
            host, port = self.proxies["postgres", number].address
            database = self.postgres.url(host=host, port=port)
            redis = self.valkey.url_at(*self.proxies["redis", number].address)
            self.nodes.append(
                StockNode(
                    self.folder / f"node{number + 1}", {"STOCK_DATABASE": database, "STOCK_REDIS": redis}
                )
            )


@dataclass(slots=True)
class Stay:
    """One connection of a reader, subscribed from `began_at` to `ended_at`; what came, and when."""

    reader: str
    began_at: float
    ended_at: float = float("inf")
    came: list[tuple[int, str, float]] = field(default_factory=list)  # row id, request id, at


class _Client:
    """A connection to any node, made anew after each loss. python-socketio's own reconnection would do the same."""

    def __init__(self, arena: Arena, chance: random.Random, node: int | None = None) -> None:
        self._arena = arena
        self._chance = chance
        self._node = node
        self.sio: socketio.AsyncClient | None = None

    async def connect(self, note: Any = None) -> socketio.AsyncClient:
        urls = [self._arena.url(number) for number in range(len(self._arena.nodes))]
        url = (
            urls[self._node]
            if self._node is not None
            else self._chance.choice([*urls, self._arena.balancer_url])
        )
        http = aiohttp.ClientSession()
        sio = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=http)
        if note is not None:
            sio.on("comment.added", note)
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await sio.connect(url, transports=["websocket"], wait_timeout=ANSWER_SECONDS)
        except BaseException:
            await self.close(sio)
            raise
        self.sio = sio
        return sio

    @staticmethod
    async def close(sio: socketio.AsyncClient | None) -> None:
        if sio is None:
            return
        with contextlib.suppress(Exception):
            async with asyncio.timeout(3):
                await sio.disconnect()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(3):
                await sio.eio.http.close()

    async def ask(self, name: str, payload: Any, seconds: float = ANSWER_SECONDS) -> dict[str, Any]:
        """The acknowledgement. Raises one of `LOST`."""
        if self.sio is None or not self.sio.connected:
            raise socketio.exceptions.DisconnectedError
        answer: dict[str, Any] = await self.sio.call(name, payload, timeout=seconds)
        return answer

    def drop(self) -> asyncio.Task[None]:
        sio, self.sio = self.sio, None
        return asyncio.create_task(self.close(sio))


class StockRun:
    """One run; `carry_out` gives the same `Outcome` as a run against the product."""

    def __init__(
        self, arena: Arena, steps: Sequence[Step], seed: int, say: Say, pause_seconds: float
    ) -> None:
        self._arena = arena
        self._steps = steps
        self._seed = seed
        self._say = say
        self._pause_seconds = pause_seconds
        self._chance = random.Random(seed)
        self._history = History()
        self._stays: list[Stay] = []
        self._here: dict[str, Stay] = {}
        self._intervals: list[Interval] = []
        self._stops = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._trouble: Counter[str] = Counter()
        self._probe_clients: list[_Client] = []
        self._numbers: Counter[str] = Counter()
        self.not_healed = 0

    async def carry_out(self) -> Outcome:
        began = time.monotonic()

        def chance() -> random.Random:
            return random.Random(self._chance.random())

        self._probe_clients = [_Client(self._arena, chance(), node) for node in range(len(self._arena.nodes))]
        reading = [asyncio.create_task(self._read(f"reader{n + 1}", chance())) for n in range(READERS)]
        writing = [asyncio.create_task(self._write(f"w{n + 1}", chance())) for n in range(WRITERS)]
        try:
            await self._heal()
            for step in self._steps:
                interval = Interval(step, time.monotonic())
                self._intervals.append(interval)
                await asyncio.gather(*(self._strike(fault) for fault in step.faults))
                interval.ended_at = time.monotonic()
                if await self._heal():
                    interval.healed_at = time.monotonic()
                    self._say(f"{step}: healed in {interval.heal_seconds:.2f} s")
                else:
                    self.not_healed += 1
                    self._say(f"{step}: NOT HEALED within {HEAL_SECONDS:g} s; all nodes are started anew")
                    await self._start_anew()
                await asyncio.sleep(self._chance.uniform(*GAP_SECONDS))
            self._stops.set()
            await asyncio.wait(writing, timeout=30)
            await asyncio.sleep(SETTLE_SECONDS)
        finally:
            for task in (*reading, *writing):
                task.cancel()
            await asyncio.gather(*reading, *writing, return_exceptions=True)
            for client in self._probe_clients:
                self._keep(client.drop())
            if self._closing:
                await asyncio.wait(self._closing, timeout=5)
        findings = await self._judge()
        return Outcome(
            self._seed,
            time.monotonic() - began,
            self._intervals,
            self._history,
            findings,
            sum(len(stay.came) for stay in self._stays),
            len(self._stays),
            self._trouble,
        )

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _strike(self, fault: Fault) -> None:
        async with inject(self._arena, fault):
            await asyncio.sleep(fault.seconds)

    async def _start_anew(self) -> None:
        for node in self._arena.nodes:
            await node.kill()
            node.spawn()
        await asyncio.gather(*(node.wait_until_ready(60) for node in self._arena.nodes))
        await self._heal()

    # --- people

    async def _read(self, name: str, chance: random.Random) -> None:
        client = _Client(self._arena, chance)
        while True:
            stay = Stay(name, float("inf"))

            def note(event: dict[str, Any], stay: Stay = stay) -> None:
                if time.monotonic() < stay.ended_at:
                    stay.came.append((event["id"], first_word(event["text"]), time.monotonic()))

            try:
                await client.connect(note)
                for topic in TOPICS:
                    await client.ask("topic.subscribe", {"topic": topic})
                stay.began_at = time.monotonic()
                self._stays.append(stay)
                self._here[name] = stay
                while True:
                    await asyncio.sleep(1)
                    await client.ask("look", None)
            except LOST:
                pass
            finally:
                # When a reader finds out that its connection is silent, it has been so for a while.
                stay.ended_at = time.monotonic() - (ANSWER_SECONDS + 1)
                if asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    stay.ended_at = time.monotonic()
                self._here.pop(name, None)
                self._keep(client.drop())
            await asyncio.sleep(chance.uniform(0.05, 0.5))

    async def _write(self, name: str, chance: random.Random) -> None:
        client = _Client(self._arena, chance)
        try:
            while not self._stops.is_set():
                await self._add(client, name, chance.choice(TOPICS), chance)
                await asyncio.sleep(chance.expovariate(1 / self._pause_seconds))
        finally:
            self._keep(client.drop())

    async def _add(
        self, client: _Client, name: str, topic: str, chance: random.Random, seconds: float = ANSWER_SECONDS
    ) -> Write:
        self._numbers[name] += 1
        write = Write(f"{name}-{self._numbers[name]}", "add", name, topic, time.monotonic())
        self._history.writes.append(write)
        while not write.answers:
            write.attempts += 1
            try:
                text = f"{write.request_id} by {name}"
                if client.sio is None:
                    await client.connect()
                answer = await client.ask("comment.add", {"topic": topic, "text": text}, seconds)
            except LOST as error:
                self._trouble[type(error).__name__] += 1
                self._keep(client.drop())
            else:
                if answer["ok"]:
                    write.answers.append(Answer(answer["id"], ""))
                    write.acknowledged_at = time.monotonic()
                    break
                self._trouble["refused"] += 1
            await asyncio.sleep(chance.uniform(0.05, 0.5))
        return write

    async def _heal(self) -> bool:
        """Whether, in time, a write at every node was acknowledged and reached every reader that is there."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAL_SECONDS):
                await asyncio.gather(
                    *(self._reach(node, client) for node, client in enumerate(self._probe_clients))
                )
                return True
        return False

    async def _reach(self, node: int, client: _Client) -> None:
        while True:
            write = await self._add(client, f"probe{node + 1}", TOPICS[0], self._chance, PROBE_SECONDS)
            deadline = time.monotonic() + PROBE_SECONDS
            while time.monotonic() < deadline:
                here = list(self._here.values())
                if len(here) == READERS and all(
                    any(request_id == write.request_id for _, request_id, _ in stay.came[-200:])
                    for stay in here
                ):
                    return
                await asyncio.sleep(0.02)

    # --- judging

    async def _judge(self) -> list[Finding]:
        connection = await asyncpg.connect(**self._arena.database.connect_arguments(), timeout=10)
        try:
            rows = await connection.fetch("SELECT id, text FROM stock_comments ORDER BY id")
        finally:
            await connection.close()
        stored = Counter(first_word(row["text"]) for row in rows)
        ids = {row["id"] for row in rows}
        findings: list[Finding] = []
        for write in self._history.writes:
            at = write.acknowledged_at
            if at is not None and write.answers[0].seq not in ids:
                findings.append(Finding("lost", at, f"{write.request_id} was acknowledged and is not stored"))
            if stored[write.request_id] > 1:
                what = f"{write.request_id} is stored {stored[write.request_id]} times"
                findings.append(Finding("doubled", at or write.began_at, what))
        acknowledged = [write for write in self._history.writes if write.acknowledged_at is not None]
        for stay in self._stays:
            findings += self._judge_stay(stay, acknowledged, ids)
        return findings

    @staticmethod
    def _judge_stay(stay: Stay, acknowledged: Sequence[Write], ids: set[int]) -> list[Finding]:
        findings = []
        came = Counter(id for id, _, _ in stay.came)
        for write in acknowledged:
            at = write.acknowledged_at
            assert at is not None
            is_due = stay.began_at < write.began_at and at + SETTLE_SECONDS <= stay.ended_at
            if is_due and write.answers[0].seq not in came:
                findings.append(Finding("undelivered", at, f"{stay.reader} never got {write.request_id}"))
        latest: dict[str, int] = {}
        seen: set[int] = set()
        for id, request_id, at in stay.came:
            if id not in ids:
                findings.append(
                    Finding("phantom", at, f"{stay.reader} got {request_id}, which is not stored")
                )
            if id in seen:
                findings.append(Finding("delivered twice", at, f"{stay.reader} got {request_id} again"))
            writer = request_id.partition("-")[0]
            if id < latest.get(writer, 0):
                findings.append(
                    Finding("out of order", at, f"{stay.reader} got {request_id} after a later one")
                )
            seen.add(id)
            latest[writer] = max(latest.get(writer, 0), id)
        return findings


async def run_stock(
    steps: Sequence[Step],
    seed: int,
    *,
    say: Say = lambda _: None,
    pause_seconds: float = 0.2,
    keep_folder: bool = False,
) -> Outcome:
    """Carry the schedule out against the ready-made stack. Main thread only."""
    arena = StockArena()
    try:
        async with arena:
            return await StockRun(arena, steps, seed, say, pause_seconds).carry_out()
    finally:
        if keep_folder:
            say(f"logs: {arena.folder}")
        else:
            arena.remove()
