"""What the workers of a node know of each other without a word: numbers in memory that they share.

Each worker has a row of its own, which nobody else writes while it runs; all read all of them, whatever the others do
meanwhile. So a worker that is frozen costs nobody a wait, and its numbers are those of when it was last awake. What is
counted since the node started goes on in the row of a worker that is started again.

The most of a sum is not the sum of what was the most: each worker notes in its row the largest sum that it has seen,
when one of its own numbers rose, and the largest of those is the node's.

A number is one aligned word of 8 bytes, so none is ever read in half. Nothing runs here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from collab_server.workers.memory import shared_memory

__all__ = ["MOST_WORKERS", "Figures", "Number", "Row"]

MOST_WORKERS = 1024
SILENT_MILLISECONDS = 3_000
"""After so long without a sign of life a worker's word about how the node is does not count."""


class Number(IntEnum):
    """What stands where in a row."""

    PID = 0
    BEAT = 1
    """When it last showed that it runs: milliseconds of the clock that does not jump."""
    IS_TAKING = 2
    """Whether it takes connections that are handed to it."""
    HAS_STARTED = 3
    IS_DRAINING = 4
    LACKING = 5
    """A bit for each of the dependencies that it finds unavailable, in their order."""
    OPEN = 6
    """Connections to it, of whatever kind."""
    TAKEN = 7
    """Connections that it has taken of those handed to it."""
    CONNECTIONS = 8
    CPU = 9
    MEMORY = 10
    CONNECTIONS_COUNTED = 11
    """Of the total, what this process has brought; so the next two."""
    MESSAGES_COUNTED = 12
    REST_CALLS_COUNTED = 13
    CONNECTIONS_TOTAL = 14
    MESSAGES = 15
    REST_CALLS = 16
    MOST_CONNECTIONS = 17
    MOST_CPU = 18
    MOST_MEMORY = 19


_WIDTH = len(Number)
_BYTES = 8
_OF_A_PROCESS = frozenset(range(Number.BEAT, Number.CONNECTIONS_TOTAL))
"""What ends with a process; the rest is counted on."""


class Row:
    """The numbers of one worker, who is `number` (from 1)."""

    __slots__ = ("_at", "_cells", "number")

    def __init__(self, cells: memoryview, number: int) -> None:
        self.number = number
        self._cells = cells
        self._at = number * _WIDTH

    def __getitem__(self, which: Number) -> int:
        value: int = self._cells[self._at + which]
        return value

    def __setitem__(self, which: Number, value: int) -> None:
        self._cells[self._at + which] = value

    def begin(self, pid: int) -> None:
        """It is the process `pid` from now on, 0: nobody's. Only while no other process writes here."""
        self[Number.PID] = 0
        for which in _OF_A_PROCESS:
            self[Number(which)] = 0
        self[Number.PID] = pid

    def beat(self) -> None:
        """Its worker runs."""
        self[Number.BEAT] = now_milliseconds()

    @property
    def is_alive(self) -> bool:
        """Whether there is a process whose numbers these are."""
        pid = self[Number.PID]
        if not pid:
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    @property
    def is_awake(self) -> bool:
        """Whether it has shown within the last seconds that it runs."""
        return self.is_alive and now_milliseconds() - self[Number.BEAT] < SILENT_MILLISECONDS

    @property
    def serves(self) -> bool:
        """Whether it lets clients in: not yet if it has just come, and not any more if it is about to go."""
        return bool(self[Number.HAS_STARTED]) and not self[Number.IS_DRAINING] and self.is_awake


class Figures:
    """All rows, in `memory.shared_memory`."""

    def __init__(self, path: Path | None = None) -> None:
        size = (MOST_WORKERS + 1) * _WIDTH * _BYTES
        self._memory = shared_memory(size, path)
        self._cells = memoryview(self._memory).cast("q")
        if not self._cells[0]:
            self._cells[0] = time.time_ns() // 1_000_000

    @property
    def up_since(self) -> float:
        """When the node started, in seconds since 1970."""
        return float(self._cells[0]) / 1000

    @property
    def _last(self) -> int:
        return int(self._cells[1])

    def row(self, number: int) -> Row:
        """The one of this worker, from 1 to `MOST_WORKERS`; there are as many as the highest that was asked for."""
        if number > self._last:
            self._cells[1] = number
        return Row(self._cells, number)

    def rows(self) -> Iterator[Row]:
        """All there are."""
        for number in range(1, self._last + 1):
            yield Row(self._cells, number)

    def sum(self, which: Number) -> int:
        """Over all workers; what ends with a process, over those that are alive."""
        is_lasting = which not in _OF_A_PROCESS
        return sum(row[which] for row in self.rows() if is_lasting or row.is_alive)

    def most(self, which: Number) -> int:
        """The largest of all workers."""
        return max((row[which] for row in self.rows()), default=0)


def now_milliseconds() -> int:
    """A time for `Number.BEAT`, the same for all processes of the machine."""
    return time.monotonic_ns() // 1_000_000
