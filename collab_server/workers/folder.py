"""The folder in which the workers of a node meet: their user's alone, and gone when the last of them is.

Whoever holds a folder has a lock on a file in it, which the system lets go of when the process ends, however it ends.
Folders that nobody holds any more are taken away by the next one who looks.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

__all__ = ["MOST_PATH_BYTES", "FolderError", "Held", "bases_of"]

MOST_PATH_BYTES = 85
"""Of a folder: a socket's whole path has 107 bytes at most."""
TRIES = 20

_LOCK = "held"


class FolderError(Exception):
    """There is no folder to meet in; the text says why, in words for an administrator."""


class Held:
    """A folder that is held, at `path`, until `let_go`. Raises `FolderError`.

    One of this `name` is made, or shared with those who hold it; without a name it is a new one. It is in `base`, or in
    the first of those that can be used.
    """

    def __init__(self, name: str | None = None, base: Path | None = None) -> None:
        self.path, self._lock = _hold(name, _bases() if base is None else [base])

    def let_go(self) -> bool:
        """Hold it no more; take it away if nobody else does, and say whether that is so."""
        with contextlib.suppress(OSError):
            os.close(self._lock)
        _take_away(self.path)
        return not self.path.exists()


def bases_of(name: str) -> list[Path]:
    """Where a folder of this name may be. First where it is: those who hold it may have found no room elsewhere."""
    return sorted(_bases(), key=lambda base: not _path_in(base, name).exists())


def _path_in(base: Path, name: str) -> Path:
    return base / f"collab-{os.geteuid()}-{name}"


def _hold(name: str | None, bases: Iterable[Path]) -> tuple[Path, int]:
    problem = "none of the folders for temporary files can be used"
    for base in bases:
        for _ in range(TRIES):
            path = _path_in(base, name or secrets.token_hex(5))
            if len(os.fsencode(path)) > MOST_PATH_BYTES:
                problem = f"{base}: too long a name for sockets in it"
                break
            try:
                with contextlib.suppress(FileExistsError):
                    path.mkdir(mode=0o700)
                check_private(path)
                lock = _locked(path, fcntl.LOCK_SH)
            except FolderError as error:
                problem = str(error)
                break
            except OSError as error:
                problem = f"{path}: {(error.strerror or str(error)).lower()}"
                break
            if lock is not None:
                _tidy(base)
                return path, lock
            time.sleep(0.005)  # somebody takes it away as nobody's: once more
    raise FolderError(problem)


def check_private(path: Path) -> None:
    """Raises `FolderError` unless this is a folder, no link, of our user and closed to all others."""
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise FolderError(
            f"{path} is not a folder of this user that is closed to others: somebody else made it"
        )


def _bases() -> list[Path]:
    """Where it may be: what systemd gives to a service, where temporary files go, where memory is shared."""
    service = os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    bases = [service] if service else []
    with contextlib.suppress(FileNotFoundError):  # where nothing can be written
        bases.append(tempfile.gettempdir())
    return [Path(base) for base in (*bases, "/dev/shm")]


def _locked(path: Path, how: int) -> int | None:
    """The lock's descriptor; None if it is another's, or if the folder has been taken away meanwhile."""
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
        if os.fstat(lock).st_nlink:
            return lock
    except BlockingIOError:
        pass
    os.close(lock)
    return None


def _tidy(base: Path) -> None:
    """Take away what nobody holds."""
    with contextlib.suppress(OSError):
        for path in base.glob(f"collab-{os.geteuid()}-*"):
            with contextlib.suppress(OSError, FolderError):
                check_private(path)
                _take_away(path)


def _take_away(path: Path) -> None:
    with contextlib.suppress(OSError):
        lock = _locked(path, fcntl.LOCK_EX)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
