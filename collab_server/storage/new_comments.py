"""New comments as rows: what is stored with each of them, in one statement.

`COLUMNS` says once what a comment brings; the statements are made of it. There are four, for two ways.

*Plain* comments need no look at anything but their topic's head: they are about content, reply to nothing and mention
nobody, as most do. For those, one statement, which is a transaction by itself, does what a transaction does in six:
look up and store the `requestId`s, lock the topics in the order of their ids, give out the next `seq`s, store
comments, events and answers. The lock makes the statement see each head as it is once the lock is held, and whether
people may comment there: where nobody may, nothing is stored. Everything else that it reads cannot have changed
meanwhile. A topic without a row gets one, with its head as it will be; where another transaction was faster, the
comment is not stored, and the next statement finds the row. A statement that is to wait for no lock stores nothing on
topics that somebody else has locked (`SKIP LOCKED`).

All others are stored by a transaction that has locked their topics and looked at what they reply to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal, NamedTuple

import asyncpg

from collab_server.domain.comments import Anchor, Comment, comment_text
from collab_server.domain.events import Event, actor_text, event_of
from collab_server.domain.jsontext import JsonText, json_shape
from collab_server.domain.search import terms_text
from collab_server.errors import ClientError
from collab_server.storage import comment_seqs
from collab_server.storage.database import Database, Transaction
from collab_server.storage.requests import Answered, Taken
from collab_server.storage.topics import LOCK

_data = json_shape("comment")


@dataclass(frozen=True, slots=True)
class NewComment:
    """A comment to be stored, on a topic that is locked (`topic_id`) or whose next `seq` is not known yet.

    `begun` is its JSON text up to its `seq`, `said` its `said_text`, `place` where in the object it belongs. Where it
    came under a `requestId` and is not in a transaction that remembers that, `request_id` and `fingerprint` are given.
    `trace` names what has caused it.
    """

    comment: Comment
    begun: str
    said: str
    place: Anchor
    topic_id: int | None = None
    request_id: str | None = None
    fingerprint: bytes | None = None
    trace: str = ""

    @property
    def actor(self) -> JsonText:
        """The author as the JSON text that events carry."""
        author = self.comment.author
        return actor_text(author.id, author.name, author.initials)

    @property
    def terms(self) -> str:
        """The numbers it is found by, but for that of its topic."""
        return terms_text(self.comment, self.said)

    def shown(self, seq: int) -> JsonText:
        """Its JSON text, under this `seq`."""
        return comment_text(self.begun, seq)

    def event(self, seq: int) -> Event:
        """Its event, under this `seq`."""
        at = self.comment.created_at
        data = _data(comment=self.shown(seq))
        return event_of(self.comment.topic, seq, "comment.added", at, self.actor, data, self.trace)


class Column(NamedTuple):
    """A column, its type, and where a `NewComment` has its value. `left` is what a tombstone has there, as SQL."""

    name: str
    type: str
    value: str
    left: str = "NULL"


KEPT = ""
"""A tombstone keeps what the comment had."""


COLUMNS = (
    Column("id", "uuid", "comment.id", KEPT),
    Column("author_id", "text", "comment.author.id", KEPT),
    Column("author_name", "text", "comment.author.name", KEPT),
    Column("author_initials", "text", "comment.author.initials", KEPT),
    Column("text", "text", "comment.text", "''"),
    Column("mentions", "text", "comment.mentions", "'[]'"),
    Column("anchor", "text", "comment.anchor", "$3"),  # the statement that buries it says how much of it
    Column("page_key", "text", "place.page_key", KEPT),
    Column("visualization_key", "text", "place.visualization_key", KEPT),
    Column("view_state", "text", "comment.view_state"),
    Column("created_at", "timestamptz", "comment.created_at", KEPT),
    Column("body", "text", "comment.body"),
)
"""What a new comment brings into `collab.comments`, besides its place in its topic."""

_TOLD = (
    Column("actor", "text", "actor"),
    Column("begun", "text", "begun"),
    Column("terms", "text", "terms"),
)
"""What it brings into other tables: its event, its answer, what it is found by."""

_PLAIN = (
    Column("topic", "text", "comment.topic"),
    Column("request_id", "text", "request_id"),
    Column("fingerprint", "bytea", "fingerprint"),
    *COLUMNS,
    *_TOLD,
)
_PLACED = (
    Column("topic_id", "bigint", "topic_id"),
    Column("seq", "bigint", "comment.seq"),
    Column("thread_id", "uuid", "comment.thread_id"),
    *COLUMNS,
    *_TOLD,
)

_Row = Callable[[NewComment], tuple[object, ...]]

_plain_row: _Row = attrgetter(*[column.value for column in _PLAIN])
_placed_row: _Row = attrgetter(*[column.value for column in _PLACED])


def _unnest(columns: Sequence[Column], position: str = "") -> str:
    """What is asked, one list per column, as rows."""
    lists = ", ".join(f"${number}::{column.type}[]" for number, column in enumerate(columns, 1))
    return f"unnest({lists}) {position} AS asked ({_names(columns)}{', position' if position else ''})"


def _names(columns: Sequence[Column], of: str = "") -> str:
    return ", ".join(of + column.name for column in columns)


_SEQ = "'" + comment_text("", 0).replace("0", "' || seq || '") + "'"
"""Behind what is begun, the `seq` that ends a comment, and an answer with one, as SQL."""

# What all ways have in common, after `numbered`: the comments with their places in their topics' logs.
_STORE = f"""
    moved AS (
        UPDATE collab.topics AS topic
           SET last_seq = moving.last_seq,
               comments = topic.comments + moving.added,
               last_at = moving.last_at
          FROM (
               SELECT topic_id, max(seq) AS last_seq, count(*) AS added, max(created_at) AS last_at
                 FROM numbered
                GROUP BY topic_id
               ) AS moving
         WHERE topic.id = moving.topic_id
    ),
    stored AS (
        INSERT INTO collab.comments (topic_id, seq, thread_id, {_names(COLUMNS)})
        SELECT topic_id, seq, thread_id, {_names(COLUMNS)}
          FROM numbered
    ),
    findable AS (
        INSERT INTO collab.recent_terms (comment_id, topic_id, terms)
        SELECT id, topic_id, terms::integer[] || (topic_id % 1073741824)::integer
          FROM numbered
    ),
    logged AS (
        INSERT INTO collab.events (topic_id, seq, type, at, actor, data, comment_id)
        SELECT topic_id, seq, 'comment.added', created_at, actor, '{{"comment":' || begun || {_SEQ} || '}}', id
          FROM numbered
    )
"""

_ANSWER = f"""
    answered AS (
        INSERT INTO collab.requests (user_id, request_id, fingerprint, answer)
        SELECT author_id, request_id, fingerprint, '{{"comment":' || begun || {_SEQ} || {_SEQ}
          FROM numbered
         WHERE request_id IS NOT NULL
         ORDER BY author_id, request_id
    )
"""


def _add_plain(lock: str) -> str:
    """Several plain comments, which take the `lock` of their topics."""
    return f"""
    WITH asked AS (
        SELECT *
          FROM {_unnest(_PLAIN, "WITH ORDINALITY")}
    ),
    earlier AS (
        SELECT asked.position, request.fingerprint, request.answer
          FROM asked
          JOIN collab.requests AS request
            ON request.user_id = asked.author_id
           AND request.request_id = asked.request_id
    ),
    locked AS MATERIALIZED (
        SELECT id, name, last_seq, commenting
          FROM collab.topics
         WHERE name = ANY($1::text[])
         ORDER BY id
           {lock}
    ),
    created AS (
        INSERT INTO collab.topics (name, last_seq, comments, last_at)
        SELECT topic, count(*), count(*), max(created_at)
          FROM asked
         WHERE NOT EXISTS (SELECT FROM collab.topics AS there WHERE there.name = asked.topic)
           AND NOT EXISTS (SELECT FROM earlier WHERE earlier.position = asked.position)
         GROUP BY topic
         ORDER BY topic
            ON CONFLICT (name) DO NOTHING
     RETURNING id, name, 0 AS last_seq
    ),
    head AS (
        SELECT id, name, last_seq FROM locked WHERE commenting
         UNION ALL
        SELECT id, name, last_seq FROM created
    ),
    numbered AS MATERIALIZED (
        SELECT asked.*,
               asked.id AS thread_id,
               head.id AS topic_id,
               head.last_seq + row_number() OVER (PARTITION BY head.id ORDER BY asked.position) AS seq
          FROM asked
          JOIN head
            ON head.name = asked.topic
         WHERE NOT EXISTS (SELECT FROM earlier WHERE earlier.position = asked.position)
    ),
    {_STORE},
    {_ANSWER}
    SELECT asked.position, numbered.seq, earlier.fingerprint, earlier.answer, off.id IS NOT NULL AS is_off
      FROM asked
      LEFT JOIN numbered
     USING (position)
      LEFT JOIN earlier
        ON earlier.position = asked.position
      LEFT JOIN locked AS off
        ON off.name = asked.topic
       AND NOT off.commenting
     ORDER BY asked.position
"""


_ADD_PLAIN = _add_plain(LOCK)
_ADD_PLAIN_FREE = _add_plain(f"{LOCK} SKIP LOCKED")

_ONE = {column.name: f"${number}::{column.type}" for number, column in enumerate(_PLAIN, 1)}

# One comment by itself, which is what a quiet node adds: half the work, for there is nothing to sort, join or group.
_ADD_ONE_PLAIN = f"""
    WITH earlier AS MATERIALIZED (
        SELECT fingerprint, answer
          FROM collab.requests
         WHERE user_id = {_ONE["author_id"]}
           AND request_id = {_ONE["request_id"]}
    ),
    locked AS MATERIALIZED (
        SELECT id, last_seq, commenting
          FROM collab.topics
         WHERE name = {_ONE["topic"]}
           AND NOT EXISTS (SELECT FROM earlier)
           {LOCK}
    ),
    created AS (
        INSERT INTO collab.topics (name, last_seq, comments, last_at)
        SELECT {_ONE["topic"]}, 1, 1, {_ONE["created_at"]}
         WHERE NOT EXISTS (SELECT FROM locked)
           AND NOT EXISTS (SELECT FROM earlier)
            ON CONFLICT (name) DO NOTHING
     RETURNING id
    ),
    numbered AS MATERIALIZED (
        SELECT head.topic_id, head.seq, {_ONE["id"]} AS thread_id,
               {", ".join(f"{value} AS {name}" for name, value in _ONE.items())}
          FROM (
               SELECT id AS topic_id, last_seq + 1 AS seq
                 FROM locked
                WHERE commenting
                UNION ALL
               SELECT id, 1
                 FROM created
               ) AS head
    ),
    {_STORE},
    {_ANSWER}
    SELECT numbered.seq, earlier.fingerprint, earlier.answer, off.id IS NOT NULL AS is_off
      FROM (VALUES (1)) AS asked
      LEFT JOIN numbered
        ON true
      LEFT JOIN earlier
        ON true
      LEFT JOIN locked AS off
        ON NOT off.commenting
"""

_OWN_PLACE = ("page_key", "visualization_key")

# A reply is found where its root is, if it has no place itself.
_ADD_PLACED = f"""
    WITH asked AS (
        SELECT *
          FROM {_unnest(_PLACED)}
    ),
    numbered AS MATERIALIZED (
        SELECT {_names([column for column in _PLACED if column.name not in _OWN_PLACE], "asked.")},
               {", ".join(f"COALESCE(asked.{key}, root.{key}) AS {key}" for key in _OWN_PLACE)}
          FROM asked
          LEFT JOIN collab.comments AS root
            ON root.id = asked.thread_id
           AND COALESCE({", ".join(f"asked.{key}" for key in _OWN_PLACE)}) IS NULL
    ),
    counted AS (
        UPDATE collab.comments AS root
           SET reply_count = root.reply_count + thread.replies
          FROM (
               SELECT thread_id, count(*) AS replies
                 FROM asked
                WHERE id <> thread_id
                GROUP BY thread_id
               ) AS thread
         WHERE root.id = thread.thread_id
    ),
    {_STORE}
    SELECT
"""


_IDS = ("comments_pkey", "recent_terms_pkey", "comment_terms_pkey")


class IdTaken(Exception):
    """There is a comment with the id of one that was to be stored; clients may choose ids. Nothing is stored."""


SwitchedOff = Literal["switched off"]
"""Nobody may comment there."""

Placed = Event | Answered | SwitchedOff | ClientError | None
"""What became of a plain comment: its event, what its request was answered before or why that cannot be read now, that
nobody may comment there, or nothing: somebody else has its topic, or has just made that one's row."""


async def add_plain(
    db: Database, asked: Sequence[NewComment], *, waits: bool = True, since: float | None = None
) -> list[Placed]:
    """Store plain comments, in one transaction, each under the next `seq` of its topic. `since`: see `Database.run`.

    Unless it `waits`, nothing is stored on topics that somebody else has locked, and nothing at all, which raises
    `Locked`, where something else is locked.

    Raises `Taken` when one of the requests took effect elsewhere meanwhile, `IdTaken` when there is a comment with the
    id of one of these, and `Paused`, with the outcome `unknown` where the connection was lost under way; apart from
    that case, nothing is stored when it raises.
    """
    try:
        if waits and len(asked) == 1:
            rows = await db.write(_ADD_ONE_PLAIN, *_plain_row(asked[0]), since=since)
        else:
            sql = _ADD_PLAIN if waits else _ADD_PLAIN_FREE
            rows = await db.write(sql, *_columns(map(_plain_row, asked)), since=since, waits=waits)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "requests_pkey":
            raise Taken from None
        if error.constraint_name in _IDS:
            raise IdTaken from None
        raise
    placed = [_placed(new, row) for new, row in zip(asked, rows, strict=True)]
    earlier = [place.answer for place in placed if isinstance(place, Answered)]
    if not earlier:
        return placed
    try:
        answers = iter(await comment_seqs.filled_in(db, earlier))
    except ClientError as error:  # the others are stored, whatever becomes of these
        return [error if isinstance(place, Answered) else place for place in placed]
    return [
        replace(place, answer=next(answers)) if isinstance(place, Answered) else place for place in placed
    ]


async def add(tx: Transaction, asked: Sequence[NewComment]) -> list[Event]:
    """Store comments with their events, under the next `seq`s of topics that this transaction has locked.

    Replies are counted at their roots. The events are recorded for publishing after COMMIT, and returned.
    Raises `Taken` when one of the ids was taken in another transaction meanwhile; the caller must roll back.
    """
    try:
        await tx.execute(_ADD_PLACED, *_columns(map(_placed_row, asked)))
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name in _IDS:
            raise Taken from None
        raise
    events = [new.event(new.comment.seq) for new in asked]
    tx.recorded.extend(events)
    return events


def _columns(rows: Iterable[tuple[object, ...]]) -> Iterator[list[object]]:
    return map(list, zip(*rows, strict=True))


def _placed(new: NewComment, row: asyncpg.Record) -> Placed:
    if row["answer"] is not None:
        return Answered(row["fingerprint"], row["answer"])
    if row["is_off"]:
        return "switched off"
    return None if row["seq"] is None else new.event(row["seq"])
