"""Commands that took effect, by `requestId`, so that a repetition gets the first answer again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collab_server.domain.jsontext import JsonText
from collab_server.storage import comment_seqs
from collab_server.storage.database import Reads, Transaction

KEPT_DAYS = 8
"""The contract promises at least 7 days."""

_FIND = """
    SELECT fingerprint, answer
      FROM collab.requests
     WHERE user_id = $1
       AND request_id = $2
"""

_FIND_MANY = """
    SELECT request.user_id, request.request_id, request.fingerprint, request.answer
      FROM unnest($1::text[], $2::text[]) AS asked (user_id, request_id)
      JOIN collab.requests AS request
     USING (user_id, request_id)
"""

_STORE_MANY = """
    INSERT INTO collab.requests (user_id, request_id, fingerprint, answer)
    SELECT *
      FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[])
        ON CONFLICT DO NOTHING
 RETURNING true
"""

_FORGET = """
    DELETE FROM collab.requests
     WHERE ctid IN (
           SELECT ctid
             FROM collab.requests
            WHERE created_at < now() - make_interval(days => $1)
            LIMIT $2
           )
 RETURNING true
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """A command that took effect before, and what it was answered."""

    fingerprint: bytes
    answer: JsonText


@dataclass(frozen=True, slots=True)
class Done:
    """A command that this transaction has carried out, and its answer."""

    user_id: str
    request_id: str
    fingerprint: bytes
    answer: JsonText


class Taken(Exception):
    """A `requestId` took effect in another transaction meanwhile."""


async def find(source: Reads, user_id: str, request_id: str) -> Answered | None:
    """What was answered under this `requestId`, if anything."""
    row = await source.fetchrow(_FIND, user_id, request_id)
    if row is None:
        return None
    [answer] = await comment_seqs.filled_in(source, [row["answer"]])
    return Answered(row["fingerprint"], answer)


async def find_many(tx: Transaction, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answered]:
    """What was answered under these (user id, `requestId`), where anything was."""
    rows = await tx.fetch(_FIND_MANY, [user for user, _ in keys], [request for _, request in keys])
    answers = await comment_seqs.filled_in(tx, [row["answer"] for row in rows])
    return {
        (row["user_id"], row["request_id"]): Answered(row["fingerprint"], answer)
        for row, answer in zip(rows, answers, strict=True)
    }


async def store_many(tx: Transaction, done: Sequence[Done]) -> None:
    """Keep the answers of commands that this transaction has carried out.

    Waits for other transactions that hold one of the `requestId`s.
    Raises `Taken` when one of them took effect there; the caller must roll back.
    """
    done = sorted(
        done, key=lambda item: (item.user_id, item.request_id)
    )  # one order for all, against deadlocks
    rows = await tx.fetch(
        _STORE_MANY,
        [item.user_id for item in done],
        [item.request_id for item in done],
        [item.fingerprint for item in done],
        [item.answer for item in done],
    )
    if len(rows) < len(done):
        raise Taken


async def forget_old(tx: Transaction, *, at_most: int = 5000) -> int:
    """Drop answers older than `KEPT_DAYS`, at most so many at once; returns how many it was."""
    return len(await tx.fetch(_FORGET, KEPT_DAYS, at_most))
