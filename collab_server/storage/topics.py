"""Topics as rows: their lock, their head, how far somebody has read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from collab_server.domain.topics import Topic
from collab_server.storage.database import Database, Transaction

_LOCK = """
    SELECT id, last_seq
      FROM collab.topics
     WHERE name = $1
       FOR UPDATE
"""

_CREATE = """
    INSERT INTO collab.topics (name)
    VALUES ($1)
        ON CONFLICT (name) DO NOTHING
"""

_SNAPSHOTS = """
    SELECT topic.id,
           COALESCE(topic.last_seq, 0) AS seq,
           COALESCE(topic.comments, 0) AS comments,
           COALESCE(mark.seq, 0) AS read_seq,
           COALESCE(mark.muted AND COALESCE(mark.muted_until > now(), true), false) AS muted,
           CASE
               WHEN topic.last_seq IS NULL OR topic.last_seq <= COALESCE(mark.seq, 0) THEN 0
               ELSE (
                   SELECT count(*)
                     FROM collab.comments AS comment
                    WHERE comment.topic_id = topic.id
                      AND comment.seq > COALESCE(mark.seq, 0)
                      AND comment.author_id <> asked.user_id
                      AND comment.deleted_at IS NULL
               )
           END AS unread
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (name, user_id, position)
      LEFT JOIN collab.topics AS topic
        ON topic.name = asked.name
      LEFT JOIN collab.read_marks AS mark
        ON mark.user_id = asked.user_id
       AND mark.topic_id = topic.id
     ORDER BY asked.position
"""


@dataclass(frozen=True, slots=True)
class LockedTopic:
    """A topic whose row this transaction has locked: nobody else appends to it before COMMIT."""

    id: int
    name: str
    last_seq: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A topic as one person finds it. `id` is None while it has no row, that is, no event."""

    topic: str
    id: int | None
    seq: int
    comments: int
    read_seq: int
    muted: bool
    unread: int


async def lock(tx: Transaction, topic: Topic) -> LockedTopic:
    """Lock the topic, creating its row at the first event."""
    row = await tx.fetchrow(_LOCK, topic.name)
    if row is None:
        await tx.execute(_CREATE, topic.name)
        row = await tx.fetchrow(_LOCK, topic.name)
        assert row is not None  # rows of topics go only with their discussion, and then nobody may come here
    return LockedTopic(row["id"], topic.name, row["last_seq"])


async def snapshots(db: Database, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
    """The snapshot for each (topic name, user id), in the order asked, in one query."""
    rows = await db.fetch(_SNAPSHOTS, [topic for topic, _ in asked], [user for _, user in asked])
    return [
        Snapshot(topic, row["id"], row["seq"], row["comments"], row["read_seq"], row["muted"], row["unread"])
        for (topic, _), row in zip(asked, rows, strict=True)
    ]
