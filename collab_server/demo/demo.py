"""The cluster of the demo: its parts, started and stopped together. Not for production.

`Demo` starts PostgreSQL, Valkey, the stand-in Library, three nodes and NGINX, and stops them in the opposite order.
Who tries it (`run`) and what plays a conversation on it (`check`) are above; it knows neither.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import ipaddress
import json
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from typing_extensions import override

from .embedded import HOST, EmbeddedError, EmbeddedPostgres, EmbeddedServer, EmbeddedValkey, make_own_folder
from .nginx import EmbeddedNginx, balancer_config
from .serving import LoopbackServer
from .tied import ProcessTree
from .warm import WarmPython

if TYPE_CHECKING:
    from .standin import LibraryData

__all__ = ["DEFAULT_PORT", "Demo", "NodeServer"]

DEFAULT_PORT = 8080
PORTS_TRIED = 50
NODES = 3
LIBRARY_PATH = "/MicroStrategyLibrary"
PAGES = tuple(f"{scheme}://{host}:*" for scheme in ("http", "https") for host in ("localhost", HOST, "[::1]"))
"""Pages that somebody develops on this machine, on whatever port, may connect."""

T = TypeVar("T")


class NodeServer(EmbeddedServer):
    """One node of the demo: `collab_server.app` under uvicorn, with a config.json in `folder`."""

    def __init__(self, number: int, folder: Path, config: dict[str, Any], warm: WarmPython) -> None:
        super().__init__(None)
        self._warm = warm
        self.name = f"node {number}"
        self._folder = folder
        self._config = config
        self._log_path = folder.with_suffix(".log")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:port`."""
        return f"http://{self.host}:{self.port}"

    @override
    def log_text(self) -> str:
        """What it has logged since the demo was started."""
        return self._log_path.read_text(errors="replace") if self._log_path.exists() else ""

    def status(self) -> dict[str, Any] | None:
        """Its `/status`, or None when it does not answer within a second."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=1)
        try:
            connection.request("GET", "/status")
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, ValueError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return answer

    @override
    def _spawn(self) -> ProcessTree:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / "config.json"
        with open(path, "w", opener=_private) as file:  # it holds passwords
            json.dump({"port": self.port, **self._config}, file, indent=2)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("COLLAB_")}
        command = ["uvicorn", "collab_server.app:app", "--host", self.host, "--port", str(self.port)]
        with self._log_path.open("wb") as log:
            return self._warm.run(
                command, output=log, env={**inherited, "COLLAB_CONFIG": str(path)}, cwd=self._folder
            )

    @override
    def _why_not_ready(self) -> str:
        return str((self.status() or {}).get("reason", ""))

    @override
    def _is_ready(self) -> bool:
        status = self.status()
        # The pid: another program may answer on a port that ours is about to be refused.
        return (
            status is not None
            and status.get("state") == "running"
            and status["main"]["pid"] == self.process.pid
        )


class Demo:
    """Everything the demo consists of. `start`, then `stop`, whatever happened in between; main thread only.

    `folder` is created where missing. The load balancer listens at `port`, or without one at `DEFAULT_PORT` or the
    next that is free, of the address `host`. `data` says who the people are, by default those of the package. `say`
    takes the lines of progress.
    """

    def __init__(
        self,
        folder: Path,
        port: int | None = None,
        say: Callable[[str], None] = print,
        *,
        host: str = HOST,
        data: LibraryData | None = None,
    ) -> None:
        self.folder = folder.absolute()
        self._wished_port = port
        self._host = host
        self._data = data
        self._say = say
        self._lock: IO[str] | None = None
        self._started: list[EmbeddedServer | LoopbackServer] = []
        self.people: list[str] = []
        self.dashboards: list[tuple[str, str]] = []
        self.postgres = EmbeddedPostgres(self.folder / "postgres")
        self.valkey = EmbeddedValkey(log_path=self.folder / "valkey.log")
        self.nodes: list[NodeServer] = []
        self._warm = WarmPython()
        self._library: LoopbackServer | None = None
        self._nginx: EmbeddedNginx | None = None

    @property
    def url(self) -> str:
        """Where to go: the load balancer."""
        assert self._nginx is not None
        host = self._nginx.host
        return f"http://[{host}]:{self._nginx.port}" if ":" in host else f"http://{host}:{self._nginx.port}"

    @property
    def is_open_to_others(self) -> bool:
        """Whether other machines can reach it."""
        return not ipaddress.ip_address(self._host).is_loopback

    @property
    def url_for_others(self) -> str:
        """Where people at other machines go: by the address that this one has in their network."""
        assert self._nginx is not None
        address = ipaddress.ip_address(self._host)
        host = str(address) if not address.is_unspecified else _address_in_the_network(address.version)
        return f"http://[{host}]:{self._nginx.port}" if ":" in host else f"http://{host}:{self._nginx.port}"

    @property
    def library_url(self) -> str:
        """The REST base of the stand-in Library, directly."""
        assert self._library is not None
        return f"http://{self._library.address}{LIBRARY_PATH}/api"

    def start(self) -> None:
        """Start all parts, saying how long each took. Raises `EmbeddedError`."""
        self._look_at_address()
        self._take_folder()
        self._warm.start()  # it imports what nodes need while the others start
        self._timed("PostgreSQL", self._start_postgres)
        self._timed("Valkey", self._start_valkey)
        self._timed("stand-in Library", self._start_library)
        self._timed(f"{NODES} nodes", self._start_nodes)
        self._timed("NGINX", self._start_nginx)
        self._note(f"{os.getpid()} {self.url}/")

    def stop(self) -> None:
        """Stop what was started, last first; the nodes, which let their clients go, at the same time."""
        while self._started:
            servers = [self._started.pop()]
            while isinstance(servers[-1], NodeServer) and self._started:
                if not isinstance(self._started[-1], NodeServer):
                    break
                servers.append(self._started.pop())
            with ThreadPoolExecutor(len(servers)) as threads:
                for stopping in [threads.submit(server.stop) for server in servers]:
                    with contextlib.suppress(EmbeddedError):
                        stopping.result()
        with contextlib.suppress(EmbeddedError):
            self._warm.stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def has_parts(self) -> bool:
        """Whether anything has been started that is to be stopped."""
        return bool(self._started)

    def parts_ended(self) -> list[str]:
        """The parts whose process is gone."""
        return [
            server.name
            for server in self._started
            if isinstance(server, EmbeddedServer) and not server.is_running
        ]

    def _look_at_address(self) -> None:
        """Raises `EmbeddedError` where the load balancer could not listen, before everything else is started."""
        port = self._wished_port or 0
        try:
            _bind(self._host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(self._host, port, port) from None
            wish = f"at {self._host}" if port == 0 else f"at port {port} of {self._host}"
            options = "--host" if port == 0 else "--host or --port"
            message = f"cannot listen {wish}: {error.strerror}: choose another with {options}"
            raise EmbeddedError(message) from None

    def _take_folder(self) -> None:
        """Make the folder ours alone. Raises `EmbeddedError`, and `OSError` where nothing can be written."""
        make_own_folder(self.folder, mode=0o711)
        lock = (self.folder / "demo.lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            pid, _, url = lock.read().partition(" ")
            lock.close()
            raise EmbeddedError(
                f"a demo runs with the data in {self.folder} already{f', at {url}' if url else ''} (process {pid}): for"
                " another one choose another folder with --data"
            ) from None
        self._lock = lock
        self._note(str(os.getpid()))

    def _note(self, text: str) -> None:
        """For whoever wants the folder too."""
        assert self._lock is not None
        self._lock.truncate(0)
        self._lock.write(text)
        self._lock.flush()

    def _timed(self, part: str, start: Callable[[], str]) -> None:
        began = time.monotonic()
        where = start()
        self._say(f"  {part:<17} {time.monotonic() - began:5.2f} s   {where}")

    def _begin(self, server: T) -> T:
        """Note that this has to be stopped, before it is started."""
        self._started.append(server)  # type: ignore[arg-type]
        return server

    def _start_postgres(self) -> str:
        postgres = self._begin(self.postgres).start(timeout=60)
        postgres.check_password()
        return f"{postgres.host}:{postgres.port}"

    def _start_valkey(self) -> str:
        valkey = self._begin(self.valkey).start()
        return f"{valkey.host}:{valkey.port}"

    def _start_library(self) -> str:
        from .standin import create_standin, load_data

        data = self._data or load_data()
        self.people = [person.login for person in data.people]
        self.dashboards = [
            (f"content:{project.id}:{item.id}", item.name)
            for project in data.projects
            for item in project.objects
            if item.openTo is None
        ]
        self._administrators = [person.id for person in data.people if person.login == "admin"]
        self._library = self._begin(LoopbackServer(create_standin(data), name="stand-in Library")).start()
        return f"{self._library.address}, not for production"

    def _start_nodes(self) -> str:
        config = {
            "dataSource": {
                "username": self.postgres.user,
                "password": self.postgres.password,
                "host": self.postgres.host,
                "port": self.postgres.port,
                "database": self.postgres.database,
            },
            "authorizationServerUrl": self.library_url,
            "scaling": "horizontal",
            "redisServerUrl": self.valkey.url,
            "administrators": self._administrators,
            "allowedOrigins": PAGES,
            "demoPage": True,
            "docsPage": True,
        }
        self.nodes = [
            NodeServer(n, self.folder / f"node{n}", config, self._warm) for n in range(1, NODES + 1)
        ]
        for node in self.nodes:
            self._begin(node).launch()
        for node in self.nodes:
            node.start(timeout=60)
        return "  ".join(node.url for node in self.nodes)

    def _start_nginx(self) -> str:
        assert self._library is not None
        nodes = [f"{node.host}:{node.port}" for node in self.nodes]
        first = self._wished_port or DEFAULT_PORT
        last = self._wished_port or DEFAULT_PORT + PORTS_TRIED
        reached_by = {"0.0.0.0": HOST, "::": "::1"}.get(self._host, self._host)
        for port in range(first, last + 1):
            if port != last and _is_taken(self._host, port):
                continue  # NGINX tries for two and a half seconds
            config = balancer_config(port, nodes, library=self._library.address, listen_host=self._host)
            nginx = EmbeddedNginx(config, self.folder / "nginx", port=port, host=reached_by)
            self._begin(nginx)
            try:
                nginx.start()
            except EmbeddedError as error:
                self._started.remove(nginx)
                if "in use" not in str(error):
                    raise
                if port == last:
                    raise _in_use(self._host, first, last) from None
            else:
                self._nginx = nginx
                break
        return self.url


def _bind(host: str, port: int) -> None:
    """Raises `OSError` where nobody, or nobody else, can listen there; port 0 stands for any."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tried.bind((host, port))


def _is_taken(host: str, port: int) -> bool:
    try:
        _bind(host, port)
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _in_use(host: str, first: int, last: int) -> EmbeddedError:
    ports = f"port {first} is" if first == last else f"ports {first} to {last} are"
    return EmbeddedError(f"{ports} in use at {host}: choose another with --port")


def _address_in_the_network(version: int) -> str:
    """This machine's address towards others; nothing is sent to find it out."""
    family, other = (socket.AF_INET6, "2001:db8::1") if version == 6 else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        try:
            way.connect((other, 9))
        except OSError:
            return socket.gethostname()
        return str(way.getsockname()[0])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
