"""The supervisor of a node's workers: starts them, hands each connection to one of them, starts those anew that end.

What it promises:

- *Even*: a connection goes to the worker that has the fewest, of those that run. One that does not is passed by, and
  what it had not taken goes to the others; what one that ends had not taken, too. So no connection is lost that was let
  in, but those that a worker had.
- *In turns*: where there are many workers, so many start at a time as there are processors; so the first serve at
  once, and a signal is never behind all of them.
- *Back soon*: a worker that ends is started again at once: it is forked from this process, which has imported all that
  it needs. One that ends again and again is said, and waits longer each time, up to `LONGEST_PAUSE_SECONDS`. One that
  has not run for `FROZEN_SECONDS` is ended.
- *Together*: SIGTERM and SIGINT make all drain, once more makes all leave at once; SIGHUP reaches all. Nobody outlives
  it: a worker that cannot hear it any more drains and goes.
- A node whose workers end before any of them has served is no node: the supervisor ends too, and says so.

What runs concurrently: nothing. One thread, without an event loop, so that forking is safe; it sleeps until a client
connects, a signal comes or a quarter of a second has passed. How it stops: when all workers have ended, by themselves
or, after `LEAVING_SECONDS`, by SIGKILL.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import FrameType

from collab_server.workers import passing
from collab_server.workers.figures import Figures, Number, Row
from collab_server.workers.handing import ASLEEP_SECONDS, Handing, Process

__all__ = ["Supervisor"]

log = logging.getLogger(__name__)

TICK_SECONDS = 0.25
FROZEN_SECONDS = 30.0
SHORT_SECONDS, MOST_SHORT = 60.0, 5
"""A worker that lived no longer has hardly served: after so many of them in a row the next one has to wait."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
LEAVING_SECONDS = 12.0
STARTING_AT_ONCE = max(2, len(os.sched_getaffinity(0)))
"""So many that no processor waits, and no more: they would only keep each other from being ready."""
STARTING_TICK_SECONDS = 0.02

FAILED = 1


class Supervisor:
    """See the module.

    Args:
        listening: bound, not listening yet; that begins when the first worker is ready.
        workers: how many there are to be.
        figures: what the workers tell.
        run: what a worker does, in its own process: gets its number and its end of the socket, returns its exit status.
        look_again: called on SIGHUP, for this process.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        workers: int,
        figures: Figures,
        run: Callable[[int, socket.socket], int],
        look_again: Callable[[], None],
    ) -> None:
        self._figures = figures
        self._run = run
        self._look_again = look_again
        self._numbers = range(1, workers + 1)
        self._workers: dict[int, Process] = {}
        self._due: dict[int, float] = dict.fromkeys(self._numbers, 0.0)  # number → when to start it
        self._short: Counter[int] = Counter()  # number → how many in a row have ended soon
        self._signals: list[int] = []
        self._selector = selectors.DefaultSelector()
        self._listening = listening
        self._handing = Handing(listening, self._selector)
        self._leaving_since: float | None = None

    def serve(self) -> int:
        """Until told to stop, or until there is nothing to serve with; the exit status."""
        woken, wake = socket.socketpair()
        for end in (woken, wake):
            end.setblocking(False)
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, self._note) for number in numbers}
        was_wake = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._selector.register(woken, selectors.EVENT_READ)
        try:
            return self._loop(woken)
        finally:
            signal.set_wakeup_fd(was_wake)
            for number, handler in before.items():
                signal.signal(number, handler)
            for worker in self._workers.values():  # a bug of ours: nobody is left behind
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
            self._handing.close()
            woken.close()
            wake.close()

    def _loop(self, woken: socket.socket) -> int:
        looked_at = time.monotonic()
        while True:
            self._obey()
            self._reap()
            now = time.monotonic()
            if now - looked_at >= TICK_SECONDS:
                self._look(min(now - looked_at, 2 * TICK_SECONDS))  # while we stood still, so may they have
                looked_at = now
            if not self._workers and (self._leaving_since is not None or self._never_served()):
                return 0 if self._leaving_since is not None and self._handing.is_open else FAILED
            self._start_due(now)
            self._open_at_last()
            self._handing.attend(self._workers.values())
            for key, _ in self._selector.select(self._patience(now)):
                if key.fileobj is woken:
                    with contextlib.suppress(BlockingIOError):
                        woken.recv(4096)
                else:
                    self._handing.let_in(key.fileobj, self._workers.values())  # type: ignore[arg-type]

    def _patience(self, now: float) -> float:
        """Seconds until something has to be looked at."""
        due = min(self._due.values(), default=now + TICK_SECONDS)
        if due <= now:
            due = now if self._room(now) else now + STARTING_TICK_SECONDS
        seconds = max(0.0, min(TICK_SECONDS, due - now))
        return self._handing.patience(self._workers.values(), seconds)

    # --- signals

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signals.append(number)

    def _obey(self) -> None:
        asked, self._signals = self._signals, []
        if signal.SIGHUP in asked:
            for worker in self._workers.values():
                self._kill(worker, signal.SIGHUP)
            self._look_again()
        if signal.SIGTERM in asked or signal.SIGINT in asked:
            is_again = self._leaving_since is not None
            if not is_again:
                log.info("the workers are told to drain")
                self._leaving_since = time.monotonic()
                self._due.clear()
            for worker in self._workers.values():
                if not worker.is_ready or not passing.say(
                    worker.ours, passing.LEAVE if is_again else passing.DRAIN
                ):
                    self._kill(worker, signal.SIGTERM)

    @staticmethod
    def _kill(worker: Process, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)

    # --- workers

    def _start_due(self, now: float) -> None:
        due = sorted((at, number) for number, at in self._due.items() if at <= now)
        for _, number in due[: self._room(now)]:
            del self._due[number]
            self._start(number)

    def _room(self, now: float) -> int:
        """How many may be started, beside those that are about to be ready."""
        return max(0, STARTING_AT_ONCE - sum(worker.is_starting(now) for worker in self._workers.values()))

    def _start(self, number: int) -> None:
        row = self._figures.row(number)
        row.begin(0)
        ours, theirs = passing.pair()
        signals = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                self._become(row, theirs, ours, signals)
        except OSError as error:
            ours.close()
            theirs.close()
            self._due[number] = time.monotonic() + LONGEST_PAUSE_SECONDS
            log.error("a worker cannot be started: %s", error.strerror, extra={"worker": number})
            return
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        self._workers[number] = Process(row, pid, ours, theirs, time.monotonic())

    def _become(self, row: Row, end: socket.socket, ours: socket.socket, signals: set[int]) -> None:
        """In the forked process: be a worker, and never come back."""
        status = FAILED
        try:
            row[Number.PID] = os.getpid()
            signal.set_wakeup_fd(-1)
            for handled in (signal.SIGTERM, signal.SIGCHLD):
                signal.signal(handled, signal.SIG_DFL)
            for ignored in (signal.SIGINT, signal.SIGHUP):  # a terminal's reaches us by the supervisor
                signal.signal(ignored, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            # While anybody has one of these, a worker would not see that the supervisor is gone.
            ours.close()
            for other in self._workers.values():
                other.ours.close()
                other.theirs.close()
            self._handing.close()
            self._selector.close()
            status = self._run(row.number, end)
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else FAILED
        except BaseException:
            log.exception("a worker has failed", extra={"worker": row.number})
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for number, worker in list(self._workers.items()):
            try:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = worker.pid, 0
            if pid:
                del self._workers[number]
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: Process, code: int) -> None:
        number, now = worker.row.number, time.monotonic()
        has_served = worker.is_ready
        self._handing.take_back(worker)
        worker.ours.close()
        worker.theirs.close()
        worker.row.begin(0)
        if self._leaving_since is not None:
            return
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        facts = {"worker": number, "worker_pid": worker.pid, "how": how}
        if not has_served and not self._handing.is_open:
            log.error("a worker has ended before it served", extra=facts)
            return
        self._short[number] = self._short[number] + 1 if now - worker.started_at < SHORT_SECONDS else 0
        pause = _pause_after(self._short[number])
        self._due[number] = now + pause
        if pause:
            log.error("a worker ends again and again; it is started later", extra={**facts, "seconds": pause})
        else:
            log.warning("a worker has ended; it is started again", extra=facts)

    def _open_at_last(self) -> None:
        """Once there is a worker for them, clients may come; from then on no worker is given up."""
        if self._handing.is_open or self._leaving_since is not None:
            return
        if not any(worker.is_ready for worker in self._workers.values()):
            return
        try:
            self._handing.open()
        except OSError as error:  # another program has begun to, while the workers started
            log.error("cannot listen any more: %s", error.strerror)
            self._handing.close()
            self._signals.append(signal.SIGTERM)
            return
        missing = set(self._numbers) - self._workers.keys() - self._due.keys()
        self._due.update(dict.fromkeys(missing, 0.0))
        port = self._listening[0].getsockname()[1]
        log.info("the node serves", extra={"workers": len(self._numbers), "port": port})

    def _never_served(self) -> bool:
        return not self._handing.is_open and not self._due

    def _look(self, seconds: float) -> None:
        """Who runs, and who does not? So many seconds after the last look."""
        for worker in self._workers.values():
            beat = worker.row[Number.BEAT]
            is_asleep = worker.is_ready and beat == worker.beat
            worker.asleep_seconds = worker.asleep_seconds + seconds if is_asleep else 0.0
            worker.beat = beat
            if worker.asleep_seconds < ASLEEP_SECONDS:
                continue
            self._handing.take_back(worker)
            if worker.asleep_seconds >= FROZEN_SECONDS:
                log.error("a worker has not run for 30 s; it is ended", extra={"worker": worker.row.number})
                worker.asleep_seconds = 0.0
                self._kill(worker, signal.SIGKILL)
        if self._leaving_since is not None and time.monotonic() - self._leaving_since > LEAVING_SECONDS:
            for worker in self._workers.values():
                log.error("a worker does not leave; it is ended", extra={"worker": worker.row.number})
                self._kill(worker, signal.SIGKILL)
            self._leaving_since = time.monotonic()


def _pause_after(short: int) -> float:
    """Seconds before the next start, after so many in a row that ended soon."""
    excess = min(short - MOST_SHORT, 16)
    return min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (excess - 1)) if excess > 0 else 0.0
