"""What was ended before its time, for as long as anything of it could still open."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from asyncpg import Record

from collab_server.domain.ends import End
from collab_server.storage.database import Database, Transaction

_MICROSECONDS = """
           (extract(epoch FROM ended_at) * 1000000)::bigint AS at,
           (extract(epoch FROM kept_until) * 1000000)::bigint AS until
"""

# Each is later than all that there are, also on a server whose clock is behind that of the one before.
_STORE = f"""
    INSERT INTO collab.ended_sessions (mark, user_id, ended_at, kept_until)
    SELECT mark, $1,
           greatest(
               clock_timestamp(),
               (SELECT max(ended_at) FROM collab.ended_sessions) + interval '1 microsecond'
           ),
           now() + $2::interval
      FROM unnest($3::bytea[]) AS mark
     ORDER BY mark
        ON CONFLICT (mark) DO UPDATE
       SET ended_at = greatest(collab.ended_sessions.ended_at, excluded.ended_at),
           kept_until = greatest(collab.ended_sessions.kept_until, excluded.kept_until)
 RETURNING mark, user_id,
           {_MICROSECONDS}
"""

# The oldest of somebody who has very many become one, which ends all of theirs that began before.
_COLLAPSE = f"""
      WITH surplus AS (
           SELECT mark, ended_at, kept_until
             FROM collab.ended_sessions
            WHERE user_id = $1
              AND mark <> $2
              AND kept_until > now()
            ORDER BY ended_at DESC
           OFFSET $3
           ),
           gone AS (
           DELETE FROM collab.ended_sessions
            WHERE mark IN (SELECT mark FROM surplus)
           )
    INSERT INTO collab.ended_sessions (mark, user_id, ended_at, kept_until)
    SELECT $2, $1, max(ended_at), max(kept_until)
      FROM surplus
    HAVING count(*) > 0
        ON CONFLICT (mark) DO UPDATE
       SET ended_at = greatest(collab.ended_sessions.ended_at, excluded.ended_at),
           kept_until = greatest(collab.ended_sessions.kept_until, excluded.kept_until)
 RETURNING mark, user_id,
           {_MICROSECONDS}
"""

_SINCE = f"""
    SELECT mark, user_id,
           {_MICROSECONDS}
      FROM collab.ended_sessions
     WHERE ended_at >= to_timestamp($1::bigint / 1000000.0)
       AND kept_until > now()
     ORDER BY ended_at, mark
     LIMIT $2
"""

_NOW = """
    SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
"""

_FORGET = """
    DELETE FROM collab.ended_sessions
     WHERE mark IN (
           SELECT mark
             FROM collab.ended_sessions
            WHERE kept_until < now()
            LIMIT $1
           )
 RETURNING true
"""


async def store(
    tx: Transaction, user_id: str, marks: Sequence[bytes], kept: timedelta, *, most: int, person: bytes
) -> list[End]:
    """Remember for so long that what bears these marks was ended; returns what is to be known now.

    Of one person at most so many, and the mark `person`, which what is more becomes a part of.
    """
    ends = [_end(row) for row in await tx.fetch(_STORE, user_id, kept, list(marks))]
    return ends + [_end(row) for row in await tx.fetch(_COLLAPSE, user_id, person, most)]


async def since(database: Database, at: int, most: int) -> list[End]:
    """What was ended at that time (microseconds) or later, the oldest first, at most so much. Raises `Paused`."""
    return [_end(row) for row in await database.fetch(_SINCE, at, most)]


async def now(database: Database) -> int:
    """What time it is for the database, in microseconds. Raises `Paused`."""
    found: int = await database.fetchval(_NOW)
    return found


async def forget_old(tx: Transaction, *, at_most: int = 5000) -> int:
    """Drop what nothing can be opened with any more, at most so much at once; returns how much it was."""
    return len(await tx.fetch(_FORGET, at_most))


def _end(row: Record) -> End:
    return End(row["mark"], row["user_id"], row["at"], row["until"])
