"""The threads that people follow or have muted: rows, and what other statements ask of them."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from collab_server.storage.database import Reads, Transaction


def is_marked_sql(thread_id: str, user_id: str, is_followed: str) -> str:
    """That the user follows the thread, or has muted it. All is SQL."""
    return f"""EXISTS (
           SELECT
             FROM collab.thread_marks AS thread_mark
            WHERE thread_mark.thread_id = {thread_id}
              AND thread_mark.user_id = {user_id}
              AND thread_mark.is_followed = {is_followed}
           )"""


_MARK = """
    INSERT INTO collab.thread_marks AS mark (thread_id, user_id, topic_id, is_followed)
    VALUES ($1, $2, $3, $4)
        ON CONFLICT (thread_id, user_id) DO UPDATE
       SET is_followed = EXCLUDED.is_followed
     WHERE mark.is_followed <> EXCLUDED.is_followed
 RETURNING true
"""

_UNMARK = """
    DELETE FROM collab.thread_marks
     WHERE thread_id = $1
       AND user_id = $2
       AND is_followed = $3
 RETURNING true
"""

_OF = """
    SELECT is_followed
      FROM collab.thread_marks
     WHERE thread_id = $1
       AND user_id = $2
"""

_LISTED = """
    SELECT mark.thread_id, mark.is_followed
      FROM collab.topics AS topic
      JOIN collab.thread_marks AS mark
        ON mark.topic_id = topic.id
     WHERE topic.name = $1
       AND mark.user_id = $2
       AND mark.thread_id > $3
     ORDER BY mark.thread_id
     LIMIT $4
"""


@dataclass(frozen=True, slots=True)
class ThreadMark:
    """What somebody has chosen for a thread; both false where nothing."""

    thread_id: UUID
    is_followed: bool
    is_muted: bool


async def mark(tx: Transaction, thread_id: UUID, user_id: str, topic_id: int, is_followed: bool) -> bool:
    """Let somebody follow a thread, or mute it, instead of whatever they had chosen. False when it was so."""
    return bool(await tx.fetchval(_MARK, thread_id, user_id, topic_id, is_followed))


async def unmark(tx: Transaction, thread_id: UUID, user_id: str, is_followed: bool) -> bool:
    """Let somebody follow a thread no more, or unmute it. False when they did not, or it was not."""
    return bool(await tx.fetchval(_UNMARK, thread_id, user_id, is_followed))


async def of(tx: Transaction, thread_id: UUID, user_id: str) -> ThreadMark:
    """What somebody has chosen for a thread."""
    is_followed = await tx.fetchval(_OF, thread_id, user_id)
    return ThreadMark(thread_id, is_followed is True, is_followed is False)


async def listed(db: Reads, topic: str, user_id: str, *, after: UUID, limit: int) -> list[ThreadMark]:
    """What somebody has chosen for the threads of a topic, by the threads' ids, from behind one on."""
    rows = await db.fetch(_LISTED, topic, user_id, after, limit)
    return [ThreadMark(row["thread_id"], row["is_followed"], not row["is_followed"]) for row in rows]
