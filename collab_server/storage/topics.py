"""Topics as rows: their lock, their head, how far somebody has read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from collab_server.domain.events import identity_of
from collab_server.domain.topics import Topic
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.failures import Locked
from collab_server.storage.reading import IS_MUTED, READ_SEQ, is_unread_sql, unread_comments_sql

LOCK = "FOR NO KEY UPDATE"
"""How the row of a topic is locked by who writes there. By more than that they would also keep everybody from storing
what refers to the topic: who notes that they have read it, or mute it, has locked their own inbox by then."""

_LOCK = f"""
    SELECT id, last_seq, commenting
      FROM collab.topics
     WHERE name = $1
       {LOCK}
"""

_GLANCE = f"{_LOCK.rstrip()} SKIP LOCKED"

_FIND = """
    SELECT id, last_seq, commenting
      FROM collab.topics
     WHERE name = $1
"""

_LOCK_MANY = f"""
    SELECT id, name, last_seq, commenting
      FROM collab.topics
     WHERE name = ANY($1::text[])
     ORDER BY id
       {LOCK}
"""

_LOCK_FREE = f"{_LOCK_MANY.rstrip()} SKIP LOCKED"


def head_sql(name: str) -> str:
    """The `seq` of a topic's last event, 0 without any; a statement in brackets.

    In a statement that reads what events of the topic change, it says up to which of them that holds.
    """
    return f"COALESCE((SELECT last_seq FROM collab.topics WHERE name = {name}), 0)"


_CREATE_MANY = """
    INSERT INTO collab.topics (name)
    SELECT name
      FROM unnest($1::text[]) AS asked (name)
     WHERE NOT EXISTS (SELECT FROM collab.topics AS there WHERE there.name = asked.name)
     ORDER BY name
        ON CONFLICT (name) DO NOTHING
"""

_CREATE = """
    INSERT INTO collab.topics (name)
    VALUES ($1)
        ON CONFLICT (name) DO NOTHING
"""

_SET_COMMENTING = """
    UPDATE collab.topics
       SET commenting = $2
     WHERE id = $1
"""

_SNAPSHOTS = f"""
    SELECT topic.id,
           COALESCE(topic.last_seq, 0) AS seq,
           head.type AS head_type,
           head.at AS head_at,
           COALESCE(topic.comments, 0) AS comments,
           COALESCE(topic.commenting, true) AS commenting,
           topic.last_at,
           asked.name LIKE 'discussion:%' AND EXISTS (
               SELECT
                 FROM collab.discussions AS discussion
                 JOIN collab.members AS member
                   ON member.discussion_id = discussion.id
                WHERE discussion.topic_id = topic.id
                  AND discussion.deleted_at IS NULL
                  AND member.user_id = asked.user_id
           ) AS is_member,
           {IS_MUTED} AS muted,
           {READ_SEQ} AS read_seq,
           CASE
               WHEN topic.last_seq IS NULL OR topic.last_seq <= COALESCE(mark.seq, 0) THEN 0
               WHEN COALESCE(mark.seq, 0) = 0 THEN topic.comments - (
                   SELECT count(*)
                     FROM collab.comments AS own
                    WHERE own.author_id = asked.user_id
                      AND own.topic_id = topic.id
                      AND own.deleted_at IS NULL
               )
               ELSE {unread_comments_sql("topic.id", "asked.user_id")}
           END AS unread
      FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (name, user_id, position)
      LEFT JOIN collab.topics AS topic
        ON topic.name = asked.name
      LEFT JOIN collab.events AS head
        ON head.topic_id = topic.id
       AND head.seq = topic.last_seq
      LEFT JOIN collab.read_marks AS mark
        ON mark.user_id = asked.user_id
       AND mark.topic_id = topic.id
     ORDER BY asked.position
"""

# As `_SNAPSHOTS`, but always of one person: one look into an index serves all topics.
_SUMMARIES = f"""
    WITH topics AS MATERIALIZED (
        SELECT topic.id, topic.name, topic.last_seq, topic.comments, topic.last_at
          FROM collab.topics AS topic
         WHERE topic.name = ANY($1::text[])
         UNION ALL
        SELECT topic.id, topic.name, topic.last_seq, topic.comments, topic.last_at
          FROM collab.members AS member
          JOIN collab.discussions AS discussion
            ON discussion.id = member.discussion_id
          JOIN collab.topics AS topic
            ON topic.id = discussion.topic_id
         WHERE member.discussion_id = ANY($2::uuid[])
           AND member.user_id = $3
           AND discussion.deleted_at IS NULL
    ),
    marks AS MATERIALIZED (
        SELECT topic_id, seq
          FROM collab.read_marks
         WHERE user_id = $3
           AND topic_id = ANY(ARRAY(SELECT id FROM topics))
    ),
    asked AS MATERIALIZED (
        SELECT topics.*, COALESCE(mark.seq, 0) AS read_seq
          FROM topics
          LEFT JOIN marks AS mark
            ON mark.topic_id = topics.id
    ),
    own AS MATERIALIZED (
        SELECT topic_id, count(*) AS comments
          FROM collab.comments
         WHERE author_id = $3
           AND topic_id = ANY(ARRAY(SELECT id FROM asked WHERE read_seq = 0 AND last_seq > 0))
           AND deleted_at IS NULL
         GROUP BY topic_id
    )
    SELECT asked.name AS topic, asked.last_seq AS seq, asked.comments, asked.last_at, asked.read_seq,
           CASE
               WHEN asked.last_seq <= asked.read_seq THEN 0
               WHEN asked.read_seq = 0 THEN asked.comments - COALESCE(own.comments, 0)
               ELSE {unread_comments_sql("asked.id", "$3", "asked.read_seq")}
           END AS unread
      FROM asked
      LEFT JOIN own
        ON own.topic_id = asked.id
"""

_ANCHORS = f"""
    SELECT comment.page_key,
           comment.visualization_key,
           count(*) FILTER (WHERE comment.id = comment.thread_id AND comment.resolved IS NULL) AS open,
           count(*) FILTER (WHERE {is_unread_sql("$2")}) AS unread,
           count(*) AS total
      FROM collab.topics AS topic
      JOIN collab.comments AS comment
        ON comment.topic_id = topic.id
      LEFT JOIN collab.read_marks AS mark
        ON mark.user_id = $2
       AND mark.topic_id = topic.id
     WHERE topic.name = $1
       AND comment.deleted_at IS NULL
     GROUP BY comment.page_key, comment.visualization_key
     ORDER BY comment.page_key NULLS FIRST, comment.visualization_key NULLS FIRST
    OFFSET $3
     LIMIT $4
"""

_UNREAD_THREADS = f"""
    SELECT comment.thread_id, count(*) AS unread
      FROM collab.topics AS topic
      JOIN collab.comments AS comment
        ON comment.topic_id = topic.id
      LEFT JOIN collab.read_marks AS mark
        ON mark.user_id = $2
       AND mark.topic_id = topic.id
     WHERE topic.name = $1
       AND {is_unread_sql("$2")}
     GROUP BY comment.thread_id
     ORDER BY min(comment.seq)
    OFFSET $3
     LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class LockedTopic:
    """A topic whose row this transaction has locked: nobody else appends to it before COMMIT.

    `is_commenting` is false where nobody may comment.
    """

    id: int
    name: str
    last_seq: int
    is_commenting: bool = True


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A topic as one person finds it, at one moment. `id` is None while it has no row, that is, no event.

    `read_seq` is how far the person has read, `unread` how many comments that leaves. `is_member` is true only of a
    discussion. `head` is the identity of its last event; empty while it has none.
    """

    topic: str
    id: int | None
    seq: int
    comments: int
    muted: bool
    read_seq: int
    unread: int
    is_member: bool
    is_commenting: bool = True
    last_at: datetime | None = None
    head: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A topic as one person finds it, in a list of many."""

    topic: str
    seq: int
    comments: int
    read_seq: int
    unread: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class AnchorCounts:
    """What there is at one place of an object: unresolved threads, unread comments, all comments."""

    page_key: str | None
    visualization_key: str | None
    open: int
    unread: int
    total: int


async def anchors(
    db: Reads, topic: str, user_id: str, *, skip: int = 0, limit: int = 1000
) -> list[AnchorCounts]:
    """The counts of the places that have comments, deleted ones left out, in one query: at most `limit` behind the
    first `skip`."""
    rows = await db.fetch(_ANCHORS, topic, user_id, skip, limit)
    return [
        AnchorCounts(row["page_key"], row["visualization_key"], row["open"], row["unread"], row["total"])
        for row in rows
    ]


async def unread_threads(
    db: Reads, topic: str, user_id: str, *, skip: int = 0, limit: int = 1000
) -> list[tuple[UUID, int]]:
    """The threads in which a person has not read everything: (thread id, unread comments), in one query.

    At most `limit` behind the first `skip`.
    """
    rows = await db.fetch(_UNREAD_THREADS, topic, user_id, skip, limit)
    return [(row["thread_id"], row["unread"]) for row in rows]


async def lock_many(tx: Transaction, names: Sequence[str], *, waits: bool = True) -> dict[str, LockedTopic]:
    """Lock several topics, always in the same order, creating the rows of those that have none.

    Unless it `waits`, those that somebody else has locked are left out.
    """
    sql = _LOCK_MANY if waits else _LOCK_FREE
    locked = await _lock_many(tx, sql, names)
    if len(locked) < len(names):
        await tx.execute(_CREATE_MANY, [name for name in names if name not in locked])
        locked = await _lock_many(tx, sql, names)
    return locked


async def _lock_many(tx: Transaction, sql: str, names: Sequence[str]) -> dict[str, LockedTopic]:
    rows = await tx.fetch(sql, names)
    return {
        row["name"]: LockedTopic(row["id"], row["name"], row["last_seq"], row["commenting"]) for row in rows
    }


async def lock(tx: Transaction, topic: Topic) -> LockedTopic:
    """Lock the topic, creating its row at the first event. Raises `Locked` where only a glance finds it locked."""
    tx.is_to_lock(topic.name)
    glances = tx.glances
    row = await tx.fetchrow(_GLANCE if glances else _LOCK, topic.name)
    if row is None and glances and await tx.fetchrow(_FIND, topic.name) is not None:
        raise Locked(topic.name)
    if row is None:
        await tx.execute(_CREATE, topic.name)
        row = await tx.fetchrow(_LOCK, topic.name)
        assert row is not None  # rows of topics go only with their discussion, and then nobody may come here
    return LockedTopic(row["id"], topic.name, row["last_seq"], row["commenting"])


async def find(tx: Transaction, topic: Topic) -> LockedTopic | None:
    """The topic as it is now, without locking it; None while it has no event."""
    row = await tx.fetchrow(_FIND, topic.name)
    return None if row is None else LockedTopic(row["id"], topic.name, row["last_seq"], row["commenting"])


async def set_commenting(tx: Transaction, topic_id: int, is_commenting: bool) -> None:
    """Let people comment on a topic, which this transaction has locked, or nobody."""
    await tx.execute(_SET_COMMENTING, topic_id, is_commenting)


async def snapshots(db: Reads, asked: Sequence[tuple[str, str]]) -> list[Snapshot]:
    """The snapshot for each (topic name, user id), in the order asked, in one query."""
    rows = await db.fetch(_SNAPSHOTS, [topic for topic, _ in asked], [user for _, user in asked])
    return [
        Snapshot(
            topic=topic,
            id=row["id"],
            seq=row["seq"],
            comments=row["comments"],
            muted=row["muted"],
            read_seq=row["read_seq"],
            unread=row["unread"],
            is_member=row["is_member"],
            is_commenting=row["commenting"],
            last_at=row["last_at"],
            head=identity_of(row["head_type"], row["head_at"]) if row["head_type"] is not None else "",
        )
        for (topic, _), row in zip(asked, rows, strict=True)
    ]


async def summaries(db: Reads, asked: Sequence[Topic], user_id: str) -> list[Summary]:
    """What a person finds on each of many topics, in the order asked, in one query.

    Discussions are left out unless the person is a member; whether the other topics may be shown is not looked at.
    """
    names = [topic.name for topic in asked if topic.kind != "discussion"]
    discussions = [UUID(topic.first) for topic in asked if topic.kind == "discussion"]
    found = {name: Summary(name, seq=0, comments=0, read_seq=0, unread=0, last_at=None) for name in names}
    for row in await db.fetch(_SUMMARIES, names, discussions, user_id):
        found[row["topic"]] = Summary(**row)
    return [found[topic.name] for topic in asked if topic.name in found]
