"""The epoch watch: whether the database is still the one whose events this node has told.

What it promises. When the database has gone back in time - a standby took over that lacked the last commits, a backup
was put back under running nodes - the node notices within 5 s of its return, and the epoch is renewed, once, however
many nodes notice: clients then begin afresh, so that nobody goes on showing what is not stored, and nobody misses what
is stored under a `seq` that was given twice. When nothing was lost, the epoch stays and nobody is disturbed: a new
timeline alone proves nothing to a node that ran.

What counts as proof: an event that this node knows as committed (`Witness`; the heads that the feed serves) and that
the log contradicts; or a row of `collab.installation` with fewer renewals than this node knows of. The log is asked on
a primary only: a standby on its way to be one may still have commits to replay.

When it looks: every `LOOK_SECONDS` at the installation's row, and at what is known as committed after each return of
the database, when that row was written or put back, when the feed finds a head behind what was delivered, and when two
different events come under one `seq`.

What runs concurrently: one task, `run`, owned by the composition root, which ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from collab_server.errors import ClientError, Paused
from collab_server.services.installed import Installed
from collab_server.services.live.feed import Feed
from collab_server.storage import event_log, installation
from collab_server.storage.database import Database, Transaction
from collab_server.storage.event_log import Claim
from collab_server.storage.installation import Installation

LOOK_SECONDS = 2.0
RETRY_SECONDS = 0.25  # at least between two looks
CLAIMS_AT_ONCE = 500
SEEDS = 200
"""How many topics a node that starts takes note of, so that it can tell, too, if it is alone and the database fails."""

log = logging.getLogger(__name__)


class EpochWatch:
    """Puts each new epoch to use, after it has forgotten what it knew of the one before, and other keys as well."""

    def __init__(
        self,
        database: Database,
        feed: Feed,
        installed: Installed,
    ) -> None:
        self._database = database
        self._feed = feed
        self._witness = feed.witness
        self._installed = installed
        self._known: Installation | None = None
        self._problem: str | None = None
        self._is_seeded = False
        database.on_return(self._witness.doubt)

    async def run(self, known: Installation) -> None:
        """Watch, until stopped, beginning with the installation that the node works with."""
        self._known = known
        while True:
            has_looked = False
            try:
                if self._database.is_readable:
                    await self._look()
                    has_looked = True
                    self._problem = None
            except ClientError:
                pass
            except Exception as error:  # tables come and go while a backup is put back
                self._tell(error)
            await asyncio.sleep(RETRY_SECONDS)
            if has_looked:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS - RETRY_SECONDS):
                        await self._witness.doubts.wait()

    def _tell(self, error: Exception) -> None:
        problem = self._database.describe(error)
        if problem != self._problem:
            self._problem = problem
            log.error("Whether the database has lost commits cannot be told: %s", problem)

    async def _seed(self) -> None:
        for claim in await event_log.latest(self._database, SEEDS):
            self._witness.note_identity(claim.topic, claim.seq, claim.identity)

    async def _look(self) -> None:
        known = self._known
        assert known is not None
        if not self._is_seeded:
            await self._seed()
            self._is_seeded = True
        found = await installation.look(self._database)
        if found is None:
            raise Paused("the installation has no row: a backup is being put back")
        if found.renewals < known.renewals:
            await self._renew(found, "The database was put back to a state before its epoch was renewed", {})
        elif found != known:
            log.warning("the epoch is new; clients are sent to fetch it", extra={"epoch": found.epoch})
            self._begin(found)
        else:
            if found.keys != known.keys:
                self._known = known = replace(known, keys=found.keys)
                self._installed.use(found)
            if self._witness.doubts.is_set() or found.version != known.version:
                await self._verify(found)

    async def _verify(self, found: Installation) -> None:
        """Ask the database for what is known as committed."""
        self._witness.doubts.clear()  # before: what comes up while we look is looked at again
        try:
            lost = await self._lost()
        except BaseException:
            self._witness.doubt()
            raise
        if lost:
            events = len({(claim.topic, claim.seq) for claim in lost})
            topics = len({claim.topic for claim in lost})
            words = (
                f"The database has gone back in time: at least {events} events of {topics} topics that were committed"
                " are not in it any more, or others are in their place"
            )
            await self._renew(found, words, {"lost_events": events, "topics": topics})
            return
        self._known = found
        timeline = await installation.current_timeline(self._database)
        if timeline is not None and timeline != found.timeline:
            await installation.note_timeline(self._database, found, timeline)
            log.info(
                "The database is another, or has another timeline, and has lost nothing that this node knows of",
                extra={"timeline": timeline, "was": found.timeline},
            )

    async def _lost(self) -> list[Claim]:
        claims = list(dict.fromkeys([*self._feed.heads(), *self._witness.claims()]))
        lost: list[Claim] = []
        for start in range(0, len(claims), CLAIMS_AT_ONCE):
            lost += await self._database.run(_asking(claims[start : start + CLAIMS_AT_ONCE]))
        return lost

    async def _renew(self, found: Installation, words: str, facts: dict[str, int]) -> None:
        assert self._known is not None
        renewed = await installation.renew(self._database, found, known_renewals=self._known.renewals)
        if renewed is None:
            self._witness.doubt()  # another node was first; the next look tells which epoch it is
            return
        log.warning(
            "%s. The epoch is renewed, clients begin afresh",
            words,
            extra={
                **facts,
                "epoch": renewed.epoch,
                "previous": self._known.epoch,
                "timeline": renewed.timeline,
            },
        )
        self._begin(renewed)

    def _begin(self, found: Installation) -> None:
        self._known = found
        self._witness.forget()
        self._witness.doubts.clear()
        self._installed.begin_epoch(found)


def _asking(claims: Sequence[Claim]) -> Callable[[Transaction], Awaitable[list[Claim]]]:
    return lambda tx: event_log.disproved(tx, claims)
