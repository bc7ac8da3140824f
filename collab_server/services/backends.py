"""What services work with besides their transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from collab_server.config import Limits
from collab_server.library.sessions import Library
from collab_server.storage.database import Database


@dataclass(frozen=True, slots=True)
class Backends:
    """The database for reads, Library for rights, the limits, the epoch. One for all services of a node."""

    database: Database
    library: Library
    limits: Limits
    epoch: Callable[[], str]
