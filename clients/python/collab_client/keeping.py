"""A file for what is not answered yet: what one process leaves there, the next one sends."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

State = Literal["waiting", "sending", "refused"]


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """A command that is not answered yet, or was refused. Never changed; another one takes its place.

    `key` stays the same whatever becomes of it; `space` is whose it is; commands of one `lane` are sent one after the
    other; `at` is when it was asked for, in seconds since 1970; `is_unnamed`: the server is to give the comment its id;
    `problem` is why it is not sent, or was refused, as the error object of the wire; `after` the key of the change that
    the comment showed already when this one of it was made.
    """

    key: str
    space: str
    name: str
    payload: dict[str, Any]
    request_id: str
    lane: str
    at: float
    state: State = "waiting"
    problem: dict[str, Any] | None = None
    is_unnamed: bool = False
    after: str | None = None


class Keeping:
    """Entries in the SQLite database at `path`, which is this client's alone for as long as it is open.

    Raises `BlockingIOError` while another client has it. What was put is there when `put` returns.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        os.close(os.open(Path(path), os.O_CREAT | os.O_RDWR, 0o600))  # what people have written is theirs
        self._database = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, entry TEXT)")
            self._database.execute("DELETE FROM entries WHERE key = ''")  # takes the lock
        except sqlite3.OperationalError as error:
            self._database.close()
            raise BlockingIOError(f"{os.fspath(path)} cannot be had: {error}") from error

    def put(self, entry: Entry) -> None:
        """Keep it, or what has become of it."""
        text = json.dumps(dataclasses.asdict(entry))
        self._database.execute("INSERT OR REPLACE INTO entries VALUES (?, ?)", (entry.key, text))

    def remove(self, key: str) -> None:
        """Forget it."""
        self._database.execute("DELETE FROM entries WHERE key = ?", (key,))

    def entries(self) -> Iterable[Entry]:
        """All that are kept, of whomever, in the order in which they were asked for."""
        rows = self._database.execute("SELECT entry FROM entries").fetchall()
        return sorted((Entry(**json.loads(text)) for (text,) in rows), key=lambda entry: entry.at)

    def close(self) -> None:
        """Let another client have the file."""
        self._database.close()
