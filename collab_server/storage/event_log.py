"""The event log: every topic's facts, numbered 1, 2, 3 … without gaps.

`append` takes a topic's next `seq` with an UPDATE, so the topic's row lock is held from there to COMMIT and the
commits of a topic happen in the order of their `seq`: whoever can read `seq` n can read all before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from collab_server.domain.events import Event, actor_text, event_of, identity_of
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import User
from collab_server.errors import Paused
from collab_server.storage import comment_seqs, notices
from collab_server.storage.database import Reads, Transaction
from collab_server.storage.topics import LockedTopic
from collab_server.telemetry import traces

_APPEND = """
    WITH topic AS (
        UPDATE collab.topics
           SET last_seq = last_seq + 1,
               comments = comments + $7,
               last_at = $3
         WHERE id = $1
     RETURNING last_seq
    )
    INSERT INTO collab.events (topic_id, seq, type, at, actor, data, comment_id)
    SELECT $1, last_seq, $2, $3, $4, $5, $6
      FROM topic
 RETURNING seq
"""

PAGE_BYTES = 500_000
"""How much data an answer with events holds: half of what may wait for a client that reads slowly."""

_READ = """
    SELECT seq, type, at, actor, data
      FROM (SELECT seq, type, at, actor, data,
                   sum(octet_length(data)) OVER (ORDER BY seq) - octet_length(data) AS bytes_before
              FROM (SELECT seq, type, at, actor, data
                      FROM collab.events
                     WHERE topic_id = $1
                       AND seq > $2
                       AND seq <= $3
                     ORDER BY seq
                     LIMIT $4
                   ) AS page
           ) AS measured
     WHERE bytes_before < $5
     ORDER BY seq
"""

_HEADS = """
    SELECT name, last_seq
      FROM collab.topics
     WHERE name = ANY($1::text[])
"""

_GAPS = """
    SELECT topic.name, event.seq, event.type, event.at, event.actor, event.data
      FROM unnest($1::text[], $2::bigint[]) AS gap (name, after)
      JOIN collab.topics AS topic
        ON topic.name = gap.name
     CROSS JOIN LATERAL (
           SELECT seq, type, at, actor, data
             FROM collab.events
            WHERE topic_id = topic.id
              AND seq > gap.after
            ORDER BY seq
            LIMIT $3
           ) AS event
"""

_LATEST = """
    SELECT topic.name, event.seq, event.type, event.at
      FROM (SELECT id, name, last_seq
              FROM collab.topics
             WHERE last_at IS NOT NULL
             ORDER BY last_at DESC
             LIMIT $1
           ) AS topic
      JOIN collab.events AS event
        ON event.topic_id = topic.id
       AND event.seq = topic.last_seq
"""

_FOUND = """
    SELECT topic.last_seq, event.type, event.at
      FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY AS claim (name, seq, position)
      LEFT JOIN LATERAL (
           SELECT id, last_seq
             FROM collab.topics
            WHERE name = claim.name
            LIMIT 1
           ) AS topic
        ON true
      LEFT JOIN LATERAL (
           SELECT type, at
             FROM collab.events
            WHERE topic_id = topic.id
              AND seq = claim.seq
            LIMIT 1
           ) AS event
        ON true
     ORDER BY claim.position
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """What a node lacks of a topic: everything after `after`."""

    topic: str
    after: int


@dataclass(frozen=True, slots=True)
class Claim:
    """That the event `seq` of the topic was committed, and which it is (`Event.identity`)."""

    topic: str
    seq: int
    identity: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What the log keeps of an event beside what clients see.

    `comment_id` is the comment that it is about, `added_comments` changes the topic's count of comments that are not
    deleted, `data` is what to store of the event's data where it names a notice.
    """

    comment_id: UUID | None = None
    added_comments: int = 0
    data: JsonText | None = None


NOTHING_BESIDE: Final = Kept()


async def append(
    tx: Transaction,
    topic: LockedTopic,
    type: str,
    who: User,
    at: datetime,
    data: JsonText,
    kept: Kept = NOTHING_BESIDE,
) -> Event:
    """Store a fact under the topic's next `seq` and record it for publishing after COMMIT.

    `data` is the event's data, `kept` what stands beside it in the log. Returns the event.
    """
    actor = actor_text(who.id, who.name, who.initials)
    stored = kept.data or data
    seq = await tx.fetchval(_APPEND, topic.id, type, at, actor, stored, kept.comment_id, kept.added_comments)
    event = event_of(topic.name, seq, type, at, actor, data, traces.CURRENT.get())
    tx.recorded.append(event)
    return event


async def read(db: Reads, topic_id: int, topic: str, *, after: int, upto: int, limit: int) -> list[Event]:
    """The topic's events with `after` < `seq` ≤ `upto`, oldest first, at most `limit` and some `PAGE_BYTES`."""
    rows = await db.fetch(_READ, topic_id, after, upto, limit, PAGE_BYTES)
    data = await comment_seqs.filled_in(db, await notices.with_words(db, rows, PAGE_BYTES))
    return [
        event_of(topic, row["seq"], row["type"], row["at"], row["actor"], one)
        for row, one in zip(rows, data, strict=False)  # where words are long, there are less
    ]


async def heads(db: Reads, topics: Sequence[str]) -> dict[str, int]:
    """The last `seq` of each of these topics; one without events is left out."""
    return {row["name"]: row["last_seq"] for row in await db.fetch(_HEADS, topics)}


async def read_gaps(db: Reads, gaps: Sequence[Gap], *, limit: int) -> list[Event]:
    """What fills the gaps, each topic's oldest first, at most `limit` events a topic, in one query."""
    rows = await db.fetch(_GAPS, [gap.topic for gap in gaps], [gap.after for gap in gaps], limit)
    data = await comment_seqs.filled_in(db, await notices.with_words(db, rows))
    return [
        event_of(row["name"], row["seq"], row["type"], row["at"], row["actor"], one)
        for row, one in zip(rows, data, strict=True)
    ]


async def latest(db: Reads, limit: int) -> list[Claim]:
    """The last event of each of the topics that were written to last, at most `limit`. Reads all rows of topics."""
    return [
        Claim(row["name"], row["seq"], identity_of(row["type"], row["at"]))
        for row in await db.fetch(_LATEST, limit)
    ]


async def disproved(tx: Transaction, claims: Sequence[Claim]) -> list[Claim]:
    """Those of the claims that the log contradicts: it ends before their `seq`, or has another event there.

    A row that is missing below the topic's head proves nothing: logs have no gaps, so it was removed on purpose. Raises
    `Paused` on a standby that is about to become the primary: what it has not replayed yet is not lost.
    """
    if await tx.fetchval("SELECT pg_is_in_recovery()"):
        raise Paused("the database is a standby")
    rows = await tx.fetch(_FOUND, [claim.topic for claim in claims], [claim.seq for claim in claims])
    return [
        claim
        for claim, row in zip(claims, rows, strict=True)
        if row["last_seq"] is None
        or row["last_seq"] < claim.seq
        or (row["type"] is not None and identity_of(row["type"], row["at"]) != claim.identity)
    ]
