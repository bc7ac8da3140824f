"""Opening: what a node does, whenever the database comes, before it serves.

The migrations are applied, the installation and what was ended are learned; then the database, which is closed to
everybody else until then (`Database.closed`), is opened, and from then on the node serves and sees to it that the
database stays the same one. One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from collab_server.errors import ClientError
from collab_server.services.ends import Ends
from collab_server.services.epoch_watch import EpochWatch
from collab_server.services.installed import Installed
from collab_server.status import Status
from collab_server.storage.database import Database
from collab_server.storage.installation import Preparation

RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class OpenDatabase:
    """The database as it is needed to serve: there, and made ready."""

    database: Database
    preparation: Preparation

    @property
    def problem(self) -> str | None:
        """What is wrong with it, or what its preparation waits for."""
        return self.database.problem or self.preparation.problem

    @property
    def latency_seconds(self) -> float | None:
        """How long the last good look at it took."""
        return self.database.latency_seconds


class Opening:
    """That of one node; `database` is opened, and `status` told, when it serves."""

    def __init__(
        self,
        database: Database,
        preparation: Preparation,
        ends: Ends,
        installed: Installed,
        epoch_watch: EpochWatch,
        status: Status,
    ) -> None:
        self._database = database
        self._preparation = preparation
        self._ends = ends
        self._installed = installed
        self._epoch_watch = epoch_watch
        self._status = status

    async def run(self) -> None:
        """Open, then watch until cancelled."""
        found = await self._preparation.run()
        await self._learn_ends()
        self._installed.use(found)
        self._database.open()
        self._status.start()
        await self._epoch_watch.run(found)

    async def _learn_ends(self) -> None:
        """Know what was ended before anybody is taken in."""
        while True:
            try:
                return await self._ends.load()
            except ClientError:
                await asyncio.sleep(RETRY_SECONDS)
