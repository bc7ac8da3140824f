"""Jobs: what must happen once in a cluster, now and then, on whichever node comes to it.

What it promises:
- A job is done by one node at a time. A node claims it in Postgres for `LEASE_SECONDS`, and renews that while it works.
- When the node dies, is frozen or loses the database, another one goes on within `LEASE_SECONDS` and a look. A node
  that stops gives its jobs back at once.
- A node that has lost its claim commits nothing any more: what a job stores goes through its `Lease`, whose every
  transaction fails then.
- A job that fails is tried again after `RETRY_SECONDS`, and disturbs no other; one that takes longer than
  `MOST_SECONDS` is ended, and goes on later.

So a job is written to be cut anywhere: what it has committed is done, and the next run goes on from there. It does its
work in short transactions, each of which may be repeated.

What runs concurrently: `run`, one task, owned by the composition root, and under it one for each job that this node has
claimed and one for its work. Cancelling `run` ends them all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

from collab_server.errors import ClientError
from collab_server.storage import jobs
from collab_server.storage.database import Database, Transaction
from collab_server.storage.jobs import Claim, ClaimLost
from collab_server.telemetry.metrics import Metrics

__all__ = ["Job", "Jobs", "Lease"]

log = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_SECONDS = 5.0
"""How often a node looks whether a job is due: a read of some rows."""
LEASE_SECONDS = 30.0
RENEW_SECONDS = 8.0
RETRY_SECONDS = 60.0
MOST_SECONDS = 900.0
RELEASE_SECONDS = 1.0


class Lease:
    """A job's way to the database, for as long as the job is this node's."""

    def __init__(self, database: Database, claim: Claim) -> None:
        self._database = database
        self._claim = claim

    async def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """As `Database.run`; but where the job is another node's by now it stores nothing and raises `ClaimLost`."""

        async def fenced(tx: Transaction) -> T:
            await jobs.hold(tx, self._claim)
            return await work(tx)

        return await self._database.run(fenced)


@dataclass(frozen=True, slots=True)
class Job:
    """What is done every so many seconds, counted from the end of the last time. Its name is the same for ever."""

    name: str
    every_seconds: float
    work: Callable[[Lease], Awaitable[None]]


@dataclass(slots=True)
class _Counts:
    done: int = 0
    failed: int = 0
    lost: int = 0


class Jobs:
    """Does these jobs, as far as no other node does, from when `until_open()` returns. `node` is unlike any other's."""

    def __init__(
        self,
        database: Database,
        known: Sequence[Job],
        metrics: Metrics,
        *,
        node: str,
        until_open: Callable[[], Awaitable[None]],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._known = {job.name: job for job in known}
        self._node = node
        self._until_open = until_open
        self._chance = chance
        self._counts = _Counts()
        self._running: dict[str, asyncio.Task[None]] = {}
        metrics.include("jobs", self.counts)

    def counts(self) -> Mapping[str, int]:
        """How many this node has done, has failed to do, and has lost to another, since it started."""
        return asdict(self._counts)

    async def run(self) -> None:
        """Look for what is due, until cancelled; then what is under way is given back."""
        await self._until_open()
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS * (0.5 + self._chance()))  # nodes that started together part
                try:
                    await self._look()
                except ClientError:
                    pass  # the database is away, which has a line of its own
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _look(self) -> None:
        free = [name for name in self._known if name not in self._running]
        if not free:
            return
        not_due = await jobs.not_due(self._database, free)
        for name in free:
            if name in not_due:
                continue
            claim = await jobs.claim(self._database, name, self._node, seconds=LEASE_SECONDS)
            if claim is not None:
                task = asyncio.create_task(self._do(self._known[name], claim))
                self._running[name] = task
                task.add_done_callback(lambda _, name=name: self._running.pop(name))  # type: ignore[misc]

    async def _do(self, job: Job, claim: Claim) -> None:
        """Do it, and say how it went. Raises nothing but being cancelled."""
        due_in_seconds, is_done = RETRY_SECONDS, False
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await self._work(job, claim)
            due_in_seconds, is_done = job.every_seconds, True
            self._counts.done += 1
        except asyncio.CancelledError:
            due_in_seconds = 0.0
            raise
        except ClaimLost:
            self._counts.lost += 1
            log.warning("a job was taken over by another node", extra={"job": job.name})
            return
        except ClientError:
            pass  # the database is away, which has a line of its own
        except TimeoutError:
            self._counts.failed += 1
            log.warning("a job took too long; it goes on later", extra={"job": job.name})
        except Exception:
            self._counts.failed += 1
            log.exception("a job failed", extra={"job": job.name})
        finally:
            with contextlib.suppress(ClientError, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await jobs.release(self._database, claim, due_in_seconds=due_in_seconds, is_done=is_done)

    async def _work(self, job: Job, claim: Claim) -> None:
        """The work, while the claim is kept. Raises `ClaimLost` when it is not."""
        loop = asyncio.get_running_loop()
        work = asyncio.ensure_future(job.work(Lease(self._database, claim)))
        held_until = loop.time() + LEASE_SECONDS
        try:
            while True:
                done, _ = await asyncio.wait({work}, timeout=RENEW_SECONDS)
                if done:
                    return work.result()
                asked_at = loop.time()
                try:
                    is_held = await jobs.renew(self._database, claim, seconds=LEASE_SECONDS)
                    held_until = asked_at + LEASE_SECONDS
                except ClientError:
                    is_held = loop.time() < held_until
                if not is_held:
                    raise ClaimLost(job.name)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
