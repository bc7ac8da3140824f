"""Folders of data: whose they are, and who may enter them."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from collab_server.demo.tied import NOBODY, EmbeddedError

__all__ = ["give", "make_own_folder", "require_reachable"]


def make_own_folder(folder: Path, mode: int) -> None:
    """Create the folder where it is missing. Raises `EmbeddedError` if it cannot be, or is another user's: as root we
    would take it away from them, bit by bit."""
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        owner = folder.stat().st_uid
    except OSError as error:
        what = f"{error.filename or folder} cannot be used: {error.strerror}"
        raise EmbeddedError(f"{what}: choose another folder with --data") from error
    us = os.geteuid()
    if owner not in ((us, NOBODY) if us == 0 else (us,)):
        raise EmbeddedError(
            f"{folder} belongs to {_user(owner)}, and this is {_user(us)}: run it as {_user(owner)}, or choose another"
            " folder with --data"
        )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"the user {uid}"


def give(folder: Path, uid: int) -> None:
    """Let `uid` own the folder and all in it; only root ever has to."""
    if os.geteuid() != 0 or all(path.lstat().st_uid == uid for path in (folder, *folder.iterdir())):
        return
    for parent, folders, files in os.walk(folder):
        for path in (parent, *(os.path.join(parent, name) for name in (*folders, *files))):
            os.chown(path, uid, uid, follow_symlinks=False)


def require_reachable(folder: Path) -> None:
    """Raises `EmbeddedError` unless `nobody` may go all the way down to the folder."""
    for ancestor in folder.parents:
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            raise EmbeddedError(
                f"PostgreSQL runs as the user nobody here, who may not enter {ancestor}: "
                "choose a folder for the data that everybody can reach, such as one in /var/tmp"
            )
