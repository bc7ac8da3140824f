"""What services work with besides their transaction."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from types import TracebackType

from collab_server.config.limits import Limits
from collab_server.domain.jsontext import now_ms
from collab_server.errors import Unavailable
from collab_server.ports import Directory, Gate
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.pages import Cursors
from collab_server.services.commenting import Commenting
from collab_server.services.epoch import Epoch
from collab_server.services.live.deliveries import Deliveries
from collab_server.services.live.losses import Losses
from collab_server.services.live.presence import Presence
from collab_server.services.live.publisher import Publisher
from collab_server.storage.database import Database, Patience

ASK_SECONDS = 6.0  # with a transaction after it, well below the 10 s that a client gives a command


@dataclass(frozen=True, slots=True)
class Backends:
    """For all services of a node, or for one command: the database, who may and who is there, the limits, the epoch.

    `deliveries` puts what waits for somebody into their inbox, `losses` takes back what they may no longer open;
    `presence` knows who is on a topic; `publisher` tells every node what was committed; `cursors` seals where pages of
    lists end; `recipients` counts whom somebody has told something; a sign-in lasts `session_hours` at most;
    `commenting` knows who may comment; `authority_name` is what clients are told of the authority; `now` is the time,
    `chance` is from 0 to 1.
    """

    database: Database | Patience
    gate: Gate
    directory: Directory
    limits: Limits
    epoch: Epoch
    deliveries: Deliveries
    losses: Losses
    presence: Presence
    publisher: Publisher
    cursors: Cursors
    recipients: RateLimiter
    session_hours: float
    authority_name: str
    commenting: Commenting
    now: Callable[[], datetime] = now_ms
    chance: Callable[[], float] = random.random

    def through(self, database: Patience) -> Backends:
        """The same, with the database as one command reads it. `dataclasses.replace` takes five times as long."""
        return Backends(database, *_besides_the_database(self))


_besides_the_database = attrgetter(*[field.name for field in fields(Backends)][1:])


class AskingInTime:
    """Bounds what a command asks of the authority of that name, which may be many questions, each answered slowly.

    As a context: raises `Unavailable` when time is up. What was answered until then is kept for the next try.
    """

    __slots__ = ("_authority_name", "_timeout")

    def __init__(self, authority_name: str) -> None:
        self._authority_name = authority_name

    async def __aenter__(self) -> None:
        self._timeout = asyncio.timeout(ASK_SECONDS)
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError:
            raise too_long(self._authority_name) from None
        if isinstance(error, TimeoutError):
            raise too_long(self._authority_name) from None


def too_long(authority_name: str) -> Unavailable:
    return Unavailable(f"{authority_name} takes too long")
