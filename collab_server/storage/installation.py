"""What all nodes on one database share, and how a node gets the database ready for work.

`Preparation.run` is the one background task here: the composition root owns it. It migrates and loads the
`Installation`, trying again for as long as that fails, and says meanwhile in `problem` why.

The epoch says within which history of the database two `seq` can be compared. It is renewed when commits were lost, by
`renew`, which compares and sets: however many nodes find that out, there is one new epoch. The *timeline* says which
server, in which of its histories, was last known to have lost nothing. Nodes that run through a failover see by
themselves whether anything is missing (`services/epoch_watch.py`), and note the new timeline if not. A node that starts
and finds another timeline than was noted gives them `JUDGE_SECONDS` for that; then nobody can tell any more, and it
renews the epoch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from collab_server.domain.keys import KEY_BYTES, StoredKeys, check_of
from collab_server.storage import migrations
from collab_server.storage.database import Database

__all__ = ["Installation", "Preparation", "load", "new_epoch"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
ROTATE_SECONDS = 10.0  # for all nodes to learn the next key
JUDGE_SECONDS = 5.0  # for nodes that ran through a failover to find out whether commits were lost
LOOK_SECONDS = 0.5

_LOOK = """
    SELECT epoch, seal_key, next_seal_key, earlier_seal_key, secret_check,
           coalesce(secret_since < now() - interval '60 seconds', false) AS is_settled,
           renewals, timeline, tableoid::text || ':' || xmin::text AS version
      FROM collab.installation
"""

_TIMELINE = """
    SELECT system_identifier::text || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
      FROM pg_control_system()
"""

_RENEW = """
    UPDATE collab.installation
       SET epoch = $1,
           renewals = greatest(renewals, $2) + 1,
           timeline = $3
     WHERE epoch = $4
       AND timeline IS NOT DISTINCT FROM $5
 RETURNING epoch
"""

_NOTE = """
    UPDATE collab.installation
       SET timeline = $1
     WHERE epoch = $2
       AND timeline IS NOT DISTINCT FROM $3
"""


# The nodes look every two seconds; by then all of them open with the next key.
_ANNOUNCE_KEY = """
    UPDATE collab.installation
       SET next_seal_key = coalesce(next_seal_key, $1)
 RETURNING next_seal_key
"""

_USE_NEXT_KEY = """
    UPDATE collab.installation
       SET earlier_seal_key = seal_key,
           seal_key = next_seal_key,
           next_seal_key = NULL
     WHERE next_seal_key = $1
"""

_REPLACE_KEY = """
    UPDATE collab.installation
       SET seal_key = $1,
           next_seal_key = NULL,
           earlier_seal_key = NULL,
           secret_check = CASE WHEN secret_check = $2 THEN secret_check END,
           secret_since = CASE WHEN secret_check = $2 THEN secret_since END
"""

_USE_SECRET = """
    UPDATE collab.installation
       SET secret_check = $1,
           secret_since = now()
     WHERE secret_check IS NULL
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """`epoch` names this history of the database (a UUID as text); `keys` are what everything secret is sealed with.

    `renewals` says how often the epoch was renewed, `timeline` which server was last known to have lost nothing (None:
    not known), `version` changes whenever the row was written, or put back by a restore.
    """

    epoch: str
    keys: StoredKeys = field(compare=False)
    renewals: int = field(default=0, compare=False)
    timeline: str | None = field(default=None, compare=False)
    version: str = field(default="", compare=False)


class WrongSecret(Exception):
    """This node does not have the `secret` that the others share; the message says what to do."""


async def look(database: Database) -> Installation | None:
    """The installation as it is stored now; None while there is none. Raises `Paused`."""
    row = await database.fetchrow(_LOOK)
    if row is None:
        return None
    keys = StoredKeys(
        row["seal_key"],
        row["next_seal_key"],
        row["earlier_seal_key"],
        row["secret_check"],
        row["is_settled"],
    )
    return Installation(row["epoch"], keys, row["renewals"], row["timeline"], row["version"])


async def load(database: Database) -> Installation:
    """The installation of this database, made up if it has none yet; the same one on every node.

    Raises `Paused`.
    """
    while True:
        found = await look(database)
        if found is not None:
            return found
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


async def current_timeline(database: Database) -> str | None:
    """Which server this is, in which of its histories: `{system identifier}/{timeline}`; None where it cannot be told.

    The part after the `/` changes when a standby is promoted and after a recovery to a point in time, both when the
    data were brought to another server with `pg_dump`. Raises `Paused`.
    """
    try:
        found: str | None = await database.fetchval(_TIMELINE)
    except (
        asyncpg.PostgresError
    ) as error:  # services that resemble PostgreSQL keep some of these functions to themselves
        log.debug("the timeline of the database cannot be told", extra={"reason": database.describe(error)})
        return None
    return found


async def note_timeline(database: Database, found: Installation, timeline: str) -> None:
    """Note that the database lost nothing on its way to this timeline, unless somebody else noted anything since
    `found` was read.

    Raises `Paused`.
    """
    await database.write(_NOTE, timeline, found.epoch, found.timeline)


async def renew(database: Database, found: Installation, *, known_renewals: int = 0) -> Installation | None:
    """Renew the epoch of `found`, and return the installation with the new one.

    None: somebody else was first, or has noted a timeline; look again. The next look counts more than
    `known_renewals`. Raises `Paused`.
    """
    epoch, timeline = str(uuid.uuid4()), await current_timeline(database)
    async with database.transaction() as tx:
        is_renewed = await tx.fetchval(_RENEW, epoch, known_renewals, timeline, found.epoch, found.timeline)
    if is_renewed is None:
        return None
    renewed = await look(database)
    return renewed if renewed is not None and renewed.epoch == epoch else None


async def new_epoch(database: Database) -> str:
    """Renew the epoch, as after a restore from backup, and return it. Running nodes notice.

    Raises `Paused`.
    """
    while True:
        if renewed := await renew(database, await load(database)):
            return renewed.epoch


async def rotate_key(database: Database, *, wait: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Replace the key that seals, and sign nobody out: takes `ROTATE_SECONDS`. May be repeated where it was cut.

    Raises `Paused`.
    """
    [row] = await database.write(_ANNOUNCE_KEY, secrets.token_bytes(KEY_BYTES))
    await wait(ROTATE_SECONDS)
    await database.write(_USE_NEXT_KEY, row["next_seal_key"])


async def replace_key(database: Database, check: bytes | None = None) -> None:
    """Replace the key that seals by one that opens nothing of before: everybody has to sign in at Library again.

    If the nodes share the secret with this `check`, the new key is of no use without it from the first moment; another
    secret is forgotten. Raises `Paused`.
    """
    await database.write(_REPLACE_KEY, secrets.token_bytes(KEY_BYTES), check)


async def use_secret(database: Database, check: bytes) -> None:
    """Note that all nodes have the secret with this check, unless one is noted already. Raises `Paused`."""
    await database.write(_USE_SECRET, check)


class Preparation:
    """Makes the database ready, whenever it comes.

    `installation` is None until it is; `problem` says in words what it waits for.
    """

    def __init__(
        self, database: Database, folder: Path | None = None, *, secret: bytes | None = None
    ) -> None:
        """`secret` is that of the configuration, if it has one."""
        self._database = database
        self._folder = folder
        self._secret = secret
        self.installation: Installation | None = None
        self.problem: str | None = "migrations are not done yet"
        self._said = ""

    async def run(self) -> Installation:
        """Return once migrations are applied and the installation is known; try until stopped."""
        while True:
            # Where all is there already, nothing has to be stored to serve those who read.
            await self._database.until_readable()
            try:
                await migrations.apply(self._database, self._folder)
                found = await self._judge(await load(self._database))
                self._check_secret(found)
                self.installation = found
            except Exception as error:
                self._note(self._database.describe(error))
            else:
                self.problem = None
                return self.installation
            await asyncio.sleep(RETRY_SECONDS)

    async def _judge(self, found: Installation) -> Installation:
        """The installation to work with: of a new epoch, if commits may have been lost while no node ran."""
        timeline = await current_timeline(self._database)
        if timeline is None or found.timeline == timeline:
            return found
        if found.timeline is None:
            await note_timeline(self._database, found, timeline)
            return await load(self._database)
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + JUDGE_SECONDS
        while loop.time() < ends_at:
            self.problem = (
                "the database has another timeline: running nodes are given time to say what became of it"
            )
            await asyncio.sleep(LOOK_SECONDS)
            found = await load(self._database)
            if found.timeline == await current_timeline(self._database):
                return found
        renewed = await renew(self._database, found)
        if renewed is None:
            return await self._judge(await load(self._database))
        log.warning(
            "The database has another timeline than when a node last knew it, and no node ran meanwhile that could"
            " tell whether commits were lost: the epoch is renewed, clients begin afresh",
            extra={"was": found.timeline, "epoch": renewed.epoch, "timeline": renewed.timeline},
        )
        return renewed

    def _check_secret(self, found: Installation) -> None:
        check = found.keys.secret_check
        if check is None or (self._secret is not None and check == check_of(self._secret)):
            return
        lacks = "has none" if self._secret is None else "has another one"
        raise WrongSecret(
            f"the nodes on this database share a `secret`, and this node's configuration {lacks}: set it, or sign"
            " everybody out with `collab-server rotate-key --now`"
        )

    def _note(self, problem: str) -> None:
        self.problem = problem
        if problem != self._said:  # what it waits for in between each time is no news
            log.error("The database is not ready: %s", problem)
            self._said = problem
