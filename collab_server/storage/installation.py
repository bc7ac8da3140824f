"""What all nodes on one database share, and how a node gets the database ready for work.

`Preparation.run` is the one background task here: the composition root owns it. It migrates and loads the
`Installation`, trying again for as long as that fails, and says meanwhile in `problem` why.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from collab_server.storage import migrations
from collab_server.storage.database import Database

__all__ = ["Installation", "Preparation", "load", "new_epoch"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Installation:
    """`epoch` names this history of the database (a UUID as text); `seal_key` is 32 secret bytes."""

    epoch: str
    seal_key: bytes = field(repr=False)


async def load(database: Database) -> Installation:
    """The installation of this database, made up if it has none yet; the same one on every node.

    Raises `Paused`.
    """
    while True:
        row = await database.fetchrow("SELECT epoch, seal_key FROM collab.installation")
        if row is not None:
            return Installation(row["epoch"], row["seal_key"])
        async with database.transaction() as tx:
            await tx.execute(
                """
                INSERT INTO collab.installation (epoch, seal_key)
                VALUES ($1, $2)
                ON CONFLICT DO NOTHING
                """,
                str(uuid.uuid4()),
                secrets.token_bytes(32),
            )


async def new_epoch(database: Database) -> str:
    """Renew the epoch, as after a restore from backup, and return it. Nodes must be started again.

    Raises `Paused`.
    """
    await load(database)
    epoch = str(uuid.uuid4())
    async with database.transaction() as tx:
        await tx.execute("UPDATE collab.installation SET epoch = $1", epoch)
    return epoch


class Preparation:
    """Makes the database ready, whenever it comes.

    `installation` is None until it is; `problem` says in words what it waits for.
    """

    def __init__(self, database: Database, folder: Path | None = None) -> None:
        self._database = database
        self._folder = folder
        self.installation: Installation | None = None
        self.problem: str | None = "migrations are not done yet"

    @property
    def is_done(self) -> bool:
        return self.installation is not None

    async def run(self) -> Installation:
        """Return once migrations are applied and the installation is known; tries for ever."""
        while True:
            await self._database.until_up()
            try:
                await migrations.apply(self._database, self._folder)
                self.installation = await load(self._database)
            except Exception as error:
                self._note(self._database.describe(error))
            else:
                self.problem = None
                return self.installation
            await asyncio.sleep(RETRY_SECONDS)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            log.error("The database is not ready: %s", problem)
            self.problem = problem
