"""The feed's repair: what it misses is read in Postgres.

Gaps are read as soon as the feed notes them; every `REPAIR_SECONDS` at most the heads of all followed topics are
compared with Postgres as well, and all gaps are read: two queries, whatever the number of topics. One task, `run`,
owned by the composition root; it waits only for Postgres.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from collab_server.errors import ClientError
from collab_server.services.live.feed import Feed
from collab_server.storage import event_log
from collab_server.storage.database import Database
from collab_server.storage.event_log import Gap
from collab_server.telemetry.metrics import Metrics

REPAIR_SECONDS = 1.5  # so that what was missed is there within 2 s, reading included
EVENTS_A_GAP = 1000

log = logging.getLogger(__name__)


class Repair:
    """Reads for `feed`."""

    def __init__(self, database: Database, feed: Feed, metrics: Metrics) -> None:
        self._database = database
        self._feed = feed
        self._repaired = 0
        metrics.include("feed", self.counts)

    def counts(self) -> Mapping[str, int]:
        """How many events were read that had not come by themselves, since the node started."""
        return {"repaired": self._repaired}

    async def run(self) -> None:
        """Repair until cancelled."""
        loop = asyncio.get_running_loop()
        missing = self._feed.missing
        next_full = loop.time() + REPAIR_SECONDS
        is_owed = False  # a full round, for what was missing could not be read
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(next_full):
                    await missing.noted.wait()
            topics, is_all = missing.take()
            is_full = is_all or is_owed or loop.time() >= next_full
            if is_full:
                is_owed = False
                next_full = loop.time() + REPAIR_SECONDS
            try:
                await self._repair(topics, is_full)
            except ClientError:  # the database is away, which has a line of its own
                is_owed = True
            except Exception:
                log.exception("feed repair failed; the next round tries again")

    async def _repair(self, topics: set[str], is_full: bool) -> None:
        behind = {topic for topic in topics if self._feed.is_followed(topic)}
        if is_full:
            self._feed.forget_left()
        if is_full and self._feed.topics:
            behind |= await self._compare()
        while behind:
            gaps = [
                Gap(topic, position)
                for topic in behind
                if (position := self._feed.position(topic)) is not None
            ]
            if not gaps:
                return
            missing = await event_log.read_gaps(self._database, gaps, limit=EVENTS_A_GAP)
            self._repaired += len(missing)
            self._feed.offer(missing)
            if missing:
                log.debug("events were read that had not come by themselves", extra={"events": len(missing)})
            counts: dict[str, int] = {}
            for event in missing:
                counts[event.topic] = counts.get(event.topic, 0) + 1
            behind = {topic for topic, count in counts.items() if count >= EVENTS_A_GAP}

    async def _compare(self) -> set[str]:
        """The topics whose head in Postgres is beyond what was delivered."""
        known = self._feed.positions()
        heads = await event_log.heads(self._database, list(known))
        if any(heads.get(topic, 0) < seq for topic, seq in known.items()):
            self._feed.witness.doubt()  # what was delivered was committed
        return {topic for topic, head in heads.items() if head > known[topic]}
