"""Finding comments by the numbers that `domain.search` gives to what they say, where and when.

A comment's numbers are stored with it, in `recent_terms`; `settle` moves many at a time to `comment_terms`, which has
the index. A search reads both, the recent ones first: what is moved meanwhile is seen twice rather than not at all.

Among the numbers is that of the cut by which they were made (`domain.search.CUT_TERM`). While comments have those of an
older one (`has_older`), what is looked for may have several lists of numbers, one for each cut: a comment that has all
of any of them is found. `older` and `renew` are for making them anew.

Rights come before text: every statement is told the topics that it may look into, or finds those of the asker's
discussions itself, and no numbers of other topics' comments are compared with what is looked for. The index gives a
word's comments and those of some topics by lists that it walks side by side; it reads on where both agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from collab_server.domain.search import CUT_TERM
from collab_server.storage.database import Database, Reads, Runs, Transaction

_SETTLED = """
    SELECT (SELECT comment_id FROM collab.comment_terms ORDER BY comment_id LIMIT 1) AS oldest,
           (SELECT comment_id FROM collab.comment_terms ORDER BY comment_id DESC LIMIT 1) AS newest
"""

_TOPIC_ID = """
    SELECT id
      FROM collab.topics
     WHERE name = $1
"""

# Own topics are stepped over from one to the next: somebody may have thousands of comments on one of them.
_NEAR = """
    WITH RECURSIVE told AS MATERIALIZED (
        SELECT topic, seq
          FROM collab.notifications
         WHERE user_id = $1
           AND seq IS NOT NULL
         ORDER BY seq DESC
         LIMIT $2
    ),
    own AS (
        (
        SELECT topic_id, 1 AS position
          FROM collab.comments
         WHERE author_id = $1
         ORDER BY topic_id DESC
         LIMIT 1
        )
         UNION ALL
        SELECT (
               SELECT comment.topic_id
                 FROM collab.comments AS comment
                WHERE comment.author_id = $1
                  AND comment.topic_id < own.topic_id
                ORDER BY comment.topic_id DESC
                LIMIT 1
               ), own.position + 1
          FROM own
         WHERE own.topic_id IS NOT NULL
           AND own.position < $2
    ),
    marked AS (
        SELECT topic_id
          FROM collab.read_marks
         WHERE user_id = $1
         ORDER BY topic_id DESC
         LIMIT $2
    ),
    traces AS (
        SELECT topic.id, told.seq AS told_at
          FROM told
          JOIN collab.topics AS topic
            ON topic.name = told.topic
         UNION ALL
        SELECT topic_id, NULL
          FROM own
         UNION ALL
        SELECT topic_id, NULL
          FROM marked
    )
    SELECT topic.id, topic.name
      FROM (SELECT id, max(told_at) AS told_at FROM traces GROUP BY id) AS near
      JOIN collab.topics AS topic
        ON topic.id = near.id
     WHERE topic.name LIKE 'content:%'
     ORDER BY near.told_at DESC NULLS LAST, topic.id DESC
     LIMIT $2
"""

_FURTHER = """
    SELECT id, name
      FROM collab.topics
     WHERE id < $1
       AND name LIKE 'content:%'
       AND id <> ALL($2::bigint[])
     ORDER BY id DESC
     LIMIT $3
"""

_NAMES = """
    SELECT id, name
      FROM collab.topics
     WHERE id = ANY($1::bigint[])
"""

_DISCUSSIONS_OF = """
    SELECT discussion.topic_id
      FROM collab.members AS member
      JOIN collab.discussions AS discussion
        ON discussion.id = member.discussion_id
     WHERE member.user_id = {user}
       AND discussion.deleted_at IS NULL
"""

_RECENT = f"""
    WITH allowed AS MATERIALIZED (
        SELECT comment_id, terms
          FROM collab.recent_terms
         WHERE comment_id < $2
           AND (
               topic_id = ANY($3::bigint[])
            OR topic_id = ANY(ARRAY({_DISCUSSIONS_OF.format(user="$4")}))
           )
    )
    SELECT comment_id
      FROM allowed
     WHERE terms @> $1::integer[]
"""

# A topic's own number is looked for with a hundred others: each look walks the word's list anew, and the time in which
# it compares that with the topics' grows with the square of their count.
# `OFFSET 0` has each look planned by itself, with both conditions in the index: PostgreSQL may else read all comments
# that have the word, once, and compare each with all parts. It takes every word for a rare one.
_HITS = """
    parts AS MATERIALIZED (
        SELECT array_agg(topic_id) AS topic_ids, array_agg((topic_id % 1073741824)::integer) AS terms
          FROM (SELECT topic_id, row_number() OVER () / 100 AS part FROM allowed) AS numbered
         GROUP BY part
    ),
    hits AS MATERIALIZED (
        SELECT hit.comment_id
          FROM parts
         CROSS JOIN LATERAL (
               SELECT found.comment_id
                 FROM collab.comment_terms AS found
                WHERE found.terms @> $1::integer[]
                  AND found.terms && parts.terms
                  AND found.topic_id = ANY(parts.topic_ids)
               OFFSET 0
               ) AS hit
    )
    SELECT comment_id
      FROM hits
     WHERE comment_id < $2
     ORDER BY comment_id DESC
     LIMIT $4
"""

_IN_TOPICS = f"""
    WITH allowed AS MATERIALIZED (
        SELECT topic_id
          FROM unnest($3::bigint[]) AS asked (topic_id)
    ),
    {_HITS}
"""

_IN_DISCUSSIONS_OF = f"""
    WITH allowed AS MATERIALIZED (
        {_DISCUSSIONS_OF.format(user="$3")}
    ),
    {_HITS}
"""

_TEXTS = """
    SELECT id, text
      FROM collab.comments
     WHERE id = ANY($1::uuid[])
       AND deleted_at IS NULL
     ORDER BY id DESC
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

# The condition is that of the index comment_terms_older, word for word.
_HAS_OLDER = f"""
    SELECT EXISTS (SELECT FROM collab.comment_terms WHERE NOT terms @> ARRAY[{CUT_TERM}])
        OR EXISTS (SELECT FROM collab.recent_terms WHERE NOT terms @> ARRAY[{CUT_TERM}])
"""

_OLDER = f"""
    SELECT comment_id
      FROM (
           (
           SELECT comment_id
             FROM collab.comment_terms
            WHERE NOT terms @> ARRAY[{CUT_TERM}]
              AND comment_id > $1
            ORDER BY comment_id
            LIMIT $2
           )
            UNION
           (
           SELECT comment_id
             FROM collab.recent_terms
            WHERE NOT terms @> ARRAY[{CUT_TERM}]
              AND comment_id > $1
            ORDER BY comment_id
            LIMIT $2
           )
           ) AS older
     ORDER BY comment_id
     LIMIT $2
"""

_AFTER = """
    SELECT id
      FROM collab.comments
     WHERE id > $1
       AND deleted_at IS NULL
     ORDER BY id
     LIMIT $2
"""

# Only where the comment still says what was read: who edits or deletes it has its row first, and then writes numbers.
_RENEW = """
    WITH asked AS (
        SELECT *
          FROM unnest($1::uuid[], $2::integer[], $3::text[]) AS asked (id, revision, terms)
    ),
    renewed AS MATERIALIZED (
        SELECT comment.id, comment.topic_id,
               asked.terms::integer[] || (comment.topic_id % 1073741824)::integer AS terms
          FROM asked
          JOIN collab.comments AS comment
            ON comment.id = asked.id
           AND comment.revision = asked.revision
           AND comment.deleted_at IS NULL
         ORDER BY comment.id
           FOR NO KEY UPDATE OF comment SKIP LOCKED
    ),
    recent AS (
        UPDATE collab.recent_terms AS found
           SET terms = renewed.terms
          FROM renewed
         WHERE found.comment_id = renewed.id
     RETURNING found.comment_id
    ),
    settled AS (
        UPDATE collab.comment_terms AS found
           SET terms = renewed.terms
          FROM renewed
         WHERE found.comment_id = renewed.id
     RETURNING found.comment_id
    ),
    missing AS (
        INSERT INTO collab.comment_terms (comment_id, topic_id, terms)
        SELECT id, topic_id, terms
          FROM renewed
         WHERE id NOT IN (SELECT comment_id FROM recent UNION ALL SELECT comment_id FROM settled)
            ON CONFLICT (comment_id) DO NOTHING
    )
    SELECT count(*)
      FROM renewed
"""

_CLEAN = """
    SELECT gin_clean_pending_list('collab.comment_terms_terms')
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A comment that may be what is looked for: the numbers fit, nobody has read its text yet."""

    id: UUID
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """A topic that a search may go into, once its asker was seen to be allowed to."""

    id: int
    name: str


async def settled(db: Reads) -> tuple[UUID, UUID] | None:
    """The least and the greatest id of all comments in the index; None while there are none."""
    row = await db.fetchrow(_SETTLED)
    return None if row is None or row["oldest"] is None else (row["oldest"], row["newest"])


async def topic_id(db: Reads, topic: str) -> int | None:
    """The number of a topic's row; None while nothing was ever said there."""
    id: int | None = await db.fetchval(_TOPIC_ID, topic)
    return id


async def near(db: Reads, user_id: str, most: int) -> list[Place]:
    """Content that a person was told about, has written on or has read, at most so many: what they were told about
    last comes first, then the newest topics. Whether they may open it still is not looked at.
    """
    return [Place(row["id"], row["name"]) for row in await db.fetch(_NEAR, user_id, most)]


async def further(db: Reads, below: int, without: Sequence[int], most: int) -> list[Place]:
    """The newest content topics with numbers below one, whosoever may open them."""
    return [Place(row["id"], row["name"]) for row in await db.fetch(_FURTHER, below, without, most)]


async def named(db: Reads, ids: Sequence[int]) -> list[Place]:
    """The topics with these numbers, in this order."""
    names = {row["id"]: row["name"] for row in await db.fetch(_NAMES, ids)}
    return [Place(id, names[id]) for id in ids if id in names]


Terms = Sequence[Sequence[int]]
"""Numbers to look for, by each cut: those of one list are all asked for."""


async def recent(
    db: Reads, terms: Terms, before: UUID, topic_ids: Sequence[int], member_id: str | None
) -> list[UUID]:
    """All recent comments below an id that have these numbers, on these topics and in a member's discussions."""
    return await _united(db, _RECENT, terms, before, topic_ids, member_id)


async def in_topics(
    db: Reads, terms: Terms, before: UUID, topic_ids: Sequence[int], limit: int
) -> list[UUID]:
    """The newest comments below an id that have these numbers, on these topics."""
    return (await _united(db, _IN_TOPICS, terms, before, topic_ids, limit))[:limit]


async def in_discussions_of(db: Reads, terms: Terms, before: UUID, member_id: str, limit: int) -> list[UUID]:
    """The newest comments below an id that have these numbers, in discussions that a person is a member of."""
    return (await _united(db, _IN_DISCUSSIONS_OF, terms, before, member_id, limit))[:limit]


async def _united(db: Reads, statement: str, terms: Terms, *arguments: object) -> list[UUID]:
    """What is found by each list of numbers, the newest first where there are several."""
    found = [[row["comment_id"] for row in await db.fetch(statement, each, *arguments)] for each in terms]
    return found[0] if len(found) == 1 else sorted({id for ids in found for id in ids}, reverse=True)


async def has_older(db: Reads) -> bool:
    """Whether some comment has the numbers of an older cut."""
    has: bool = await db.fetchval(_HAS_OLDER)
    return has


async def older(db: Reads, after: UUID, limit: int) -> list[UUID]:
    """Comments with the numbers of an older cut and ids above one, in the order of these."""
    return [row["comment_id"] for row in await db.fetch(_OLDER, after, limit)]


async def after(db: Reads, id: UUID, limit: int) -> list[UUID]:
    """Comments that are not deleted, with ids above one, in the order of these."""
    return [row["id"] for row in await db.fetch(_AFTER, id, limit)]


async def renew(tx: Transaction, read: Sequence[tuple[UUID, int, str]]) -> int:
    """Give comments new numbers: id, the revision that was read, and its `terms_text`. Those that say something else by
    now, or are just being edited, keep theirs. Returns how many were given."""
    ids, revisions, terms = zip(*read, strict=True)
    count: int = await tx.fetchval(_RENEW, ids, revisions, terms)
    return count


async def texts(db: Reads, ids: Sequence[UUID]) -> list[Candidate]:
    """What these comments say, the newest first, deleted ones left out."""
    return [Candidate(row["id"], row["text"]) for row in await db.fetch(_TEXTS, ids)]


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


async def settle_renewed(runs: Runs) -> None:
    """The same after numbers were given anew."""
    with contextlib.suppress(asyncpg.InsufficientPrivilegeError):
        await runs.run(lambda tx: tx.fetchval(_CLEAN))
