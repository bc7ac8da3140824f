"""Who gets a connection: the worker that has the fewest, of those that can do something with it.

What nobody takes at the moment is kept, and no more is let in until somebody has: the system's own queue is where
clients wait. Nothing here waits; the supervisor calls.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from collab_server.workers import passing
from collab_server.workers.figures import Number, Row

__all__ = ["ASLEEP_SECONDS", "Handing", "Process"]

log = logging.getLogger(__name__)

BACKLOG = 2048
AT_ONCE = 64
"""Connections that are let in before anything else is looked at."""
ASLEEP_SECONDS = 1.0
"""Without a sign of life, after which others get what would be this worker's."""


@dataclass(slots=True)
class Process:
    """One process, and what is known of it; times are in seconds of the clock that does not jump."""

    row: Row
    pid: int
    ours: socket.socket
    theirs: socket.socket
    started_at: float
    handed: int = 0
    beat: int = 0
    asleep_seconds: float = 0.0

    @property
    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return bool(self.row[Number.IS_TAKING])

    @property
    def load(self) -> int:
        """How many connections it has, and is about to have."""
        return self.row[Number.OPEN] + self.handed - self.row[Number.TAKEN]

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """The lowest gets the next connection: clients find no use in one that does not run, or cannot serve yet."""
        is_asleep = self.asleep_seconds >= ASLEEP_SECONDS and self.row[Number.BEAT] == self.beat
        serves = self.row[Number.HAS_STARTED] and not self.row[Number.IS_DRAINING]
        return is_asleep, not serves, self.load, self.handed


class Handing:
    """See the module. `listening` are bound, and listen from `open` on; `selector` tells of those who come."""

    def __init__(self, listening: Sequence[socket.socket], selector: selectors.BaseSelector) -> None:
        self.is_open = False
        self._listening = listening
        self._selector = selector
        self._left: deque[int] = deque()  # descriptors that nobody takes now

    @property
    def is_stuck(self) -> bool:
        """Whether there is a connection that nobody takes."""
        return bool(self._left)

    def open(self) -> None:
        """Let clients come."""
        for listening in self._listening:
            listening.setblocking(False)
            listening.listen(BACKLOG)
        self.is_open = True

    def close(self) -> None:
        """Let nobody come any more; those who came and were not taken are cut off, as far as this process is asked."""
        for listening in self._listening:
            listening.close()
        for connection in self._left:
            os.close(connection)
        self._left.clear()

    def attend(self, workers: Collection[Process]) -> None:
        """Hand out what was left, and look for more while there is somebody for it."""
        while self._left and self._hand(self._left[0], workers):
            os.close(self._left.popleft())
        has_room = not self._left and any(worker.is_ready for worker in workers)
        watched = {key.fileobj for key in self._selector.get_map().values()}
        for listening in self._listening:
            if has_room and listening not in watched:
                self._selector.register(listening, selectors.EVENT_READ)
            elif not has_room and listening in watched:
                self._selector.unregister(listening)

    def let_in(self, listening: socket.socket, workers: Collection[Process]) -> None:
        """Those who have come."""
        for _ in range(AT_ONCE):
            try:
                connection = listening.accept()[0].detach()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be let in: %s", error.strerror)
                time.sleep(0.05)  # too many open files: until some are closed
                return
            if not self._hand(connection, workers):
                self._left.append(connection)
                return
            os.close(connection)

    def take_back(self, worker: Process) -> None:
        """What this worker has not taken is for others."""
        while (said := passing.receive(worker.theirs)) is not None:
            what, connection = said
            if not what:
                return
            if connection is not None:
                worker.handed -= 1
                self._left.append(connection)

    @staticmethod
    def _hand(connection: int, workers: Collection[Process]) -> bool:
        """Give it to somebody; False if nobody takes it now."""
        for worker in sorted((worker for worker in workers if worker.is_ready), key=_rank):
            if passing.send(worker.ours, connection):
                worker.handed += 1
                return True
        return False


def _rank(worker: Process) -> tuple[bool, bool, int, int]:
    return worker.rank
