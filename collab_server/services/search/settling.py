"""Moving recent comments to the index, so that searches need not read them one by one."""

from __future__ import annotations

import asyncio
import logging

from collab_server.errors import ClientError
from collab_server.storage import search
from collab_server.storage.database import Database

log = logging.getLogger(__name__)

SETTLE_SECONDS = 5.0
WORTH_SETTLING = 1000
SETTLED_AT_ONCE = 400
"""So long as these are being moved, whoever edits or deletes one of them waits: some 20 microseconds for each."""
TAKEN_IN_AT_ONCE = 2000
"""The index takes in thousands for little more than hundreds."""


class Settling:
    """Looks every `SETTLE_SECONDS` whether so many comments are recent that they are worth moving to the index.

    Any number of nodes may do so: each takes what no other has taken. One task, `run`, owned by the composition root.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                await settle(self._database)
            except ClientError:
                pass  # the database is away, which has a line of its own
            except Exception:
                log.exception(
                    "recent comments could not be moved to the index; searches read them one by one"
                )


async def settle(database: Database, *, at_least: int = WORTH_SETTLING) -> None:
    """Move what is recent to the index, if there is enough of it.

    Raises `Paused`.
    """
    if await search.count_recent(database) < at_least:
        return
    is_more = True
    while is_more:
        is_more = await _move(database)
        # Until then every look into the index reads what was moved one by one.
        await search.settle_index(database)


async def _move(database: Database) -> bool:
    """Move what the index shall take in at once. Returns whether there is more."""
    for _ in range(TAKEN_IN_AT_ONCE // SETTLED_AT_ONCE):
        if await search.settle(database, SETTLED_AT_ONCE) < SETTLED_AT_ONCE:
            return False
    return True
