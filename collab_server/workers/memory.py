"""Memory that several processes read and write."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

__all__ = ["shared_memory"]


def shared_memory(size: int, path: Path | None = None, used: range | None = None) -> mmap.mmap:
    """So many bytes, 0 at first: shared with those whom this process forks or, as the file `path`, with whoever opens
    it too. `used` are the bytes that are sure to be there; without it all are.

    Raises `OSError` if there is no room for them: a file that only seems to be as large ends the process that touches
    it once the disk is full.
    """
    if path is None:
        return mmap.mmap(-1, size)
    used = range(size) if used is None else used
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(descriptor, size)
        os.posix_fallocate(descriptor, used.start, len(used))
        return mmap.mmap(descriptor, size)
    finally:
        os.close(descriptor)
