"""What services work with besides their transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from collab_server.config import Limits
from collab_server.domain.people import Identity
from collab_server.library.sessions import Library
from collab_server.services.presence import Presence
from collab_server.storage.database import Database, Patience


@dataclass(frozen=True, slots=True)
class Backends:
    """For all services of a node, or for one command: the database, Library for rights, the limits, the epoch.

    `deliver` puts what waits for somebody into their inbox; `presence` knows who is on a topic.
    """

    database: Database | Patience
    library: Library
    limits: Limits
    epoch: Callable[[], str]
    deliver: Callable[[Database | Patience, Identity], Awaitable[None]]
    presence: Presence
