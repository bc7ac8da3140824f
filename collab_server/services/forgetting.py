"""Forgetting: what nobody may ask for any more leaves the database.

Any number of nodes may do so beside each other. One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
import logging

from collab_server.errors import ClientError
from collab_server.services.purging import purge_discussions
from collab_server.storage import ends, inbox, requests
from collab_server.storage.database import Database

FORGET_SECONDS = 600.0

log = logging.getLogger(__name__)


class Forgetting:
    """Drops the answers of requests that may not be repeated any more, notifications that were refused, the words of
    discussions that were deleted, and ends that nothing can be judged by."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Forget until cancelled."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                await requests.forget_old(self._database)
                await self._database.run(inbox.forget_refused)
                await purge_discussions(self._database)
                await ends.forget_old(self._database)
            except ClientError:
                log.debug("what is to be forgotten stays until the database is back")
