"""Discussions and their members as rows. Whoever changes them has locked the discussion's topic."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from collab_server.domain.discussions import Discussion, Member
from collab_server.domain.people import User
from collab_server.storage import topics
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.event_log import PAGE_BYTES
from collab_server.storage.reading import IS_MUTED, unread_comments_sql
from collab_server.storage.topics import LockedTopic

_INSERT = """
    INSERT INTO collab.discussions (id, topic_id, name, owner_id, about_project, about_object, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
"""

_ADD_MEMBERS = """
    INSERT INTO collab.members (discussion_id, user_id, name, initials, joined_at)
    SELECT $1, added.user_id, added.name, added.initials, $5
      FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS added (user_id, name, initials, position)
     ORDER BY added.position
"""

_REMOVE_MEMBER = """
    DELETE FROM collab.members
     WHERE discussion_id = $1
       AND user_id = $2
"""

_RENAME = """
    UPDATE collab.discussions
       SET name = $2
     WHERE id = $1
"""

_HAND_OVER = """
    UPDATE collab.discussions
       SET owner_id = $2
     WHERE id = $1
"""

_DELETE = """
    UPDATE collab.discussions
       SET deleted_at = $2
     WHERE id = $1
"""

_GET = """
    SELECT discussion.id, discussion.name, discussion.owner_id, discussion.about_project,
           discussion.about_object, discussion.created_at, topic.last_seq,
           member.user_id, member.name AS member_name, member.initials, member.joined_at,
           COALESCE(person.name, member.name) AS name_today,
           COALESCE(person.initials, member.initials) AS initials_today
      FROM collab.discussions AS discussion
      JOIN collab.topics AS topic
        ON topic.id = discussion.topic_id
      JOIN collab.members AS member
        ON member.discussion_id = discussion.id
      LEFT JOIN collab.people AS person
        ON person.user_id = member.user_id
     WHERE discussion.id = $1
       AND discussion.deleted_at IS NULL
     ORDER BY member.joined_order
"""

_STANDING = """
    SELECT discussion.owner_id = $2 AS is_owner
      FROM collab.discussions AS discussion
      JOIN collab.members AS member
        ON member.discussion_id = discussion.id
     WHERE discussion.id = $1
       AND member.user_id = $2
       AND discussion.deleted_at IS NULL
"""

_THEIRS = """
    SELECT discussion.id
      FROM collab.members AS member
      JOIN collab.discussions AS discussion
        ON discussion.id = member.discussion_id
     WHERE member.discussion_id = ANY($1::uuid[])
       AND member.user_id = $2
       AND discussion.deleted_at IS NULL
"""

_MEMBER_IDS = """
    SELECT member.user_id
      FROM collab.members AS member
      JOIN collab.discussions AS discussion
        ON discussion.id = member.discussion_id
     WHERE member.discussion_id = $1
       AND discussion.deleted_at IS NULL
"""

MEMBER_BYTES = 104
MOST_READS = 3
"""Of one list."""

_LIST_ALL = f"""
    SELECT discussion.id, discussion.name, discussion.owner_id, discussion.about_project,
           discussion.about_object, discussion.created_at, topic.last_seq, topic.last_at, topic.id AS topic_id,
           {IS_MUTED} AS muted,
           {unread_comments_sql("topic.id", "$1")} AS unread
      FROM collab.members AS mine
      JOIN collab.discussions AS discussion
        ON discussion.id = mine.discussion_id
      JOIN collab.topics AS topic
        ON topic.id = discussion.topic_id
      LEFT JOIN collab.read_marks AS mark
        ON mark.user_id = $1
       AND mark.topic_id = topic.id
     WHERE mine.user_id = $1
       AND discussion.deleted_at IS NULL
       AND ($2::text IS NULL OR (discussion.about_project = $2 AND discussion.about_object = $3))
       AND ($4::timestamptz IS NULL OR (topic.last_at, topic.id) < ($4, $5::bigint))
     ORDER BY topic.last_at DESC, topic.id DESC
     LIMIT $6
"""
# Measured by their members, each with at least the bytes that the wire takes for it.
_LIST = f"""
    SELECT *
      FROM (SELECT page.*,
                   sum(size.bytes) OVER (
                       ORDER BY last_at DESC, topic_id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 2 PRECEDING
                   ) AS bytes_before
              FROM ({_LIST_ALL}) AS page
             CROSS JOIN LATERAL (
                   SELECT sum(octet_length(name) + {MEMBER_BYTES}) AS bytes
                     FROM collab.members
                    WHERE discussion_id = page.id
                   ) AS size
           ) AS measured
     WHERE COALESCE(bytes_before, 0) < $7
     ORDER BY last_at DESC, topic_id DESC
"""

_MEMBERS_OF = """
    SELECT member.discussion_id, member.user_id, COALESCE(person.name, member.name) AS name,
           COALESCE(person.initials, member.initials) AS initials, member.joined_at
      FROM collab.members AS member
      LEFT JOIN collab.people AS person
        ON person.user_id = member.user_id
     WHERE member.discussion_id = ANY($1::uuid[])
     ORDER BY member.joined_order
"""


_IS_THERE = """
    SELECT true
      FROM collab.discussions
     WHERE id = $1
       AND deleted_at IS NULL
"""


@dataclass(frozen=True, slots=True)
class Listed:
    """A discussion of a list, with the place in the list that it has."""

    discussion: Discussion
    last_at: datetime
    topic_id: int


async def insert(
    tx: Transaction,
    id: UUID,
    topic: LockedTopic,
    name: str,
    owner_id: str,
    about: tuple[str, str] | None,
    at: datetime,
) -> None:
    """Store a new discussion, without members yet."""
    project, content = about or (None, None)
    await tx.execute(_INSERT, id, topic.id, name, owner_id, project, content, at)


async def add_members(tx: Transaction, id: UUID, users: Sequence[User], at: datetime) -> None:
    """Add people who are no members yet, in this order."""
    columns = ([user.id for user in users], [user.name for user in users], [user.initials for user in users])
    await tx.execute(_ADD_MEMBERS, id, *columns, at)


async def remove_member(tx: Transaction, id: UUID, user_id: str) -> None:
    await tx.execute(_REMOVE_MEMBER, id, user_id)


async def rename(tx: Transaction, id: UUID, name: str) -> None:
    await tx.execute(_RENAME, id, name)


async def hand_over(tx: Transaction, id: UUID, owner_id: str) -> None:
    await tx.execute(_HAND_OVER, id, owner_id)


async def delete(tx: Transaction, id: UUID, at: datetime) -> None:
    """Mark the discussion as gone: nobody finds it any more."""
    await tx.execute(_DELETE, id, at)


async def get(source: Reads, id: UUID, *, is_today: bool = False) -> Discussion | None:
    """The discussion with its members, as they were called when they came or `is_today`, unless it was deleted."""
    rows = await source.fetch(_GET, id)
    if not rows:
        return None
    name, initials = ("name_today", "initials_today") if is_today else ("member_name", "initials")
    members = (Member(User(row["user_id"], row[name], row[initials]), row["joined_at"]) for row in rows)
    return _discussion(rows[0], members)


async def get_for(db: Reads, id: UUID, user_id: str) -> Discussion | None:
    """The discussion with what a member has not read of it, and whether they muted it; None for those who are no
    member any more, or when there is no such discussion."""
    discussion = await get(db, id, is_today=True)
    if discussion is None:
        return None
    [snapshot] = await topics.snapshots(db, [(discussion.topic.name, user_id)])
    if not snapshot.is_member:
        return None
    return replace(discussion, last_seq=snapshot.seq, unread=snapshot.unread, is_muted=snapshot.muted)


async def is_owner(source: Reads, id: UUID, user_id: str) -> bool | None:
    """Whether a member is the owner; None for those who are no member, or when there is no such discussion."""
    standing: bool | None = await source.fetchval(_STANDING, id, user_id)
    return standing


async def theirs(db: Reads, ids: Iterable[UUID], user_id: str) -> set[UUID]:
    """Those of these discussions that somebody is a member of, and that are not deleted."""
    return {row["id"] for row in await db.fetch(_THEIRS, list(ids), user_id)}


async def is_there(db: Reads, id: UUID) -> bool:
    """Whether there is such a discussion, and it is not deleted."""
    return bool(await db.fetchval(_IS_THERE, id))


async def member_ids(tx: Transaction, id: UUID) -> set[str]:
    """The members' user ids; none of a discussion that was deleted."""
    return {row["user_id"] for row in await tx.fetch(_MEMBER_IDS, id)}


async def listed(
    db: Reads,
    user_id: str,
    about: tuple[str, str] | None,
    before: tuple[datetime, int] | None,
    limit: int,
    most_bytes: int = PAGE_BYTES,
) -> list[Listed]:
    """A member's discussions, the latest active first, from `before` (a last activity and topic id) on.

    At most `limit`; those that begin within `most_bytes`, and one more.

    Two statements, whatever their number; both again where the person was put out of one of them in between, for who
    came after that is not for them.
    """
    for _ in range(MOST_READS):
        found = await _listed(db, user_id, about, before, limit, most_bytes)
        theirs = [one for one in found if any(member.user.id == user_id for member in one.discussion.members)]
        if len(theirs) == len(found):
            break
    return theirs


async def _listed(
    db: Reads,
    user_id: str,
    about: tuple[str, str] | None,
    before: tuple[datetime, int] | None,
    limit: int,
    most_bytes: int,
) -> list[Listed]:
    project, content = about or (None, None)
    last_at, topic_id = before or (None, None)
    rows = await db.fetch(_LIST, user_id, project, content, last_at, topic_id, limit, most_bytes)
    members: dict[UUID, list[Member]] = {row["id"]: [] for row in rows}
    for row in await db.fetch(_MEMBERS_OF, list(members)) if rows else ():
        user = User(row["user_id"], row["name"], row["initials"])
        members[row["discussion_id"]].append(Member(user, row["joined_at"]))
    return [
        Listed(
            _discussion(row, members[row["id"]], unread=row["unread"], is_muted=row["muted"]),
            row["last_at"],
            row["topic_id"],
        )
        for row in rows
    ]


def _discussion(
    row: Any, members: Iterable[Member], *, unread: int = 0, is_muted: bool = False
) -> Discussion:
    about = None if row["about_object"] is None else (row["about_project"], row["about_object"])
    return Discussion(
        id=row["id"],
        name=row["name"],
        owner_id=row["owner_id"],
        members=tuple(members),
        about=about,
        created_at=row["created_at"],
        last_seq=row["last_seq"],
        unread=unread,
        is_muted=is_muted,
    )
