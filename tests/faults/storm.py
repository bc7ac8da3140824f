"""Thousands of clients in one process: they lose their connections together and come back together.

What it is: `Crowd`, clients that do what an official client does after a loss (wait 1 s, then 2, 4 and 5, each by
chance half as long again or half as short; sign in with the resume token; subscribe with the last `seq` they have) and
note what they got and how long it took; `Writers`, who repeat under its requestId whatever was not answered; and
`CrowdLibrary`, a Library with that many people. A refused or lost handshake is tried at the next node at once, as the
load balancer in front of the nodes does it.

The clients speak websocket by hand, in frames masked with zeros, so that thousands of them leave most of a small
machine to the nodes. `python -m tests.faults.storm` runs the large versions by hand and prints figures.

What runs concurrently: a task per client while it comes back, one per writer. How it stops: `Crowd.close`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import aiohttp
import psutil
from typing_extensions import override

from collab_server.authority.library.library import Library
from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres, EmbeddedValkey
from collab_server.demo.serving import LoopbackServer
from collab_server.demo.standin import (
    Content,
    LibraryData,
    Member,
    Person,
    Project,
    Session,
    app_of,
)
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.services.sign_in import Authenticator
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import PROJECT_ID, StandInLibrary, TestDatabase, apply_migrations

FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 5.0
ANSWER_SECONDS = 20.0  # what official clients wait for a connection
SESSION_SECONDS = 1800.0
SIGN_INS_AT_ONCE = 32
PAGE = 500

_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def login_of(number: int) -> str:
    """The login, and password, of somebody of the crowd."""
    return f"p{number}"


def topic_of(number: int) -> str:
    """The `content:` topic of one of the crowd's dashboards."""
    return f"content:{PROJECT_ID}:{0xC0_0000 + number:032X}"


class CrowdLibrary(LoopbackServer):
    """A stand-in Library with `people` people, and `dashboards` dashboards that everybody may open."""

    def __init__(self, people: int, dashboards: int) -> None:
        data = LibraryData(
            people=tuple(
                Person(login=login_of(n), id=f"{0xABC0_0000 + n:032X}", fullName=f"Person {n}", initials="P")
                for n in range(people)
            ),
            groups=(),
            projects=(
                Project(
                    id=PROJECT_ID,
                    name="Crowd",
                    objects=tuple(
                        Content(id=f"{0xC0_0000 + n:032X}", name=f"Dashboard {n}", type=55)
                        for n in range(dashboards)
                    ),
                ),
            ),
        )
        self._standin = Member(data, SESSION_SECONDS, SESSION_SECONDS)
        super().__init__(app_of(self._standin), name="Library of a crowd")
        self._sealer = Library(None)

    def resume_tokens(self, seal_key: bytes) -> list[str]:
        """For each of its people a session, and a token to come back with, as a node would have made it of that.

        In place of signing in thousands by four calls each, which is not what is to be measured. Call it before
        `start`, which gives the sessions to another thread.
        """
        authenticator = Authenticator(self._sealer.as_authority())
        authenticator.use_keys(KeyRing.of(seal_key))
        tokens = []
        for person in self._standin.data.people:
            opened = Session(person)
            self._standin.sessions[opened.token] = opened
            session = AuthoritySession(opened.token, opened.cookie, is_delegated=True)
            self._sealer.sessions.adopt(session, SESSION_SECONDS, 0)
            user = User(person.id, person.fullName, person.initials)
            renewed = authenticator.renew(Identity(user, session, False, datetime.now(UTC)))
            assert renewed is not None
            tokens.append(renewed.resume_token)
        return tokens

    @property
    def url(self) -> str:
        """`authorizationServerUrl`."""
        return f"http://{self.address}/api"

    async def calls(self) -> dict[str, int]:
        """How often it was asked what, since it was made."""
        async with (
            aiohttp.ClientSession() as http,
            http.get(f"http://{self.address}/standin/calls") as answer,
        ):
            counted: dict[str, int] = await answer.json()
        return counted


class _Lost(Exception):
    """The connection was refused or is gone."""


class _Wire(asyncio.Protocol):
    """One websocket. Calls `client.take(text)` for every message, and `client.lost(self)` once at its end."""

    def __init__(self, client: Client, host: str, port: int) -> None:
        self._client = client
        self._greeting = _HANDSHAKE.format(host=host, port=port).encode()
        self._buffer = bytearray()
        self.is_open = False
        self._is_lost = False
        self.transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self._greeting)

    @override
    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if not self.is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in buffer[:20]:
                self.transport.abort()
                return
            del buffer[: end + 4]
            self.is_open = True
        start, length = 0, len(buffer)
        while length - start >= 2:
            size, begin = buffer[start + 1], start + 2
            if size == 126:
                begin += 2
                size = int.from_bytes(buffer[start + 2 : begin], "big")
            elif size == 127:
                begin += 8
                size = int.from_bytes(buffer[start + 2 : begin], "big")
            if length < begin + size or length < begin:
                break
            if buffer[start] == 0x81:
                text = buffer[begin : begin + size].decode()
                if text == "2":
                    self.send("3")
                else:
                    self._client.take(self, text)
            elif buffer[start] == 0x88:
                self.transport.close()
            start = begin + size
        del buffer[:start]

    def send(self, text: str) -> None:
        data = text.encode()
        size = len(data)
        head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
        self.transport.write(head + b"\0\0\0\0" + data)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._client.lost(self)


def _same(wire: _Wire) -> _Wire:
    return wire


class Client:
    """Somebody of the crowd, subscribed to one topic.

    `seq` is the last of the topic it has; `came_back` lists, for every loss, the seconds until it was subscribed
    again; `faults` what an official client would not have got over by itself, and every event out of order.
    """

    def __init__(self, crowd: Crowd, number: int, topic: str) -> None:
        self.crowd = crowd
        self.number = number
        self.topic = topic
        self.credentials: dict[str, str] = {}
        self.seq: int | None = None
        self.epoch: str | None = None
        self.events = 0
        self.caught_up = 0
        self.tries = 0
        self.came_back: list[float] = []
        self.faults: list[str] = []
        self.is_here = False
        self._wire: _Wire | None = None
        self._waits: dict[str, tuple[asyncio.Future[Any], Callable[[str], Any]]] = {}
        self._numbers = itertools.count(1)
        self._lost_at: float | None = None
        self._returning: asyncio.Task[None] | None = None
        self._is_closed = False

    # --- wire

    def take(self, wire: _Wire, text: str) -> None:
        """A message."""
        if wire is not self._wire:
            return
        if text.startswith('42["comment.added"'):
            self._note(json.loads(text[2:])[1])
        elif text.startswith("43"):
            end = text.index("[")
            self._answer(text[2:end], text[end:])
        elif text.startswith("0{"):
            self._answer("open", text)
        elif text.startswith('42["server.hello"'):
            self._answer("hello", text[2:])
        elif text.startswith("44"):
            self.faults.append(f"refused: {text[:200]}")
            self._answer("hello", "")
        elif text.startswith(('42["topic.closed"', '42["server.signed_out"', "41")):
            self.faults.append(f"put out: {text[:200]}")

    def _answer(self, key: str, text: str) -> None:
        waiting = self._waits.pop(key, None)
        if waiting is not None and not waiting[0].done():
            # Read here and not by who waits: the events that follow an answer may be in the same packet.
            waiting[0].set_result(waiting[1](text))

    def _note(self, event: dict[str, Any]) -> None:
        if event["topic"] != self.topic:
            return
        if self.seq is not None and event["seq"] != self.seq + 1:
            self.faults.append(f"got {event['seq']} after {self.seq}")
        self.seq = event["seq"]
        self.events += 1

    def lost(self, wire: _Wire) -> None:
        """The connection is gone: come back, as an official client does."""
        if wire is not self._wire:
            return
        self._wire = None
        for wait, _ in self._waits.values():
            if not wait.done():
                wait.set_exception(_Lost)
                wait.exception()  # looked at, if nobody waits any more
        self._waits.clear()
        if not self.is_here:
            return  # whoever was connecting sees to it
        self.is_here = False
        self._lost_at = time.monotonic()
        if not self._is_closed:
            self._returning = asyncio.create_task(self._come_back())

    def send(self, text: str) -> None:
        """Send one message. Raises `_Lost`."""
        if self._wire is None:
            raise _Lost
        self._wire.send(text)

    def _expect(self, key: str, read: Callable[[str], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waits[key] = future, read
        return future

    async def _in_time(self, answer: asyncio.Future[Any]) -> Any:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await answer

    async def ask(
        self,
        command: str,
        payload: dict[str, Any],
        read: Callable[[str], Any] = lambda text: json.loads(text)[0],
    ) -> Any:
        """The acknowledgement. Raises `_Lost`, or `TimeoutError` when there is none."""
        number = str(next(self._numbers))
        answer = self._expect(number, read)
        self.send(f"42{number}" + json.dumps([command, payload]))
        return await self._in_time(answer)

    # --- coming and going

    async def connect(self) -> None:
        """Connect, sign in and subscribe. Raises `_Lost` or `TimeoutError`."""
        addresses = self.crowd.addresses_in_some_order()
        for host, port in addresses:
            wire = _Wire(self, host, port)
            self._wire = wire
            self.tries += 1
            try:
                opened = self._expect("open", str)  # which may come before `create_connection` returns
                await asyncio.get_running_loop().create_connection(partial(_same, wire), host, port)
                await self._in_time(opened)
                hello = self._expect("hello", lambda text: json.loads(text)[1] if text else None)
                self.send("40" + json.dumps(self.credentials))
                greeting = await self._in_time(hello)
            except TimeoutError:
                raise
            except OSError:
                continue  # nobody listens: the next one
            except _Lost:
                if not wire.is_open:
                    continue  # refused, or cut without an answer
                raise
            break
        else:
            raise _Lost
        if greeting is None:
            raise _Lost
        self.credentials = {"resumeToken": greeting["resumeToken"]}
        payload: dict[str, Any] = {"topic": self.topic}
        if self.seq is not None:
            payload |= {"after": self.seq, "epoch": self.epoch, "limit": PAGE}
        while True:
            answer = await self.ask("topic.subscribe", payload, self._read_subscription)
            if answer["ok"]:
                break
            if answer["error"].get("retryAfter") is None:
                self.faults.append(f"not subscribed: {answer['error']}")
                raise _Lost
            await asyncio.sleep(answer["error"]["retryAfter"] * random.uniform(0.5, 1))
        if self._wire is not wire:
            raise _Lost
        self.is_here = True

    def _read_subscription(self, text: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(text)[0]
        if answer["ok"]:
            self._catch_up(answer["data"])
        return answer

    def _catch_up(self, found: dict[str, Any]) -> None:
        self.epoch = found["epoch"]
        if self.seq is None:
            self.seq = found["seq"]
            return
        if not found["recovered"]:
            self.faults.append("not recovered")
        head = found["seq"]
        before = self.events
        for event in found["events"]:
            self._note(event)
        if self.seq != head:
            self.faults.append(f"caught up to {self.seq}, not {head}")
        self.caught_up += self.events - before

    async def _come_back(self) -> None:
        delay = FIRST_DELAY_SECONDS
        while not self._is_closed:
            await asyncio.sleep(delay * random.uniform(0.5, 1.5))
            try:
                await self.connect()
            except (_Lost, TimeoutError) as error:
                if isinstance(error, TimeoutError):
                    self.faults.append("no answer")
                self.cut()
                delay = min(delay * 2, LONGEST_DELAY_SECONDS)
                continue
            except Exception as error:
                self.faults.append(repr(error))
                raise
            if self._lost_at is not None:
                self.came_back.append(time.monotonic() - self._lost_at)
            return

    def cut(self) -> None:
        """Break the connection without a word, as a lost network does."""
        wire = self._wire
        if wire is not None and hasattr(wire, "transport"):
            wire.transport.abort()

    async def close(self) -> None:
        """Leave for good."""
        self._is_closed = True
        if self._returning is not None:
            self._returning.cancel()
        self.cut()


class Crowd:
    """`size` clients in topics of `topic_size`; `addresses` are the nodes' (host, port)."""

    def __init__(
        self, library: CrowdLibrary, addresses: Sequence[tuple[str, int]], size: int, topic_size: int
    ) -> None:
        self.library = library
        self.addresses = list(addresses)
        self.clients = [Client(self, n, topic_of(n // topic_size)) for n in range(size)]
        self.topics = sorted({client.topic for client in self.clients})

    def addresses_in_some_order(self) -> list[tuple[str, int]]:
        """Every node once, a random one first."""
        return random.sample(self.addresses, len(self.addresses))

    async def arrive(self, resume_tokens: Sequence[str]) -> None:
        """Sign everybody in and subscribe them."""
        turn = asyncio.Semaphore(SIGN_INS_AT_ONCE)

        async def come(client: Client, token: str) -> None:
            client.credentials = {"resumeToken": token}
            async with turn:
                await client.connect()

        try:
            await asyncio.gather(*map(come, self.clients, resume_tokens))
        except _Lost:
            raise AssertionError(f"they cannot come: {self.faults()[:5]}") from None

    def cut(self) -> None:
        """Break everybody's connection at once."""
        for client in self.clients:
            client.cut()

    async def until_back(self, timeout: float) -> None:
        """Wait until everybody is subscribed."""
        await until(
            lambda: all(client.is_here for client in self.clients),
            timeout,
            lambda: (
                f"everybody is back; {sum(not c.is_here for c in self.clients)} are not; {self.faults()[:5]}"
            ),
        )

    def times(self) -> list[float]:
        """How long every return took, in seconds, sorted; then they are forgotten."""
        times = sorted(seconds for client in self.clients for seconds in client.came_back)
        for client in self.clients:
            client.came_back.clear()
        return times

    def faults(self) -> list[str]:
        """Everything that went wrong for anybody."""
        return [f"{client.number}: {fault}" for client in self.clients for fault in client.faults]

    async def close(self) -> None:
        """Everybody leaves."""
        await asyncio.gather(*(client.close() for client in self.clients))


def quantile(times: Sequence[float], share: float) -> float:
    """The value below which this share of the sorted `times` lies."""
    return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


class Writers:
    """Writes of the crowd's own members, `per_second` in all, each repeated under its requestId until it is answered.

    `acknowledged` maps requestId to (topic, seq); `refused` holds final refusals, of which there should be none.
    """

    def __init__(self, crowd: Crowd, per_second: float) -> None:
        self._crowd = crowd
        self._pause = 1 / per_second
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.refused: list[str] = []
        self.repeated = 0
        self.slowest = 0.0
        self._writes: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._write_for_ever())

    async def stop(self) -> None:
        """Begin no more writes, and wait until all are answered."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        async with asyncio.timeout(30):
            await asyncio.gather(*self._writes)

    async def _write_for_ever(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number in itertools.count():
            client = random.choice(self._crowd.clients)
            task = asyncio.create_task(self._write(client, f"w{number}"))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)
            due += self._pause
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _write(self, client: Client, request_id: str) -> None:
        payload = {"topic": client.topic, "text": request_id, "requestId": request_id}
        begun = time.monotonic()
        while True:
            try:
                if client.is_here:
                    answer = await client.ask("comment.add", payload)
                    if answer["ok"]:
                        self.acknowledged[request_id] = (client.topic, answer["data"]["seq"])
                        self.slowest = max(self.slowest, time.monotonic() - begun)
                        return
                    if answer["error"].get("retryAfter") is None:
                        self.refused.append(str(answer["error"]))
                        return
            except (_Lost, TimeoutError):
                pass
            self.repeated += 1
            await asyncio.sleep(0.2)


def statements(log: str) -> Counter[str]:
    """What a log of PostgreSQL with `log_statement=all` says was asked: the statement's first words, and how often."""
    found: Counter[str] = Counter()
    for match in re.finditer(r"LOG:  (?:execute [^:]*|statement): *([^\n]*(?:\n\t[^\n]*){0,40})", log):
        found[" ".join(match[1].split())[:110]] += 1
    return found


@asynccontextmanager
async def arena(
    people: int, topic_size: int, *, nodes: int = 3
) -> AsyncIterator[tuple[Cluster, Crowd, EmbeddedPostgres]]:
    """Servers, nodes and a crowd that has arrived. Main thread only."""
    folder = Path(tempfile.mkdtemp(prefix="collab-storm-"))
    folder.chmod(0o755)  # noqa: ASYNC240 - PostgreSQL may have to run as nobody
    settings = {**NOT_DURABLE, "log_statement": "all", "shared_buffers": "64MB"}
    postgres = EmbeddedPostgres(folder / "postgres", settings=settings).start()
    valkey = EmbeddedValkey().start()
    library = CrowdLibrary(people, people // topic_size + 1)
    try:
        database = TestDatabase(postgres, postgres.database)
        apply_migrations(database)
        database.sql(
            "INSERT INTO collab.installation (epoch, seal_key) VALUES ('storm', decode(repeat('5e', 32), 'hex'))"
        )
        tokens = library.resume_tokens(bytes.fromhex("5e" * 32))
        library.start()
        cluster = Cluster(
            database,
            cast("StandInLibrary", library),
            valkey.url,
            nodes=nodes,
            folder=folder,
            overrides={"logging": False},
        )
        async with cluster:
            crowd = Crowd(library, [("127.0.0.1", node.port) for node in cluster.nodes], people, topic_size)
            try:
                await crowd.arrive(tokens)
                yield cluster, crowd, postgres
            finally:
                await crowd.close()
    finally:
        library.stop()
        valkey.kill()
        postgres.abort()
        shutil.rmtree(folder, ignore_errors=True)


# --- by hand


def _cpu_seconds(cluster: Cluster) -> float:
    """Processor time of the nodes that run, together."""
    times = [psutil.Process(node.process.pid).cpu_times() for node in cluster.nodes if node.is_running]
    return sum(time.user + time.system for time in times)


def _report(what: str, times: Sequence[float]) -> None:
    shares = ", ".join(f"p{share:g} {quantile(times, share / 100):.2f}" for share in (50, 90, 99, 100))
    print(f"{what}: {len(times)} returns, seconds {shares}", flush=True)


async def storm(people: int, kind: str) -> None:
    """Everybody is cut, or one node is killed; figures of how they come back."""
    begun = time.monotonic()
    async with arena(people, 50) as (cluster, crowd, postgres):
        print(f"{people} have arrived after {time.monotonic() - begun:.1f} s", flush=True)
        await asyncio.sleep(3)
        for round in range(2):
            calls, asked = await crowd.library.calls(), statements(postgres.log_text())
            if kind == "kill":
                await cluster[round].kill()
            cpu_seconds, begun = _cpu_seconds(cluster), time.monotonic()
            if kind == "cut":
                crowd.cut()
            await until(lambda: not all(client.is_here for client in crowd.clients), 5)
            await crowd.until_back(60)
            took, cpu_seconds = time.monotonic() - begun, _cpu_seconds(cluster) - cpu_seconds
            asked_now = statements(postgres.log_text()) - asked
            calls_now = Counter(await crowd.library.calls()) - Counter(calls)
            times = crowd.times()
            _report(f"{kind} {round}, {took:.1f} s in all, {cpu_seconds:.1f} CPU seconds of the nodes", times)
            print(
                f"  tries {sum(c.tries for c in crowd.clients)}, faults {crowd.faults()[:3]} ({len(crowd.faults())}), "
                f"Library {dict(calls_now)}, queries {sum(asked_now.values())}, "
                f"{sum(asked_now.values()) / max(1, len(times)):.2f} a return",
                flush=True,
            )
            for words, number in asked_now.most_common(8):
                print(f"    {number:6} {words}")
            if kind == "kill":
                await cluster[round].start()
            await asyncio.sleep(3)


async def rolling(people: int, per_second: float) -> None:
    """Three nodes are stopped by SIGTERM and started again, one after the other, while people write."""
    async with arena(people, 50) as (cluster, crowd, _):
        writers = Writers(crowd, per_second)
        writers.start()
        for node in cluster.nodes:
            begun = time.monotonic()
            code = await node.stop(12)
            stopped = time.monotonic() - begun
            await node.start()
            print(
                f"exit {code} after {stopped:.1f} s, ready after {time.monotonic() - begun:.1f} s", flush=True
            )
        await crowd.until_back(30)
        await writers.stop()
        heads: dict[str, int] = {}
        for topic, seq in writers.acknowledged.values():
            heads[topic] = max(heads.get(topic, 0), seq)
        await until(lambda: all(client.seq == heads.get(client.topic, 0) for client in crowd.clients), 10)
        _report("rolling restart", crowd.times())
        print(
            f"  writes {len(writers.acknowledged)}, repeated {writers.repeated}, refused {writers.refused[:3]}, "
            f"slowest {writers.slowest:.2f} s, faults {crowd.faults()[:3]} ({len(crowd.faults())}), "
            f"Library {await crowd.library.calls()}",
            flush=True,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """`cut`, `kill` or `rolling`, with how many people."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description=main.__doc__)
    parser.add_argument("what", choices=("cut", "kill", "rolling"))
    parser.add_argument("--people", type=int, default=5000)
    parser.add_argument("--writes", type=float, default=50)
    given = parser.parse_args(argv)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if given.what == "rolling":
            runner.run(rolling(given.people, given.writes))
        else:
            runner.run(storm(given.people, given.what))
    return 0


if __name__ == "__main__":
    sys.exit(main())
