"""What is measured, running: two nodes of each kind behind one Valkey.

What it is: `Tree` is a folder with a `collab_server` and its migrations - a commit's, or a copy of the working tree, so
that edits during a run do not matter and both are served alike. `serve_tree` runs nodes of it as in production, each a
process that imports for itself (`peers/served.py`); `serve_peer` runs two processes of a peer. Both give a `Setup`.

What it promises: a tree is served by its own code and no other: the process refuses any other, and the database, empty
before, has that tree's migrations after. How it stops: everything is tied to this process, and killed at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from collab_server.demo.embedded import free_port
from collab_server.demo.tied import TiedProcess
from tests.bench.load import Dialect
from tests.harness.clients import LibraryUser
from tests.harness.world import (
    ADMIN_ID,
    EXTRA_DASHBOARDS,
    PROJECT_ID,
    StandInLibrary,
    TestDatabase,
    World,
    test_data,
)

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "peers"
PACKAGES = [
    "socket.io@4.8.4",
    "@socket.io/redis-adapter@8.3.0",
    "redis@4",
    "bun@1.4.5",
    "@socket.io/bun-engine@0.1.2",
]
SERVED_FROM = ("clients", "collab_server", "migrations")
"""The folders of a checkout that a node reads."""
READY_SECONDS = 60
INSTALL_SECONDS = 300
TEXT_CHARACTERS = 200
EVENT_BYTES = 480

NO_END = {
    "connectionsPerUser": 1_000_000,
    "strangersPerAddress": 1_000_000,
    "strangersBytes": 10_000_000_000,
    "commandsPerSecond": 1_000_000,
    "commandsBurst": 1_000_000,
}
"""The limits that the load would reach: one person, one address. A commit that does not know one of them warns only."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder that holds `collab_server/` and `migrations/`; `name` is what the table calls it."""

    name: str
    folder: Path

    @property
    def migrations(self) -> list[str]:
        """The versions that its database has in the end."""
        return sorted(path.name.split("_")[0] for path in (self.folder / "migrations").glob("*.sql"))

    def environ(self) -> dict[str, str]:
        """The environment of a process that imports from it; nothing of ours configures it by accident."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("COLLAB_", "PYTHON"))
        }
        return {**kept, "PYTHONPATH": str(self.folder)}

    def compile(self) -> None:
        """Compile all its modules: the first to import it would pay for that."""
        command = [sys.executable, "-m", "compileall", "-q", str(self.folder / "collab_server")]
        subprocess.run(command, check=True, timeout=READY_SECONDS)


@dataclass(slots=True)
class Setup:
    """Two nodes that run: where they are and how to talk to them. `b_process` is whose time and memory count."""

    name: str
    a: str
    b: str
    b_process: psutil.Process
    dialect: Dialect
    rooms: Callable[[int], list[str]]
    hello: bytes  # what answers a sign-in that joins nothing begins with
    tree: Tree | None = None  # of ours
    auth: Mapping[str, Any] | None = None  # of ours: what signs somebody in

    def busy_seconds(self) -> float:
        """Processor time of B so far, user and system, all its threads."""
        return busy_seconds(self.b_process.pid)


def busy_seconds(pid: int) -> float:
    """Processor time of a process so far, by the clock that clock_getcpuclockid(3) names: /proc has ticks of 10 ms."""
    return time.clock_gettime((~pid << 3) | 2)


# --- trees


def commit_tree(commit: str, folder: Path, *, repository: Path = ROOT) -> Tree:
    """The tree of a commit, written into `folder`. Raises `ValueError` if there is no such commit, or no Git."""
    if shutil.which("git") is None:
        raise ValueError("Git is not installed: it has the commit that BEFORE names")
    named = _git(repository, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    if named.returncode != 0:
        raise ValueError(f"{commit!r} is no commit of this repository")
    number = named.stdout.decode().strip()
    folder.mkdir(parents=True)
    archive = _git(repository, "archive", "--format=tar", number)
    archive.check_returncode()
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return Tree(number[:7], folder)


def working_tree(folder: Path, *, repository: Path = ROOT) -> Tree:
    """A copy of the working tree as it is now, with what is not committed."""
    left_out = shutil.ignore_patterns("__pycache__", "node_modules")
    for name in SERVED_FROM:
        if (repository / name).is_dir():
            shutil.copytree(repository / name, folder / name, ignore=left_out)
    return Tree("ours", folder)


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, timeout=READY_SECONDS
    )


# --- ours


@contextlib.asynccontextmanager
async def nodes_of(
    tree: Tree,
    database: TestDatabase,
    library: StandInLibrary,
    redis_url: str | None,
    *,
    count: int,
    limits: Mapping[str, int] | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[list[tuple[str, psutil.Process]]]:
    """URL and process of nodes that are ready, in an empty database. A traceback in a log fails the run."""
    folder = Path(tempfile.mkdtemp(prefix="collab-bench-nodes-"))
    config: dict[str, Any] = {
        "dataSource": database.data_source(),
        "authorizationServerUrl": library.url,
        "administrators": [ADMIN_ID],
        "logging": False,
        "limits": {**NO_END, **(limits or {})},
    }
    if redis_url is not None:
        config.update(scaling="horizontal", redisServerUrl=redis_url)
    processes: list[TiedProcess] = []
    urls: list[str] = []
    logs = [folder / f"node{number}.log" for number in range(1, count + 1)]
    try:
        for log in logs:
            port = free_port()
            path = log.with_suffix(".json")
            path.write_text(json.dumps({**config, "port": port}))
            command: list[str | Path] = [sys.executable, "-P", SCRIPTS / "served.py", tree.folder]
            command += [
                "collab_server.app:app",
                "--host",
                "127.0.0.1",
                "--port",
                str(port),
                "--no-access-log",
            ]
            with log.open("wb") as output:
                processes.append(
                    TiedProcess(
                        command,
                        output=output,
                        cwd=folder,
                        env={**tree.environ(), **(environ or {}), "COLLAB_CONFIG": str(path)},
                    )
                )
            urls.append(f"http://127.0.0.1:{port}")
        for url, process, log in zip(urls, processes, logs, strict=True):
            await _wait_until_ready(url, process, log)
        applied = database.sql("SELECT version FROM collab.schema_migrations ORDER BY version").split()
        if applied != tree.migrations:
            raise RuntimeError(f"{tree.name} has the migrations {tree.migrations}, its database {applied}")
        yield [(url, psutil.Process(process.pid)) for url, process in zip(urls, processes, strict=True)]
        for log in logs:
            if "Traceback (most recent call last)" in log.read_text(errors="replace"):
                raise RuntimeError(f"a node of {tree.name} logged a traceback:\n{_end_of(log)}")
    finally:
        for process in processes:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-5000:]


async def _wait_until_ready(url: str, process: TiedProcess, log: Path) -> None:
    """Wait for `/health/ready` to say 200. Raises `RuntimeError` with the end of its log."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(f"{url}/health/ready") as answer:
                    if answer.status == 200:
                        return
            if process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"a node did not become ready:\n{_end_of(log)}")
            await asyncio.sleep(0.05)


@functools.cache
def topics() -> tuple[str, ...]:
    """All topics that everybody may open. Databases are not shared, so each setup may use all of them."""
    project = next(project for project in test_data().projects if project.id == PROJECT_ID)
    return tuple(f"content:{project.id}:{thing.id}" for thing in project.objects[-EXTRA_DASHBOARDS:])


def product(auth: Mapping[str, Any]) -> Dialect:
    """How to talk to ours; everybody signs in as the same person."""
    return Dialect(
        auth=lambda room: dict(auth),
        join=lambda room: ["topic.subscribe", {"topic": room}],
        publish=lambda room, text: ["comment.add", {"topic": room, "text": text}],
        event=b'42["comment.added"',
        is_ready=b"430",
    )


@contextlib.asynccontextmanager
async def serve_tree(
    name: str, tree: Tree, world: World, limits: Mapping[str, int], environ: Mapping[str, str] | None = None
) -> AsyncIterator[Setup]:
    """Two nodes of ours as in production, save for limits that would stand in the load's way."""
    database = world.new_database(is_empty=True)
    async with nodes_of(
        tree, database, world.library, world.valkey.url, count=2, limits=limits, environ=environ
    ) as ((a, _), (b, process)):
        ann = await LibraryUser.sign_in(world.library.url, "ann")
        auth = {"authToken": ann.auth_token}
        unused = iter(topics())
        yield Setup(
            name,
            a,
            b,
            process,
            product(auth),
            lambda count: [next(unused) for _ in range(count)],
            b'42["server.hello"',
            tree,
            auth,
        )
    database.drop()


# --- the peers

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


def packages() -> Path:
    """The `node_modules` with Node's and Bun's packages; installed on the first run, outside the tree."""
    wanted = hashlib.sha256(" ".join(PACKAGES).encode()).hexdigest()[:8]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "collab-server-bench"
    folder = cache / wanted
    if not folder.exists():
        if shutil.which("npm") is None:
            raise RuntimeError(
                "the peers node and bun need Node.js and npm on PATH; leave them out with PEERS="
            )
        cache.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=cache))
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", *PACKAGES]
        subprocess.run(command, cwd=fresh, check=True, timeout=INSTALL_SECONDS)
        fresh.rename(folder)
    return folder / "node_modules"


def _bun() -> str:
    return str(packages() / ".bin" / "bun")


def peer_command(name: str) -> list[str]:
    """The command line of a peer, but for its port and Redis."""
    if name == "stock":
        return [sys.executable, "stock.py"]
    return [_bun(), "bun.js"] if name == "bun" else [shutil.which("node") or "node", "node.js"]


@contextlib.asynccontextmanager
async def serve_peer(name: str, world: World) -> AsyncIterator[Setup]:
    """Two processes of `node`, `bun` or `stock`."""
    ports = [free_port(), free_port()]
    environ = dict(os.environ)
    if name != "stock":
        environ["NODE_PATH"] = str(packages())
    processes = [
        TiedProcess(
            [*peer_command(name), str(port), world.valkey.url],
            output=subprocess.DEVNULL,
            env=environ,
            cwd=SCRIPTS,
        )
        for port in ports
    ]
    try:
        for port, process in zip(ports, processes, strict=True):
            await _wait_for_port(name, port, process)
        a, b = (f"http://127.0.0.1:{port}" for port in ports)
        yield Setup(
            name,
            a,
            b,
            psutil.Process(processes[1].pid),
            PEER,
            lambda count: [f"room-{secrets.token_hex(4)}" for _ in range(count)],
            b'42["hello"',
        )
    finally:
        for process in processes:
            process.kill()


async def _wait_for_port(name: str, port: int, process: TiedProcess) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        if process.returncode is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the peer {name} does not listen on its port")
        await asyncio.sleep(0.02)


def peers_versions(names: Sequence[str]) -> str:
    """What those of the peers are that come from npm, in words."""
    if not {"node", "bun"} & set(names):
        return ""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    return f"Node {node}, {', '.join(PACKAGES)}"
