"""What services work with besides their transaction."""

from __future__ import annotations

import asyncio
import random
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, TypeVar, cast

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

T = TypeVar("T")

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


async def in_time(authority_name: str, asking: Coroutine[Any, Any, T]) -> T:
    """What `asking` returns, which may ask the authority of that name many questions, each answered slowly.

    Raises what it raises, and `Unavailable` when time is up; what was answered until then is kept for the next try.
    Almost always everything is known and nothing is waited for; then no timer is set, which is several microseconds of
    every command.
    """
    try:
        awaited = asking.send(None)
        async with asyncio.timeout(ASK_SECONDS):
            return await _went_on(asking, awaited)
    except StopIteration as done:
        return cast(T, done.value)
    except TimeoutError:
        raise too_long(authority_name) from None


@types.coroutine
def _went_on(work: Coroutine[Any, Any, T], awaited: Any) -> Generator[Any, Any, T]:
    """As `await work`, of what waits for `awaited` already."""
    try:
        while True:
            try:
                answer = yield awaited
            except BaseException as error:
                awaited = work.throw(error)
            else:
                awaited = work.send(answer)
    except StopIteration as done:
        return cast(T, done.value)


def too_long(authority_name: str) -> Unavailable:
    return Unavailable(f"{authority_name} takes too long")
