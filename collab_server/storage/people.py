"""What people are called today, as rows: kept at their sign-ins, and shown by whatever is read.

What is stored elsewhere with somebody's name keeps the name of then: authors, members, events.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from collab_server.domain.comments import NO_MENTIONS, Comment
from collab_server.domain.inbox import Notification
from collab_server.domain.jsontext import dumps
from collab_server.domain.people import User
from collab_server.storage.database import Reads, Transaction

__all__ = ["Met", "comments_today", "named", "notifications_today", "store"]

# Who is called as before is not written again.
_STORE = """
    INSERT INTO collab.people AS known (user_id, name, initials, known_at)
    SELECT met.user_id, met.name, met.initials, met.known_at
      FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[])
           AS met (user_id, name, initials, known_at)
     WHERE NOT EXISTS (
           SELECT
             FROM collab.people AS same
            WHERE same.user_id = met.user_id
              AND same.name = met.name
              AND same.initials = met.initials
           )
     ORDER BY met.user_id
        ON CONFLICT (user_id) DO UPDATE
       SET name = EXCLUDED.name,
           initials = EXCLUDED.initials,
           known_at = EXCLUDED.known_at
     WHERE known.known_at < EXCLUDED.known_at
"""

_NAMED = """
    SELECT user_id, name, initials
      FROM collab.people
     WHERE user_id = ANY($1::text[])
"""


@dataclass(frozen=True, slots=True)
class Met:
    """Somebody who has signed in, and when they were said to be called so."""

    user: User
    at: datetime


async def store(tx: Transaction, met: Sequence[Met]) -> None:
    """Keep what these are called, each once, unless something later is kept."""
    users = [one.user for one in met]
    columns = ([user.id for user in users], [user.name for user in users], [user.initials for user in users])
    await tx.execute(_STORE, *columns, [one.at for one in met])


async def named(db: Reads, ids: Collection[str]) -> Mapping[str, User]:
    """Those of these people who have signed in, by id, as they are called today."""
    if not ids:
        return {}
    rows = await db.fetch(_NAMED, list(ids))
    return {row["user_id"]: User(row["user_id"], row["name"], row["initials"]) for row in rows}


async def comments_today(db: Reads, comments: Sequence[Comment]) -> list[Comment]:
    """The comments with today's names: of authors, of people mentioned, of those who resolved. One query."""
    ids: set[str] = set()
    for comment in comments:
        ids.add(comment.author.id)
        ids.update(mention["id"] for mention in _mentions(comment))
        if comment.resolved is not None:
            ids.add(json.loads(comment.resolved)["by"]["id"])
    known = await named(db, ids)
    return [_comment_today(comment, known) for comment in comments]


def _comment_today(comment: Comment, known: Mapping[str, User]) -> Comment:
    mentions, resolved = comment.mentions, comment.resolved
    if any(mention["id"] in known for mention in _mentions(comment)):
        mentions = dumps(
            [
                {**mention, "name": known[mention["id"]].name} if mention["id"] in known else mention
                for mention in _mentions(comment)
            ]
        )
    if resolved is not None:
        said = json.loads(resolved)
        resolved = dumps({**said, "by": _wire_today(said["by"], known)})
    author = known.get(comment.author.id, comment.author)
    return replace(comment, author=author, mentions=mentions, resolved=resolved)


def _mentions(comment: Comment) -> Iterable[dict[str, str]]:
    if comment.mentions == NO_MENTIONS:
        return ()
    mentions: list[dict[str, str]] = json.loads(comment.mentions)
    return mentions


async def notifications_today(db: Reads, notifications: Sequence[Notification]) -> list[Notification]:
    """The notifications with today's names of those who have caused them. One query."""
    by = [json.loads(notification.by) for notification in notifications]
    known = await named(db, {person["id"] for person in by})
    return [
        replace(notification, by=dumps(_wire_today(person, known)))
        for notification, person in zip(notifications, by, strict=True)
    ]


def _wire_today(person: dict[str, str], known: Mapping[str, User]) -> dict[str, str]:
    user = known.get(person["id"])
    return person if user is None else user.as_wire()
