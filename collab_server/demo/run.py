"""The demo: a whole cluster on this machine, for trying out. Not for production.

What it is: `run_demo` starts PostgreSQL, Valkey, the stand-in Library, three nodes and NGINX, says where to
go, and stops everything on Ctrl-C, SIGTERM or SIGHUP. With `check` it plays a conversation instead (see
`check`).

What it promises: works as root and as an ordinary user; everything listens on 127.0.0.1, unless the load balancer is
wished elsewhere; data and logs stay in one folder, which is never another user's; several demos with folders of their
own do not meet. What goes wrong is a line, with what to do next. Nothing is left running, not even after a kill -9 of
any part.

What runs concurrently: the servers as child processes tied to this one, the nodes as forks of one more (see
`warm`), the stand-in Library in a thread. How it stops: in the order opposite to the one it was started in,
every wait with a deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .check import play
from .demo import DEFAULT_PORT, Demo
from .embedded import HOST
from .tied import EmbeddedError

if TYPE_CHECKING:
    from .standin import LibraryData

__all__ = ["DEFAULT_FOLDER", "DEFAULT_PORT", "run_demo"]

DEFAULT_FOLDER = Path(".collab-demo")
PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"
WANTED_DESCRIPTORS = 65536


class _Interrupted(KeyboardInterrupt):
    """Somebody wants us to stop. Where we have not begun yet, that is for the command line, as before it came here."""


def run_demo(
    data_dir: Path | None = None,
    port: int | None = None,
    check: bool = False,
    *,
    host: str = HOST,
    people: LibraryData | None = None,
) -> int:
    """Run the demo until somebody stops it, or with `check` until the conversation has been played.

    `data_dir` is where data and logs stay: by default `DEFAULT_FOLDER` here, for a check a temporary folder. `port`,
    `host` and `people` are those of `Demo`. Returns the exit status: 0, 1 when something could not be started or the
    check failed, 130 when it was interrupted before it was up. Main thread only.
    """
    _let_many_connect()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interruptible())
        is_temporary = data_dir is None and check
        folder = _temporary_folder() if is_temporary else data_dir or DEFAULT_FOLDER
        demo = Demo(folder, port, _say, host=host, data=people)
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
        except (EmbeddedError, OSError) as error:
            print(f"collab-server demo: {_with_next_step(error, demo)}", file=sys.stderr)
            return 1
        finally:
            _deaf()
            has_parts = demo.has_parts
            if has_parts:
                _say("\nStopping …")
            demo.stop()
            if has_parts:
                _say("Everything is stopped.")
            if is_temporary and is_good:
                shutil.rmtree(demo.folder, ignore_errors=True)
            elif check:
                _say(f"Data and logs are in {demo.folder}")


def _with_next_step(error: EmbeddedError | OSError, demo: Demo) -> str:
    """What went wrong, and what can be done, in a line."""
    if isinstance(error, OSError):
        what = f"{error.filename} cannot be used" if error.filename else "the system refuses"
        message = f"{what}: {error.strerror or error}"
    else:
        message = error.in_a_line
    if "--" in message:
        return message
    if "lack of memory" in message:
        return f"{message}: it needs some 300 MB"
    return (
        f"{message}. Choose another folder with --data, or, where the data are not needed, remove {demo.folder};"
        " the logs are in it"
    )


def _let_many_connect() -> None:
    """As many descriptors as the system grants, for us and what we start: each client takes some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(WANTED_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _show(demo: Demo) -> NoReturn:
    """Say where to go, then wait until stopped, saying when a part ends."""
    names = ", ".join(demo.people)
    _say(
        f"""
  open        {demo.url}/
  sign in as  {names} (the password is the name)
  REST        {demo.url}/docs
  protocol    {PROTOCOL if PROTOCOL.exists() else "docs/protocol.md, beside the source"}
  a topic     {next((f"{topic} ({name})" for topic, name in demo.dashboards), "none: nobody may open anything")}
  nodes       {"  ".join(f"{node.url}/status" for node in demo.nodes)}
  data, logs  {demo.folder}
  stop        Ctrl-C
"""
    )
    if demo.is_open_to_others:
        _say(f"  From other machines it is {demo.url_for_others}/")
        _say(
            "  Whoever reaches this machine can sign in as anybody: not for a network that you do not trust.\n"
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
_AGAIN_SECONDS = 0.5


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Inside, the signals that stop us raise `_Interrupted`, until `_deaf`.

    It is raised wherever we are just then, and some places swallow it: Python lets no exception out of a finalizer or
    out of what a weak reference calls. Hence it is raised again and again until somebody has heard it.
    """

    def interrupt(number: int, frame: object) -> NoReturn:
        for each in _STOPPING:  # a second signal must not meet us on the way to stopping
            signal.signal(each, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)
        raise _Interrupted

    def swallowed(event: sys.UnraisableHookArgs) -> None:
        if event.exc_type is not _Interrupted:
            tell_before(event)

    tell_before, sys.unraisablehook = sys.unraisablehook, swallowed
    before = {
        number: signal.signal(number, interrupt)
        for number in (*_STOPPING, signal.SIGALRM)
        if not (number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN)  # nohup
    }
    try:
        yield
    finally:
        _deaf()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = tell_before


def _deaf() -> None:
    """From now on nothing interrupts: we stop already, and that has deadlines."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (*_STOPPING, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
