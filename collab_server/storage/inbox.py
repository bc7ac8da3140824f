"""Notifications as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from collab_server.domain.ids import uuid7
from collab_server.domain.inbox import Notice, Notification, Notified, Reason, told_of
from collab_server.domain.jsontext import JsonText, json_object
from collab_server.storage import notices
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.event_log import PAGE_BYTES
from collab_server.storage.notices import Words
from collab_server.storage.reading import IS_MUTED
from collab_server.storage.thread_marks import is_marked_sql
from collab_server.storage.topics import head_sql

_STORE = f"""
    INSERT INTO collab.notifications (
        id, user_id, kind, why, cause, topic, topic_seq, comment_id, by_user, text, view_state, is_permitted,
        created_at, notice_id, through
    )
    SELECT told.id, told.user_id, told.kind, told.why, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, told.through
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $15::text[])
           AS told (id, user_id, kind, why, through)
     WHERE NOT {is_marked_sql("$16::uuid", "told.user_id", "false")}
       AND (
           NOT EXISTS (
           SELECT
             FROM collab.read_marks AS mark
             JOIN collab.topics AS topic
               ON topic.id = mark.topic_id
            WHERE mark.user_id = told.user_id
              AND topic.name = $6
              AND {IS_MUTED}
           )
           OR {is_marked_sql("$16::uuid", "told.user_id", "true")}
           )
        ON CONFLICT (user_id, cause) DO NOTHING
 RETURNING user_id
"""

BEGINNING_CHARACTERS = 2000
"""In so many of a text is all that is told of it, and what tells where that is cut."""
SENDERS_ROWS = 20
"""Of so many of a sender's latest notifications for somebody Library is asked at a time; so many wait after a no."""
SENDER = "(by_user::json ->> 'id')"

# Of each sender the latest first, so that nobody waits behind what others have sent.
_DUE = f"""
    SELECT topic, sender
      FROM (SELECT topic, {SENDER} AS sender, created_at,
                   row_number() OVER (PARTITION BY {SENDER} ORDER BY created_at DESC, id DESC) AS place
              FROM collab.notifications
             WHERE user_id = $1
               AND seq IS NULL
               AND NOT is_permitted
               AND (ask_at IS NULL OR ask_at <= now())
           ) AS due
     WHERE place <= $2
     ORDER BY place, created_at DESC
     LIMIT $3
"""

# Only what is due: nodes may be told the same at the same time.
_REFUSE = """
    UPDATE collab.notifications
       SET refusals = refusals + 1,
           ask_at = now() + least(interval '5 seconds' * power(2, least(refusals, 16)), interval '6 hours')
     WHERE user_id = $1
       AND seq IS NULL
       AND NOT is_permitted
       AND (ask_at IS NULL OR ask_at <= now())
       AND topic = ANY($2::text[])
"""

_KEEP_LATEST = f"""
    DELETE FROM collab.notifications
     WHERE id IN (
           SELECT id
             FROM (SELECT id,
                          row_number() OVER (PARTITION BY {SENDER} ORDER BY created_at DESC, id DESC) AS place
                     FROM collab.notifications
                    WHERE user_id = $1
                      AND seq IS NULL
                      AND NOT is_permitted
                      AND taken_back_at IS NULL
                      AND {SENDER} = ANY($2::text[])
                  ) AS waiting
            WHERE place > $3
           )
"""

_FORGET_REFUSED = """
    DELETE FROM collab.notifications
     WHERE ctid IN (
           SELECT ctid
             FROM collab.notifications
            WHERE seq IS NULL
              AND refusals > 0
              AND created_at < now() - interval '30 days'
              AND COALESCE(taken_back_at, created_at) < now() - interval '30 days'
            LIMIT $1
           )
 RETURNING true
"""

_PENDING = """
    (
    SELECT id, NULL::bigint AS review_id
      FROM collab.notifications
     WHERE user_id = $1
       AND seq IS NULL
       AND (is_permitted OR topic = ANY($2::text[]))
     ORDER BY created_at, id
     LIMIT $3
    )
     UNION ALL
    (
    SELECT NULL, id
      FROM collab.reviews
     WHERE user_id = $1
     ORDER BY id
     LIMIT $3
    )
"""

# What is told of a comment bears the time of the text that it was made of: whichever node's clock gave it, a later text
# has another.
_OF_COMMENT = """
    (SELECT thread_id FROM collab.comments WHERE id = told.comment_id) AS thread_id,
    COALESCE((SELECT edited_at <> told.created_at FROM collab.comments WHERE id = told.comment_id), false)
        AS is_outdated
"""

_TAKE = f"""
    SELECT told.id, kind, topic, told.comment_id, {_OF_COMMENT}, by_user,
           COALESCE(notice.text, told.text) AS text, why,
           COALESCE(notice.view_state, told.view_state) AS view_state, told.created_at, read_at, notice_id
      FROM collab.notifications AS told
      LEFT JOIN collab.notices AS notice
        ON notice.id = told.notice_id
     WHERE told.id = ANY($1::uuid[])
       AND seq IS NULL
     ORDER BY told.created_at, told.id
       FOR UPDATE OF told
"""

_PUT = """
    UPDATE collab.notifications
       SET seq = $2
     WHERE id = $1
"""

# One look for each of the connected: there are many, and much may wait for some.
_UNDELIVERED = """
    SELECT user_id
      FROM collab.notifications
     WHERE seq IS NULL
       AND is_permitted
     UNION
    SELECT asked.user_id
      FROM unnest($1::text[]) AS asked (user_id)
     CROSS JOIN LATERAL (
           SELECT
             FROM collab.notifications AS waiting
            WHERE waiting.user_id = asked.user_id
              AND waiting.seq IS NULL
              AND (waiting.ask_at IS NULL OR waiting.ask_at <= now())
            LIMIT 1
           ) AS one
     UNION
    SELECT user_id
      FROM collab.reviews
     LIMIT $2
"""

_UNREAD = """
    SELECT count(*)
      FROM collab.notifications
     WHERE user_id = $1
       AND seq IS NOT NULL
       AND read_at IS NULL
"""

_COUNTED = f"""
    SELECT {head_sql("'inbox:' || $1::text")} AS seq, ({_UNREAD}) AS unread
"""

_READ_BY_ID = """
    UPDATE collab.notifications
       SET read_at = $3
     WHERE user_id = $1
       AND id = ANY($2::uuid[])
       AND seq IS NOT NULL
       AND read_at IS NULL
 RETURNING id
"""

_READ_UP_TO = """
    UPDATE collab.notifications
       SET read_at = $3
     WHERE user_id = $1
       AND seq <= $2
       AND read_at IS NULL
 RETURNING id
"""

_READ_OF_TOPIC = """
    UPDATE collab.notifications
       SET read_at = $4,
           ask_at = NULL
     WHERE user_id = $1
       AND topic = $2
       AND (topic_seq <= $3 OR topic_seq IS NULL)
       AND read_at IS NULL
 RETURNING id, seq
"""

_OUTDATED = """
    SELECT told.place
      FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS told (comment_id, created_at, place)
      JOIN collab.comments AS comment
        ON comment.id = told.comment_id
     WHERE comment.edited_at <> told.created_at
"""

# Of what is formatted the whole body has to be read for its beginning: only so much of that at once.
_SAID_NOW = """
    SELECT comment.id,
           left(comment.text, $3) AS text,
           CASE WHEN sum(octet_length(comment.body)) OVER (ORDER BY comment.id) <= $4 THEN comment.body END AS body
      FROM collab.comments AS comment
      LEFT JOIN collab.discussions AS discussion
        ON discussion.topic_id = comment.topic_id
     WHERE comment.id = ANY($2::uuid[])
       AND (discussion.id IS NULL
            OR (discussion.deleted_at IS NULL
                AND EXISTS (
                    SELECT
                      FROM collab.members AS member
                     WHERE member.discussion_id = discussion.id
                       AND member.user_id = $1
                    )))
"""

_THREAD_PEOPLE = """
    SELECT thread_id, user_id, bool_or(takes_part) AS takes_part
      FROM (SELECT thread_id, author_id AS user_id, true AS takes_part
              FROM collab.comments
             WHERE thread_id = ANY($1::uuid[])
             UNION ALL
            SELECT thread_id, user_id, false
              FROM collab.thread_marks
             WHERE thread_id = ANY($1::uuid[])
               AND is_followed
           ) AS person
     GROUP BY thread_id, user_id
"""


async def store(tx: Transaction, notice: Notice, told: Mapping[str, Reason], *, is_permitted: bool) -> None:
    """Store a notice for these users (by id), except who has muted its topic or its thread (what is chosen for the
    thread goes before), or was told of its cause before.

    They are recorded for delivery after COMMIT. No inbox is locked. What many are told is stored once.
    """
    if not told:
        return
    words, notice_id = Words(notice.text, notice.view_state), None
    is_worth_it = len(told) > 1 and len(words.text) + len(words.view_state or "") >= notices.WORTH_BYTES
    if is_worth_it and await notices.may_be_made(tx):
        notice_id = uuid7()
        await notices.store(tx, notice_id, notice.comment_id, words, notice.created_at)
        words = Words("", None)
    rows = await tx.fetch(
        _STORE,
        [uuid7() for _ in told],
        list(told),
        [reason.kind for reason in told.values()],
        [reason.why for reason in told.values()],
        notice.cause,
        notice.topic,
        notice.topic_seq,
        notice.comment_id,
        notice.by,
        words.text,
        words.view_state,
        is_permitted,
        notice.created_at,
        notice_id,
        [reason.through or None for reason in told.values()],
        notice.thread_id,
    )
    if rows:
        tx.recorded.append(Notified(tuple(row["user_id"] for row in rows), is_permitted))


@dataclass(frozen=True, slots=True)
class Due:
    """That Library is to be asked whether somebody may know of a topic, for the sake of what this sender has sent."""

    topic: str
    sender_id: str


async def due(db: Reads, user_id: str, limit: int) -> list[Due]:
    """What to ask Library about for what waits for a user, at most `limit`: of each sender the latest, those first."""
    rows = await db.fetch(_DUE, user_id, SENDERS_ROWS, limit)
    return [Due(row["topic"], row["sender"]) for row in rows]


async def refuse(tx: Transaction, user_id: str, topics: Sequence[str]) -> None:
    """Library says that the user may not open these topics: ask again later, the later the more often it has."""
    await tx.execute(_REFUSE, user_id, topics)


async def keep_latest(tx: Transaction, user_id: str, senders: Sequence[str]) -> None:
    """Of these senders, of whom the user may know nothing, only the latest go on waiting."""
    await tx.execute(_KEEP_LATEST, user_id, senders, SENDERS_ROWS)


async def stored_data(tx: Transaction, notification: Notification) -> JsonText | None:
    """What the event that brings a notification stores where it names its notice; None where it has the words."""
    if notification.notice_id is None or not await notices.may_be_made(tx):
        return None
    return notices.naming(notification.notice_id, json_object(notification=notification.without_words()))


async def forget_refused(tx: Transaction, *, at_most: int = 5000) -> int:
    """Remove what has waited for 30 days, and Library has said no, at most so much at once; returns how much it was."""
    forgotten = len(await tx.fetch(_FORGET_REFUSED, at_most))
    return forgotten + await notices.forget_unused(tx, at_most=at_most)


@dataclass(frozen=True, slots=True)
class Pending:
    """What is to be done in an inbox: ids of notifications to be delivered, and of reviews, oldest first."""

    ids: Sequence[UUID] = ()
    review_ids: Sequence[int] = ()


async def pending(db: Reads, user_id: str, permitted_topics: Sequence[str], limit: int) -> Pending:
    """What waits and can be delivered, given the topics that the user may open; what is to be looked at again."""
    rows = await db.fetch(_PENDING, user_id, permitted_topics, limit)
    return Pending(
        [row["id"] for row in rows if row["id"] is not None],
        [row["review_id"] for row in rows if row["review_id"] is not None],
    )


async def take(tx: Transaction, ids: Sequence[UUID]) -> list[Notification]:
    """Those of these notifications that still wait, locked; `seq` is 0."""
    return [_notification(row, seq=0) for row in await tx.fetch(_TAKE, ids)]


async def put(tx: Transaction, id: UUID, seq: int) -> None:
    """The notification has this `seq` in its inbox."""
    await tx.execute(_PUT, id, seq)


async def undelivered(db: Reads, connected: Sequence[str], limit: int) -> list[str]:
    """Users for whom something waits that can be delivered or looked at, or whose right to know can be settled here."""
    return [row["user_id"] for row in await db.fetch(_UNDELIVERED, connected, limit)]


async def unread(source: Reads, user_id: str) -> int:
    """The badge: how many notifications in the inbox are not read."""
    count: int = await source.fetchval(_UNREAD, user_id)
    return count


async def counted(db: Reads, user_id: str) -> tuple[int, int]:
    """The `seq` of the inbox's last event, and the badge as all events up to it have left it."""
    row = await db.fetchrow(_COUNTED, user_id)
    assert row is not None
    return row["seq"], row["unread"]


async def read_by_id(tx: Transaction, user_id: str, ids: Sequence[UUID], at: datetime) -> list[UUID]:
    """Mark notifications of the user read; returns those that were not."""
    return [row["id"] for row in await tx.fetch(_READ_BY_ID, user_id, ids, at)]


async def read_up_to(tx: Transaction, user_id: str, seq: int, at: datetime) -> list[UUID]:
    """Mark everything up to a `seq` of the inbox read; returns those that were not."""
    return [row["id"] for row in await tx.fetch(_READ_UP_TO, user_id, seq, at)]


async def read_of_topic(tx: Transaction, user_id: str, topic: str, seq: int, at: datetime) -> list[UUID]:
    """Mark read what the topic told up to its `seq`, waiting ones too; returns those that the inbox showed unread."""
    rows = await tx.fetch(_READ_OF_TOPIC, user_id, topic, seq, at)
    return [row["id"] for row in rows if row["seq"] is not None]


async def outdated(db: Reads, told: Sequence[tuple[UUID, datetime]]) -> set[int]:
    """Which of these, by their places from 0 on, are outdated: comments, and the `created_at` of what is told of them.
    See `Notification`."""
    ids, times = [id for id, _ in told], [at for _, at in told]
    return {row["place"] - 1 for row in await db.fetch(_OUTDATED, ids, times)}


async def said_now(db: Reads, user_id: str, comment_ids: Sequence[UUID]) -> dict[UUID, str]:
    """What is told of these comments by what they say now. Those of discussions that the user is no member of, or that
    are over, are left out; for dashboards Library has to be asked before.

    Where very much of it is formatted, some is as it was written.
    """
    rows = await db.fetch(_SAID_NOW, user_id, comment_ids, BEGINNING_CHARACTERS, PAGE_BYTES)
    return {row["id"]: told_of(row["text"], row["body"]) for row in rows}


async def thread_people(tx: Transaction, thread_ids: Sequence[UUID]) -> dict[UUID, dict[str, bool]]:
    """The user ids of those who have written in each of these threads, or follow it: whether they take part."""
    people: dict[UUID, dict[str, bool]] = {}
    for row in await tx.fetch(_THREAD_PEOPLE, thread_ids):
        people.setdefault(row["thread_id"], {})[row["user_id"]] = row["takes_part"]
    return people


async def listed(
    db: Reads,
    user_id: str,
    *,
    is_unread: bool | None,
    kind: str | None,
    before: int | None,
    limit: int,
    most_bytes: int = PAGE_BYTES,
) -> tuple[int, list[Notification]]:
    """A user's notifications, the latest first, from before a `seq` on, at most `limit`; those that begin within
    `most_bytes` of text and view state, and one more.

    Before them the `seq` of the inbox's last event: they are as all events up to it have left them.
    """
    arguments: list[Any] = [user_id]
    conditions = ["user_id = $1", "seq IS NOT NULL"]
    if is_unread is not None:
        conditions.append("read_at IS NULL" if is_unread else "read_at IS NOT NULL")
    if kind is not None:
        arguments.append(kind)
        conditions.append(f"kind = ${len(arguments)}")
    if before is not None:
        arguments.append(before)
        conditions.append(f"seq < ${len(arguments)}")
    arguments.append(limit)
    sql = f"""
        SELECT told.id, kind, topic, told.comment_id, {_OF_COMMENT}, by_user,
               COALESCE(notice.text, told.text) AS text, why,
               COALESCE(notice.view_state, told.view_state) AS view_state, told.created_at, read_at, seq, notice_id
          FROM collab.notifications AS told
          LEFT JOIN collab.notices AS notice
            ON notice.id = told.notice_id
         WHERE {" AND ".join(conditions)}
         ORDER BY seq DESC
         LIMIT ${len(arguments)}
    """
    arguments.append(most_bytes)
    sql = f"""
        SELECT head, measured.*
          FROM (SELECT {head_sql("'inbox:' || $1::text")} AS head) AS now
          LEFT JOIN (
                SELECT page.*,
                       sum(octet_length(text) + COALESCE(octet_length(view_state), 0)) OVER (
                           ORDER BY seq DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
                       ) AS bytes_before
                  FROM ({sql}) AS page
               ) AS measured
            ON COALESCE(bytes_before, 0) < ${len(arguments)}
         ORDER BY seq DESC
    """
    rows = await db.fetch(sql, *arguments)
    return rows[0]["head"], [_notification(row, seq=row["seq"]) for row in rows if row["id"] is not None]


def _notification(row: Any, *, seq: int) -> Notification:
    return Notification(
        id=row["id"],
        seq=seq,
        kind=row["kind"],
        topic=row["topic"],
        comment_id=row["comment_id"],
        thread_id=row["thread_id"],
        by=row["by_user"],
        text=row["text"],
        why=row["why"],
        view_state=row["view_state"],
        created_at=row["created_at"],
        read_at=row["read_at"],
        notice_id=row["notice_id"],
        is_outdated=row["is_outdated"],
    )
