"""How a command ends, and what it says meanwhile: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collab_server.config import Problem

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
"""Exit statuses: done; could not be done; wrong command line or configuration; interrupted."""


class Failure(Exception):
    """The command cannot be carried out; the message is for the user, `status` the exit status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


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
    """To the person who runs the command, not into its result."""
    print(text, file=sys.stderr)
