"""Rights come before text: a word that stands only where the asker may not read is like a word that stands nowhere.

Most of it runs the service in this process, between the real database and the stand-in Library, and writes down what
it asks of them.
"""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from types import SimpleNamespace
from typing import Any, cast

import pytest
import pytest_asyncio

from collab_server.authority.library.library import Library, Timing
from collab_server.contract.catalogue import COMMANDS
from collab_server.domain.comments import AddComment
from collab_server.domain.ids import uuid7
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import Identity
from collab_server.domain.search import SearchComments
from collab_server.errors import NotFound
from collab_server.services import search
from collab_server.services.backends import Backends
from collab_server.services.commands.executor import Write
from collab_server.services.commands.pages import Cursors
from collab_server.services.commands.table import TABLE, OfConnection
from collab_server.services.search import page
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import LibraryUser, new_session
from tests.harness.cluster import Cluster
from tests.harness.world import TestDatabase, fresh_topic
from tests.integration.doors import Door
from tests.integration.scene import BOB, EVE, added, created, mention, open_to

MOST_PAGES = 60


def new_word() -> str:
    """A word that stands nowhere yet, as long as any other."""
    return f"zq{secrets.token_hex(8)}"


@dataclass(slots=True)
class Watched:
    """A database, and the statements that it was asked; `before` each of them something may be done, by its number."""

    database: Database
    statements: list[str] = field(default_factory=list)
    before: Callable[[int], Awaitable[None]] | None = None

    async def _note(self, sql: str) -> None:
        self.statements.append(sql)
        if self.before is not None:
            await self.before(len(self.statements))

    async def fetch(self, sql: str, *arguments: Any) -> Any:
        await self._note(sql)
        return await self.database.fetch(sql, *arguments)

    async def fetchrow(self, sql: str, *arguments: Any) -> Any:
        await self._note(sql)
        return await self.database.fetchrow(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any) -> Any:
        await self._note(sql)
        return await self.database.fetchval(sql, *arguments)


@dataclass(slots=True)
class Seen:
    """What can be seen of a search: ids by page, whether pages go on, statements and Library's calls by page."""

    pages: list[tuple[list[str], bool]] = field(default_factory=list)
    statements: list[list[str]] = field(default_factory=list)
    calls: list[dict[str, int]] = field(default_factory=list)
    cursors: list[str | None] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [id for ids, _ in self.pages for id in ids]


class Asker:
    """Somebody who searches. Each search begins with a Library that remembers nothing."""

    def __init__(self, cluster: Cluster, database: Database, login: str) -> None:
        self._cluster, self._database, self._login = cluster, database, login
        self._cursors = Cursors()
        self._cursors.use_keys(KeyRing.of(b"k" * 32))

    async def search(
        self,
        q: str,
        between: Callable[[], Awaitable[None]] | None = None,
        before: Callable[[int], Awaitable[None]] | None = None,
        **more: Any,
    ) -> Seen:
        """Search to the last page. With something to do `between` pages, no answer of Library is kept. What is to be
        done `before` each statement gets its number on its page."""
        user = await LibraryUser.sign_in(self._cluster.library.url, self._login)
        library = Library(self._cluster.library.url, timing=Timing(fresh=0.0) if between else None)
        await library.start()
        try:
            signed_in = await library.sessions.sign_in_with_identity_token(await user.identity_token())
            who = cast("Identity", SimpleNamespace(user=signed_in.user, session=signed_in.session))
            return await self._search(library, who, q, between, before, more)
        finally:
            await library.stop()

    async def _search(
        self,
        library: Library,
        who: Identity,
        q: str,
        between: Callable[[], Awaitable[None]] | None,
        before: Callable[[int], Awaitable[None]] | None,
        more: dict[str, Any],
    ) -> Seen:
        seen = Seen()
        cursor = None
        while len(seen.pages) < MOST_PAGES:
            watched = Watched(self._database, before=before)
            asked = {"database": watched, "gate": library.questions, "cursors": self._cursors}
            for_all = SimpleNamespace(is_for_all=True)
            backends = cast("Backends", SimpleNamespace(**asked, chance=random.random, commenting=for_all))
            calls_before = await self._calls()
            answer = json.loads(
                await search.search_comments(backends, who, SearchComments(q, cursor=cursor, **more))
            )
            after = await self._calls()
            cursor = answer["next"]
            seen.pages.append(([item["comment"]["id"] for item in answer["items"]], cursor is not None))
            seen.cursors.append(cursor)
            seen.statements.append(watched.statements)
            seen.calls.append({call: count - calls_before.get(call, 0) for call, count in after.items()})
            if cursor is None:
                return seen
            if between is not None:
                await between()
        raise AssertionError("the pages do not end")

    async def _calls(self) -> dict[str, int]:
        async with (
            new_session(keeps_cookies=False) as http,
            http.get(f"{self._cluster.library.root}/standin/calls") as answer,
        ):
            calls: dict[str, int] = await answer.json()
        return {call: count for call, count in calls.items() if "/objects" in call or "/reports" in call}


@dataclass(slots=True)
class Place:
    """One node with a database of its own, to be written to as users do, and that database."""

    cluster: Cluster
    database: Database
    sql: TestDatabase

    def asker(self, login: str) -> Asker:
        return Asker(self.cluster, self.database, login)

    async def settle(self) -> None:
        """Have all comments in the index."""
        await search.settle(self.database, at_least=0)


@pytest_asyncio.fixture
async def place(make_cluster: MakeCluster, database: TestDatabase) -> AsyncIterator[Place]:
    often = {"limits": {"commandsPerSecond": 100_000, "commandsBurst": 100_000}}
    cluster = await make_cluster(nodes=1, redis_url=None, overrides=often)
    async with _open(database) as db:
        yield Place(cluster, db, database)


@asynccontextmanager
async def _open(database: TestDatabase) -> AsyncIterator[Database]:
    db = Database(Server(**database.connect_arguments()), pool_size=1, read_pool_size=2)
    await db.start()
    try:
        await db.until_up()
        yield db
    finally:
        await db.stop()


async def test_a_word_where_one_may_not_read_is_like_a_word_that_stands_nowhere(place: Place) -> None:
    cluster = place.cluster
    ann, bob, eve = [await Door.open(cluster, "rest", login) for login in ("ann", "bob", "eve")]
    word, secret, private, former, nowhere = (new_word() for _ in range(5))
    private_talk = await created(ann, BOB)
    own_talk = await created(eve, BOB)
    expected = [await added(eve, own_talk["topic"], f"{word} mine")]
    for number in range(40):
        topic = fresh_topic()
        if number % 4 == 0:  # where eve was, and was told of, and may not be any more
            await added(eve, topic, "I was here")
            await added(ann, topic, f"{former} {mention(EVE)}")
            await eve.call("notification.list", {})
            await open_to(cluster, topic, "ann", "bob")
        elif number % 4 == 1:
            expected.append(await added(ann, topic, f"{word} open"))
            continue
        else:
            await open_to(cluster, topic, "ann", "bob")
        await added(ann, topic, f"{secret} {word} {number}")
    for number in range(40):
        await added(bob, private_talk["topic"], f"{private} {word} {number}")

    asker = place.asker("eve")
    for is_settled in (False, True):
        if is_settled:
            await place.settle()
        hit = await asker.search(word)
        assert sorted(hit.ids) == sorted(comment["id"] for comment in expected)
        miss = await asker.search(nowhere)
        assert miss.ids == []
        assert all(sum(calls.values()) <= search.MOST_CALLS for calls in miss.calls)
        for hidden in (secret, private, former):
            seen = await asker.search(hidden)
            assert seen.pages == miss.pages
            assert seen.cursors == miss.cursors
            assert seen.calls == miss.calls
            assert seen.statements == miss.statements
    own = expected[1]["topic"]
    for narrowed in ({"topic": own}, {"author": expected[1]["author"]["id"]}):
        searches = [await asker.search(one, **narrowed) for one in (nowhere, secret, private)]
        assert searches[0].statements == searches[1].statements == searches[2].statements
        assert searches[0].pages == searches[1].pages == searches[2].pages


async def test_a_comment_in_a_closed_discussion_is_like_one_that_does_not_exist(cluster: Cluster) -> None:
    """For every command about a comment: the same statements, and the same refusal."""
    ann = await Door.open(cluster, "rest", "ann")
    hidden = (await added(ann, (await created(ann, BOB))["topic"], "hidden"))["id"]
    eve = cast("Identity", SimpleNamespace(user=SimpleNamespace(id=EVE)))
    tried = 0
    async with _open(cluster.database) as database:
        for entry in TABLE.values():
            payload = COMMANDS[entry.name].payload
            names = {field.name for field in fields(payload)}
            if "comment_id" not in names or isinstance(entry, OfConnection) or payload is AddComment:
                continue  # to add one names an id that is to be new
            begin = entry.ask if isinstance(entry, Write) else entry.answer
            seen = []
            for id in (hidden, str(uuid7())):
                given = {"comment_id": id, "text": "Changed", "emoji": "👍", "following": True, "muted": True}
                command = payload(**{name: given[name] for name in names & given.keys()})
                watched = Watched(database)
                with pytest.raises(NotFound) as refusal:
                    await begin(cast("Backends", SimpleNamespace(database=watched)), eve, command)
                seen.append((watched.statements, str(refusal.value)))
            assert seen[0] == seen[1], entry.name
            tried += 1
    assert tried >= 8


async def test_all_that_one_may_open_is_found_however_far_away(place: Place) -> None:
    ann = await Door.open(place.cluster, "rest", "ann")
    word = new_word()
    topics = [fresh_topic() for _ in range(110)]
    first = await added(ann, topics[0], word)
    names = ",".join(f"('{topic}')" for topic in topics[1:-1])
    place.sql.sql(f"INSERT INTO collab.topics (name) VALUES {names}")
    last = await added(ann, topics[-1], word)
    seen = await place.asker("dan").search(word)
    assert seen.ids == [last["id"], first["id"]]
    assert seen.pages[0] == ([last["id"]], True)
    assert seen.pages[-1] == ([first["id"]], False)
    assert all(0 < sum(calls.values()) <= search.MOST_CALLS for calls in seen.calls)
    near = await place.asker("ann").search(word)
    assert near.pages[0][0] == [last["id"], first["id"]], "what one has written is near, however old it is"


async def test_pages_are_whole_together_while_their_reader_goes_elsewhere(place: Place) -> None:
    """What one does between two pages may bring topics nearer; none is left out or shown twice for that."""
    cluster = place.cluster
    ann, dan = [await Door.open(cluster, "rest", login) for login in ("ann", "dan")]
    word = new_word()
    topics = [fresh_topic() for _ in range(70)]
    ids = [(await added(ann, topic, f"{word} {n}"))["id"] for n, topic in enumerate(topics)]
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await dan.call("comments.search", {"q": word, "limit": 7, **cursor})
        found += [item["comment"]["id"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
        for topic in topics[5:60:9]:
            await dan.call("topic.read", {"topic": topic, "seq": 1})
    assert sorted(found) == sorted(ids)


async def test_a_right_that_ends_between_two_pages_ends_what_is_found(place: Place) -> None:
    cluster = place.cluster
    ann = await Door.open(cluster, "rest", "ann")
    word, topic = new_word(), fresh_topic()
    for number in range(6):
        await added(ann, topic, f"{word} {number}")

    async def close() -> None:
        await open_to(cluster, topic, "ann")

    seen = await place.asker("dan").search(word, limit=2, between=close)
    assert [len(ids) for ids, _ in seen.pages] == [2, 0]


async def test_whoever_is_put_out_of_a_discussion_while_a_page_is_read_finds_nothing_of_it(
    place: Place,
) -> None:
    ann, word = await Door.open(place.cluster, "rest", "ann"), new_word()
    asker = place.asker("bob")
    hit = await added(ann, (await created(ann, BOB))["topic"], word)
    seen = await asker.search(word)
    assert seen.ids == [hit["id"]]
    for number in range(1, len(seen.statements[0]) + 1):
        word, talk = new_word(), await created(ann, BOB)
        await added(ann, talk["topic"], word)

        async def put_out(statement: int, number: int = number, talk: Any = talk) -> None:
            if statement == number:
                await ann.call("discussion.remove", {"discussionId": talk["id"], "userId": BOB})

        found = await asker.search(word, before=put_out)
        assert found.ids == [], f"put out before statement {number}"


async def test_a_dear_page_ends_early_and_all_pages_together_hold_every_hit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "PAGE_CPU_SECONDS", 0.002)
    ann = await Door.open(place.cluster, "socket", "ann")
    talk = await created(ann, BOB)
    ids = [(await added(ann, talk["topic"], "αβ " * 3000 + str(number)))["id"] for number in range(40)]
    seen = await place.asker("ann").search("αβ", limit=200)
    assert seen.ids == ids[::-1]
    assert len(seen.pages) > 1
    monkeypatch.undo()
    monkeypatch.setattr(page, "PAGE_BYTES", 100_000)
    seen = await place.asker("ann").search("αβ", limit=200)
    assert seen.ids == ids[::-1]
    assert max(len(page) for page, _ in seen.pages) <= 7  # of 18,000 bytes each
