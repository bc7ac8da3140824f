"""Jobs: who does what must happen once in a cluster, and when it is due again.

A claim is a lease: it ends by itself unless it is renewed, so that a node that dies leaves its job to another. All
times are the database's, so nodes' clocks do not matter. A claim has a fence, a number that rises with every claim of
the job: `hold` locks the job's row until the transaction ends, and fails unless the claim is still the last one. So
either a transaction commits before another node can claim the job, or it does not commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collab_server.storage.database import Database, Transaction

__all__ = ["Claim", "ClaimLost", "claim", "hold", "not_due", "release", "renew"]

_NOT_DUE = """
    SELECT name
      FROM collab.jobs
     WHERE name = ANY($1::text[])
       AND (due_at > now() OR leased_until > now())
"""

_CLAIM = """
    INSERT INTO collab.jobs AS job (name, fence, holder, leased_until, due_at)
    VALUES ($1, 1, $2, now() + make_interval(secs => $3), now())
        ON CONFLICT (name) DO UPDATE
       SET fence = job.fence + 1,
           holder = excluded.holder,
           leased_until = excluded.leased_until
     WHERE job.due_at <= now()
       AND (job.leased_until IS NULL OR job.leased_until <= now())
 RETURNING fence
"""

_RENEW = """
    UPDATE collab.jobs
       SET leased_until = now() + make_interval(secs => $4)
     WHERE name = $1
       AND holder = $2
       AND fence = $3
 RETURNING true
"""

_HOLD = """
    SELECT true
      FROM collab.jobs
     WHERE name = $1
       AND holder = $2
       AND fence = $3
       FOR SHARE
"""

_RELEASE = """
    UPDATE collab.jobs
       SET holder = NULL,
           leased_until = NULL,
           due_at = now() + make_interval(secs => $4),
           done_at = CASE WHEN $5 THEN now() ELSE done_at END
     WHERE name = $1
       AND holder = $2
       AND fence = $3
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """That a node does a job. The node's name is that of one start of it."""

    job: str
    node: str
    fence: int


class ClaimLost(Exception):
    """The job is another node's by now, or nobody's."""


async def not_due(database: Database, names: Sequence[str]) -> set[str]:
    """Those of these jobs that need not be done now, or are being done. Raises `Paused`."""
    return {row["name"] for row in await database.fetch(_NOT_DUE, list(names))}


async def claim(database: Database, job: str, node: str, *, seconds: float) -> Claim | None:
    """Take the job for so long, if it is due and nobody has it. Raises `Paused`."""
    rows = await database.write(_CLAIM, job, node, seconds)
    return Claim(job, node, rows[0]["fence"]) if rows else None


async def renew(database: Database, claim: Claim, *, seconds: float) -> bool:
    """Keep it for so long from now on. False: it has been lost. Raises `Paused`."""
    return bool(await database.write(_RENEW, claim.job, claim.node, claim.fence, seconds))


async def hold(tx: Transaction, claim: Claim) -> None:
    """Let nobody else claim the job before this transaction has ended. Raises `ClaimLost`."""
    if not await tx.fetchval(_HOLD, claim.job, claim.node, claim.fence):
        raise ClaimLost(claim.job)


async def release(database: Database, claim: Claim, *, due_in_seconds: float, is_done: bool) -> None:
    """Give it back; it is due again then. Of one that was lost already nothing is changed. Raises `Paused`."""
    await database.write(_RELEASE, claim.job, claim.node, claim.fence, due_in_seconds, is_done)
