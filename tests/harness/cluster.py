"""Nodes as processes of their own, and clients of them.

What it is: `Node` is one `collab_server` process with a config.json of its own; `Cluster` is some of them
over one database, one Redis and one Library, any of which may be reached through a proxy.

What runs concurrently: the nodes. They are tied to this process (see `collab_server.demo.tied`), so that an
interrupted test run leaves none. How it stops: `Cluster.close` ends clients, then nodes, then looks through
the logs: a traceback in one of them is a failure of the test.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp

from collab_server.demo.embedded import free_port
from collab_server.demo.tied import ProcessTree, TiedProcess
from collab_server.demo.warm import WarmPython
from tests.harness.clients import Client, LibraryUser, Rest, Transport, new_session
from tests.harness.waiting import until
from tests.harness.world import ADMIN_ID, StandInLibrary, TestDatabase

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 30
MEETING_SECONDS = 3
STOP_SECONDS = 30
STATUS_TOKEN = "the-status-token-of-tests"

Address = tuple[str, int]
Launch = Literal["uvicorn", "serve"]

_warm = WarmPython()


def warm() -> WarmPython:
    """What nodes of tests are forked from; imports what they need, once in this process. Main thread only."""
    if not _warm.is_running:
        _warm.start()
        atexit.register(_warm.stop)
    return _warm


class Node:
    """One node process on 127.0.0.1.

    `config` is the content of its config.json; the `port` is chosen here and kept through restarts. `launch`:
    through bare uvicorn or through `collab-server serve`. It is forked from a process that has imported all already,
    unless `is_warm` is false: a start of its own costs a second, and shares no memory.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        launch: Launch = "uvicorn",
        env: Mapping[str, str] | None = None,
        is_warm: bool = True,
    ) -> None:
        self.folder = folder
        self.config = dict(config)
        self.port: int = self.config.get("port") or free_port()
        self._launch = launch
        self._env = dict(env or {})
        self._is_warm = is_warm
        self._process: ProcessTree | None = None
        self.log_path = folder / "node.log"
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> ProcessTree:
        """The running process."""
        assert self._process is not None, "the node has not been started"
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be frozen."""
        return self._process is not None and self._process.returncode is None

    @property
    def log(self) -> str:
        """Everything it has logged, in earlier runs too."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.splitlines()[-lines:])

    def spawn(self) -> None:
        """Start the process; main thread only. It is not ready yet."""
        assert not self.is_running, "the node runs already"
        path = self.folder / "config.json"
        path.write_text(json.dumps({**self.config, "port": self.port}, indent=2))
        command = {
            "uvicorn": ["uvicorn", "collab_server.app:app", "--host", "127.0.0.1"],
            "serve": ["collab_server", "serve"],
        }[self._launch]
        if self._launch == "uvicorn":
            command += ["--port", str(self.port)]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COLLAB_")}
        python_path = os.pathsep.join(filter(None, [str(ROOT), inherited.get("PYTHONPATH")]))
        env = {**inherited, "PYTHONPATH": python_path, "COLLAB_CONFIG": str(path), **self._env}
        with self.log_path.open("ab") as log:
            if self._is_warm:
                self._process = warm().run(command, output=log, env=env, cwd=self.folder)
            else:
                self._process = TiedProcess(
                    [sys.executable, "-m", *command], output=log, env=env, cwd=self.folder
                )

    async def start(self, timeout: float = READY_SECONDS) -> Self:
        """Start the process and wait until it is ready."""
        self.spawn()
        await self.wait_until_ready(timeout)
        return self

    async def wait_until_ready(self, timeout: float = READY_SECONDS) -> None:
        """Wait for `/health/ready` to say 200."""
        await self.wait_for_health("ready", 200, timeout)

    async def wait_for_health(
        self, probe: Literal["live", "ready"], status: int, timeout: float = READY_SECONDS
    ) -> None:
        """Wait for `/health/live` or `/health/ready` to answer with `status`."""
        async with new_session(keeps_cookies=False) as http:

            async def answers() -> bool:
                if not self.is_running:
                    raise RuntimeError(f"the node ended ({self.process.returncode}):\n{self.log_tail()}")
                try:
                    async with http.get(
                        f"{self.url}/health/{probe}", timeout=aiohttp.ClientTimeout(total=2)
                    ) as a:
                        return a.status == status
                except (aiohttp.ClientError, TimeoutError):
                    return False

            await until(answers, timeout, lambda: f"/health/{probe} is {status}; log:\n{self.log_tail()}")

    async def status(self, *, is_verbose: bool = False) -> dict[str, Any]:
        """The answer of `/status`."""
        async with (
            new_session(keeps_cookies=False) as http,
            http.get(
                f"{self.url}/status",
                params={"verbose": "1"} if is_verbose else None,
                headers={"Authorization": f"Bearer {STATUS_TOKEN}"},
            ) as answer,
        ):
            assert answer.status == 200
            status: dict[str, Any] = await answer.json()
            return status

    async def wait_for_state(
        self, state: str, *, reason: str | None = None, timeout: float = 10
    ) -> dict[str, Any]:
        """Wait until `/status` says `state` (and that `reason` ends in these words); the whole answer."""

        async def says_so() -> dict[str, Any] | None:
            answer = await self.status()
            is_it = answer["state"] == state and (reason is None or answer.get("reason", "").endswith(reason))
            return answer if is_it else None

        answer: dict[str, Any] = await until(says_so, timeout, f"/status says {state}")
        return answer

    async def stop(self, timeout: float = STOP_SECONDS) -> int:
        """SIGTERM, wait for the end; the exit code. Killed after `timeout` seconds."""
        return await asyncio.to_thread(self.process.stop, signal.SIGTERM, timeout)

    async def kill(self) -> None:
        """SIGKILL."""
        await asyncio.to_thread(self.process.kill)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()


class Cluster:
    """Nodes over one database, one Redis and one Library, and the clients that tests make of them.

    `redis_url` None makes one node that needs none. `overrides` are merged into every config.json (objects
    one level deep); `postgres_address` and `library_address` may lead through proxies. For use outside pytest
    too: `async with Cluster(…) as cluster: …`.
    """

    def __init__(
        self,
        database: TestDatabase,
        library: StandInLibrary,
        redis_url: str | None,
        *,
        nodes: int = 3,
        folder: Path | None = None,
        launch: Launch = "uvicorn",
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        is_warm: bool = True,
    ) -> None:
        self.database = database
        self.library = library
        self.redis_url = redis_url
        self.folder = folder or Path(tempfile.mkdtemp(prefix="collab-cluster-"))
        self._is_own_folder = folder is None
        self._launch = launch
        self._overrides = dict(overrides or {})
        self._env = dict(env or {})
        self._is_warm = is_warm
        self._people: dict[str, LibraryUser] = {}
        self._open: list[Client | Rest] = []
        self.nodes: list[Node] = []
        for _ in range(nodes):
            self.add_node()

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def __len__(self) -> int:
        return len(self.nodes)

    def add_node(
        self,
        *,
        postgres: Address | None = None,
        redis: Address | None = None,
        library: Address | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Node:
        """One more node, not started; the addresses say where it finds what, for example a proxy."""
        config: dict[str, Any] = {
            "dataSource": self.database.data_source(postgres),
            "authorizationServerUrl": self.library.url,
            "logging": True,
            "administrators": [ADMIN_ID],
            "statusToken": STATUS_TOKEN,
        }
        if library is not None:
            config["authorizationServerUrl"] = f"http://{library[0]}:{library[1]}/api"
        if self.redis_url is not None:
            config["scaling"] = "horizontal"
            config["redisServerUrl"] = _at(self.redis_url, redis)
        for more in (self._overrides, overrides or {}):
            for name, value in more.items():
                known = config.get(name)
                merges = isinstance(value, Mapping) and isinstance(known, Mapping)
                config[name] = {**known, **value} if merges else value  # type: ignore[dict-item]
        folder = self.folder / f"node{len(self.nodes) + 1}"
        node = Node(folder, config, launch=self._launch, env=self._env, is_warm=self._is_warm)
        self.nodes.append(node)
        return node

    async def start(self, timeout: float = READY_SECONDS) -> Self:
        """Start all nodes at once and wait until all are ready, and know each other where they can.

        They believe each other only after an answer, which comes a moment after they are ready; and not at all where
        Redis is away or a node is of a version before.
        """
        for node in self.nodes:
            node.spawn()
        await asyncio.gather(*(node.wait_until_ready(timeout) for node in self.nodes))
        if self.redis_url is not None and len(self.nodes) > 1:
            with contextlib.suppress(AssertionError, TimeoutError):
                await until(self._have_met, MEETING_SECONDS, "the nodes know each other")
        return self

    async def _have_met(self) -> bool:
        found = await asyncio.gather(*(node.status(is_verbose=True) for node in self.nodes))
        return all(len(one.get("cluster", ())) >= len(self.nodes) - 1 for one in found)

    async def person(self, login: str) -> LibraryUser:
        """Somebody signed in at Library; signed in once per cluster."""
        if login not in self._people:
            self._people[login] = await LibraryUser.sign_in(self.library.url, login)
        return self._people[login]

    async def client(
        self, node: int | Node | str, login: str, *, transport: Transport = "websocket"
    ) -> Client:
        """A Socket.IO client of a node (or of a URL), signed in with a new identity token; closed with the
        cluster."""
        token = await (await self.person(login)).identity_token()
        client = await Client.connect(self._url(node), identity_token=token, transport=transport)
        self._open.append(client)
        return client

    async def rest(self, node: int | Node | str, login: str) -> Rest:
        """A REST client of a node (or of a URL) that signs with a new identity token; closed with the
        cluster."""
        token = await (await self.person(login)).identity_token()
        rest = Rest.open(self._url(node), identity_token=token)
        self._open.append(rest)
        return rest

    def _url(self, node: int | Node | str) -> str:
        if isinstance(node, str):
            return node
        return (self.nodes[node] if isinstance(node, int) else node).url

    async def close_clients(self) -> None:
        """Close every client made so far."""
        clients, self._open = self._open, []
        await asyncio.gather(*(client.close() for client in clients))

    async def close(self, *, may_trace_back: Sequence[str] = ()) -> None:
        """End clients and nodes. Fails if a log holds a traceback, save with one of `may_trace_back` in
        it."""
        await self.close_clients()
        await asyncio.gather(*(node.stop() for node in self.nodes if node.is_running))
        for number, node in enumerate(self.nodes, 1):
            for trace in node.log.split("Traceback (most recent call last)")[1:]:
                if not any(words in trace for words in may_trace_back):
                    raise AssertionError(f"node {number} logged a traceback:\n{node.log_tail(120)}")
        if self._is_own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def show_logs(self, lines: int = 60) -> None:
        """Print the ends of all logs: pytest shows them with a failed test."""
        for number, node in enumerate(self.nodes, 1):
            print(f"\n--- node {number} ({node.url}), end of its log ---\n{node.log_tail(lines)}")  # noqa: T201

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is not None:
            self.show_logs()
        await self.close()


def _at(redis_url: str, address: Address | None) -> str:
    """The same URL, leading to another address."""
    if address is None:
        return redis_url
    scheme, _, rest = redis_url.partition("://")
    credentials = rest.rpartition("@")[0]
    return f"{scheme}://{credentials + '@' if credentials else ''}{address[0]}:{address[1]}"
