"""Commands that took effect, by `requestId`, so that a repetition gets the first answer again."""

from __future__ import annotations

from dataclasses import dataclass

from collab_server.storage.database import Database, Transaction

KEPT_DAYS = 8
"""The contract promises at least 7 days."""

_CLAIM = """
    INSERT INTO collab.requests (user_id, request_id, fingerprint)
    VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING
 RETURNING true
"""

_FIND = """
    SELECT fingerprint, answer
      FROM collab.requests
     WHERE user_id = $1
       AND request_id = $2
"""

_FINISH = """
    UPDATE collab.requests
       SET answer = $3
     WHERE user_id = $1
       AND request_id = $2
"""

_FORGET = """
    DELETE FROM collab.requests
     WHERE ctid IN (
           SELECT ctid
             FROM collab.requests
            WHERE created_at < now() - make_interval(days => $1)
            LIMIT $2
           )
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A command that took effect before. `answer` is the JSON text it was answered with."""

    fingerprint: bytes
    answer: str


async def claim(tx: Transaction, user_id: str, request_id: str, fingerprint: bytes) -> bool:
    """Take the `requestId` for this transaction.

    Waits for another transaction that holds it. Returns False when it has taken effect already.
    """
    return bool(await tx.fetchval(_CLAIM, user_id, request_id, fingerprint))


async def find(source: Database | Transaction, user_id: str, request_id: str) -> Answered | None:
    """What was answered under this `requestId`, if anything."""
    row = await source.fetchrow(_FIND, user_id, request_id)
    return None if row is None else Answered(row["fingerprint"], row["answer"])


async def finish(tx: Transaction, user_id: str, request_id: str, answer: str) -> None:
    """Keep the answer beside the claim."""
    await tx.execute(_FINISH, user_id, request_id, answer)


async def forget_old(db: Database, *, at_most: int = 5000) -> None:
    """Drop answers older than `KEPT_DAYS`, at most so many at once."""
    await db.fetch(_FORGET, KEPT_DAYS, at_most)
