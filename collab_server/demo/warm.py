"""Nodes without the second that each spends on its imports: one process imports, and forks for each of them.

What it is: `WarmPython` is a Python that has imported some modules and waits. `run` makes of it what
`python -m MODULE …` would have made: a process of its own, with its own arguments, environment, folder, output and
exit status.

What it promises: a fork is made before any thread or event loop exists (the warm process refuses to fork otherwise),
in a session of its own, with signals as they were when the warm process began, and `PYTHONPATH` as given: a
`sitecustomize` found by it runs, though after the imports. Other variables that Python reads when it starts
(`PYTHON…`) have no effect. A forked process ends with the warm one, the warm one with the process that started it, by
whatever means (kill -9 too).

What runs concurrently: the warm process, which does nothing but fork and reap, and what it has forked. `run` may be
called from any thread, `start` from the main thread only (see `tied`).

How it stops: `stop` ends the warm process, and with it everything it has forked and that still runs.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import IO, Any, Self

from typing_extensions import override

from .tied import EmbeddedError, ProcessTree, TiedProcess, die_with

__all__ = ["NODE_MODULES", "ForkedProcess", "WarmPython"]

NODE_MODULES = (
    "collab_server.app",
    "collab_server.realtime.lean.http",
    "uvicorn.main",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "httpcore2",
    "anyio._backends._asyncio",
    "encodings.idna",
)
"""What a node imports until it serves."""

_ANSWER_SECONDS = 60
_REQUEST_BYTES = 1 << 20
_PACKAGE = str(Path(__file__).parents[2])


class ForkedProcess(ProcessTree):
    """What a `WarmPython` has forked. `report` is where that says its process id, and later its exit code."""

    def __init__(self, report: int) -> None:
        weakref.finalize(self, os.close, report)
        self._report = report
        self._lock = threading.Lock()
        self._returncode: int | None = None
        if (pid := self._told(_ANSWER_SECONDS)) is None:
            raise EmbeddedError("the process that forks does not answer")
        self._pid = pid

    @property
    @override
    def pid(self) -> int:
        return self._pid

    @property
    @override
    def returncode(self) -> int | None:
        return self._look(0)

    @override
    def wait(self, timeout: float) -> int:
        code = self._look(timeout)
        if code is None:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} s")
        return code

    def _look(self, seconds: float) -> int | None:
        if self._returncode is None and self._is_told(seconds):
            with self._lock:
                if self._returncode is None:
                    told = self._told(0)
                    # An end without a word: the process that forks is gone, and has taken this one along.
                    self._returncode = -signal.SIGKILL if told is None else told
        return self._returncode

    def _is_told(self, seconds: float) -> bool:
        poll = select.poll()  # not select, which ends at descriptor 1,023
        poll.register(self._report, select.POLLIN)
        return bool(poll.poll(max(0, seconds) * 1000))

    def _told(self, seconds: float) -> int | None:
        """The next number; None if there is none in time, or nobody left to tell it."""
        line = b""
        while not line.endswith(b"\n"):
            if not self._is_told(seconds) or not (more := os.read(self._report, 1)):
                return None
            line += more
        return int(line)


class WarmPython:
    """A Python that has imported `modules`, and forks for whoever asks."""

    def __init__(self, modules: Sequence[str] = NODE_MODULES) -> None:
        self._modules = tuple(modules)
        self._process: TiedProcess | None = None
        self._requests: socket.socket | None = None
        self._asking = threading.Lock()

    @property
    def is_running(self) -> bool:
        """Whether there is one to fork from."""
        return self._process is not None and self._process.returncode is None

    def start(self) -> Self:
        """Start it and return at once; it imports meanwhile. Main thread only."""
        self.stop()
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        python_path = os.pathsep.join(filter(None, [_PACKAGE, os.environ.get("PYTHONPATH")]))
        with its:
            self._process = TiedProcess(
                # -P: without the folder it happens to start in.
                [sys.executable, "-P", "-m", __name__, str(its.fileno()), *self._modules],
                output=2,
                env={**os.environ, "PYTHONPATH": python_path},
                pass_fds=[its.fileno()],
            )
        self._requests = ours
        return self

    def run(
        self, arguments: Sequence[str], *, output: IO[bytes], env: Mapping[str, str], cwd: Path
    ) -> ForkedProcess:
        """What `python -m ARGUMENTS` starts, within milliseconds. Raises `EmbeddedError`."""
        if self._requests is None:
            raise EmbeddedError("the process that forks has not been started")
        request = json.dumps({"arguments": list(arguments), "env": dict(env), "cwd": str(cwd)}).encode()
        if len(request) > _REQUEST_BYTES:
            raise EmbeddedError("too long an environment")
        reading, writing = os.pipe()
        try:
            with self._asking:
                socket.send_fds(self._requests, [len(request).to_bytes(4)], [output.fileno(), writing])
                self._requests.sendall(request)
        except OSError as error:
            os.close(reading)
            raise EmbeddedError(f"the process that forks is gone: {error}") from error
        finally:
            os.close(writing)
        return ForkedProcess(reading)

    def stop(self) -> None:
        """End it and what it has forked; may be called twice."""
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.kill()
            self._process = None


# What follows runs in the warm process, the end of it in those that are forked.


@dataclass(frozen=True, slots=True)
class _Request:
    arguments: list[str]
    env: dict[str, str]
    cwd: str
    output: int

    def become(self) -> None:
        """Make of this process, which was forked, what `python -m` would be with these arguments."""
        os.setsid()
        os.dup2(self.output, 1)
        os.dup2(self.output, 2)
        os.close(self.output)
        os.chdir(self.cwd)
        before = _python_path(os.environ)
        os.environ.clear()
        os.environ.update(self.env)
        after = _python_path(os.environ)
        sys.path[:] = [self.cwd, *after, *(entry for entry in sys.path if entry not in before)]
        importlib.invalidate_caches()
        _customize([entry for entry in after if entry not in before])
        module, *sys.argv[1:] = self.arguments
        runpy.run_module(module, run_name="__main__", alter_sys=True)


class _Forker:
    """Reads requests, forks, reaps, and reports."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._reports: dict[int, int] = {}  # process id → where to report

    def next_in_a_child(self) -> _Request:
        """Fork for every request; returns in each child, never here. Ends when whoever asks is gone."""
        woken, wake = socket.socketpair()
        wake.setblocking(False)
        woken.setblocking(False)
        was_child = signal.signal(signal.SIGCHLD, lambda *_: None)
        was_wake = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        while True:
            for ready in select.select([self._requests, woken], [], [])[0]:
                if ready is woken:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                    self._reap()
                    continue
                request, report = self._receive()
                us = os.getpid()
                pid = self._fork()
                if pid == 0:
                    signal.set_wakeup_fd(was_wake)
                    signal.signal(signal.SIGCHLD, was_child)
                    for closing in (woken, wake, self._requests):
                        closing.close()
                    for descriptor in (report, *self._reports.values()):
                        os.close(descriptor)
                    die_with(us, signal.SIGKILL)
                    return request
                os.close(request.output)
                self._reports[pid] = report
                self._say(pid, pid)

    def _receive(self) -> tuple[_Request, int]:
        head, descriptors, _, _ = socket.recv_fds(self._requests, 4, 2)
        if len(descriptors) != 2:
            sys.exit(0)  # nobody asks any more
        while len(head) < 4:
            head += self._read(4 - len(head))
        text = b""
        while len(text) < int.from_bytes(head):
            text += self._read(int.from_bytes(head) - len(text))
        output, report = descriptors
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        return _Request(**json.loads(text), output=output), report

    def _read(self, count: int) -> bytes:
        return self._requests.recv(count) or sys.exit(0)

    def _fork(self) -> int:
        threads = len(os.listdir("/proc/self/task"))
        if threads > 1:
            sys.exit(f"a fork of {threads} threads would not be safe")
        return os.fork()

    def _reap(self) -> None:
        while self._reports:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._say(pid, os.waitstatus_to_exitcode(status))
            os.close(self._reports.pop(pid))

    def _say(self, pid: int, number: int) -> None:
        with contextlib.suppress(BrokenPipeError):  # nobody wants to know
            os.write(self._reports[pid], f"{number}\n".encode())


def _python_path(env: Mapping[str, str]) -> list[str]:
    return [os.path.abspath(entry) for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]


def _customize(path: Sequence[str]) -> None:
    """Run the `sitecustomize` that these folders bring."""
    spec = PathFinder.find_spec("sitecustomize", list(path)) if path else None
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        sys.modules["sitecustomize"] = module
        spec.loader.exec_module(module)


def _main(descriptor: str, *modules: str) -> _Request:
    requests = socket.socket(fileno=int(descriptor))
    requests.set_inheritable(False)
    for module in modules:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # what is there stays as it is, so that parent and children can share it
    return _Forker(requests).next_in_a_child()


if __name__ == "__main__":
    _here: Any = _main(*sys.argv[1:])
    _here.become()
