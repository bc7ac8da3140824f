"""Notices: what many people are told, stored once.

A notification in a person's inbox, and the event that brings it, then name the notice instead of holding its words:
the event's data is `{"notice":"ID","notification":{…}}` with null for them. Whoever reads puts them in.

A node of a version that knows no notices would show null. So one is made only where no such node has a connection to
the database; the others say `KNOWN_BY` in the names of theirs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from collab_server.domain.jsontext import NULL, JsonText, json_filled, json_in_front, json_object, json_string
from collab_server.storage.database import Reads, Transaction

KNOWN_BY = "+notices"
"""What stands behind the name of a node that knows notices, in the name of its connections."""
WORTH_BYTES = 100
"""Less than this is not worth a notice."""

_IS_UNKNOWN_TO_SOME = """
    SELECT EXISTS (
           SELECT
             FROM pg_stat_activity
            WHERE datname = current_database()
              AND application_name LIKE 'collab %'
              AND application_name NOT LIKE $1
           )
"""

_STORE = """
    INSERT INTO collab.notices (id, comment_id, text, view_state, created_at)
    VALUES ($1, $2, $3, $4, $5)
"""

_READ = """
    SELECT id, text, view_state
      FROM collab.notices
     WHERE id = ANY($1::uuid[])
"""

_SIZES = """
    SELECT id, octet_length(text) + COALESCE(octet_length(view_state), 0) AS bytes
      FROM collab.notices
     WHERE id = ANY($1::uuid[])
"""

_FORGET = """
    DELETE FROM collab.notices
     WHERE id IN (
           SELECT id
             FROM collab.notices AS notice
            WHERE created_at BETWEEN now() - interval '60 days' AND now() - interval '31 days'
              AND NOT EXISTS (SELECT FROM collab.notifications WHERE notice_id = notice.id)
            LIMIT $1
           )
 RETURNING true
"""

_START = json_object(notice=NULL).partition(":")[0]
_NAMED = re.compile(rf'{re.escape(_START)}: ?"([0-9a-f-]{{36}})", ?')


@dataclass(frozen=True, slots=True)
class Words:
    """The words of a notice."""

    text: str
    view_state: JsonText | None


async def may_be_made(tx: Transaction) -> bool:
    """Whether every node on this database knows notices."""
    return not await tx.fetchval(_IS_UNKNOWN_TO_SOME, f"%{KNOWN_BY}")


async def store(tx: Transaction, id: UUID, comment_id: UUID | None, words: Words, at: datetime) -> None:
    """Store a notice; `comment_id` is the comment whose deletion takes the words."""
    await tx.execute(_STORE, id, comment_id, words.text, words.view_state, at)


async def forget_unused(tx: Transaction, *, at_most: int) -> int:
    """Remove those that nobody has to be told any more, at most so many; returns how many it was."""
    return len(await tx.fetch(_FORGET, at_most))


# --- in events


def naming(id: UUID, data: JsonText) -> JsonText:
    """The data to store of an event, given with null for the words: it names the notice."""
    return json_in_front(data, notice=json_string(str(id)))


async def with_words(db: Reads, rows: Sequence[Any], most_bytes: int | None = None) -> list[JsonText]:
    """The data of these events, rows of the log, as they are sent: where one names a notice, with its words. At most
    so many bytes of it, but at least one: the list ends before what is too much."""
    found = [_NAMED.match(row["data"]) if row["data"].startswith(_START) else None for row in rows]
    if not any(found):
        return [row["data"] for row in rows]
    named = [None if match is None else UUID(match[1]) for match in found]
    if most_bytes is not None:
        named = named[: await _how_many(db, rows, named, most_bytes)]
    words = await _read(db, {id for id in named if id is not None})
    return [
        row["data"]
        if match is None
        else _filled(JsonText("{" + row["data"][match.end() :]), words.get(UUID(match[1])))
        for row, match, _ in zip(rows, found, named, strict=False)
    ]


def _filled(data: JsonText, words: Words | None) -> JsonText:
    if words is None:
        words = Words("", None)
    return json_filled(data, text=json_string(words.text), viewState=words.view_state or NULL)


async def _how_many(db: Reads, rows: Sequence[Any], named: Sequence[UUID | None], most_bytes: int) -> int:
    sizes = {
        row["id"]: row["bytes"] for row in await db.fetch(_SIZES, [id for id in set(named) if id is not None])
    }
    bytes_left = most_bytes
    for number, (row, id) in enumerate(zip(rows, named, strict=True)):
        if bytes_left <= 0:
            return number
        bytes_left -= len(row["data"]) + (0 if id is None else sizes.get(id, 0))
    return len(rows)


async def _read(db: Reads, ids: Iterable[UUID]) -> Mapping[UUID, Words]:
    rows = await db.fetch(_READ, list(ids))
    return {row["id"]: Words(row["text"], row["view_state"]) for row in rows}
