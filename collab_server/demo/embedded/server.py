"""What embedded servers have in common; see the package."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from collab_server.demo.embedded.ports import HOST, free_port
from collab_server.demo.tied import EmbeddedError, ProcessTree

__all__ = ["EmbeddedServer", "LogFile", "how_ended"]

_POLL_SECONDS = 0.005
_PORT_ATTEMPTS = 5


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
                raise EmbeddedError(how_ended(self.name, process.returncode), self.log_tail())
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


def how_ended(name: str, code: int | None) -> str:
    """What a process that should run is said to have ended of, by its exit code."""
    if code == -signal.SIGKILL:
        return f"{name} was killed at once, perhaps for lack of memory"
    return f"{name} ended at once ({code})"
