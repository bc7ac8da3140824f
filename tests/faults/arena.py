"""Everything a run under faults takes place in: servers, nodes, NGINX, and a proxy on every edge.

PostgreSQL, Valkey, NGINX, the stand-in Library and the nodes belong to one run and are thrown away after it. A node
reaches PostgreSQL, Redis and Library through proxies of its own; its clients, and NGINX, reach it through another.

What runs concurrently: the servers and nodes as processes, the proxies and the stand-in as threads. How it stops:
`close`, which also looks through the nodes' logs.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import aiohttp
import psutil

from collab_server.demo.embedded import (
    NOT_DURABLE,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedServer,
    EmbeddedValkey,
    free_port,
)
from collab_server.demo.nginx import EmbeddedNginx, balancer_config
from tests.faults.history import Rewind
from tests.faults.proxy import Proxy
from tests.faults.schedule import EDGES, Arrangement
from tests.harness.clients import LibraryUser
from tests.harness.cluster import ROOT, Cluster, Node
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase

PLANTS = Path(__file__).parent / "plants"
MAX_CONNECTIONS = 90
POSTGRES_SETTINGS = {**NOT_DURABLE, "max_connections": str(MAX_CONNECTIONS), "shared_buffers": "64MB"}
LIMITS = {
    "connectionsPerUser": 500,
    "commandsPerSecond": 1000,
    "commandsBurst": 1000,
    "strangersPerAddress": 10_000,  # all come from one
    "strangersBytes": 640_000_000,
}
"""Some few people stand for many here, and come back after every fault."""


CPUS = {"nodes": 1, "workers": 2, "vertical": 3}


class Arena:
    """Nodes with all around them, in an arrangement. `plant` names a bug for them to have (`plants/sitecustomize.py`).

    Main thread only. `async with Arena() as arena: …`.
    """

    locked_table = "collab.topics"

    def __init__(
        self,
        *,
        arrangement: Arrangement = "nodes",
        plant: str | None = None,
        folder: Path | None = None,
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="collab-faults-"))
        self.folder.chmod(0o755)  # PostgreSQL may have to run as nobody
        self.postgres = EmbeddedPostgres(self.folder / "postgres", settings=POSTGRES_SETTINGS)
        self.valkey = EmbeddedValkey(log_path=self.folder / "valkey.log")
        self.library = StandInLibrary(session_timeout_seconds=36_000, identity_token_seconds=36_000)
        self.proxies: dict[tuple[str, int], Proxy] = {}
        self.nodes: list[Node] = []
        self.nginx: EmbeddedNginx | None = None
        self.http: aiohttp.ClientSession | None = None
        self.slow_exits: list[str] = []
        self.rewinds: list[Rewind] = []
        self._arrangement = arrangement
        self._count = 1 if arrangement == "vertical" else 3
        self._plant = plant
        self._people: dict[str, LibraryUser] = {}
        self.cluster: Cluster | None = None

    @property
    def database(self) -> TestDatabase:
        """The one database."""
        return TestDatabase(self.postgres, self.postgres.database)

    def url(self, node: int) -> str:
        """Where clients reach a node: the proxy before it."""
        host, port = self.proxies["client", node].address
        return f"http://{host}:{port}"

    @property
    def balancer_url(self) -> str:
        """Where clients reach any node: NGINX."""
        assert self.nginx is not None
        return f"http://{self.nginx.host}:{self.nginx.port}"

    def edges(self, edge: str) -> Iterator[Proxy]:
        """The proxies of one edge, of all nodes."""
        return (proxy for (name, _), proxy in self.proxies.items() if name == edge)

    async def person(self, login: str) -> LibraryUser:
        """Somebody signed in at Library, which is asked directly."""
        if login not in self._people:
            self._people[login] = await LibraryUser.sign_in(self.library.url, login)
        return self._people[login]

    async def epoch(self) -> str:
        """The epoch that the database has now."""
        return await asyncio.to_thread(self.database.sql, "SELECT epoch FROM collab.installation")

    # --- life

    async def start(self) -> Self:
        """Start everything; all nodes are ready when this returns."""
        self.postgres.start()
        has_redis = self._arrangement != "vertical"
        if has_redis:
            self.valkey.start()
        self.library.start()
        self.http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        targets = {
            "postgres": (self.postgres.host, self.postgres.port),
            **({"redis": (self.valkey.host, self.valkey.port)} if has_redis else {}),
            "library": (self.library.host, self.library.port),
        }
        for number in range(self._count):
            for edge, target in targets.items():
                self.proxies[edge, number] = Proxy(target).start()
        self._make_nodes()
        for number, node in enumerate(self.nodes):
            self.proxies["client", number] = Proxy(("127.0.0.1", node.port)).start()
        assert {edge for edge, _ in self.proxies} == set(EDGES) - (set() if has_redis else {"redis"})
        port = free_port()
        behind = ["{}:{}".format(*proxy.address) for proxy in self.edges("client")]
        config = balancer_config(port, behind, is_sticky=self._arrangement == "nodes")
        self.nginx = EmbeddedNginx(config, self.folder / "nginx", port=port).start()
        for node in self.nodes:
            node.spawn()
        await asyncio.gather(*(node.wait_until_ready(60) for node in self.nodes))
        if CPUS[self._arrangement] > 1:
            await asyncio.gather(*map(self.until_workers_are_back, range(self._count)))
        return self

    def _make_nodes(self) -> None:
        env: dict[str, str] = {}
        if self._plant is not None:
            env = {
                "FAULTS_PLANT": self._plant,
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(PLANTS), str(ROOT), os.environ.get("PYTHONPATH")])
                ),
            }
        has_redis, cpus = self._arrangement != "vertical", CPUS[self._arrangement]
        self.cluster = Cluster(
            self.database,
            self.library,
            self.valkey.url if has_redis else None,
            nodes=0,
            folder=self.folder,
            env=env,
            launch="serve" if cpus > 1 else "uvicorn",
        )
        for number in range(self._count):
            self.nodes.append(
                self.cluster.add_node(
                    postgres=self.proxies["postgres", number].address,
                    redis=self.proxies["redis", number].address if has_redis else None,
                    library=self.proxies["library", number].address,
                    overrides={"limits": LIMITS, "logging": False, **({"cpus": cpus} if cpus > 1 else {})},
                )
            )

    async def restart(self, server: EmbeddedServer) -> None:
        """Start a stopped server again, without blocking the loop for long."""
        deadline = asyncio.get_running_loop().time() + 30
        while True:
            try:
                server.launch()
                await asyncio.to_thread(server.wait_until_ready, 30)
                return
            except EmbeddedError as error:
                is_passing = "shared memory block" in str(error) or "in use" in str(error)
                if not is_passing or asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.1)

    def a_worker(self, node: int, chance: float) -> psutil.Process:
        """The process of one of a node's workers; which one hangs on `chance`."""
        workers = psutil.Process(self.nodes[node].process.pid).children()
        return workers[round(chance * 100) % len(workers)]

    async def until_workers_are_back(self, node: int) -> None:
        """Wait until all workers of a node serve."""

        async def are_back() -> bool:
            workers = (await self.nodes[node].status(is_verbose=True)).get("workers", ())
            serving = [one for one in workers if one["awake"] and one["started"]]
            return len(serving) == CPUS[self._arrangement]

        await until(are_back, 30, f"all workers of node {node + 1} serve")

    async def until_all_run(self, timeout: float) -> None:
        """Wait until every node says that it and all it needs are there."""

        async def all_run() -> bool:
            assert self.http is not None
            for node in self.nodes:
                try:
                    async with self.http.get(
                        f"{node.url}/status", timeout=aiohttp.ClientTimeout(total=2)
                    ) as a:
                        if (await a.json())["state"] != "running":
                            return False
                except (aiohttp.ClientError, TimeoutError):
                    return False
            return True

        await until(all_run, timeout, "every node runs")

    def tracebacks(self) -> list[str]:
        """Every traceback in the nodes' logs: the line before it, and its end."""
        found = []
        for number, node in enumerate(self.nodes, 1):
            for before, trace in itertools.pairwise(node.log.split("Traceback (most recent call last):\n")):
                lines = trace.splitlines()
                ended = next((i for i, line in enumerate(lines) if not line.startswith(" ")), len(lines) - 1)
                shown = [*before.splitlines()[-1:], *lines[max(0, ended - 8) : ended + 1]]
                found.append("\n    ".join([f"node {number}:", *(line[:300] for line in shown)]))
        return found

    async def close(self) -> None:
        """Stop and remove everything but the folder, which `remove` removes."""
        if self.http is not None:
            await self.http.close()
        for node in self.nodes:
            if node.is_running:
                node.thaw()
        await asyncio.gather(*(node.stop(15) for node in self.nodes if node.is_running))
        for server in (self.nginx, self.valkey):
            if server is not None and server.is_running:
                server.kill()
        if self.postgres.is_running:
            self.postgres.abort()
        await asyncio.to_thread(self.library.stop)
        for proxy in self.proxies.values():
            await asyncio.to_thread(proxy.stop)

    def remove(self) -> None:
        """Remove the folder with data and logs."""
        shutil.rmtree(self.folder, ignore_errors=True)

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *error: object) -> None:
        await self.close()
