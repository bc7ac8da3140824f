"""`comment.add` end to end against pgbench, in one run on one machine.

Run by `python -m tests.bench writes`. One node, with sign-in and all checks on, on an embedded PostgreSQL that is as
durable as in production; writers are Socket.IO clients over websocket, in a process of their own, each with one
command under way: what they measure is stored, committed, delivered and acknowledged. The peer is pgbench on the same
server, which runs the statements that a comment comes to (request key, seq, comment, event) in one transaction, with
as many clients. Both are run in turn, `ROUNDS` times; the table shows the medians.

The generator is not the bottleneck: its processor time is shown beside the node's.
"""

from __future__ import annotations

import argparse
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from collab_server.demo.embedded import EmbeddedPostgres
from tests.bench.document import circumstances, put
from tests.harness.clients import LibraryUser
from tests.harness.cluster import Cluster
from tests.harness.wire import Wire
from tests.harness.world import StandInLibrary, TestDatabase, fresh_topic

ROUNDS = 3
WRITERS = (1, 16, 64, 200)
TOPICS = 1900
SECONDS = 4.0
TEXT = "The figures of the north look wrong since Monday; somebody please have a look at the filter."

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


def run_peer(server: EmbeddedPostgres, database: TestDatabase, script: Path, writers: int) -> Figures:
    """pgbench with so many clients for `SECONDS`."""
    binary = pgbench()
    assert binary is not None
    log = Path(tempfile.mkdtemp()) / "log"
    source = database.data_source()
    command = [binary, "-n", "-M", "prepared", "-c", str(writers), "-j", "1", "-T", str(int(SECONDS))]
    command += ["-f", str(script), "-l", "--log-prefix", str(log), "-h", server.host, "-p", str(server.port)]
    command += ["-U", str(source["username"]), str(source["database"])]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        env={**os.environ, "PGPASSWORD": str(source["password"])},
        timeout=SECONDS * 5 + 30,
    )
    latencies = [
        int(line.split()[2]) / 1000
        for path in log.parent.glob("log*")
        for line in path.read_text().splitlines()
    ]
    shutil.rmtree(log.parent)
    return _figures(latencies)


def _figures(latencies_ms: list[float], server_us: float = 0.0, generator_us: float = 0.0) -> Figures:
    latencies_ms.sort()
    return Figures(
        len(latencies_ms) / SECONDS,
        statistics.fmean(latencies_ms),
        latencies_ms[int(len(latencies_ms) * 0.99)],
        server_us,
        generator_us,
    )


def generate(url: str, token: str, topics: list[str], writers: int, result: Any) -> None:
    """In a process of its own: so many writers for `SECONDS`; puts latencies in ms and its CPU time in s."""
    result.put(asyncio.run(_write_all(url, token, topics, writers)))


async def _write_all(url: str, token: str, topics: list[str], writers: int) -> tuple[list[float], float]:
    wires = [await Wire.connect(url, {"identityToken": token}) for _ in range(writers)]
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


async def run_ours(cluster: Cluster, token: str, topics: list[str], writers: int) -> Figures:
    """Our node with so many writers for `SECONDS`."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = psutil.Process(cluster[0].process.pid)
    before = sum(process.cpu_times()[:2])
    generator = context.Process(target=generate, args=(cluster[0].url, token, topics, writers, result))
    generator.start()
    latencies, generator_seconds = await asyncio.to_thread(result.get, True, SECONDS * 5 + 60)
    generator.join()
    node_seconds = sum(process.cpu_times()[:2]) - before
    count = max(len(latencies), 1)
    return _figures(latencies, node_seconds / count * 1e6, generator_seconds / count * 1e6)


async def warm_up(url: str, token: str, topics: list[str]) -> None:
    """Have the node ask Library about every topic, as it would have over the day."""
    wire = await Wire.connect(url, {"identityToken": token})
    for topic in topics:
        await wire.ask("topic.get", {"topic": topic})
    wire.close()


async def bench(
    cases: list[tuple[str, int, int]], rounds: int
) -> dict[tuple[str, int], tuple[list[Figures], list[Figures]]]:
    """Every case (name, topics, writers), ours and the peer in turn."""
    found: dict[tuple[str, int], tuple[list[Figures], list[Figures]]] = {}
    folder = Path(tempfile.mkdtemp(prefix="collab-bench-"))
    server = EmbeddedPostgres(folder / "postgres", settings={"max_connections": "300"}).start()  # for pgbench
    library = StandInLibrary().start()
    try:
        server.create_database("bench")
        database = TestDatabase(server, "bench")
        limits = {"commandsPerSecond": 1_000_000, "commandsBurst": 1_000_000, "connectionsPerUser": 1000}
        async with Cluster(
            database,
            library,
            None,
            nodes=1,
            folder=folder / "cluster",
            overrides={"limits": limits, "logging": False},
            is_warm=False,
        ) as cluster:
            server.sql(_PEER_TABLES, database=database.name)
            ann = await LibraryUser.sign_in(library.url, "ann")
            topics = [fresh_topic() for _ in range(TOPICS)]
            for round in range(rounds):
                for name, count, writers in cases:
                    print(f"round {round + 1}: {name}, {writers} writers …", file=sys.stderr, flush=True)
                    script = folder / f"{name}.sql"
                    actor = json.dumps({"id": "A" * 32, "name": "Ann Archer", "initials": "AA"})
                    script.write_text(
                        _PEER.format(
                            topics=count, text=TEXT, actor=actor, data=json.dumps({"comment": "x" * 450})
                        )
                    )
                    token = await ann.identity_token()
                    await warm_up(cluster[0].url, token, topics[:count])
                    ours, peers = found.setdefault((name, writers), ([], []))
                    ours.append(await run_ours(cluster, token, topics[:count], writers))
                    peers.append(await asyncio.to_thread(run_peer, server, database, script, writers))
    finally:
        library.stop()
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def table(found: dict[tuple[str, int], tuple[list[Figures], list[Figures]]]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| topics | writers | ours /s | pgbench /s | ratio | our p99 ms | pgbench mean ms | ratio"
        " | node us | generator us |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (name, writers), (ours, peers) in found.items():
        mine, theirs = (
            statistics.median(f.per_second for f in ours),
            statistics.median(f.per_second for f in peers),
        )
        p99, mean = statistics.median(f.p99_ms for f in ours), statistics.median(f.mean_ms for f in peers)
        ratios = sorted(a.per_second / b.per_second for a, b in zip(ours, peers, strict=True))
        lines.append(
            f"| {name} | {writers} | {mine:,.0f} | {theirs:,.0f}"
            f" | {mine / theirs:.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
            f" | {p99:.1f} | {mean:.1f} | {p99 / mean:.1f}"
            f" | {statistics.median(f.server_us for f in ours):.0f}"
            f" | {statistics.median(f.generator_us for f in ours):.0f} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run it and print the table. 1 if pgbench is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench writes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("many", "hot"))
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    parser.add_argument("--writers", type=int, nargs="*", default=WRITERS)
    arguments = parser.parse_args(argv)
    if (binary := pgbench()) is None:
        print("pgbench is missing; Debian has it in the package postgresql-contrib", file=sys.stderr)
        return 1
    cases = [
        (name, count, writers)
        for name, count in (("many", TOPICS), ("hot", 1))
        for writers in arguments.writers
        if arguments.only in (None, name)
    ]
    found = asyncio.run(bench(cases, arguments.rounds))
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    shown = f"{circumstances(f'{version} on the same server', arguments.rounds)}\n\n{table(found)}"
    print(shown)
    if arguments.write:
        put("writes", shown)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
