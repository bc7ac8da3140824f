"""How the statements of `storage/` do on a large installation: `python -m tests.bench.plans`.

Loads 1,000,000 comments in 10,000 content topics and 20,000 discussions, with members, read marks, notifications,
events and requests, unevenly spread, into an embedded PostgreSQL of its own; calls what the services call, with
different arguments each time, writes in transactions that are rolled back; prints the median time that PostgreSQL
works on a call, the longest, the median time until the answer is here, and every table of more than 10,000 rows that
was read through from end to end. What it works is told apart from what it waits: a busy machine does not matter.

`--folder` keeps the loaded database (some 4 GB) for the next run, `--scale 0.01` loads less, `--only search` runs less.
`--save` keeps what was measured, and `--grown` puts saved runs of several sizes side by side into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import random
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from typing_extensions import override

from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres
from collab_server.domain.comments import NOWHERE, Anchor, Comment
from collab_server.domain.ids import uuid7
from collab_server.domain.inbox import Notice, Reason
from collab_server.domain.jsontext import NOTHING, JsonText, dumps
from collab_server.domain.people import User
from collab_server.domain.search import (
    author_term,
    highlights,
    parse_query,
    query_terms,
    said_text,
)
from collab_server.domain.topics import Topic, inbox_topic, parse_topic
from collab_server.services.search import MOST_CALLS
from collab_server.services.search.back_in_time import END as LAST
from collab_server.services.search.back_in_time import walk
from collab_server.services.search.page import MOST_NEAR
from collab_server.services.search.settling import SETTLED_AT_ONCE
from collab_server.storage import (
    comments,
    discussions,
    event_log,
    inbox,
    migrations,
    new_comments,
    reading,
    requests,
    search,
    topics,
)
from collab_server.storage.database import Database
from collab_server.storage.new_comments import NewComment
from collab_server.storage.server import SESSION, Server
from tests.bench.document import described_commit, put
from tests.bench.world import (
    BEGIN,
    END,
    PROJECT,
    SCRIPTS,
    World,
    content_name,
    discussion_id,
    load,
    make_world,
    skewed,
    user_id,
)

CALLS = 31
GOAL_MS = 10.0
LARGE_ROWS = 10_000

# --- what is called


class Recorder(asyncpg.Connection):
    """Stands for a `Database` and for a `Transaction`: the storage functions ask no more of them."""

    recorded: list[Any]
    glances = False

    def is_to_lock(self, *_: Any) -> None:
        """In one transaction at a time nobody waits for a lock."""

    async def write(self, sql: str, *arguments: Any, **_: Any) -> Any:
        return await self.fetch(sql, *arguments)


Call = Callable[[Any, random.Random], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """Something that a service calls; `call` chooses its own arguments each time."""

    name: str
    call: Call


@dataclass(frozen=True, slots=True)
class Outcome:
    """Milliseconds of each call, that PostgreSQL worked and that it took, and large tables that were read through."""

    name: str
    worked: Sequence[float]
    took: Sequence[float]
    scanned: Sequence[str]

    @property
    def median(self) -> float:
        return statistics.median(self.worked)

    @property
    def is_good(self) -> bool:
        return self.median <= GOAL_MS and not self.scanned

    @override
    def __str__(self) -> str:
        judgement = "" if self.is_good else "  <-- " + (", ".join(self.scanned) or "slow")
        figures = (self.median, max(self.worked), statistics.median(self.took))
        return f"{self.name:44} {' '.join(f'{figure:8.2f}' for figure in figures)}{judgement}"


_SCANS = """
    SELECT relname, seq_scan
      FROM pg_stat_user_tables
     WHERE schemaname = 'collab'
       AND n_live_tup > $1
"""


# Also what was rolled back is in the list.
_CLEAN = """
    SELECT gin_clean_pending_list('collab.comment_terms_terms')
"""


async def measure(connection: Recorder, watcher: asyncpg.Connection, case: Case) -> Outcome:
    """Call it often enough for PostgreSQL to settle on a plan for any arguments, if it finds one good, and all of that
    twice: how long a disk takes to have what is read is another question."""
    chance = random.Random(3)
    before = await _scans(watcher)
    clock = Path(f"/proc/{connection.get_server_pid()}/schedstat")  # nanoseconds on a processor come first
    worked: list[float] = []
    took: list[float] = []
    for number in range(2 * CALLS):
        if number % CALLS == 0:  # the first time, for what is read to be in memory
            chance, worked, took = random.Random(3), [], []
        connection.recorded = []
        transaction = connection.transaction()
        await transaction.start()
        try:
            begun, started = _nanoseconds(clock), time.perf_counter()
            await case.call(connection, chance)
            took.append((time.perf_counter() - started) * 1e3)
            worked.append((_nanoseconds(clock) - begun) / 1e6)
        finally:
            await transaction.rollback()
        await watcher.execute(_CLEAN)
    await connection.execute("SELECT pg_stat_force_next_flush()")
    after = await _scans(watcher)
    return Outcome(case.name, worked, took, [table for table in after if after[table] > before.get(table, 0)])


async def _scans(watcher: asyncpg.Connection) -> dict[str, int]:
    """How often each large table was read from one end to the other."""
    return {name: count for name, count in await watcher.fetch(_SCANS, LARGE_ROWS)}


def _nanoseconds(clock: Path) -> int:
    return int(clock.read_text().split()[0])


def cases(world: World) -> list[Case]:
    """Everything that `services/` ask of `storage/`."""

    def user(chance: random.Random) -> str:
        return user_id(skewed(chance, world.users))

    def content(chance: random.Random) -> str:
        return content_name(skewed(chance, world.contents))

    def discussion(chance: random.Random) -> UUID:
        return discussion_id(skewed(chance, world.discussions))

    def any_topic(chance: random.Random) -> Topic:
        if chance.random() < 0.5:
            return parse_topic(content(chance))
        return Topic("discussion", str(discussion(chance)))

    def many_users(chance: random.Random, count: int) -> list[str]:
        return list({user(chance) for _ in range(count)})

    # Comments with what belongs to them, read once before the calls.
    some: list[Comment] = world.some

    def comment(chance: random.Random) -> Comment:
        return chance.choice(some)

    def root(chance: random.Random) -> Comment:
        return chance.choice([one for one in some if one.is_root])

    async def add(tx: Any, chance: random.Random, count: int, topics_count: int) -> None:
        names = sorted({content(chance) for _ in range(topics_count)})
        locked = await topics.lock_many(tx, names)
        heads = {name: topic.last_seq for name, topic in locked.items()}
        added = []
        for _ in range(count):
            name = chance.choice(names)
            heads[name] += 1
            new = replace(
                comment(chance),
                id=(id := uuid7()),
                thread_id=id,
                topic=name,
                seq=heads[name],
                text=chance.choice(world.texts),
            )
            added.append(
                NewComment(new, new.begun_json(), said_text(new.text), Anchor("page1"), locked[name].id)
            )
        await new_comments.add(tx, added)

    async def plain(db: Any, chance: random.Random, count: int) -> None:
        added = []
        for _ in range(count):
            text, id = chance.choice(world.texts), uuid7()
            new = replace(comment(chance), id=id, thread_id=id, topic=content(chance), text=text)
            added.append(
                NewComment(
                    new,
                    new.begun_json(),
                    said_text(new.text),
                    NOWHERE,
                    request_id=str(id),
                    fingerprint=b"0" * 32,
                )
            )
        await new_comments.add_plain(db, added)

    async def reply(tx: Any, chance: random.Random) -> None:
        parent = root(chance)
        locked = await topics.lock_many(tx, [parent.topic])
        await comments.parents(tx, [parent.id])
        await inbox.thread_people(tx, [parent.thread_id])
        new = replace(parent, id=uuid7(), seq=locked[parent.topic].last_seq + 1)
        topic_id = locked[parent.topic].id
        await new_comments.add(
            tx, [NewComment(new, new.begun_json(), said_text(new.text), NOWHERE, topic_id)]
        )

    async def edit(tx: Any, chance: random.Random) -> None:
        one = comment(chance)
        topic = await topics.lock(tx, parse_topic(one.topic))
        await comments.get(tx, one.id)
        text = chance.choice(world.texts)
        await comments.edit(tx, one, text, said_text(text), JsonText("[]"), END)
        await event_log.append(tx, topic, "comment.edited", one.author, END, NOTHING, event_log.Kept(one.id))

    async def delete(tx: Any, chance: random.Random) -> None:
        one = comment(chance)
        topic = await topics.lock(tx, parse_topic(one.topic))
        await comments.bury(tx, one.id, NOTHING, None, END)
        await event_log.append(
            tx, topic, "comment.deleted", one.author, END, NOTHING, event_log.Kept(one.id, added_comments=-1)
        )

    async def react(tx: Any, chance: random.Random) -> None:
        one = comment(chance)
        topic = await topics.lock(tx, parse_topic(one.topic))
        await comments.set_reactions(tx, one.id, dumps({"👍": ["x"]}))
        await event_log.append(tx, topic, "reaction.added", one.author, END, NOTHING)

    async def resolve(tx: Any, chance: random.Random) -> None:
        one = root(chance)
        topic = await topics.lock(tx, parse_topic(one.topic))
        await comments.set_resolved(tx, one.id, dumps({"by": {}, "at": ""}))
        await event_log.append(tx, topic, "thread.resolved", one.author, END, NOTHING)

    def listing(*, is_newest_first: bool, is_later: bool = False, **filter: Any) -> Call:
        async def listed(db: Any, chance: random.Random) -> None:
            name = chance.choice(some).topic if not is_later else content_name(skewed(chance, 20))
            chosen = {key: value(chance) if callable(value) else value for key, value in filter.items()}
            from_seq = chance.randint(1, 500) if is_later else None
            await comments.listed(
                db,
                name,
                comments.Filter(**chosen),
                is_newest_first=is_newest_first,
                from_seq=from_seq,
                limit=51,
            )

        return listed

    async def thread(db: Any, chance: random.Random) -> None:
        one = root(chance)
        chosen = comments.Filter(thread_id=one.id)
        await comments.listed(db, one.topic, chosen, is_newest_first=False, from_seq=None, limit=51)

    async def create_discussion(tx: Any, chance: random.Random) -> None:
        id = uuid7()
        topic = await topics.lock(tx, Topic("discussion", str(id)))
        people = [User(one, "User", "UU") for one in many_users(chance, 10)]
        await discussions.insert(tx, id, topic, "New", people[0].id, None, END)
        await discussions.add_members(tx, id, people, END)

    async def change_discussion(tx: Any, chance: random.Random) -> None:
        id = discussion(chance)
        await topics.lock(tx, Topic("discussion", str(id)))
        await discussions.is_owner(tx, id, user(chance))
        await discussions.member_ids(tx, id)
        await discussions.rename(tx, id, "Other")
        await discussions.hand_over(tx, id, user(chance))
        await discussions.remove_member(tx, id, user(chance))
        await discussions.delete(tx, id, END)

    async def notify(tx: Any, chance: random.Random) -> None:
        one = comment(chance)
        notice = Notice(uuid7(), one.topic, one.seq, one.id, NOTHING, "Hello", END)
        told = dict.fromkeys(many_users(chance, 30), Reason("mention", "mentioned you"))
        await inbox.store(tx, notice, told, is_permitted=False)

    async def words_of_now(db: Any, chance: random.Random) -> None:
        some = [comment(chance) for _ in range(50)]
        await inbox.outdated(db, [(one.id, END) for one in some])
        await inbox.said_now(db, user(chance), [one.id for one in some])

    async def deliver(tx: Any, chance: random.Random) -> None:
        who = user(chance)
        about = [item.topic for item in await inbox.due(tx, who, 100)]
        waiting = await inbox.pending(tx, who, about, 1000)
        await topics.lock(tx, inbox_topic(who))
        for seq, notification in enumerate(await inbox.take(tx, waiting.ids[:50])):
            await inbox.put(tx, notification.id, 1_000_000 + seq)

    async def read_topic(tx: Any, chance: random.Random) -> None:
        who, topic = user(chance), any_topic(chance)
        found = await topics.find(tx, topic)
        assert found is not None
        await topics.lock(tx, inbox_topic(who))
        await reading.mark_read(tx, who, found.id, found.last_seq - skewed(chance, 100))
        await reading.unread_comments(tx, who, found.id)
        await inbox.read_of_topic(tx, who, topic.name, found.last_seq, END)
        await inbox.unread(tx, who)

    async def read_notifications(tx: Any, chance: random.Random) -> None:
        who = user(chance)
        await topics.lock(tx, inbox_topic(who))
        if chance.random() < 0.5:
            await inbox.read_up_to(tx, who, chance.randint(1, 5000), END)
        else:
            _, some = await inbox.listed(tx, who, is_unread=True, kind=None, before=None, limit=50)
            some_ids = [item.id for item in some]
            await inbox.read_by_id(tx, who, some_ids, END)
        await inbox.unread(tx, who)

    async def mute(tx: Any, chance: random.Random) -> None:
        await reading.mute(tx, user(chance), 1 + skewed(chance, world.contents), True, None)

    async def requested(tx: Any, chance: random.Random) -> None:
        keys = [(user(chance), f"new{chance.random()}") for _ in range(16)]
        await requests.find_many(tx, keys)
        await requests.store_many(tx, [requests.Done(who, id, b"0" * 32, NOTHING) for who, id in keys])

    def subscribed(chance: random.Random, count: int) -> list[tuple[str, str]]:
        return [(any_topic(chance).name, user(chance)) for _ in range(count)]

    async def summaries(db: Any, chance: random.Random) -> None:
        number = skewed(chance, world.users)
        owned = [
            Topic("discussion", str(discussion_id(n))) for n in range(number, world.discussions, world.users)
        ]
        about = {parse_topic(content(chance)): None for _ in range(1000)}
        await topics.summaries(db, [*owned, *about][:500], user_id(number))

    async def gaps(db: Any, chance: random.Random) -> None:
        heads = await event_log.heads(db, [any_topic(chance).name for _ in range(500)])
        missed = [event_log.Gap(name, max(0, head - 5)) for name, head in heads.items()]
        await event_log.read_gaps(db, missed[:100], limit=500)

    async def my_discussions(db: Any, chance: random.Random, **more: Any) -> None:
        before = (END - timedelta(days=100), 15_000) if more.get("is_later") else None
        about = (PROJECT, f"{skewed(chance, world.contents):032X}") if more.get("is_about") else None
        await discussions.listed(db, user(chance), about, before, 51)

    async def events(db: Any, chance: random.Random) -> None:
        number = skewed(chance, world.contents)
        await event_log.read(
            db, number + 1, content_name(number), after=chance.randint(0, 50), upto=10**9, limit=500
        )

    def searching(words: Callable[[random.Random], str], **more: Any) -> Call:
        async def find(db: Any, chance: random.Random) -> None:
            query = parse_query(words(chance))
            terms = query_terms(query)
            if more.get("is_by_author"):
                terms.append(author_term(user(chance)))
            count = 1 if more.get("is_on_topic") else MOST_CALLS
            within = [*{1 + skewed(chance, world.contents) for _ in range(count)}]
            member = None if more.get("is_on_topic") else user(chance)
            found: list[search.Candidate] = []
            async for ids, _ in walk(db, [terms], within, member, LAST):
                texts = await search.texts(db, ids) if ids else []
                found += [one for one in texts if highlights(query, one.text)]
                if len(found) > 20:
                    break
            await comments.get_many(db, [one.id for one in found[:20]])

        return find

    def common(chance: random.Random) -> str:
        return world.words[chance.choice(list(SCRIPTS))][skewed(chance, 20)]

    def rare(chance: random.Random) -> str:
        return world.words["Latin"][chance.randint(500, 10_000)]

    def two(chance: random.Random) -> str:
        return " ".join(chance.choice(world.words["Latin"][:200]) for _ in range(2))

    def beginning(chance: random.Random) -> str:
        return rare(chance)[: chance.randint(2, 4)]

    return [
        Case("comment.add, a plain one", lambda db, chance: plain(db, chance, 1)),
        Case("comment.add, 16 plain ones", lambda db, chance: plain(db, chance, 16)),
        Case("comment.add, one", lambda tx, chance: add(tx, chance, 1, 1)),
        Case("comment.add, 16 joined on one topic", lambda tx, chance: add(tx, chance, 16, 1)),
        Case("comment.add, 16 joined on 16 topics", lambda tx, chance: add(tx, chance, 16, 16)),
        Case("comment.add, a reply", reply),
        Case("comment.edit", edit),
        Case("comment.delete", delete),
        Case("comment.react", react),
        Case("thread.resolve", resolve),
        Case("comment.get", lambda db, chance: comments.get(db, comment(chance).id)),
        Case(
            "comment.revisions",
            lambda db, chance: comments.revisions(db, comment(chance).id),
        ),
        Case("a comment's topic", lambda db, chance: comments.topic_of(db, comment(chance).id)),
        Case("topic.comments, oldest first", listing(is_newest_first=False)),
        Case("topic.comments, newest first", listing(is_newest_first=True)),
        Case("topic.comments, a later page", listing(is_newest_first=False, is_later=True)),
        Case(
            "topic.comments, of a page",
            listing(is_newest_first=True, page_key=lambda c: f"page{skewed(c, 8)}"),
        ),
        Case("topic.comments, resolved", listing(is_newest_first=True, is_resolved=True)),
        Case("topic.comments, unresolved", listing(is_newest_first=False, is_resolved=False)),
        Case("topic.comments, a visualization", listing(is_newest_first=True, visualization_key="none")),
        Case("topic.comments, a thread", thread),
        Case("topic.get and topic.subscribe", lambda db, chance: topics.snapshots(db, subscribed(chance, 1))),
        Case(
            "topic.subscribe, 100 at once", lambda db, chance: topics.snapshots(db, subscribed(chance, 100))
        ),
        Case("topic.summaries, 500", summaries),
        Case("topic.events", events),
        Case("topic.anchors, counts", lambda db, chance: topics.anchors(db, content(chance), user(chance))),
        Case(
            "topic.anchors, threads",
            lambda db, chance: topics.unread_threads(db, content(chance), user(chance)),
        ),
        Case("feed, heads of 500 and gaps of 100", gaps),
        Case("topic.read", read_topic),
        Case("topic.mute", mute),
        Case("discussion.create", create_discussion),
        Case("discussion.rename to delete", change_discussion),
        Case("discussion.get", lambda db, chance: discussions.get_for(db, discussion(chance), user(chance))),
        Case("discussion.list", my_discussions),
        Case("discussion.list, a later page", lambda db, chance: my_discussions(db, chance, is_later=True)),
        Case(
            "discussion.list, about an object", lambda db, chance: my_discussions(db, chance, is_about=True)
        ),
        Case("notifications, store 30", notify),
        Case("notifications, deliver", deliver),
        Case("notifications, sweep", lambda db, chance: inbox.undelivered(db, many_users(chance, 1000), 500)),
        Case(
            "notification.list",
            lambda db, chance: inbox.listed(
                db, user(chance), is_unread=None, kind=None, before=None, limit=51
            ),
        ),
        Case(
            "notification.list, unread of a kind",
            lambda db, chance: inbox.listed(
                db, user(chance), is_unread=True, kind="shared", before=1000, limit=51
            ),
        ),
        Case("notification.list, words of now", words_of_now),
        Case("notification.count", lambda db, chance: inbox.counted(db, user(chance))),
        Case("notification.read", read_notifications),
        Case("requests, 16 looked up and stored", requested),
        Case(f"search, settle {SETTLED_AT_ONCE}", lambda db, chance: search.settle(db, SETTLED_AT_ONCE)),
        Case("requests, forget old", lambda db, chance: requests.forget_old(db)),
        Case("search, what is near", lambda db, chance: search.near(db, user(chance), MOST_NEAR)),
        Case(
            "search, what is further",
            lambda db, chance: search.further(db, 1 << 62, list(range(1, MOST_NEAR)), MOST_CALLS),
        ),
        Case("comments.search, a common word", searching(common)),
        Case("comments.search, a rare word", searching(rare)),
        Case("comments.search, two words", searching(two)),
        Case("comments.search, a beginning", searching(beginning)),
        Case("comments.search, what is nowhere", searching(lambda chance: "xqxqxqx")),
        Case("comments.search, on a topic", searching(common, is_on_topic=True)),
        Case("comments.search, by an author", searching(common, is_by_author=True)),
    ]


_SOME = """
    SELECT id
      FROM collab.comments
     WHERE id > $1
       AND deleted_at IS NULL
     ORDER BY id
     LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What was measured on so many comments, of a database of so many GB."""

    comments: int
    postgres: str
    gigabytes: float
    commit: str
    outcomes: Sequence[Outcome]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Run:
        """The reverse."""
        return cls(**{**values, "outcomes": [Outcome(**outcome) for outcome in values["outcomes"]]})


def growth(runs: Sequence[Run]) -> str:
    """Runs of several sizes, the smallest first, as a table: a row a call, and what it became to the smallest."""
    runs = sorted(runs, key=lambda run: run.comments)
    medians = [{outcome.name: outcome.median for outcome in run.outcomes} for run in runs]
    sizes = ", ".join(f"{run.gigabytes:.1f} GB for {run.comments:,} comments" for run in runs)
    commits = ", ".join(dict.fromkeys(run.commit for run in runs))
    said = f"PostgreSQL {runs[0].postgres}, {platform.machine()}; {sizes}; commit {commits}."
    header = ["ms that PostgreSQL works on a call", *(f"{run.comments:,}" for run in runs), "last / first"]
    rows = [
        [
            name,
            *(f"{found[name]:.2f}" if name in found else "" for found in medians),
            f"{medians[-1][name] / first:.2f}" if name in medians[-1] else "",
        ]
        for name, first in medians[0].items()
    ]
    lines = ["| " + " | ".join(row) + " |" for row in (header, *rows)]
    return "\n".join([textwrap.fill(said, 120), "", lines[0], "|---" * len(header) + "|", *lines[1:]])


async def choose_some(connection: Recorder, world: World) -> None:
    """Comments from all times, for the calls that need one."""
    for number in range(200):
        at = BEGIN + (END - BEGIN) * (number / 201)
        id = await connection.fetchval(_SOME, UUID(int=int(at.timestamp() * 1000) << 80))
        comment = await comments.get(connection, id)
        assert comment is not None
        world.some.append(comment)


async def main() -> int:
    """Load unless that was done, measure, print. Returns the exit code: 1 when something misses the goal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the loaded database here")
    parser.add_argument("--scale", type=float, default=1.0, help="1 loads a million comments")
    parser.add_argument("--only", default="", help="call only what has this in its name")
    parser.add_argument("--save", type=Path, metavar="FILE", help="keep what was measured here")
    parser.add_argument(
        "--grown", type=Path, nargs="+", metavar="FILE", help="only put saved runs into docs/benchmarks.md"
    )
    arguments = parser.parse_args()
    if arguments.grown:
        put("growth", growth([Run.from_json(json.loads(path.read_text())) for path in arguments.grown]))
        return 0
    world = make_world(int(1_000_000 * arguments.scale))
    with tempfile.TemporaryDirectory(prefix="collab-plans-") as spare:
        folder = arguments.folder or Path(spare) / "postgres"
        settings = {
            **NOT_DURABLE,
            "shared_buffers": "1GB",
            "max_wal_size": "4GB",
            "effective_cache_size": "4GB",
        }
        server = EmbeddedPostgres(folder, settings=settings).start()
        try:
            run = await _run(server, world, arguments.only)
        finally:
            server.stop()
    if arguments.save:
        arguments.save.write_text(json.dumps(run.as_json()))
    return 0 if all(outcome.is_good for outcome in run.outcomes) else 1


async def _run(server: EmbeddedPostgres, world: World, only: str) -> Run:
    reach: dict[str, Any] = {"host": server.host, "port": server.port, "password": server.password}
    there = Server(**reach, user=server.user, database=server.database)
    database = Database(there, pool_size=1, read_pool_size=1)
    await migrations.apply(database)
    watcher = await asyncpg.connect(**reach, user="postgres", database=server.database)
    if not await watcher.fetchval("SELECT EXISTS (SELECT FROM collab.comments)"):
        await load(watcher, world)
    await watcher.execute(_CLEAN)
    await watcher.execute("SELECT pg_stat_force_next_flush()")
    connection = await asyncpg.connect(
        **reach,
        user=server.user,
        database=server.database,
        # To measure also what a node gives up.
        server_settings={**SESSION, "statement_timeout": "60000", "transaction_timeout": "0"},
        connection_class=Recorder,
        statement_cache_size=500,
        max_cached_statement_lifetime=0,
    )
    await choose_some(connection, world)
    print(f"{'':44} {'median':>8} {'longest':>8} {'took':>8}  ms")
    outcomes = []
    for case in cases(world):
        if only in case.name:
            outcomes.append(await measure(connection, watcher, case))
            print(outcomes[-1], flush=True)
    version = await watcher.fetchval("SHOW server_version")
    gigabytes = await watcher.fetchval("SELECT pg_database_size(current_database())") / 1e9
    await connection.close()
    await watcher.close()
    return Run(world.comments, version, gigabytes, described_commit(), outcomes)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
