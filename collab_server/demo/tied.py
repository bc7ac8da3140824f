"""Child processes that cannot outlive us.

What it is: `TiedProcess` starts a program through this very file, run as a script, which prepares the child -
gives up root, asks the kernel for a signal when its parent dies (PDEATHSIG) - and then becomes the program.

What it promises: when the process that started it ends, by whatever means (kill -9 too), the program gets its
`death_signal`. `freeze`, `thaw` and `kill` reach the program and all its descendants. Nothing on the machine
is changed: root is left either through a user namespace of the child's own, or, where the kernel refuses
that, by becoming `nobody`.

What runs concurrently: nothing of ours. PDEATHSIG belongs to the *thread* that spawned the child, hence
programs are started from the main thread only; every other method may be called from any thread.

How it stops: `stop` asks, then insists, and returns when the whole tree is gone. A program in a session of
its own does not see the terminal's Ctrl-C: whoever started it decides when it stops.

This file is run by `python -I -S`, so it imports the standard library only.
"""

from __future__ import annotations

import abc
import ctypes
import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing_extensions import override
else:

    def override(method):
        return method


__all__ = ["NOBODY", "EmbeddedError", "Privileges", "ProcessTree", "TiedProcess", "is_alive", "unprivileged"]

Privileges = Literal["ours", "namespace", "nobody"]
"""As whom a child runs: as we do; in a user namespace of its own (root outside, uid 1000 within); as
`nobody`."""

NOBODY = 65534
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUSER = 0x10000000
_EXIT_NO_NAMESPACE = 96
_EXIT_ORPHAN = 97


_TELLING = re.compile(
    r"(?:FATAL|PANIC|ERROR|\[emerg\]|\[alert\]|\[error\]|Error\b).*|\w+(?:Error|Exit|Exception)\b.*"
)

_DETAIL = re.compile(r"DETAIL: .*")


class EmbeddedError(Exception):
    """An embedded server could not be started or stopped; the text is meant for people.

    `log` is the end of what the server has logged in this run, if anything.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}:\n{log}" if log else message)
        self._message, self._log = message, log

    @property
    def in_a_line(self) -> str:
        """The message, and of the log the line that tells most."""
        lines = [line.strip() for line in self._log.splitlines() if line.strip()]
        for line, after in itertools.zip_longest(lines, lines[1:], fillvalue=""):
            if telling := _TELLING.search(line):
                detail = _DETAIL.search(after)
                return " ".join([f"{self._message}: {telling[0]}", *([detail[0]] if detail else [])])
        return ": ".join([self._message, *lines[-1:]])


def is_alive(pid: int) -> bool:
    """Whether `pid` is a process that still does something; a zombie that nobody reaps does not."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in ("Z", "X")


@functools.cache
def unprivileged() -> Privileges:
    """How a program that refuses root is to be started by this process; tried out once."""
    if os.geteuid() != 0:
        return "ours"
    trial = subprocess.run(
        _launcher("namespace", signal.SIGKILL, [sys.executable, "-I", "-S", "-c", ""]),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return "namespace" if trial.returncode == 0 else "nobody"


class ProcessTree(abc.ABC):
    """A program that runs, with everything that it starts."""

    @property
    @abc.abstractmethod
    def pid(self) -> int:
        """The program's process id."""

    @property
    @abc.abstractmethod
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; `None` while it runs."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> int:
        """The exit code, waited for up to `timeout` seconds; raises `TimeoutError`."""

    def send(self, number: signal.Signals) -> None:
        """Send one signal to the program itself; nothing happens if it is gone."""
        if self.returncode is None:
            _send(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP to the whole tree: sockets stay open, nothing answers."""
        self._signal_tree(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT to the whole tree."""
        self._signal_tree(signal.SIGCONT)

    def kill(self, timeout: float = 10) -> None:
        """SIGKILL to the whole tree, and wait until it is gone."""
        tree = self._signal_tree(signal.SIGSTOP)  # a stopped parent starts nothing behind our back
        for pid in tree:
            _send(pid, signal.SIGKILL)
        self._await_tree(tree, timeout)

    def stop(self, ask: signal.Signals = signal.SIGTERM, timeout: float = 10) -> int:
        """Ask the program to end, after `timeout` seconds kill the tree; the exit code."""
        if self.returncode is None:
            tree = self.tree()
            self.thaw()
            self.send(ask)
            try:
                self.wait(timeout)
                self._await_tree(tree, timeout)
            except (TimeoutError, EmbeddedError):
                for pid in tree:
                    _send(pid, signal.SIGKILL)
                self.kill()
        return self.wait(timeout)

    def tree(self) -> list[int]:
        """The program, if it still runs, and all its descendants, parents first."""
        return [] if self.returncode is not None else [self.pid, *_descendants(self.pid)]

    def _signal_tree(self, number: signal.Signals) -> list[int]:
        if self.returncode is not None:
            return []
        _send(self.pid, number)  # first the parent, then whom it has started by now
        tree = self.tree()
        for pid in tree[1:]:
            _send(pid, number)
        return tree

    def _await_tree(self, tree: Sequence[int], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while self.returncode is None or any(is_alive(pid) for pid in tree):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"process {self.pid} or one of its children does not end")
            time.sleep(0.005)


class TiedProcess(ProcessTree):
    """One program, running from construction on, with everything that it starts.

    `stdin` is text handed to the program, then closed; `output` takes standard output and error (a file, or
    `subprocess.DEVNULL`); it inherits the descriptors of `pass_fds`. Raises `RuntimeError` outside the main thread
    and `OSError` when Python itself cannot be started; a program that cannot be started shows as an early exit with
    127.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        output: IO[bytes] | int,
        death_signal: signal.Signals = signal.SIGKILL,
        privileges: Privileges = "ours",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: str | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("a tied process would die with this thread: start it from the main thread")
        self._child = subprocess.Popen(
            _launcher(privileges, death_signal, [str(part) for part in argv]),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )
        if stdin is not None:
            assert self._child.stdin is not None
            try:
                self._child.stdin.write(stdin.encode())
                self._child.stdin.close()
            except BrokenPipeError:
                pass  # it is gone already: `returncode` tells

    @property
    @override
    def pid(self) -> int:
        return self._child.pid

    @property
    @override
    def returncode(self) -> int | None:
        return self._child.poll()

    @override
    def wait(self, timeout: float) -> int:
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} s") from error


def _launcher(privileges: Privileges, death_signal: signal.Signals, argv: Sequence[str]) -> list[str]:
    """The command line that runs this file as a script, to become `argv`."""
    here = [sys.executable, "-I", "-S", __file__]
    return [*here, str(os.getpid()), str(int(death_signal)), privileges, *argv]


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and parent of a process, from `/proc`; `None` if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, parent = text.rpartition(")")[2].split()[:2]
    return state, int(parent)


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))) is not None:
            children.setdefault(stat[1], []).append(int(entry))
    found = list(children.get(root, ()))
    for pid in found:  # grows while it is walked: breadth first
        found.extend(children.get(pid, ()))
    return found


# What follows runs in the child, between fork and exec of the real program.


def die_with(parent: int, death_signal: int) -> None:
    """Ask the kernel for a signal when the thread that started this process dies; ends it if that has happened."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(_EXIT_ORPHAN)  # the parent died before the kernel knew that we care


def _become(parent: int, death_signal: int, privileges: str, argv: Sequence[str]) -> None:
    if privileges == "namespace":
        libc = ctypes.CDLL(None, use_errno=True)
        uid, gid = os.geteuid(), os.getegid()
        if libc.unshare(_CLONE_NEWUSER) != 0:
            sys.exit(_EXIT_NO_NAMESPACE)
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
        except OSError:
            sys.exit(_EXIT_NO_NAMESPACE)
    elif privileges == "nobody":
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    die_with(parent, death_signal)  # only now: a change of credentials clears it
    try:
        os.execv(argv[0], list(argv))
    except OSError as error:
        print(f"{argv[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
