"""`comment.add` end to end, against what the same PostgreSQL commits without any server in front.

One node of ours with sign-in and all checks on, as durable as in production; writers come from a process of their own,
so that it is not the node's bottleneck: its processor time is shown beside the node's. The peer is pgbench, which
sends in one transaction the statements that a comment comes to.

The anchor is pgbench at its best: warm - what it commits while its clients connect and prepare is not counted, nor is
the time that takes - and at that number of clients at which it commits most, whatever the number of our writers is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from collab_server.demo.embedded import EmbeddedPostgres
from tests.bench.document import circumstances
from tests.bench.setups import Tree, nodes_of, topics
from tests.harness.clients import LibraryUser
from tests.harness.wire import Wire
from tests.harness.world import StandInLibrary, TestDatabase

WRITERS = (1, 16, 64, 200)
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 200)
KINDS = {"many": 90, "hot": 1}
"""How many topics. All writers are one person, who may ask Library about a hundred that are not known, and then about
25 a second: with more of them it is that which would be measured."""
SECONDS = 4.0
WARM_SECONDS = 1.0
ATTEMPTS = 2
TEXT = "The figures of the north look wrong since Monday; somebody please have a look at the filter."
PGBENCH = "pgbench"
GOALS = {("many", 16): 1.0, ("many", 64): 1.0, ("many", 200): 1.0}
GOALS |= {("hot", writers): 2.5 for writers in (16, 64, 200)}
"""Ours to pgbench's highest, at least"""
GOAL_ALONE = 0.7
"""One writer to one client of pgbench, at least"""

_PEER = """
\\set topic random(1, {topics})
BEGIN;
INSERT INTO peer.requests VALUES ('ann', gen_random_uuid()::text, '\\x00', 'answer') ON CONFLICT DO NOTHING;
UPDATE peer.topics SET last_seq = last_seq + 1 WHERE id = :topic RETURNING last_seq \\gset
INSERT INTO peer.comments VALUES (gen_random_uuid(), :topic, :last_seq, '{text}', now());
INSERT INTO peer.events VALUES (:topic, :last_seq, 'comment.added', now(), '{actor}', '{data}');
COMMIT;
"""

_PEER_TABLES = """
    CREATE SCHEMA peer;
    CREATE TABLE peer.requests (user_id text, request_id text, fingerprint bytea, answer text,
                                PRIMARY KEY (user_id, request_id));
    CREATE TABLE peer.topics (id bigint PRIMARY KEY, last_seq bigint NOT NULL DEFAULT 0) WITH (fillfactor = 70);
    CREATE TABLE peer.comments (id uuid PRIMARY KEY, topic_id bigint, seq bigint, text text, at timestamptz,
                                UNIQUE (topic_id, seq));
    CREATE TABLE peer.events (topic_id bigint, seq bigint, type text, at timestamptz, actor text, data text,
                              PRIMARY KEY (topic_id, seq));
    INSERT INTO peer.topics SELECT generate_series(1, 10000);
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Commits a second, mean and p99 latency in ms, processor time of the server in us per command."""

    per_second: float
    mean_ms: float
    p99_ms: float
    server_us: float = 0.0
    generator_us: float = 0.0


def pgbench() -> str | None:
    """Where pgbench is, if anywhere."""
    found = shutil.which("pgbench")
    if found:
        return found
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))), None)


def run_peer(server: EmbeddedPostgres, database: TestDatabase, script: Path, clients: int) -> Figures | None:
    """What pgbench with so many clients commits in `SECONDS`, once all are warm; None if some do not become so."""
    binary = pgbench()
    assert binary is not None
    source = database.data_source()
    spare = WARM_SECONDS + clients / 50 + 1
    for _ in range(ATTEMPTS):
        seconds = round(SECONDS + spare)
        folder = Path(tempfile.mkdtemp(prefix="collab-bench-pgbench-"))
        command = [
            binary,
            "-n",
            "-M",
            "prepared",
            "-c",
            str(clients),
            "-j",
            "1",
            "-T",
            str(round(SECONDS + spare)),
        ]
        command += ["-f", str(script), "-l", "--log-prefix", str(folder / "log"), "-h", server.host]
        command += ["-p", str(server.port), "-U", str(source["username"]), str(source["database"])]
        environ = {**os.environ, "PGPASSWORD": str(source["password"])}
        subprocess.run(command, check=True, capture_output=True, env=environ, timeout=seconds * 3 + 60)
        lines = [line for path in folder.glob("log*") for line in path.read_text().splitlines()]
        shutil.rmtree(folder)
        latencies = warm_latencies(lines, clients)
        if latencies is not None:
            return _figures(latencies)
        spare *= 2
    print(f"{clients} clients of pgbench were not all warm in a run of {seconds} s", file=sys.stderr)
    return None


def warm_latencies(lines: Iterable[str], clients: int) -> list[float] | None:
    """From pgbench's log, the latencies in ms of what was committed within `SECONDS` of being warm.

    Warm is when every client has committed twice - it has connected and prepared every statement then - and at least
    `WARM_SECONDS` after the first commit of all. None if the log ends, for some client, before the time is over.
    """
    ended: dict[str, list[float]] = {}
    commits: list[tuple[float, float]] = []
    for line in lines:
        client, _, us, _, epoch, fraction = line.split()[:6]
        at = int(epoch) + int(fraction) / 1e6
        ended.setdefault(client, []).append(at)
        commits.append((at, int(us) / 1000))
    if len(ended) < clients or min(map(len, ended.values())) < 2:
        return None
    warm = max(sorted(times)[1] for times in ended.values())
    begin = max(warm, min(at for at, _ in commits) + WARM_SECONDS)
    if min(max(times) for times in ended.values()) < begin + SECONDS:
        return None
    return [latency for at, latency in commits if begin < at <= begin + SECONDS]


def _figures(latencies_ms: list[float], server_us: float = 0.0, generator_us: float = 0.0) -> Figures:
    latencies_ms.sort()
    return Figures(
        len(latencies_ms) / SECONDS,
        statistics.fmean(latencies_ms),
        latencies_ms[int(len(latencies_ms) * 0.99)],
        server_us,
        generator_us,
    )


def generate(url: str, auth: Mapping[str, Any], topics: list[str], writers: int, result: Any) -> None:
    """In a process of its own: so many writers for `SECONDS`; puts latencies in ms and its CPU time in s."""
    result.put(asyncio.run(_write_all(url, auth, topics, writers)))


async def _write_all(
    url: str, auth: Mapping[str, Any], topics: list[str], writers: int
) -> tuple[list[float], float]:
    wires = [await Wire.connect(url, auth) for _ in range(writers)]
    began = time.process_time()
    latencies: list[float] = []
    until = time.perf_counter() + SECONDS
    await asyncio.gather(
        *(_write(wire, topics[i:] + topics[:i], until, latencies) for i, wire in enumerate(wires))
    )
    spent = time.process_time() - began
    for wire in wires:
        wire.close()
    return latencies, spent


async def _write(wire: Wire, topics: list[str], until: float, latencies: list[float]) -> None:
    name = uuid4().hex
    for number, topic in zip(itertools.count(), itertools.cycle(topics)):
        began = time.perf_counter()
        if began >= until:
            return
        payload = {"topic": topic, "text": TEXT, "requestId": f"{name}-{number}"}
        answer = await wire.ask("comment.add", payload)
        assert answer.startswith('{"ok":true'), answer
        latencies.append((time.perf_counter() - began) * 1000)


async def run_ours(
    url: str, process: psutil.Process, auth: Mapping[str, Any], topics: list[str], writers: int
) -> Figures:
    """A node of ours with so many writers for `SECONDS`."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    before = sum(process.cpu_times()[:2])
    generator = context.Process(target=generate, args=(url, auth, topics, writers, result))
    generator.start()
    latencies, generator_seconds = await asyncio.to_thread(result.get, True, SECONDS * 5 + 60)
    generator.join()
    node_seconds = sum(process.cpu_times()[:2]) - before
    count = max(len(latencies), 1)
    return _figures(latencies, node_seconds / count * 1e6, generator_seconds / count * 1e6)


async def warm_up(url: str, auth: Mapping[str, Any], topics: list[str]) -> None:
    """Have the node ask Library about every topic, as it would have over the day."""
    wire = await Wire.connect(url, auth)
    for topic in topics:
        await wire.ask("topic.get", {"topic": topic})
    wire.close()


Found = dict[str, dict[tuple[str, int], list[Figures]]]
"""setup (a tree's name, or pgbench) → topics and writers → the figures of each round"""


async def bench(trees: Mapping[str, Tree], rounds: int, limits: Mapping[str, int]) -> Found:
    """Every number of writers over many topics and over one: each tree, and pgbench, in turn."""
    found: Found = {name: {} for name in (*trees, PGBENCH)}
    folder = Path(tempfile.mkdtemp(prefix="collab-bench-"))
    server = EmbeddedPostgres(folder / "postgres", settings={"max_connections": "300"}).start()  # for pgbench
    library = StandInLibrary().start()
    try:
        server.create_database("peer")
        peer = TestDatabase(server, "peer")
        server.sql(_PEER_TABLES, database=peer.name)
        async with AsyncExitStack() as stack:
            nodes: dict[str, tuple[str, psutil.Process]] = {}
            for number, (name, tree) in enumerate(trees.items()):
                server.create_database(f"tree{number}")
                database = TestDatabase(server, f"tree{number}")
                running = nodes_of(tree, database, library, None, count=1, limits=limits)
                nodes[name] = (await stack.enter_async_context(running))[0]
            for number in range(rounds):
                ann = await LibraryUser.sign_in(library.url, "ann")
                auth = {"authToken": ann.auth_token}
                for kind, count in KINDS.items():
                    chosen = list(topics()[:count])
                    script = folder / f"{kind}.sql"
                    script.write_text(_script(count))
                    for url, _ in nodes.values():
                        await warm_up(url, auth, chosen)
                    for writers in sorted({*WRITERS, *CLIENTS}):
                        print(f"round {number + 1}: {kind}, {writers} writers …", file=sys.stderr, flush=True)
                        if writers in WRITERS:
                            for name, (url, process) in nodes.items():
                                figures = await run_ours(url, process, auth, chosen, writers)
                                found[name].setdefault((kind, writers), []).append(figures)
                        if writers in CLIENTS:
                            theirs = await asyncio.to_thread(run_peer, server, peer, script, writers)
                            if theirs is not None:
                                found[PGBENCH].setdefault((kind, writers), []).append(theirs)
    finally:
        library.stop()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _script(count: int) -> str:
    actor = json.dumps({"id": "A" * 32, "name": "Ann Archer", "initials": "AA"})
    return _PEER.format(topics=count, text=TEXT, actor=actor, data=json.dumps({"comment": "x" * 450}))


def highest(found: Found, kind: str) -> int:
    """At how many clients, of those that became warm in every round, pgbench commits most over these topics."""
    rounds = max(len(runs) for runs in found["ours"].values())
    rates = {
        clients: statistics.median(run.per_second for run in runs)
        for (name, clients), runs in found[PGBENCH].items()
        if name == kind and len(runs) == rounds
    }
    return max(rates, key=lambda clients: rates[clients])


def table(found: Found, before: str) -> str:
    """The results as a Markdown table; beside ours those of the commit before, if one was served too."""
    titles = ["topics", "writers", "ours /s", "pgbench /s, as many clients", "pgbench /s, its highest"]
    titles += [
        "ours / as many",
        "ours / highest",
        "p99 ms",
        "2 × writers / highest, ms",
        "node us",
        "generator us",
    ]
    titles += [f"{before} /s", f"{before} p99 ms", f"{before} node us"] if before else []
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for (kind, writers), ours in found["ours"].items():
        best = highest(found, kind)
        top, as_many = found[PGBENCH][kind, best], found[PGBENCH].get((kind, writers), [])
        has_as_many = len(as_many) == len(ours)
        goal = f" (≥ {GOALS[kind, writers]:g})" if (kind, writers) in GOALS else ""
        cells = [
            kind,
            str(writers),
            f"{_median(ours, 'per_second'):,.0f}",
            f"{_median(as_many, 'per_second'):,.0f}" if has_as_many else "",
            f"{_median(top, 'per_second'):,.0f} ({best} clients)",
            _ratio(ours, as_many) + (f" (≥ {GOAL_ALONE:g})" if writers == 1 else "") if has_as_many else "",
            _ratio(ours, top) + goal,
            f"{_median(ours, 'p99_ms'):.1f}",
            f"{2 * writers / _median(top, 'per_second') * 1000:.1f}",
            f"{_median(ours, 'server_us'):.0f}",
            f"{_median(ours, 'generator_us'):.0f}",
        ]
        if before:
            old = found[before][kind, writers]
            cells += [f"{_median(old, 'per_second'):,.0f}", f"{_median(old, 'p99_ms'):.1f}"]
            cells += [f"{_median(old, 'server_us'):.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(runs: list[Figures], figure: str) -> float:
    return float(statistics.median(getattr(run, figure) for run in runs))


def _ratio(ours: list[Figures], theirs: list[Figures]) -> str:
    ratios = sorted(a.per_second / b.per_second for a, b in zip(ours, theirs, strict=True))
    return f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f}..{ratios[-1]:.2f})"


def tell(trees: Mapping[str, Tree], before: str, rounds: int, limits: Mapping[str, int]) -> str:
    """Run it; circumstances and table as Markdown. There has to be a pgbench."""
    binary = pgbench()
    assert binary is not None
    found = asyncio.run(bench(trees, rounds, limits))
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    return f"{circumstances(f'{version} on the same server', rounds)}\n\n{table(found, before)}"
