"""Reviews as rows: whose inbox has to be looked at again after a change, and what is found in it then.

What was changed stores no more than that somebody's inbox has to be looked at: no row of an inbox is locked for it.
Whoever looks, with that inbox locked, goes by what is so then, whatever was changed in what order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from collab_server.domain.inbox import Notified, Reason
from collab_server.domain.jsontext import JsonText
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.thread_marks import is_marked_sql

__all__ = [
    "AT_ONCE",
    "Told",
    "ask_of_comment",
    "ask_of_stale",
    "ask_of_topic",
    "gone",
    "lost",
    "remove",
    "settle",
    "take_back",
    "tell_otherwise",
    "told_of",
    "unread_topics",
]

AT_ONCE = 500
"""How many notifications are looked at in one transaction."""

_ASK_OF_COMMENT = """
    INSERT INTO collab.reviews (user_id, topic, comment_id)
    SELECT user_id, topic, comment_id
      FROM collab.notifications
     WHERE comment_id = $1
       AND ($2::text[] IS NULL OR (kind = 'mention' AND (through IS NULL OR through = ANY($2::text[]))))
 RETURNING user_id
"""

_ASK_OF_TOPIC = """
    INSERT INTO collab.reviews (user_id, topic)
    SELECT user_id, $2
      FROM unnest($1::text[]) AS user_id
"""

# A group that a node of the version before was asked to mention may be any of those that still are.
_MENTIONS_READER = """
    CASE WHEN told.through IS NULL
         THEN strpos(comment.mentions, '"id":"' || told.user_id || '"') > 0
           OR strpos(comment.mentions, '"kind":"group"') > 0
         ELSE strpos(comment.mentions, '"id":"' || told.through || '"') > 0
     END
"""

_IS_OUT = """
    (starts_with(told.topic, 'discussion:')
     AND NOT EXISTS (
         SELECT
           FROM collab.topics AS topic
           JOIN collab.discussions AS discussion
             ON discussion.topic_id = topic.id
            AND discussion.deleted_at IS NULL
           JOIN collab.members AS member
             ON member.discussion_id = discussion.id
            AND member.user_id = told.user_id
          WHERE topic.name = told.topic
         ))
"""

_IS_GONE = f"""
    COALESCE(
        comment.deleted_at IS NOT NULL
        OR {_IS_OUT}
        OR (told.kind = 'mention' AND NOT {_MENTIONS_READER}),
        false
    )
"""

_TAKES_PART = """
    (comment.id <> comment.thread_id
     AND comment.deleted_at IS NULL
     AND EXISTS (
         SELECT
           FROM collab.comments AS own
          WHERE own.thread_id = comment.thread_id
            AND own.author_id = told.user_id
            AND own.seq < comment.seq
         ))
"""

_FOLLOWS = f"""
    (comment.id <> comment.thread_id
     AND comment.deleted_at IS NULL
     AND {is_marked_sql("comment.thread_id", "told.user_id", "true")})
"""

_TOLD = "told.id, told.seq, told.read_at IS NOT NULL AS is_read, told.by_user, told.notice_id"

_GONE = f"""
    WITH review AS MATERIALIZED (
        SELECT topic, comment_id
          FROM collab.reviews
         WHERE id = ANY($2::bigint[])
    ),
    looked_at AS (
        SELECT told.id
          FROM collab.notifications AS told
         WHERE told.user_id = $1
           AND told.comment_id IN (SELECT comment_id FROM review WHERE comment_id IS NOT NULL)
         UNION
        SELECT told.id
          FROM collab.notifications AS told
         WHERE told.user_id = $1
           AND told.topic IN (SELECT topic FROM review WHERE comment_id IS NULL)
    )
    SELECT {_TOLD}, NOT {_IS_OUT} AND {_TAKES_PART} IS TRUE AS takes_part,
           NOT {_IS_OUT} AND {_FOLLOWS} IS TRUE AS follows
      FROM collab.notifications AS told
      LEFT JOIN collab.comments AS comment
        ON comment.id = told.comment_id
     WHERE told.id IN (SELECT id FROM looked_at)
       AND {_IS_GONE}
     ORDER BY told.seq, told.id
     LIMIT $3
       FOR UPDATE OF told
"""

_LOST = f"""
    SELECT {_TOLD}, false AS takes_part, false AS follows
      FROM collab.notifications AS told
     WHERE told.user_id = $1
       AND told.topic = ANY($2::text[])
       AND told.seq IS NOT NULL
     ORDER BY told.seq
     LIMIT $3
       FOR UPDATE OF told
"""

_SETTLE = """
    DELETE FROM collab.reviews
     WHERE id = ANY($1::bigint[])
"""

# Those who see the last notification of a notice go, one after the other, drop the notice.
_HOLD_NOTICES = """
    SELECT
      FROM collab.notices
     WHERE id = ANY($1::uuid[])
     ORDER BY id
       FOR UPDATE
"""

_REMOVE = """
    DELETE FROM collab.notifications
     WHERE id = ANY($1::uuid[])
"""

_DROP_NOTICES = """
    DELETE FROM collab.notices
     WHERE id = ANY($1::uuid[])
       AND NOT EXISTS (SELECT FROM collab.notifications WHERE notice_id = notices.id)
"""

# What the reader was told stands in the log of the inbox as well; late devices need not learn it any more.
_BURY_IN_LOG = """
    UPDATE collab.events
       SET data = ((data::jsonb - 'notice') || jsonb_build_object(
               'notification', (data::jsonb -> 'notification') || '{"text":"","viewState":null}'
           ))::text
     WHERE topic_id = $1
       AND seq = ANY($2::bigint[])
       AND type = 'notification.added'
"""

_TELL_OTHERWISE = """
    UPDATE collab.notifications
       SET seq = NULL,
           kind = $2,
           why = $3,
           through = NULL,
           is_permitted = is_permitted OR seq IS NOT NULL
     WHERE id = ANY($1::uuid[])
"""

_TAKE_BACK = """
    UPDATE collab.notifications
       SET seq = NULL,
           is_permitted = false,
           refusals = 1,
           ask_at = now() + interval '5 seconds',
           taken_back_at = now()
     WHERE id = ANY($1::uuid[])
"""

_UNTELL = """
    DELETE FROM collab.tellings
     WHERE notification_id = ANY($1::uuid[])
"""

_TOLD_OF = """
    SELECT name
      FROM unnest($2::text[]) AS name
     WHERE EXISTS (
           SELECT
             FROM collab.notifications
            WHERE user_id = $1
              AND topic = name
              AND seq IS NOT NULL
           )
"""

_UNREAD_TOPICS = """
    SELECT topic
      FROM collab.notifications
     WHERE user_id = $1
       AND seq IS NOT NULL
       AND read_at IS NULL
       AND starts_with(topic, 'content:')
     GROUP BY topic
     ORDER BY max(seq) DESC
     LIMIT $2
"""

_STALE = f"""
    WITH people AS MATERIALIZED (
        SELECT DISTINCT user_id
          FROM collab.notifications
         WHERE user_id > $1
           AND seq IS NOT NULL
           AND read_at IS NULL
         ORDER BY user_id
         LIMIT $2
    ),
    asked AS (
        INSERT INTO collab.reviews (user_id, topic)
        SELECT DISTINCT told.user_id, told.topic
          FROM people
          JOIN collab.notifications AS told
            ON told.user_id = people.user_id
           AND told.seq IS NOT NULL
           AND told.read_at IS NULL
          LEFT JOIN collab.comments AS comment
            ON comment.id = told.comment_id
         WHERE {_IS_GONE}
           AND NOT EXISTS (
               SELECT
                 FROM collab.reviews AS review
                WHERE review.user_id = told.user_id
                  AND review.topic = told.topic
               )
    )
    SELECT max(user_id)
      FROM people
"""


@dataclass(frozen=True, slots=True)
class Told:
    """A notification that is not to be in its reader's inbox: where it stands there, None where it waits.

    `by` is the JSON text of who has caused it; `takes_part` and `follows` say that its reader is to know of the comment
    all the same, as one who takes part in the thread or follows it.
    """

    id: UUID
    seq: int | None
    is_read: bool
    by: JsonText
    notice_id: UUID | None
    takes_part: bool
    follows: bool


async def ask_of_comment(
    tx: Transaction, comment_id: UUID, mentions_lost: Sequence[str] | None = None
) -> None:
    """Let whoever was told of a comment be looked at: all, or only those whom these mentions, user or group ids, have
    reached. They are recorded for after COMMIT."""
    rows = await tx.fetch(_ASK_OF_COMMENT, comment_id, mentions_lost)
    _record(tx, (row["user_id"] for row in rows))


async def ask_of_topic(tx: Transaction, user_ids: Iterable[str], topic: str) -> None:
    """Let all be looked at that these users were told of a topic. They are recorded for after COMMIT."""
    users = list(user_ids)
    await tx.execute(_ASK_OF_TOPIC, users, topic)
    _record(tx, users)


async def ask_of_stale(tx: Transaction, after: str, *, users: int) -> str | None:
    """Let whatever is unread and should not be looked at, of so many users beyond an id; the last one's, None where
    there was none. Nodes of the version before ask for no review."""
    last: str | None = await tx.fetchval(_STALE, after, users)
    return last


def _record(tx: Transaction, users: Iterable[str]) -> None:
    found = tuple(dict.fromkeys(users))
    if found:
        tx.recorded.append(Notified(found, is_permitted=True))


async def gone(tx: Transaction, user_id: str, review_ids: Sequence[int]) -> list[Told]:
    """What these reviews of a user find that is not to be in the inbox, locked, at most `AT_ONCE`."""
    return [_told(row) for row in await tx.fetch(_GONE, user_id, review_ids, AT_ONCE)]


async def lost(tx: Transaction, user_id: str, topics: Sequence[str]) -> list[Told]:
    """What a user's inbox has of these topics, locked, at most `AT_ONCE`."""
    return [_told(row) for row in await tx.fetch(_LOST, user_id, topics, AT_ONCE)]


def _told(row: Any) -> Told:
    return Told(
        row["id"],
        row["seq"],
        row["is_read"],
        row["by_user"],
        row["notice_id"],
        bool(row["takes_part"]),
        bool(row["follows"]),
    )


async def settle(tx: Transaction, review_ids: Sequence[int]) -> None:
    """These reviews are done."""
    await tx.execute(_SETTLE, review_ids)


async def remove(tx: Transaction, inbox_id: int, told: Sequence[Told]) -> None:
    """Take notifications out of an inbox for good, with their words, wherever these stand."""
    ids = [one.id for one in told]
    notice_ids = list({one.notice_id for one in told if one.notice_id is not None})
    if notice_ids:
        await tx.execute(_HOLD_NOTICES, notice_ids)
    await tx.execute(_REMOVE, ids)
    if notice_ids:
        await tx.execute(_DROP_NOTICES, notice_ids)
    await _bury(tx, inbox_id, told)


async def tell_otherwise(tx: Transaction, inbox_id: int, told: Sequence[Told], reason: Reason) -> None:
    """Let notifications wait again, to be put into the inbox for another reason."""
    await tx.execute(_TELL_OTHERWISE, [one.id for one in told], reason.kind, reason.why)
    await _bury(tx, inbox_id, told)


async def take_back(tx: Transaction, inbox_id: int, told: Sequence[Told]) -> None:
    """Let notifications wait again until Library says that their reader may know of them."""
    ids = [one.id for one in told]
    await tx.execute(_TAKE_BACK, ids)
    await tx.execute(_UNTELL, ids)
    await _bury(tx, inbox_id, told)


async def _bury(tx: Transaction, inbox_id: int, told: Sequence[Told]) -> None:
    if seqs := [one.seq for one in told if one.seq is not None]:
        await tx.execute(_BURY_IN_LOG, inbox_id, seqs)


async def told_of(db: Reads, user_id: str, topics: Sequence[str]) -> list[str]:
    """Those of these topics of which something is in a user's inbox."""
    return [row["name"] for row in await db.fetch(_TOLD_OF, user_id, topics)]


async def unread_topics(db: Reads, user_id: str, limit: int) -> list[str]:
    """The content topics of which something unread is in a user's inbox, the latest first, at most so many."""
    return [row["topic"] for row in await db.fetch(_UNREAD_TOPICS, user_id, limit)]
