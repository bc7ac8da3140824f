"""What deletion leaves: which deleted things still have words somewhere, and the statements that take those away."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from collab_server.domain.ids import OPAQUE_ID
from collab_server.storage.database import Reads, Transaction

_NEXT_DISCUSSION = """
    SELECT discussion.id, discussion.topic_id, discussion.deleted_at, topic.name AS topic
      FROM collab.discussions AS discussion
      JOIN collab.topics AS topic
        ON topic.id = discussion.topic_id
     WHERE discussion.deleted_at < now() - make_interval(secs => $1)
       AND discussion.name <> ''
     ORDER BY discussion.deleted_at
     LIMIT 1
       FOR UPDATE OF discussion SKIP LOCKED
"""

_COMMENTS_LEFT = """
    SELECT id
      FROM collab.comments
     WHERE topic_id = $1
       AND deleted_at IS NULL
     LIMIT $2
"""

_PEOPLE_NAMED = f"""
    SELECT DISTINCT named[1]
      FROM collab.events, regexp_matches(actor || data, '"({OPAQUE_ID})"', 'g') AS named
     WHERE topic_id = $1
       AND (starts_with(type, 'discussion.') OR starts_with(type, 'member.'))
"""

_UNNAME_IN_NOTICES = """
    UPDATE collab.notices
       SET text = ''
     WHERE id IN (
           SELECT notice_id
             FROM collab.notifications
            WHERE user_id = ANY($2::text[])
              AND topic = $1
              AND comment_id IS NULL
           )
"""

_UNNAME_IN_NOTIFICATIONS = """
    UPDATE collab.notifications
       SET text = ''
     WHERE user_id = ANY($2::text[])
       AND topic = $1
       AND comment_id IS NULL
"""

_UNNAME_IN_INBOXES = """
    UPDATE collab.events AS event
       SET data = jsonb_set(event.data::jsonb, '{notification,text}', '""')::text
      FROM collab.notifications AS told
      JOIN collab.topics AS inbox
        ON inbox.name = 'inbox:' || told.user_id
     WHERE told.user_id = ANY($2::text[])
       AND told.topic = $1
       AND told.comment_id IS NULL
       AND event.topic_id = inbox.id
       AND event.seq = told.seq
       AND event.type = 'notification.added'
       AND NOT starts_with(event.data, '{"notice"')
"""

_UNNAME_IN_LOG = """
    UPDATE collab.events
       SET data = CASE
               WHEN data::jsonb ? 'discussion' THEN jsonb_set(data::jsonb, '{discussion,name}', '""', false)::text
               ELSE jsonb_set(data::jsonb, '{name}', '""', false)::text
           END
     WHERE topic_id = $1
       AND starts_with(type, 'discussion.')
"""

_UNNAME_IN_ANSWERS = """
    UPDATE collab.requests
       SET answer = jsonb_set(answer::jsonb, '{discussion,name}', '""', false)::text
     WHERE strpos(left(answer, 40), '"id":"') > 0
       AND substr(answer, strpos(left(answer, 40), '"id":"') + 6, 36) = $1::text
       AND starts_with(answer, '{"discussion":')
"""

_UNNAME = """
    UPDATE collab.discussions
       SET name = ''
     WHERE id = $1
"""

# Tombstones that nodes of versions before have made.
_TOMBSTONES_WITH_WORDS = """
    SELECT comment.id,
           comment.deleted_at,
           strpos(comment.anchor, '"dataPoint"') > 0
               OR EXISTS (SELECT FROM collab.comment_revisions WHERE comment_id = comment.id) AS has_words
      FROM (
           SELECT id, deleted_at, anchor
             FROM collab.comments
            WHERE id > $1
              AND deleted_at IS NOT NULL
            ORDER BY id
            LIMIT $2
           ) AS comment
     ORDER BY comment.id
"""


@dataclass(frozen=True, slots=True)
class DeletedDiscussion:
    """A discussion that was deleted and still has its name, or comments that still have words."""

    id: UUID
    topic_id: int
    topic: str
    deleted_at: datetime


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A deleted comment."""

    id: UUID
    deleted_at: datetime
    has_words: bool


async def next_discussion(tx: Transaction, older_than_seconds: float) -> DeletedDiscussion | None:
    """The one that was deleted first, locked; None where there is none that nobody else is at."""
    row = await tx.fetchrow(_NEXT_DISCUSSION, older_than_seconds)
    return (
        None
        if row is None
        else DeletedDiscussion(row["id"], row["topic_id"], row["topic"], row["deleted_at"])
    )


async def comments_left(tx: Transaction, discussion: DeletedDiscussion, limit: int) -> list[UUID]:
    """Ids of its comments that are no tombstones yet."""
    return [row["id"] for row in await tx.fetch(_COMMENTS_LEFT, discussion.topic_id, limit)]


async def unname(tx: Transaction, discussion: DeletedDiscussion) -> None:
    """Take its name away, wherever it stands: its row, log, inboxes, answers."""
    people = [row[0] for row in await tx.fetch(_PEOPLE_NAMED, discussion.topic_id)]
    await tx.execute(_UNNAME_IN_LOG, discussion.topic_id)
    for statement in (_UNNAME_IN_NOTICES, _UNNAME_IN_INBOXES, _UNNAME_IN_NOTIFICATIONS):
        await tx.execute(statement, discussion.topic, people)
    await tx.execute(_UNNAME_IN_ANSWERS, str(discussion.id))
    await tx.execute(_UNNAME, discussion.id)


async def tombstones(db: Reads, after: UUID, limit: int) -> list[Tombstone]:
    """Deleted comments by id, so many beyond `after`."""
    rows = await db.fetch(_TOMBSTONES_WITH_WORDS, after, limit)
    return [Tombstone(row["id"], row["deleted_at"], bool(row["has_words"])) for row in rows]
