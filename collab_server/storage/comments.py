"""Comments as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.people import User
from collab_server.storage.database import Database, Transaction
from collab_server.storage.topics import LockedTopic

_COLUMNS = """
    comment.id, topic.name AS topic, comment.seq, comment.thread_id,
    comment.author_id, comment.author_name, comment.author_initials,
    comment.text, comment.mentions, comment.anchor, comment.view_state,
    comment.created_at, comment.edited_at, comment.deleted_at,
    comment.revision, comment.reactions, comment.reply_count, comment.resolved
"""

_GET = f"""
    SELECT {_COLUMNS}
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = $1
"""

_TOPIC_OF = """
    SELECT topic.name
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = $1
"""

_INSERT = """
    INSERT INTO collab.comments (
        id, topic_id, seq, thread_id, author_id, author_name, author_initials,
        text, mentions, anchor, page_key, visualization_key, view_state, created_at
    )
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, COALESCE($11, root.page_key),
           COALESCE($12, root.visualization_key), $13, $14
      FROM (SELECT) AS this
      LEFT JOIN collab.comments AS root
        ON root.id = $4
"""

_COUNT_REPLY = """
    UPDATE collab.comments
       SET reply_count = reply_count + 1
     WHERE id = $1
"""

_KEEP_REVISION = """
    INSERT INTO collab.comment_revisions (comment_id, revision, text, mentions, at)
    VALUES ($1, $2, $3, $4, $5)
"""

_EDIT = """
    UPDATE collab.comments
       SET text = $2,
           mentions = $3,
           edited_at = $4,
           revision = $5
     WHERE id = $1
"""

_BURY = """
    UPDATE collab.comments
       SET text = '',
           mentions = '[]',
           view_state = NULL,
           deleted_at = $2
     WHERE id = $1
"""

_SET_REACTIONS = """
    UPDATE collab.comments
       SET reactions = $2
     WHERE id = $1
"""

_SET_RESOLVED = """
    UPDATE collab.comments
       SET resolved = $2
     WHERE id = $1
"""

# Nor must the inboxes of those who were told of it.
_BURY_IN_NOTIFICATIONS = """
    UPDATE collab.notifications
       SET text = ''
     WHERE comment_id = $1
"""

_BURY_IN_INBOXES = """
    UPDATE collab.events
       SET data = jsonb_set(data::jsonb, '{notification,text}', '""')::text
     WHERE comment_id = $1
       AND type = 'notification.added'
"""

# The log must not go on telling what the comment said: late readers get it as the tombstone it is now.
_BURY_IN_LOG = """
    UPDATE collab.events
       SET data = jsonb_set(data::jsonb, '{comment}', (data::jsonb -> 'comment') || $2::jsonb)::text
     WHERE comment_id = $1
       AND type IN ('comment.added', 'comment.edited')
"""

_REVISIONS = """
    SELECT revision, text, mentions, at
      FROM collab.comment_revisions
     WHERE comment_id = $1
     ORDER BY revision
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a comment said from `at` on. `mentions` is JSON text."""

    revision: int
    text: str
    mentions: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which comments of a topic to list; None does not narrow. `before`/`after` is a `seq` to go on from."""

    thread_id: UUID | None = None
    page_key: str | None = None
    visualization_key: str | None = None
    is_resolved: bool | None = None


def _comment(row: Any) -> Comment:
    return Comment(
        id=row["id"],
        topic=row["topic"],
        seq=row["seq"],
        thread_id=row["thread_id"],
        author=User(row["author_id"], row["author_name"], row["author_initials"]),
        text=row["text"],
        mentions=row["mentions"],
        anchor=row["anchor"],
        view_state=row["view_state"],
        created_at=row["created_at"],
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
        revision=row["revision"],
        reactions=row["reactions"],
        reply_count=row["reply_count"],
        resolved=row["resolved"],
    )


async def get(source: Database | Transaction, comment_id: UUID) -> Comment | None:
    """The comment, deleted or not."""
    row = await source.fetchrow(_GET, comment_id)
    return None if row is None else _comment(row)


async def topic_of(db: Database, comment_id: UUID) -> str | None:
    """The name of the topic that a comment is on."""
    name: str | None = await db.fetchval(_TOPIC_OF, comment_id)
    return name


async def insert(
    tx: Transaction,
    topic: LockedTopic,
    comment: Comment,
    *,
    page_key: str | None,
    visualization_key: str | None,
) -> None:
    """Store a new comment. A reply is counted at its root, and found where its root is if it has no place itself."""
    await tx.execute(
        _INSERT,
        comment.id,
        topic.id,
        comment.seq,
        comment.thread_id,
        comment.author.id,
        comment.author.name,
        comment.author.initials,
        comment.text,
        comment.mentions,
        comment.anchor,
        page_key,
        visualization_key,
        comment.view_state,
        comment.created_at,
    )
    if not comment.is_root:
        await tx.execute(_COUNT_REPLY, comment.thread_id)


async def edit(tx: Transaction, comment: Comment, text: str, mentions: str, at: datetime) -> Comment:
    """Give a comment a new text and keep the old one as a revision. Returns the comment as it is now."""
    since = comment.edited_at or comment.created_at
    await tx.execute(_KEEP_REVISION, comment.id, comment.revision, comment.text, comment.mentions, since)
    edited = replace(comment, text=text, mentions=mentions, edited_at=at, revision=comment.revision + 1)
    await tx.execute(_EDIT, comment.id, text, mentions, at, edited.revision)
    return edited


async def bury(tx: Transaction, comment: Comment, tombstone: str, at: datetime) -> None:
    """Turn a comment into a tombstone, in its row and in the log.

    `tombstone` is the JSON text of the keys that a tombstone changes. What it said is kept as its last revision,
    which only an audit reads.
    """
    since = comment.edited_at or comment.created_at
    await tx.execute(_KEEP_REVISION, comment.id, comment.revision, comment.text, comment.mentions, since)
    await tx.execute(_BURY, comment.id, at)
    await tx.execute(_BURY_IN_LOG, comment.id, tombstone)
    await tx.execute(_BURY_IN_NOTIFICATIONS, comment.id)
    await tx.execute(_BURY_IN_INBOXES, comment.id)


async def set_reactions(tx: Transaction, comment_id: UUID, reactions: str) -> None:
    """Store the reactions, JSON text of `{emoji: [user id, …]}`."""
    await tx.execute(_SET_REACTIONS, comment_id, reactions)


async def set_resolved(tx: Transaction, root_id: UUID, resolved: str | None) -> None:
    """Store who resolved a thread and when, JSON text of `{by, at}`, at its root; None reopens it."""
    await tx.execute(_SET_RESOLVED, root_id, resolved)


async def revisions(db: Database, comment_id: UUID) -> list[Revision]:
    """What the comment said before its edits, oldest first."""
    rows = await db.fetch(_REVISIONS, comment_id)
    return [Revision(row["revision"], row["text"], row["mentions"], row["at"]) for row in rows]


async def listed(
    db: Database, topic: str, filter: Filter, *, is_newest_first: bool, from_seq: int | None, limit: int
) -> Sequence[Comment]:
    """The comments of a topic that pass the filter, by `seq`, going on beyond `from_seq`, at most `limit`."""
    arguments: list[Any] = [topic]
    conditions = ["topic.name = $1"]

    def condition(sql: str, value: Any) -> None:
        arguments.append(value)
        conditions.append(sql.format(f"${len(arguments)}"))

    if filter.thread_id is not None:
        condition("comment.thread_id = {}", filter.thread_id)
    if filter.page_key is not None:
        condition("comment.page_key = {}", filter.page_key)
    if filter.visualization_key is not None:
        condition("comment.visualization_key = {}", filter.visualization_key)
    if filter.is_resolved is not None:
        # A thread is resolved at its root.
        conditions.append(
            f"""{"EXISTS" if filter.is_resolved else "NOT EXISTS"} (
                   SELECT
                     FROM collab.comments AS root
                    WHERE root.id = comment.thread_id
                      AND root.resolved IS NOT NULL
                   )"""
        )
    if from_seq is not None:
        condition("comment.seq < {}" if is_newest_first else "comment.seq > {}", from_seq)
    arguments.append(limit)
    sql = f"""
        SELECT {_COLUMNS}
          FROM collab.comments AS comment
          JOIN collab.topics AS topic
            ON topic.id = comment.topic_id
         WHERE {" AND ".join(conditions)}
         ORDER BY comment.seq {"DESC" if is_newest_first else "ASC"}
         LIMIT ${len(arguments)}
    """
    return [_comment(row) for row in await db.fetch(sql, *arguments)]
