"""How a command ends, and what it says meanwhile: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collab_server.config import Problem

DONE, FAILED, WRONG, INTERRUPTED, UNREAD = 0, 1, 2, 130, 141
"""Exit statuses: done; could not be done; wrong command line or configuration; interrupted; whoever read the result has
gone, as of `collab-server … | head -1`. The last is what a shell says of a program that SIGPIPE has ended."""


class Failure(Exception):
    """The command cannot be carried out; the message is for the user, `status` the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


class Untold(Exception):
    """A result could not be written to standard output, for this reason."""

    def __init__(self, why: OSError) -> None:
        super().__init__(str(why))
        self.why = why


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """Inside, Ctrl-C ends the process without a word: while it only imports, which may hide an exception or tell it in
    pages."""
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def in_words(error: OSError) -> str:
    """What the system has refused, and where."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def print_problems(problems: list[Problem]) -> None:
    """One line for each."""
    for problem in problems:
        say(str(problem))


def say(text: str) -> None:
    """To the person who runs the command, not into its result. Where nobody can hear it, it is lost."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def tell(text: str) -> None:
    """A line of the result. Raises `Untold`, which ends the command."""
    try:
        print(text)
    except OSError as error:
        raise Untold(error) from None


def status_once_told(status: int) -> int:
    """With what a command ends whose result may still be on its way out: if that fails with `status_untold`."""
    try:
        _flush(sys.stdout)
    except OSError as error:
        untold = status_untold(error)
        return status or untold
    _say_no_more()
    return status


def status_untold(why: OSError) -> int:
    """With what a command ends whose result could not be told; says why, unless nobody wants to know."""
    _give_up_on(sys.stdout)
    if not isinstance(why, BrokenPipeError):
        say(f"collab-server: standard output: {why.strerror or why}")
    _say_no_more()
    return UNREAD if isinstance(why, BrokenPipeError) else FAILED


def _say_no_more() -> None:
    """What was said and nobody can hear is lost."""
    try:
        _flush(sys.stderr)
    except OSError:
        _give_up_on(sys.stderr)


def _flush(stream: TextIO | None) -> None:
    if stream is not None:  # closed by whoever started us: nobody wants to know
        stream.flush()


def _give_up_on(stream: TextIO) -> None:
    """What is left of it goes nowhere: Python would try once more when it ends, and tell of that in its own words and
    by an exit status of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
