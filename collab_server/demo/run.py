"""The demo: a whole cluster on this machine, for trying out. Not for production.

What it is: `run_demo` starts PostgreSQL, Valkey, the stand-in Library, three nodes and NGINX, says where to
go, and stops everything on Ctrl-C, SIGTERM or SIGHUP. With `check` it plays a conversation instead (see
`check`).

What it promises: works as root and as an ordinary user; everything listens on 127.0.0.1; data and logs stay
in one folder; several demos with folders of their own do not meet. Nothing is left running, not even after a
kill -9.

What runs concurrently: the servers as child processes tied to this one, the nodes as forks of one more (see
`warm`), the stand-in Library in a thread. How it stops: in the order opposite to the one it was started in,
every wait with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from .check import play
from .demo import DEFAULT_PORT, Demo
from .tied import EmbeddedError

__all__ = ["DEFAULT_FOLDER", "DEFAULT_PORT", "run_demo"]

DEFAULT_FOLDER = Path(".collab-demo")


class _Interrupted(BaseException):
    """Somebody wants us to stop."""


def run_demo(data_dir: Path | None = None, port: int = DEFAULT_PORT, check: bool = False) -> int:
    """Run the demo until somebody stops it, or with `check` until the conversation has been played.

    `data_dir` is where data and logs stay: by default `.collab-demo` here, for a check a temporary folder.
    `port` is the first one tried. Returns the exit status: 0, 1 when something could not be started or the
    check failed, 130 when it was interrupted before it was up. Main thread only.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interruptible())
        is_temporary = data_dir is None and check
        demo = Demo(_temporary_folder() if is_temporary else data_dir or DEFAULT_FOLDER, port, _say)
        is_up = is_good = False
        try:
            began = time.monotonic()
            _say("Starting a cluster on this machine, for trying out, not for production:\n")
            demo.start()
            is_up = True
            _say(f"\nUp after {time.monotonic() - began:.1f} s.")
            if not check:
                _show(demo)
            _say("")
            is_good = asyncio.run(play(demo, _say))
            return 0 if is_good else 1
        except _Interrupted:
            return 0 if is_up and not check else 130
        except EmbeddedError as error:
            print(f"\ncollab-server demo: {error}", file=sys.stderr)
            return 1
        finally:
            _deaf()
            _say("\nStopping …")
            demo.stop()
            _say("Everything is stopped.")
            if is_temporary and is_good:
                shutil.rmtree(demo.folder, ignore_errors=True)
            elif check:
                _say(f"Data and logs are in {demo.folder}")


def _show(demo: Demo) -> NoReturn:
    """Say where to go, then wait until stopped, saying when a part ends."""
    names = ", ".join(demo.people)
    _say(
        f"""
  open        {demo.url}/
  sign in as  {names} (the password is the name)
  nodes       {"  ".join(f"{node.url}/status" for node in demo.nodes)}
  data, logs  {demo.folder}
  stop        Ctrl-C
"""
    )
    known: set[str] = set()
    while True:
        time.sleep(0.5)
        ended = set(demo.parts_ended())
        for name in sorted(ended - known):
            _say(f"  {name} has ended; its log is in {demo.folder}")
        known = ended


def _say(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may have gone; stopping must not fail of that
        print(line, flush=True)


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="collab-demo-"))
    folder.chmod(0o711)  # PostgreSQL may have to run as somebody else
    return folder


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, the signals that stop us raise `_Interrupted`, until `_deaf`."""

    def interrupt(number: int, frame: object) -> NoReturn:
        _deaf()  # a second signal must not meet us on the way to stopping
        raise _Interrupted

    before = {
        number: signal.signal(number, interrupt)
        for number in _STOPPING
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)  # nohup
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deaf() -> None:
    """From now on nothing interrupts: we stop already, and that has deadlines."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
