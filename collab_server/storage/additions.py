"""Adding plain comments in one statement, which is a transaction by itself.

Most comments need no look at anything but their topic's head: they are about content, reply to nothing and mention
nobody. For those, one round trip does what a transaction does in six: look up and store the `requestId`s, lock the
topics in the order of their ids, give out the next `seq`s, store comments, events and answers. `FOR UPDATE` makes the
statement see each head as it is once the lock is held; everything else that it reads cannot have changed meanwhile.
A topic without a row gets one, with its head as it will be; where another transaction was faster, the comment is not
stored, and the next statement finds the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from collab_server.domain.comments import Comment
from collab_server.domain.events import Event, actor_text, event_of
from collab_server.domain.search import terms_text
from collab_server.storage.database import Database
from collab_server.storage.requests import Answered, Taken

# What both ways have in common, after `numbered`: the comments with their places in their topics' logs.
_STORE = """
    stored AS (
        INSERT INTO collab.comments (
            id, topic_id, seq, thread_id, author_id, author_name, author_initials,
            text, mentions, anchor, page_key, visualization_key, view_state, created_at
        )
        SELECT id, topic_id, seq, id, user_id, author_name, author_initials,
               text, mentions, anchor, page_key, visualization_key, view_state, at
          FROM numbered
    ),
    findable AS (
        INSERT INTO collab.recent_terms (comment_id, topic_id, terms)
        SELECT id, topic_id, terms::integer[] || (topic_id % 1073741824)::integer
          FROM numbered
    ),
    logged AS (
        INSERT INTO collab.events (topic_id, seq, type, at, actor, data, comment_id)
        SELECT topic_id, seq, 'comment.added', at, actor, '{"comment":' || shown || '}', id
          FROM numbered
    ),
    answered AS (
        INSERT INTO collab.requests (user_id, request_id, fingerprint, answer)
        SELECT user_id, request_id, fingerprint, '{"comment":' || shown || ',"seq":' || seq || '}'
          FROM numbered
         WHERE request_id IS NOT NULL
         ORDER BY user_id, request_id
    )
"""

_ADD = f"""
    WITH asked AS (
        SELECT *
          FROM unnest(
               $1::text[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::text[], $7::text[], $8::text[],
               $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::timestamptz[], $15::text[],
               $16::text[], $17::text[]
               ) WITH ORDINALITY AS asked (
               topic, user_id, request_id, fingerprint, id, author_name, author_initials, text,
               mentions, anchor, page_key, visualization_key, view_state, at, actor,
               shown, terms, position
               )
    ),
    earlier AS (
        SELECT asked.position, request.fingerprint, request.answer
          FROM asked
          JOIN collab.requests AS request
         USING (user_id, request_id)
    ),
    locked AS MATERIALIZED (
        SELECT id, name, last_seq
          FROM collab.topics
         WHERE name = ANY($1::text[])
         ORDER BY id
           FOR UPDATE
    ),
    created AS (
        INSERT INTO collab.topics (name, last_seq, comments, last_at)
        SELECT topic, count(*), count(*), max(at)
          FROM asked
         WHERE NOT EXISTS (SELECT FROM locked WHERE locked.name = asked.topic)
           AND NOT EXISTS (SELECT FROM earlier WHERE earlier.position = asked.position)
         GROUP BY topic
         ORDER BY topic
            ON CONFLICT (name) DO NOTHING
     RETURNING id, name, 0 AS last_seq
    ),
    head AS (
        SELECT id, name, last_seq FROM locked
         UNION ALL
        SELECT id, name, last_seq FROM created
    ),
    numbered AS MATERIALIZED (
        SELECT asked.*,
               head.id AS topic_id,
               head.last_seq + row_number() OVER (PARTITION BY head.id ORDER BY asked.position) AS seq
          FROM asked
          JOIN head
            ON head.name = asked.topic
         WHERE NOT EXISTS (SELECT FROM earlier WHERE earlier.position = asked.position)
    ),
    moved AS (
        UPDATE collab.topics AS topic
           SET last_seq = moving.last_seq,
               comments = topic.comments + moving.added,
               last_at = moving.last_at
          FROM (
               SELECT topic_id, max(seq) AS last_seq, count(*) AS added, max(at) AS last_at
                 FROM numbered
                GROUP BY topic_id
               ) AS moving
         WHERE topic.id = moving.topic_id
    ),
    {_STORE}
    SELECT asked.position, numbered.seq, earlier.fingerprint, earlier.answer
      FROM asked
      LEFT JOIN numbered
     USING (position)
      LEFT JOIN earlier
        ON earlier.position = asked.position
     ORDER BY asked.position
"""

# One comment by itself, which is what a quiet node adds: half the work, for there is nothing to sort, join or group.
_ADD_ONE = f"""
    WITH earlier AS MATERIALIZED (
        SELECT fingerprint, answer
          FROM collab.requests
         WHERE user_id = $2
           AND request_id = $3
    ),
    locked AS MATERIALIZED (
        SELECT id, last_seq
          FROM collab.topics
         WHERE name = $1
           AND NOT EXISTS (SELECT FROM earlier)
           FOR UPDATE
    ),
    created AS (
        INSERT INTO collab.topics (name, last_seq, comments, last_at)
        SELECT $1, 1, 1, $14
         WHERE NOT EXISTS (SELECT FROM locked)
           AND NOT EXISTS (SELECT FROM earlier)
            ON CONFLICT (name) DO NOTHING
     RETURNING id
    ),
    numbered AS MATERIALIZED (
        SELECT head.topic_id, head.seq,
               $2::text AS user_id, $3::text AS request_id, $4::bytea AS fingerprint, $5::uuid AS id,
               $6::text AS author_name, $7::text AS author_initials, $8::text AS text, $9::text AS mentions,
               $10::text AS anchor, $11::text AS page_key, $12::text AS visualization_key, $13::text AS view_state,
               $14::timestamptz AS at, $15::text AS actor, $16::text AS shown, $17::text AS terms
          FROM (
               SELECT id AS topic_id, last_seq + 1 AS seq
                 FROM locked
                UNION ALL
               SELECT id, 1
                 FROM created
               ) AS head
    ),
    moved AS (
        UPDATE collab.topics AS topic
           SET last_seq = locked.last_seq + 1,
               comments = topic.comments + 1,
               last_at = $14
          FROM locked
         WHERE topic.id = locked.id
    ),
    {_STORE}
    SELECT numbered.seq, earlier.fingerprint, earlier.answer
      FROM (VALUES (1)) AS asked
      LEFT JOIN numbered
        ON true
      LEFT JOIN earlier
        ON true
"""


@dataclass(frozen=True, slots=True)
class Plain:
    """A new root comment on content (its `seq` is not known yet), with its place, `shown`, its JSON text, and `said`,
    its `said_text`."""

    comment: Comment
    shown: str
    said: str
    page_key: str | None
    visualization_key: str | None
    request_id: str | None
    fingerprint: bytes | None


Placed = Event | Answered | None
"""What became of a comment: its event, what its request was answered before, or nothing: somebody else has just made
its topic's row."""


async def add(db: Database, additions: Sequence[Plain], *, since: float | None = None) -> list[Placed]:
    """Store plain comments, in one transaction, each under the next `seq` of its topic. `since`: see `Database.run`.

    Raises `Taken` when one of the requests took effect elsewhere meanwhile, and `Paused`, with the outcome `unknown`
    where the connection was lost under way; apart from that case, nothing is stored when it raises.
    """
    rows_asked = [_row(addition) for addition in additions]
    try:
        if len(rows_asked) == 1:
            rows = await db.write(_ADD_ONE, *rows_asked[0], since=since)
        else:
            rows = await db.write(_ADD, *map(list, zip(*rows_asked, strict=True)), since=since)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "requests_pkey":
            raise Taken from None
        raise
    return [_placed(addition, row) for addition, row in zip(additions, rows, strict=True)]


def _row(addition: Plain) -> tuple[object, ...]:
    comment, author = addition.comment, addition.comment.author
    return (
        comment.topic,
        author.id,
        addition.request_id,
        addition.fingerprint,
        comment.id,
        author.name,
        author.initials,
        comment.text,
        comment.mentions,
        comment.anchor,
        addition.page_key,
        addition.visualization_key,
        comment.view_state,
        comment.created_at,
        actor_text(author.id, author.name, author.initials),
        addition.shown,
        terms_text(comment, addition.said),
    )


def _placed(addition: Plain, row: asyncpg.Record) -> Placed:
    if row["answer"] is not None:
        return Answered(row["fingerprint"], row["answer"])
    if row["seq"] is None:
        return None
    comment, author = addition.comment, addition.comment.author
    actor = actor_text(author.id, author.name, author.initials)
    data = f'{{"comment":{addition.shown}}}'
    return event_of(comment.topic, row["seq"], "comment.added", comment.created_at, actor, data)
