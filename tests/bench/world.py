"""A large installation that is made up: the same comments, people, topics and all that belongs to them at each load.

What is in it is spread unevenly, as it is where people talk. `load` copies it into an empty database.
"""

from __future__ import annotations

import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from collab_server.domain.comments import Comment
from collab_server.domain.jsontext import NOTHING, dumps
from collab_server.domain.search import (
    CUT_TERM,
    author_term,
    content_terms,
    index_terms,
    topic_term,
)

RECENT = 1000
END = datetime(2026, 11, 1, tzinfo=UTC)
BEGIN = END - timedelta(days=730)
PROJECT = "F" * 32

SCRIPTS = {
    # letters, share of the comments, what words are joined by
    "Latin": ("aeiouaeiouàéèüößñçãłbcdfghklmnprstvz", 60, " "),
    "Cyrillic": ("аеиоуаеиоуёйбвгджзклмнпрстфхцчшщыьэюя", 8, " "),
    "Greek": ("αεηιουωάέίόύώβγδζθκλμνξπρστφχψ", 4, " "),
    "Arabic": ("ابتثجحخدذرزسشصضطظعغفقكلمنهوي", 4, " "),
    "Hebrew": ("אבגדהוזחטיכלמנסעפצקרשת", 3, " "),
    "Thai": ("กขคงจชซดตถทนบปผพฟมยรลวสหอะาิีุูเแโไ่้", 3, ""),
    "Chinese": ("".join(map(chr, range(0x4E00, 0x4E00 + 2500))), 8, ""),
    "Japanese": (
        "".join(map(chr, (*range(0x3041, 0x3094), *range(0x30A1, 0x30F6), *range(0x5200, 0x5500)))),
        5,
        "",
    ),
    "Korean": ("".join(map(chr, range(0xAC00, 0xAC00 + 2000))), 5, " "),
}
EMOJI = "👍🎉🔥✅🚀😀🙏📈📉💡"


@dataclass(slots=True)
class World:
    """How much there is, and the ids of some of it, to call with."""

    comments: int
    texts: list[str]
    words: dict[str, list[str]]
    some: list[Comment] = field(default_factory=list)

    @property
    def users(self) -> int:
        return max(50, self.comments // 500)

    @property
    def contents(self) -> int:
        return max(20, self.comments // 100)

    @property
    def discussions(self) -> int:
        return max(40, self.comments // 50)


def make_world(comments: int) -> World:
    """Texts of Zipf-distributed words in all scripts; the same ones at each run."""
    chance = random.Random(1)
    words = {}
    for script, (letters, _, gap) in SCRIPTS.items():
        longest = 2 if script in ("Chinese", "Korean") else 4 if not gap else 11
        shortest = 1 if longest == 2 else 2
        seen = {
            "".join(chance.choices(letters, k=chance.randint(shortest, longest))): None for _ in range(20_000)
        }
        words[script] = list(seen)
    texts = []
    scripts = list(SCRIPTS)
    shares = [SCRIPTS[script][1] for script in scripts]
    for number in range(max(500, comments // 20)):
        script = chance.choices(scripts, shares)[0]
        some = words[script]
        length = min(120, max(3, round(chance.lognormvariate(2.6, 0.7))))
        said = [some[min(int(chance.paretovariate(0.35)) - 1, len(some) - 1)] for _ in range(length)]
        if chance.random() < 0.1:
            said.append(chance.choice(EMOJI))
        if chance.random() < 0.05:
            said.append(f" ticket{number}")
        texts.append(SCRIPTS[script][2].join(said).capitalize())
    return World(comments, texts, words)


def user_id(number: int) -> str:
    return f"{number:032X}"


def content_name(number: int) -> str:
    return f"content:{PROJECT}:{number:032X}"


def discussion_id(number: int) -> UUID:
    return UUID(int=7 << 76 | 2 << 62 | number)


def skewed(chance: random.Random, below: int, power: float = 2.5) -> int:
    """A number below `below`; small ones come much more often."""
    return int(below * chance.random() ** power)


async def load(connection: asyncpg.Connection, world: World) -> None:
    """Fill an empty, migrated database. Indexes are built after the rows."""
    indexes = await connection.fetch(
        """
        SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
          FROM pg_index
          JOIN pg_class ON pg_class.oid = indrelid
         WHERE relnamespace = 'collab'::regnamespace
           AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
        """
    )
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    await connection.execute("SET session_replication_role = replica")  # foreign keys hold by construction
    for table, columns, rows in _tables(world):
        started = time.monotonic()
        await connection.copy_records_to_table(table, schema_name="collab", columns=columns, records=rows)
        print(f"  {table:20} {time.monotonic() - started:6.1f} s", file=sys.stderr)
    await connection.execute(_EVENTS)
    await connection.execute("SET session_replication_role = origin")
    await connection.execute("SET maintenance_work_mem = '1GB'")
    for index in indexes:
        started = time.monotonic()
        await connection.execute(index["definition"])
        print(f"  {index['name']:45} {time.monotonic() - started:6.1f} s", file=sys.stderr)
    await connection.execute("VACUUM ANALYZE")


_EVENTS = """
    INSERT INTO collab.events (topic_id, seq, type, at, actor, data, comment_id)
    SELECT topic_id, seq, 'comment.added', created_at,
           jsonb_build_object('id', author_id, 'name', author_name, 'initials', author_initials)::text,
           jsonb_build_object('comment', jsonb_build_object(
               'id', id, 'text', text, 'mentions', '[]'::jsonb, 'author', author_id, 'anchor', anchor
           ))::text, id
      FROM collab.comments
"""

Table = tuple[str, Sequence[str], Iterator[tuple[Any, ...]]]


def _tables(world: World) -> Iterator[Table]:
    chance = random.Random(2)
    topics = world.contents + world.discussions
    heads = [0] * (topics + 1)
    threads: list[list[UUID]] = [[] for _ in range(topics + 1)]
    terms = [index_terms(text) for text in world.texts]
    found: list[tuple[UUID, int, int, int]] = []  # of ten million, so the terms are put together later

    def comments() -> Iterator[tuple[Any, ...]]:
        step = (END - BEGIN) / world.comments
        for number in range(world.comments):
            is_content = number % 10 != 0
            first, count = (1, world.contents) if is_content else (world.contents + 1, world.discussions)
            topic = first + skewed(chance, count)
            at = BEGIN + step * number
            id = UUID(int=int(at.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | number)
            heads[topic] += 1
            roots = threads[topic]
            thread = roots[-1 - skewed(chance, len(roots))] if roots and chance.random() < 0.6 else id
            if thread == id:
                roots.append(id)
            author_number = skewed(chance, world.users)
            author = user_id(author_number)
            which = skewed(chance, len(world.texts), 1.2)
            page = f"page{skewed(chance, 8)}" if is_content and chance.random() < 0.7 else None
            anchor = None if page is None else json.dumps({"pageKey": page})
            is_deleted = chance.random() < 0.01
            text = "" if is_deleted else world.texts[which]
            if not is_deleted:
                found.append((id, topic, which, author_number))
            resolved = dumps({"by": {}, "at": ""}) if thread == id and chance.random() < 0.5 else None
            yield (
                *(id, topic, heads[topic], thread, author, f"User {author[-5:]}", "UU", text, anchor, page),
                *(at, at if is_deleted else None, resolved),
            )

    yield (
        "comments",
        [
            *("id", "topic_id", "seq", "thread_id", "author_id", "author_name", "author_initials", "text"),
            *("anchor", "page_key", "created_at", "deleted_at", "resolved"),
        ],
        comments(),
    )

    def found_terms(begin: int, end: int) -> Iterator[tuple[Any, ...]]:
        for id, topic, which, author in itertools.islice(found, begin, end):
            where = content_terms(id) if topic <= world.contents else []
            who = author_term(user_id(author))
            yield id, topic, [*terms[which], who, topic_term(topic), CUT_TERM, *where]

    for table, begin, end in (
        ("comment_terms", 0, len(found) - RECENT),
        ("recent_terms", len(found) - RECENT, len(found)),
    ):
        yield table, ["comment_id", "topic_id", "terms"], found_terms(begin, end)

    inboxes = [[0, 0] for _ in range(world.users)]

    def notifications() -> Iterator[tuple[Any, ...]]:
        count = world.comments // 5
        for number in range(count):
            user = skewed(chance, world.users)
            at = BEGIN + (END - BEGIN) / count * number
            is_waiting = chance.random() < 0.01
            if not is_waiting:
                inboxes[user][0] += 1
            topic = skewed(chance, world.contents)
            by = '{"id":"","name":"","initials":""}'
            yield (
                *(UUID(int=1 << 100 | number), user_id(user), UUID(int=2 << 100 | number), "mention"),
                *(
                    content_name(topic),
                    1,
                    found[skewed(chance, len(found), 1)][0],
                    by,
                    "Hello",
                    "mentioned you",
                ),
                *(chance.random() < 0.01, at, None if is_waiting else inboxes[user][0]),
                None if chance.random() < 0.1 else at,
            )

    yield (
        "notifications",
        [
            *("id", "user_id", "cause", "kind", "topic", "topic_seq", "comment_id", "by_user", "text", "why"),
            *("is_permitted", "created_at", "seq", "read_at"),
        ],
        notifications(),
    )

    def topic_rows() -> Iterator[tuple[Any, ...]]:
        for number in range(world.contents):
            yield content_name(number), heads[number + 1], heads[number + 1], END
        for number in range(world.discussions):
            head = heads[world.contents + number + 1] + 1
            at = BEGIN + (END - BEGIN) * (1 - number / world.discussions)
            yield f"discussion:{discussion_id(number)}", head, head - 1, at
        for number, (head, _) in enumerate(inboxes):
            yield f"inbox:{user_id(number)}", head, 0, END

    yield "topics", ["name", "last_seq", "comments", "last_at"], topic_rows()

    def discussions() -> Iterator[tuple[Any, ...]]:
        for number in range(world.discussions):
            about = (PROJECT, f"{skewed(chance, world.contents):032X}") if number % 2 else (None, None)
            owner = user_id(number % world.users)
            yield discussion_id(number), world.contents + number + 1, f"Plan {number}", owner, *about, BEGIN

    yield (
        "discussions",
        ["id", "topic_id", "name", "owner_id", "about_project", "about_object", "created_at"],
        discussions(),
    )

    def members() -> Iterator[tuple[Any, ...]]:
        for number in range(world.discussions):
            others = {skewed(chance, world.users, 1.3) for _ in range(1 + skewed(chance, 20))}
            for user in {number % world.users, *others}:
                yield discussion_id(number), user_id(user), f"User {user}", "UU", BEGIN

    yield "members", ["discussion_id", "user_id", "name", "initials", "joined_at"], members()

    def read_marks() -> Iterator[tuple[Any, ...]]:
        for user in range(world.users):
            for topic in {1 + skewed(chance, topics) for _ in range(150)}:
                yield user_id(user), topic, max(0, heads[topic] - skewed(chance, 50)), chance.random() < 0.05

    yield "read_marks", ["user_id", "topic_id", "seq", "muted"], read_marks()

    def requests() -> Iterator[tuple[Any, ...]]:
        now = datetime.now(UTC)
        for number in range(world.comments // 2):
            at = now - timedelta(days=9) * (number / (world.comments // 2))
            yield user_id(skewed(chance, world.users)), f"r{number}", b"0" * 32, NOTHING, at

    yield "requests", ["user_id", "request_id", "fingerprint", "answer", "created_at"], requests()
