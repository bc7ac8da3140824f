"""How far people have read, and what they have muted: rows, and what other statements ask of them.

In SQL, `mark` is the asker's row of `collab.read_marks`, if there is one, and `comment` one of `collab.comments`.
"""

from __future__ import annotations

from datetime import datetime

from collab_server.storage.database import Reads, Transaction

READ_SEQ = "COALESCE(mark.seq, 0)"

IS_MUTED = "COALESCE(mark.muted AND COALESCE(mark.muted_until > now(), true), false)"


def is_unread_sql(user_id: str, read_seq: str = READ_SEQ) -> str:
    """That the user, who has read up to `read_seq`, has not read the comment: of others, not deleted. All is SQL."""
    return f"comment.author_id <> {user_id} AND comment.deleted_at IS NULL AND comment.seq > {read_seq}"


def unread_comments_sql(topic_id: str, user_id: str, read_seq: str = READ_SEQ) -> str:
    """How many comments of the topic that is; a statement in brackets."""
    return f"""(
        SELECT count(*)
          FROM collab.comments AS comment
         WHERE comment.topic_id = {topic_id}
           AND {is_unread_sql(user_id, read_seq)}
    )"""


_MARK_READ = """
    INSERT INTO collab.read_marks AS mark (user_id, topic_id, seq)
    VALUES ($1, $2, $3)
        ON CONFLICT (user_id, topic_id) DO UPDATE
       SET seq = EXCLUDED.seq
     WHERE mark.seq < EXCLUDED.seq
 RETURNING true
"""

_MARK_UNREAD = """
    UPDATE collab.read_marks
       SET seq = $3
     WHERE user_id = $1
       AND topic_id = $2
       AND seq > $3
 RETURNING true
"""

_MUTE = """
    INSERT INTO collab.read_marks (user_id, topic_id, muted, muted_until)
    VALUES ($1, $2, $3, $4)
        ON CONFLICT (user_id, topic_id) DO UPDATE
       SET muted = EXCLUDED.muted,
           muted_until = EXCLUDED.muted_until
"""

_READ_SEQ_OF = "COALESCE((SELECT seq FROM collab.read_marks WHERE user_id = $1 AND topic_id = $2), 0)"

_UNREAD_COMMENTS = f"SELECT {unread_comments_sql('$2', '$1', _READ_SEQ_OF)}"


async def mark_read(tx: Transaction, user_id: str, topic_id: int, seq: int) -> bool:
    """Move the user's read mark forward to `seq`. False when it was there or beyond already."""
    return bool(await tx.fetchval(_MARK_READ, user_id, topic_id, seq))


async def mark_unread(tx: Transaction, user_id: str, topic_id: int, seq: int) -> bool:
    """Move the user's read mark back to `seq`. False when it was there or before already."""
    return bool(await tx.fetchval(_MARK_UNREAD, user_id, topic_id, seq))


async def mute(tx: Transaction, user_id: str, topic_id: int, is_muted: bool, until: datetime | None) -> None:
    """Mute a topic for the user, until then or until they unmute it, or unmute it."""
    await tx.execute(_MUTE, user_id, topic_id, is_muted, until)


async def unread_comments(source: Reads, user_id: str, topic_id: int) -> int:
    """How many comments of others, not deleted, come after the user's read mark."""
    count: int = await source.fetchval(_UNREAD_COMMENTS, user_id, topic_id)
    return count
