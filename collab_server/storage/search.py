"""Finding comments by the numbers that `domain.search` gives to what they say, where and when.

A comment's numbers are stored with it, in `recent_terms`; `settle` moves many at a time to `comment_terms`, which has
the index. A search reads both, the recent ones first: what is moved meanwhile is seen twice rather than not at all.

The statements on `comment_terms` take everything from its index before anything else, and sort what is left: whatever
the planner guesses, a page costs as much as the candidates it looks at, not as much as there are comments.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from collab_server.storage.database import Database, Reads

_SETTLED = """
    SELECT (SELECT comment_id FROM collab.comment_terms ORDER BY comment_id LIMIT 1) AS oldest,
           (SELECT comment_id FROM collab.comment_terms ORDER BY comment_id DESC LIMIT 1) AS newest
"""

_TOPIC_ID = """
    SELECT id
      FROM collab.topics
     WHERE name = $1
"""

_RECENT = """
    SELECT found.comment_id AS id, topic.name AS topic, comment.text
      FROM collab.recent_terms AS found
      JOIN collab.comments AS comment
        ON comment.id = found.comment_id
      JOIN collab.topics AS topic
        ON topic.id = found.topic_id
     WHERE found.terms @> $1::integer[]
       AND found.comment_id < $2
       AND ($3::bigint IS NULL OR found.topic_id = $3)
       AND comment.deleted_at IS NULL
       AND (
           topic.name LIKE 'content:%'
        OR EXISTS (
               SELECT
                 FROM collab.discussions AS discussion
                 JOIN collab.members AS member
                   ON member.discussion_id = discussion.id
                WHERE discussion.topic_id = found.topic_id
                  AND discussion.deleted_at IS NULL
                  AND member.user_id = $4
           )
       )
"""

_WITH_TERMS = """
    WITH hits AS MATERIALIZED (
        SELECT comment_id, topic_id
          FROM collab.comment_terms
         WHERE terms @> $1::integer[]
    ),
    newest AS (
        SELECT comment_id, topic_id
          FROM hits
         WHERE comment_id < $2
           AND ($3::bigint IS NULL OR topic_id = $3)
         ORDER BY comment_id DESC
    )
    SELECT newest.comment_id AS id, topic.name AS topic, comment.text
      FROM newest
      JOIN collab.topics AS topic
        ON topic.id = newest.topic_id
      JOIN collab.comments AS comment
        ON comment.id = newest.comment_id
     WHERE (
           topic.name LIKE 'content:%'
        OR EXISTS (
               SELECT
                 FROM collab.discussions AS discussion
                 JOIN collab.members AS member
                   ON member.discussion_id = discussion.id
                WHERE discussion.topic_id = newest.topic_id
                  AND discussion.deleted_at IS NULL
                  AND member.user_id = $4
           )
       )
     ORDER BY newest.comment_id DESC
     LIMIT $5
"""

# The discussions' own numbers are looked for by thirties: the time of a look grows with the square of their count.
_IN_DISCUSSIONS_OF = """
    WITH mine AS MATERIALIZED (
        SELECT discussion.topic_id, row_number() OVER () / 30 AS part
          FROM collab.members AS member
          JOIN collab.discussions AS discussion
            ON discussion.id = member.discussion_id
         WHERE member.user_id = $5
           AND discussion.deleted_at IS NULL
           AND ($3::bigint IS NULL OR discussion.topic_id = $3)
    ),
    parts AS MATERIALIZED (
        SELECT array_agg(topic_id) AS topic_ids, array_agg((topic_id % 1073741824)::integer) AS terms
          FROM mine
         GROUP BY part
    ),
    hits AS MATERIALIZED (
        SELECT hit.comment_id, hit.topic_id
          FROM parts
         CROSS JOIN LATERAL (
               SELECT found.comment_id, found.topic_id
                 FROM collab.comment_terms AS found
                WHERE found.terms @> $1::integer[]
                  AND found.terms && parts.terms
                  AND found.topic_id = ANY(parts.topic_ids)
               ) AS hit
    ),
    newest AS MATERIALIZED (
        SELECT comment_id, topic_id
          FROM hits
         WHERE comment_id < $2
         ORDER BY comment_id DESC
         LIMIT $4
    )
    SELECT newest.comment_id AS id, topic.name AS topic, comment.text
      FROM newest
      JOIN collab.comments AS comment
        ON comment.id = newest.comment_id
      JOIN collab.topics AS topic
        ON topic.id = newest.topic_id
     ORDER BY newest.comment_id DESC
"""

_COUNT_RECENT = """
    SELECT count(*)
      FROM collab.recent_terms
"""

_SETTLE = """
    WITH chosen AS MATERIALIZED (
        SELECT comment_id
          FROM collab.recent_terms
         ORDER BY comment_id
         LIMIT $1
           FOR UPDATE SKIP LOCKED
    ),
    moved AS (
        DELETE FROM collab.recent_terms AS recent
         USING chosen
         WHERE recent.comment_id = chosen.comment_id
     RETURNING recent.comment_id, recent.topic_id, recent.terms
    )
    INSERT INTO collab.comment_terms AS found (comment_id, topic_id, terms)
    SELECT comment_id, topic_id, terms
      FROM moved
     ORDER BY comment_id
        ON CONFLICT (comment_id) DO UPDATE
       SET terms = EXCLUDED.terms
 RETURNING true
"""

_CLEAN = """
    SELECT gin_clean_pending_list('collab.comment_terms_terms')
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A comment that may be what is looked for: the numbers fit, nobody has read its text yet."""

    id: UUID
    topic: str
    text: str


def _candidates(rows: Sequence[Any]) -> list[Candidate]:
    return [Candidate(row["id"], row["topic"], row["text"]) for row in rows]


async def settled(db: Reads) -> tuple[UUID, UUID] | None:
    """The least and the greatest id of all comments in the index; None while there are none."""
    row = await db.fetchrow(_SETTLED)
    return None if row is None or row["oldest"] is None else (row["oldest"], row["newest"])


async def topic_id(db: Reads, topic: str) -> int | None:
    """The number of a topic's row; None while nothing was ever said there."""
    id: int | None = await db.fetchval(_TOPIC_ID, topic)
    return id


async def recent(
    db: Reads, user_id: str, terms: Sequence[int], before: UUID, topic_id: int | None
) -> list[Candidate]:
    """All recent comments below an id that have all these numbers, on one topic or on any.

    They are on content, whosoever may open it, or in discussions that the user is a member of.
    """
    return _candidates(await db.fetch(_RECENT, terms, before, topic_id, user_id))


async def with_terms(
    db: Reads, user_id: str, terms: Sequence[int], before: UUID, topic_id: int | None, limit: int
) -> list[Candidate]:
    """The newest comments below an id that have all these numbers, on one topic or on any: on content, whosoever may
    open it, or in discussions that the user is a member of. All that have the numbers are looked at.
    """
    return _candidates(await db.fetch(_WITH_TERMS, terms, before, topic_id, user_id, limit))


async def in_discussions_of(
    db: Reads, user_id: str, terms: Sequence[int], before: UUID, topic_id: int | None, limit: int
) -> list[Candidate]:
    """The newest comments below an id that have all these numbers, in discussions that the user is a member of."""
    return _candidates(await db.fetch(_IN_DISCUSSIONS_OF, terms, before, topic_id, limit, user_id))


async def count_recent(db: Reads) -> int:
    """How many comments wait to be settled."""
    count: int = await db.fetchval(_COUNT_RECENT)
    return count


async def settle(db: Database, limit: int) -> int:
    """Move the numbers of recent comments, at most so many, to the index; returns how many it was."""
    return len(await db.write(_SETTLE, limit))


async def settle_index(db: Database) -> None:
    """Have the index take in what was moved, where we own it; otherwise PostgreSQL does that by itself, later."""
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
        await db.write(_CLEAN)
