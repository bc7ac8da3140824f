"""Comments as rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.emoji import one_each
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import User
from collab_server.domain.search import terms_text
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.event_log import PAGE_BYTES
from collab_server.storage.new_comments import COLUMNS
from collab_server.storage.topics import head_sql

# A comment's fields are columns of the same names, but for these two.
_FIELDS = [field.name for field in fields(Comment) if field.name not in ("topic", "author")]

_COLUMNS = f"""
    topic.name AS topic, comment.author_id, comment.author_name, comment.author_initials,
    {", ".join(f"comment.{name}" for name in _FIELDS)}
"""

_GET = f"""
    SELECT {_COLUMNS}
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = $1
"""

_GET_MANY = f"""
    SELECT {_COLUMNS}
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = ANY($1::uuid[])
"""

_TOPIC_OF = """
    SELECT topic.name
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = $1
"""

# One statement for all who ask, whether there is no such comment or one in a discussion that is closed to them.
_FOR_READER = """
    SELECT topic.name,
           CASE WHEN member.user_id IS NOT NULL THEN discussion.owner_id = member.user_id END AS is_owner
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
      LEFT JOIN collab.discussions AS discussion
        ON discussion.topic_id = topic.id
       AND discussion.deleted_at IS NULL
      LEFT JOIN collab.members AS member
        ON member.discussion_id = discussion.id
       AND member.user_id = $2
     WHERE comment.id = $1
"""

_THERE = """
    SELECT id
      FROM collab.comments
     WHERE id = ANY($1::uuid[])
"""

_PARENTS = """
    SELECT comment.id, topic.name AS topic, comment.thread_id, comment.deleted_at
      FROM collab.comments AS comment
      JOIN collab.topics AS topic
        ON topic.id = comment.topic_id
     WHERE comment.id = ANY($1::uuid[])
"""

_MENTIONS_ANSWERED = """
    SELECT said.mentions
      FROM collab.comments AS answered
      JOIN collab.comments AS said
        ON said.id IN (answered.id, answered.thread_id)
     WHERE answered.id = $1
"""

_KEEP_REVISION = """
    INSERT INTO collab.comment_revisions (comment_id, revision, text, mentions, at)
    VALUES ($1, $2, $3, $4, $5)
"""

_EDIT = """
    WITH edited AS (
        UPDATE collab.comments
           SET text = $2,
               mentions = $3,
               edited_at = $4,
               revision = $5
         WHERE id = $1
     RETURNING id, topic_id
    ),
    outdated AS (
        DELETE FROM collab.comment_terms
         WHERE comment_id = $1
    )
    INSERT INTO collab.recent_terms AS found (comment_id, topic_id, terms)
    SELECT id, topic_id, $6::text::integer[] || (topic_id % 1073741824)::integer
      FROM edited
        ON CONFLICT (comment_id) DO UPDATE
       SET terms = EXCLUDED.terms
"""

# A body goes with the text that it was made of (a trigger of the table): a new one comes after the new text.
_SET_BODY = """
    UPDATE collab.comments
       SET body = $2
     WHERE id = $1
"""

_BURY = f"""
    WITH recent AS (
        DELETE FROM collab.recent_terms
         WHERE comment_id = $1
    ),
    settled AS (
        DELETE FROM collab.comment_terms
         WHERE comment_id = $1
    )
    UPDATE collab.comments
       SET {", ".join(f"{column.name} = {column.left}" for column in COLUMNS if column.left)},
           deleted_at = $2
     WHERE id = $1
"""

_FORGET_REVISIONS = """
    DELETE FROM collab.comment_revisions
     WHERE comment_id = $1
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

# Nor must the inboxes of those who were told of it; who waits to be told has nothing to learn any more.
_FORGET_TO_NOTIFY = """
    DELETE FROM collab.notifications
     WHERE comment_id = $1
       AND seq IS NULL
"""

_BURY_IN_NOTIFICATIONS = """
    UPDATE collab.notifications
       SET text = ''
     WHERE comment_id = $1
"""

_BURY_IN_NOTICES = """
    UPDATE collab.notices
       SET text = ''
     WHERE comment_id = $1
"""
_BURY_IN_INBOXES = """
    UPDATE collab.events
       SET data = jsonb_set(data::jsonb, '{notification,text}', '""')::text
     WHERE comment_id = $1
       AND type = 'notification.added'
       AND NOT starts_with(data, '{"notice"')
"""

# The log must not go on telling what the comment said: late readers get it as the tombstone it is now.
# As json, not jsonb: that would sort keys and write numbers anew.
_BURY_IN_LOG = """
    UPDATE collab.events
       SET data = '{"comment":{' || (
               SELECT string_agg(
                          to_json(key)::text || ':' || coalesce($2::json -> key, value)::text, ',' ORDER BY place
                      )
                 FROM json_each(data::json -> 'comment') WITH ORDINALITY AS field (key, value, place)
           ) || '}}'
     WHERE comment_id = $1
       AND type IN ('comment.added', 'comment.edited')
"""

# Nor the answer that is kept for whoever repeats the command that wrote it (the index requests_about).
_BURY_IN_ANSWERS = """
    UPDATE collab.requests
       SET answer = '{"comment":{' || (
               SELECT string_agg(
                          to_json(key)::text || ':' || coalesce($2::json -> key, value)::text, ',' ORDER BY place
                      )
                 FROM json_each(answer::json -> 'comment') WITH ORDINALITY AS field (key, value, place)
           ) || '},"seq":' || (answer::json ->> 'seq') || '}'
     WHERE strpos(left(answer, 40), '"id":"') > 0
       AND substr(answer, strpos(left(answer, 40), '"id":"') + 6, 36) = $1::text
       AND starts_with(answer, '{"comment":')
"""

_REVISIONS = """
    SELECT revision, text, mentions, at
      FROM (SELECT revision, text, mentions, at,
                   sum(octet_length(text)) OVER (
                       ORDER BY revision ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
                   ) AS bytes_before
              FROM (SELECT revision, text, mentions, at
                      FROM collab.comment_revisions
                     WHERE comment_id = $1
                       AND revision > $2
                     ORDER BY revision
                     LIMIT $3
                   ) AS page
           ) AS measured
     WHERE COALESCE(bytes_before, 0) < $4
     ORDER BY revision
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """What a comment said from `at` on."""

    revision: int
    text: str
    mentions: JsonText
    at: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which comments of a topic to list; None does not narrow."""

    thread_id: UUID | None = None
    page_key: str | None = None
    visualization_key: str | None = None
    is_resolved: bool | None = None


@dataclass(frozen=True, slots=True)
class Parent:
    """What a reply needs to know of the comment that it answers."""

    topic: str
    thread_id: UUID
    is_deleted: bool


def _comment(row: Any) -> Comment:
    return Comment(
        topic=row["topic"],
        author=User(row["author_id"], row["author_name"], row["author_initials"]),
        **{name: row[name] for name in _FIELDS if name != "reactions"},
        reactions=one_each(row["reactions"]),
    )


async def get(source: Reads, comment_id: UUID) -> Comment | None:
    """The comment, deleted or not."""
    row = await source.fetchrow(_GET, comment_id)
    return None if row is None else _comment(row)


async def get_many(db: Reads, ids: Sequence[UUID]) -> dict[UUID, Comment]:
    """Those of these comments that exist, by id, deleted or not."""
    return {row["id"]: _comment(row) for row in await db.fetch(_GET_MANY, ids)}


async def topic_of(db: Reads, comment_id: UUID) -> str | None:
    """The name of the topic that a comment is on."""
    name: str | None = await db.fetchval(_TOPIC_OF, comment_id)
    return name


async def for_reader(db: Reads, comment_id: UUID, user_id: str) -> tuple[str, bool | None] | None:
    """The name of the topic that a comment is on and, where that is a discussion, whether the user owns it: None for
    who is no member. None as a whole when there is no such comment.
    """
    row = await db.fetchrow(_FOR_READER, comment_id, user_id)
    return None if row is None else (row["name"], row["is_owner"])


async def there(tx: Transaction, ids: Sequence[UUID]) -> set[UUID]:
    """Those of these ids that comments have, deleted or not, on whatever topic."""
    return {row["id"] for row in await tx.fetch(_THERE, ids)}


async def parents(tx: Transaction, ids: Sequence[UUID]) -> dict[UUID, Parent]:
    """Those of these comments that exist, by id."""
    rows = await tx.fetch(_PARENTS, ids)
    return {
        row["id"]: Parent(row["topic"], row["thread_id"], is_deleted=row["deleted_at"] is not None)
        for row in rows
    }


async def mentions_answered(db: Reads, comment_id: UUID) -> list[JsonText]:
    """The mentions, JSON text, of a comment that is answered and of the root of its thread."""
    return [row["mentions"] for row in await db.fetch(_MENTIONS_ANSWERED, comment_id)]


async def edit(
    tx: Transaction,
    comment: Comment,
    text: str,
    said: str,
    mentions: JsonText,
    at: datetime,
    *,
    body: JsonText | None = None,
) -> Comment:
    """Give a comment a new text, with its `said_text` and its body, and keep the old one as a revision.

    Returns the comment as it is now.
    """
    since = comment.edited_at or comment.created_at
    await tx.execute(_KEEP_REVISION, comment.id, comment.revision, comment.text, comment.mentions, since)
    edited = replace(
        comment, text=text, mentions=mentions, edited_at=at, revision=comment.revision + 1, body=body
    )
    await tx.execute(_EDIT, comment.id, text, mentions, at, edited.revision, terms_text(edited, said))
    if body is not None:
        await tx.execute(_SET_BODY, comment.id, body)
    return edited


async def bury(
    tx: Transaction, comment_id: UUID, tombstone: JsonText, anchor: JsonText | None, at: datetime
) -> None:
    """Turn a comment into a tombstone, wherever its words stand: its row, what it said before, log, inboxes, answers.

    `tombstone` has the keys that a tombstone changes, `anchor` what it keeps of its place. May
    be done again, to a comment that is one.
    """
    await tx.execute(_BURY, comment_id, at, anchor)
    await tx.execute(_FORGET_REVISIONS, comment_id)
    await tx.execute(_BURY_IN_LOG, comment_id, tombstone)
    await tx.execute(_FORGET_TO_NOTIFY, comment_id)
    await tx.execute(_BURY_IN_NOTIFICATIONS, comment_id)
    await tx.execute(_BURY_IN_NOTICES, comment_id)
    await tx.execute(_BURY_IN_INBOXES, comment_id)
    await tx.execute(_BURY_IN_ANSWERS, str(comment_id), tombstone)


async def set_reactions(tx: Transaction, comment_id: UUID, reactions: JsonText) -> None:
    """Store the reactions: `{emoji: [user id, …]}`."""
    await tx.execute(_SET_REACTIONS, comment_id, reactions)


async def set_resolved(tx: Transaction, root_id: UUID, resolved: JsonText | None) -> None:
    """Store who resolved a thread and when, `{by, at}`, at its root; None reopens it."""
    await tx.execute(_SET_RESOLVED, root_id, resolved)


async def revisions(
    db: Reads, comment_id: UUID, *, after: int = 0, limit: int = 201, most_bytes: int = PAGE_BYTES
) -> list[Revision]:
    """What the comment said before its edits, oldest first, from after a revision on, at most `limit`; those that begin
    within `most_bytes` of text, and one more."""
    rows = await db.fetch(_REVISIONS, comment_id, after, limit, most_bytes)
    return [Revision(row["revision"], row["text"], row["mentions"], row["at"]) for row in rows]


async def listed(
    db: Reads,
    topic: str,
    filter: Filter,
    *,
    is_newest_first: bool,
    from_seq: int | None,
    limit: int,
    most_bytes: int = PAGE_BYTES,
) -> tuple[int, Sequence[Comment]]:
    """The comments of a topic that pass the filter, by `seq`, going on beyond `from_seq`, at most `limit`; those that
    begin within `most_bytes` of text, body and view state, and one more.

    Before them the `seq` of the topic's last event: they are as all events up to it have left them.
    """
    order = "DESC" if is_newest_first else "ASC"
    conditions, arguments = _conditions(topic, filter, from_seq, is_newest_first)
    count = len(arguments)
    sql = f"""
        SELECT head, measured.*
          FROM (SELECT {head_sql("$1")} AS head) AS now
          LEFT JOIN (
                SELECT page.*,
                       sum(octet_length(text) + COALESCE(octet_length(view_state), 0)
                           + COALESCE(octet_length(body), 0)) OVER (
                           ORDER BY seq {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
                       ) AS bytes_before
                  FROM (SELECT {_COLUMNS}
                          FROM collab.comments AS comment
                          JOIN collab.topics AS topic
                            ON topic.id = comment.topic_id
                         WHERE {" AND ".join(conditions)}
                         ORDER BY comment.seq {order}
                         LIMIT ${count + 1}
                       ) AS page
               ) AS measured
            ON COALESCE(bytes_before, 0) < ${count + 2}
         ORDER BY seq {order}
    """
    rows = await db.fetch(sql, *arguments, limit, most_bytes)
    return rows[0]["head"], [_comment(row) for row in rows if row["id"] is not None]


def _conditions(
    topic: str, filter: Filter, from_seq: int | None, is_newest_first: bool
) -> tuple[list[str], list[Any]]:
    """What a comment has to be like to be listed, as SQL, and its arguments."""
    # One topic's id as a value, not by a join: then the planner reads the index in order and stops at the limit.
    conditions = ["comment.topic_id = (SELECT id FROM collab.topics WHERE name = $1)"]
    arguments: list[Any] = [topic]
    for sql, value in (
        ("comment.thread_id = {}", filter.thread_id),
        ("comment.page_key = {}", filter.page_key),
        ("comment.visualization_key = {}", filter.visualization_key),
        ("comment.seq < {}" if is_newest_first else "comment.seq > {}", from_seq),
    ):
        if value is not None:
            arguments.append(value)
            conditions.append(sql.format(f"${len(arguments)}"))
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
    return conditions, arguments
