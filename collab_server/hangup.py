"""SIGHUP, by which operators and logrotate ask a node to look at its files again: it never ends one.

The log file is opened anew, which one line says; then whoever waits in `heard` is woken, on their own loop.

What runs concurrently: one thread, which sleeps until a signal comes and ends with the process. The signal's handler
only wakes it, for it may interrupt whatever runs, a line that is being logged or a lock that is being taken included.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import queue
import signal
import sys
import threading
from types import FrameType

from collab_server import logs

__all__ = ["heard", "listen"]

log = logging.getLogger(__name__)

_asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # may be put to from a signal's handler
_lock = threading.Lock()
_times = 0
_waiting: list[asyncio.Future[None]] = []


def listen() -> None:
    """From now on SIGHUP makes this process look at its files again; may be called again.

    Leaves alone what the program that runs us has set for SIGHUP, and threads other than the main one, which get no
    signals.
    """
    is_free = signal.getsignal(signal.SIGHUP) in (signal.SIG_DFL, signal.SIG_IGN)
    if not is_free or threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGHUP, _note)
    # Python gives handlers back before it is gone, and the signal its deadly default.
    atexit.register(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_attend, name="hangup", daemon=True).start()


async def heard(times: int) -> int:
    """Wait until SIGHUP has come more often than `times`, and say how often; the log file is open again then.

    Many that come at once are one.
    """
    while True:
        with _lock:
            if _times > times:
                return _times
            waiting = asyncio.get_running_loop().create_future()
            _waiting.append(waiting)
        try:
            await waiting
        finally:
            with _lock, contextlib.suppress(ValueError):
                _waiting.remove(waiting)


def _note(number: int, frame: FrameType | None) -> None:
    _asked.put(None)


def _attend() -> None:
    while True:
        _asked.get()
        while not _asked.empty():  # many at once are one
            _asked.get()
        _look_again()
        _wake()


def _wake() -> None:
    global _times
    with _lock:
        _times += 1
        woken = list(_waiting)
        _waiting.clear()
    for waiting in woken:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            waiting.get_loop().call_soon_threadsafe(_let_go, waiting)


def _let_go(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _look_again() -> None:
    try:
        file = logs.reopen()
    except OSError as error:
        log.error("SIGHUP: the log file cannot be opened, the old one goes on: %s", error.strerror)
        # The old one may have been deleted, and nobody would read that.
        print(f"SIGHUP: the log file cannot be opened: {error.strerror}", file=sys.stderr)  # noqa: T201
        return
    except Exception:
        log.exception("SIGHUP: the log file could not be opened again")
        return
    if file is None:
        log.info("SIGHUP: there is no log file to open again")
    else:
        log.info("SIGHUP: the log file is open again")
