"""How a command ends, and what it says meanwhile: results on standard output, everything else on standard error."""

from __future__ import annotations

import sys
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


def print_problems(problems: list[Problem]) -> None:
    """One line for each."""
    for problem in problems:
        say(str(problem))


def say(text: str) -> None:
    """To the person who runs the command, not into its result."""
    print(text, file=sys.stderr)
