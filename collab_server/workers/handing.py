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
STARTING_SECONDS = 5.0
HELD_SECONDS = 0.05
"""So long a connection may wait for its worker while another one has nothing to take."""


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
    taken: int = 0
    taken_at: float = 0.0
    held_at_beat: int = -1
    """Its last sign of life when it was found not to take what it was given."""

    @property
    def is_ready(self) -> bool:
        """Whether it takes connections."""
        return bool(self.row[Number.IS_TAKING])

    def is_starting(self, now: float) -> bool:
        """Whether it is about to be ready; one that takes long is not waited for."""
        return not self.is_ready and now - self.started_at < STARTING_SECONDS

    @property
    def waiting(self) -> int:
        """How many connections it has not taken yet."""
        return self.handed - self.row[Number.TAKEN]

    def note_taken(self) -> None:
        """It takes, or has nothing to take: whatever waits from here on has just begun to."""
        self.taken, self.taken_at = self.row[Number.TAKEN], time.monotonic()

    @property
    def load(self) -> int:
        """How many connections it has, and is about to have."""
        return self.row[Number.OPEN] + self.waiting

    @property
    def is_running(self) -> bool:
        """Whether it has shown lately that it runs, and takes what it is given."""
        beat = self.row[Number.BEAT]
        return beat != self.held_at_beat and (self.asleep_seconds < ASLEEP_SECONDS or beat != self.beat)

    @property
    def serves(self) -> bool:
        """Whether it would let clients sign in; one that takes connections may not yet, or not any more."""
        return bool(self.row[Number.HAS_STARTED]) and not self.row[Number.IS_DRAINING]

    @property
    def rank(self) -> tuple[bool, bool, int, int]:
        """The lowest gets the next connection: clients find no use in one that does not run, or cannot serve yet."""
        return not self.is_running, not self.serves, self.load, self.handed

    def may_take_over_from(self, other: Process) -> bool:
        """Whether it would serve sooner those who wait for the other one, which has kept them waiting."""
        can_take = self.is_ready and self.is_running and not self.waiting
        return can_take and (self.serves or not other.serves)


class Handing:
    """See the module. `listening` are bound, and listen from `open` on; `selector` tells of those who come."""

    def __init__(self, listening: Sequence[socket.socket], selector: selectors.BaseSelector) -> None:
        self.is_open = False
        self._listening = listening
        self._selector = selector
        self._left: deque[int] = deque()  # descriptors that nobody takes now

    def patience(self, workers: Collection[Process], seconds: float) -> float:
        """For how many of these seconds nothing has to be looked at, unless something comes."""
        if self._left:
            return 0.01
        now = time.monotonic()
        due = [worker.taken_at + HELD_SECONDS - now for worker in workers if worker.waiting]
        return min([seconds, *(left if left > 0 else HELD_SECONDS / 2 for left in due)])

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
        self._listening = ()
        for connection in self._left:
            os.close(connection)
        self._left.clear()

    def attend(self, workers: Collection[Process]) -> None:
        """Hand out what was left, or is held up, and look for more while there is somebody for it."""
        self._take_back_held(workers)
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
        """What this worker has not taken is for others; what it was told stays for it."""
        told = []
        while (said := passing.receive(worker.theirs)) is not None:
            what, connection = said
            if not what:
                break
            if connection is not None:
                worker.handed -= 1
                self._left.append(connection)
            else:
                told.append(what)
        for what in told:
            passing.say(worker.ours, what)

    def _take_back_held(self, workers: Collection[Process]) -> None:
        """What waits for one who is busy or frozen, while another one has nothing to take, is for that one."""
        now = time.monotonic()
        for worker in workers:
            if not worker.waiting:
                continue
            if worker.row[Number.TAKEN] != worker.taken:
                worker.note_taken()
            elif now - worker.taken_at >= HELD_SECONDS and any(
                other.may_take_over_from(worker) for other in workers
            ):
                worker.held_at_beat = worker.row[Number.BEAT]
                self.take_back(worker)

    @staticmethod
    def _hand(connection: int, workers: Collection[Process]) -> bool:
        """Give it to somebody; False if nobody takes it now."""
        for worker in sorted((worker for worker in workers if worker.is_ready), key=_rank):
            waited = worker.waiting
            if passing.send(worker.ours, connection):
                if not waited:
                    worker.note_taken()
                worker.handed += 1
                return True
        return False


def _rank(worker: Process) -> tuple[bool, bool, int, int]:
    return worker.rank
