"""Where log lines go, and what may be in them.

Everything is logged through the standard library (`logging.getLogger(__name__)`, facts as `extra`) and comes out once,
as text for people or as one JSON object per line. What it promises:

- neither tokens nor query strings: facts whose name speaks of a secret are masked, uvicorn's lines are cut at the
  `?`, and the libraries that log whole packets (socketio, engineio) never speak below WARNING, whatever `logging` is;
- a line is a line: control characters are escaped, so that nobody can write lines of their own;
- nobody can wash the log away: warnings and errors that repeat themselves, and uvicorn's lines about requests, are left
  out from some number on, and the next one that is written says how many were (`left_out`); what is logged of clients
  is bounded by `telemetry.journal`;
- processes that share a file write whole lines into it, and one of them at a time rotates it; the others go on in the
  new one with their next line;
- a file that cannot be written (a full disk, a folder that has gone) is told on standard error once a minute, and what
  was to be logged is lost: nobody waits for it, and no traceback takes its place;
- tracebacks do not show the values of variables;
- every line names the node (`node`, once `speak_as` was told how it is called), and what is logged while a request or a
  command is served, or a consequence of one, its trace (`trace`).

A line is written by whoever logs it, under the standard library's lock; nothing runs in the background.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import logging.handlers
import os
import re
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from collab_server.config.problems import ConfigError, Problem
from collab_server.imports import without
from collab_server.telemetry import traces

# Which draw tracebacks as nobody reads them in a log, for 4 MB, and switch between what nobody runs here, for 1 MB.
with without("rich", "greenlet"):
    import structlog
from structlog.types import EventDict, Processor, WrappedLogger

__all__ = ["configure", "reopen", "speak_as"]

FILE_BYTES = 20_000_000
OLD_FILES = 5

REPEATS = {"collab_server": (100, 1.0), "": (20, 0.2)}
"""By the beginning of a logger's name: so many lines alike at once, and so many a second in the long run."""
MOST_REPEATED = 1_000
QUIET_SECONDS = 60.0

_SECRET = re.compile(
    r"token|password|passphrase|secret|cookie|authorization|credential|api_?key", re.IGNORECASE
)
_names: dict[str, str] = {}
_is_shared = False
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class _OurHandler(logging.Handler):
    """Marks the handler that `configure` installed, so that the next call replaces that one and no other."""

    _quiet_until = 0.0

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """A line could not be written. A disk that is full is told on standard error, once a minute; a bug as usual."""
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif time.monotonic() >= self._quiet_until and sys.stderr is not None:
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            with contextlib.suppress(OSError):
                print(f"log lines are lost: {error.strerror or error}", file=sys.stderr)  # noqa: T201


class _StreamHandler(_OurHandler, logging.StreamHandler[Any]):
    pass


class _FileHandler(_OurHandler, logging.handlers.RotatingFileHandler):
    def reopen(self) -> None:
        """Go on in the file that has the name now. Raises `OSError`, and goes on in the old one."""
        with self.lock:  # type: ignore[union-attr]
            before, self.stream = self.stream, self._open()
            if before is not None:
                with contextlib.suppress(OSError):  # what was still to be written there
                    before.close()


class _SharedFileHandler(_FileHandler):
    """Of a file that other processes of this node write to as well, and rotate."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            if os.fstat(self._descriptor()).st_size >= self.maxBytes:
                self._rotate()
            if not self._has_the_name():
                self.reopen()  # another process has rotated it, or it was moved away
            line = self.format(record) + self.terminator
            begin = "" if self._is_at_a_lines_begin() else self.terminator
            os.write(
                self._descriptor(), (begin + line).encode("utf-8", "backslashreplace")
            )  # as one, at the end
        except Exception:
            self.handleError(record)

    @override
    def _open(self) -> TextIOWrapper:
        self.mode = "a+"  # for how it ends has to be seen
        return super()._open()

    def _is_at_a_lines_begin(self) -> bool:
        """False behind what is left of a line that found no more room on the disk, whoever wrote it."""
        size = os.fstat(self._descriptor()).st_size
        return not size or os.pread(self._descriptor(), 1, size - 1) == b"\n"

    def _descriptor(self) -> int:
        if self.stream is None:
            self.stream = self._open()
        return self.stream.fileno()

    def _has_the_name(self) -> bool:
        """Whether the file that we write to is the one that is found."""
        try:
            named = os.stat(self.baseFilename)
        except FileNotFoundError:
            return False
        ours = os.fstat(self._descriptor())
        return (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)

    def _rotate(self) -> None:
        """Begin a new file, unless another process is about to, or has; nobody waits for it."""
        # The lock is this file's: whoever gets it after us finds that it has not the name any more.
        locked = os.dup(self._descriptor())
        try:
            fcntl.flock(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._has_the_name():
                self.doRollover()
        except BlockingIOError:
            pass
        finally:
            fcntl.flock(locked, fcntl.LOCK_UN)
            os.close(locked)


def configure(
    *,
    is_detailed: bool = False,
    log_format: Literal["text", "json"] = "text",
    log_file: Path | None = None,
    is_shared: bool = False,
) -> None:
    """Send all logging to standard error or to `log_file`; may be called again. Raises `ConfigError`.

    `is_detailed` lets our own loggers speak at DEBUG and uvicorn name every request; nothing else gets louder.
    `is_shared`: other processes write to the file too. It stays so for as long as this process lives.
    """
    global _is_shared
    _is_shared = _is_shared or is_shared
    levels = {
        "": logging.WARNING,
        "collab_server": logging.DEBUG if is_detailed else logging.INFO,
        "uvicorn": logging.INFO,
        "uvicorn.error": logging.INFO,
        "uvicorn.access": logging.INFO if is_detailed else logging.WARNING,
        "socketio": logging.WARNING,
        "engineio": logging.WARNING,
    }
    for name, level in levels.items():
        logger = logging.getLogger(name)
        logger.setLevel(level)
        if name.startswith("uvicorn"):  # which brings handlers of its own when it is started bare
            logger.handlers.clear()
            logger.propagate = True
            logger.filters = [_UvicornFilter(is_detailed)]

    root = logging.getLogger()
    before = [handler for handler in root.handlers if isinstance(handler, _OurHandler)]
    handler: logging.Handler
    if log_file is None:
        handler = _StreamHandler(sys.stderr)
    else:
        kind = _SharedFileHandler if _is_shared else _FileHandler
        handler = kind(log_file, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", delay=True)
    handler.addFilter(_Repeats())
    handler.setFormatter(_formatter(log_format, colors=log_file is None and sys.stderr.isatty()))
    root.addHandler(handler)
    if isinstance(handler, _FileHandler):
        # Only now is there a file: whoever sees it may move it away and ask for a new one at once.
        try:
            handler.reopen()
        except OSError as error:
            root.removeHandler(handler)
            raise ConfigError(
                [Problem("logFile", f"{log_file} cannot be written: {error.strerror}")]
            ) from None
    for old in before:
        root.removeHandler(old)
        old.close()


def speak_as(node: str) -> None:
    """From now on every line of this process names the node."""
    _names["node"] = node


def reopen() -> Path | None:
    """Go on in the file of the configured name, made anew if it was moved away; return it, None if there is none.

    Raises `OSError` where the file cannot be written; what is logged still goes to the old one.
    """
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _FileHandler):
            handler.reopen()
            return Path(handler.baseFilename)
    return None


def _formatter(log_format: str, *, colors: bool) -> logging.Formatter:
    facts: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _name_origin,
        _mask_secrets,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
        if log_format == "json"
        else [
            _escape_controls,
            structlog.dev.ConsoleRenderer(
                colors=colors, pad_event_to=0, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=facts,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )


def _name_origin(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn's, for terminals: the same once more
    event.update(_names)
    if not event.get("trace"):
        event.pop("trace", None)
        if trace := traces.CURRENT.get():
            event["trace"] = traces.name_of(trace)
    return event


def _mask_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for name in event:
        if _SECRET.search(name):
            event[name] = "***"
    return event


def _escape_controls(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    for name, value in event.items():
        if isinstance(value, str) and _CONTROL.search(value):
            event[name] = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", value)
    return event


class _Repeats(logging.Filter):
    """Leaves out warnings and errors of which there are too many alike, whatever stands in them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str], tuple[float, float, int]] = {}  # left, at, left out

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING and record.name != "uvicorn.access":
            return True
        burst, per_second = REPEATS["collab_server" if record.name.startswith("collab_server") else ""]
        now = self._clock()
        kind = (record.name, record.levelno, str(record.msg)[:200])
        left, at, left_out = self._kinds.get(kind, (burst, now, 0))
        left = min(burst, left + (now - at) * per_second)
        if len(self._kinds) >= MOST_REPEATED and kind not in self._kinds:
            self._kinds.clear()
        if left < 1:
            self._kinds[kind] = (left, now, left_out + 1)
            return False
        self._kinds[kind] = (left - 1, now, 0)
        if left_out:
            record.left_out = left_out
        return True


_NOT_NAMED = re.compile(r"/(?:health/|status(?:\Z|\?)|metrics(?:\Z|\?)|api/)")
"""Requests without a line of uvicorn's: checks of balancers and monitoring, and what has lines of our own."""

_ABOUT_A_SOCKET = ("connection open", "connection closed", "connection rejected")
"""What uvicorn's websockets say of each connection; why one was refused is a line of ours."""


def _path_of(arguments: object) -> str:
    return str(arguments[2]) if isinstance(arguments, tuple) and len(arguments) > 2 else ""


class _UvicornFilter(logging.Filter):
    """Cuts query strings off, and drops uvicorn's lines about each websocket unless the log is detailed."""

    def __init__(self, is_detailed: bool) -> None:
        super().__init__()
        self._is_detailed = is_detailed

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        message = str(record.msg)
        if record.name == "uvicorn.access" and _NOT_NAMED.match(_path_of(record.args)):
            return False
        is_about_a_socket = '"WebSocket ' in message or message.startswith(_ABOUT_A_SOCKET)
        if is_about_a_socket and record.levelno <= logging.INFO and not self._is_detailed:
            return False
        if isinstance(record.args, tuple):
            record.args = tuple(arg.split("?")[0] if isinstance(arg, str) else arg for arg in record.args)
        return True
