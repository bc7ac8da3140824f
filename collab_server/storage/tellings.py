"""Tellings as rows: what is to be told by which channel, and when it is tried again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from collab_server.domain.people import User
from collab_server.ports import Telling
from collab_server.storage.database import Transaction

__all__ = ["JOB", "due", "forget_abandoned", "later", "store", "told"]

JOB = "tell."
"""What the names of the jobs that tell begin with; the channel follows."""

_STORE = """
    INSERT INTO collab.tellings (notification_id, channel)
    SELECT notification_id, channel
      FROM unnest($1::uuid[]) AS notification_id, unnest($2::text[]) AS channel
        ON CONFLICT DO NOTHING
"""

_DUE = """
    SELECT notification.id, notification.user_id, notification.kind, notification.topic, notification.comment_id,
           notification.by_user, notification.why,
           CASE WHEN comment.edited_at <> notification.created_at THEN ''
                ELSE COALESCE(notice.text, notification.text)
            END AS text,
           notification.created_at, notification.read_at IS NOT NULL AS is_read, telling.tries
      FROM collab.tellings AS telling
      JOIN collab.notifications AS notification
        ON notification.id = telling.notification_id
      LEFT JOIN collab.notices AS notice
        ON notice.id = notification.notice_id
      LEFT JOIN collab.comments AS comment
        ON comment.id = notification.comment_id
     WHERE telling.channel = $1
       AND telling.due_at <= now()
     ORDER BY telling.due_at
     LIMIT $2
"""

_TOLD = """
    DELETE FROM collab.tellings
     WHERE channel = $1
       AND notification_id = $2
"""

_LATER = """
    UPDATE collab.tellings
       SET tries = tries + 1,
           due_at = now() + least(interval '10 seconds' * power(2, least(tries, 16)), interval '6 hours')
     WHERE channel = $1
       AND notification_id = $2
"""

_FORGET = """
    DELETE FROM collab.tellings
     WHERE (notification_id, channel) IN (
           SELECT notification_id, channel
             FROM collab.tellings
            WHERE channel <> ALL ($1::text[])
              AND due_at < now() - interval '1 day'
              AND NOT EXISTS (
                  SELECT
                    FROM collab.jobs
                   WHERE name = $2 || channel
                     AND (leased_until > now() OR done_at > now() - interval '1 day')
                  )
            LIMIT $3
           )
 RETURNING true
"""


async def store(tx: Transaction, ids: Sequence[UUID], channels: Sequence[str]) -> None:
    """These notifications are to be told by each of these channels."""
    await tx.execute(_STORE, ids, channels)


async def due(tx: Transaction, channel: str, most: int) -> list[tuple[Telling, bool, int]]:
    """What the channel has to tell now, the longest due first: each with whether its reader has read it already, and
    how often it was tried in vain.
    """
    return [
        (
            Telling(
                id=str(row["id"]),
                user_id=row["user_id"],
                kind=row["kind"],
                topic=row["topic"],
                comment_id=None if row["comment_id"] is None else str(row["comment_id"]),
                by=_user(row["by_user"]),
                text=row["text"],
                why=row["why"],
                at=row["created_at"],
            ),
            row["is_read"],
            row["tries"],
        )
        for row in await tx.fetch(_DUE, channel, most)
    ]


async def told(tx: Transaction, channel: str, id: str) -> None:
    """It need not be told any more."""
    await tx.execute(_TOLD, channel, UUID(id))


async def later(tx: Transaction, channel: str, id: str) -> None:
    """It could not be told: try again after 10 s, and after twice as long each time, 6 h at the most."""
    await tx.execute(_LATER, channel, UUID(id))


async def forget_abandoned(tx: Transaction, channels: Sequence[str], *, at_most: int = 5000) -> int:
    """Drop what has been due for a day by a channel that is none of these, and that no node has told by for a day: at
    most so much at once; returns how much it was.
    """
    return len(await tx.fetch(_FORGET, list(channels), JOB, at_most))


def _user(text: str) -> User:
    by = json.loads(text)
    return User(by["id"], by["name"], by["initials"])
