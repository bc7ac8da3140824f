"""Search for people and comments, as somebody at either door sees it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from collab_server.domain.folding import BEFORE, folded
from collab_server.domain.search import index_terms, said_text
from collab_server.services import search
from collab_server.services.search.back_in_time import END
from collab_server.storage import migrations
from collab_server.storage import search as stored
from collab_server.storage.database import Database
from collab_server.storage.server import SESSION, Server
from tests.conftest import MakeCluster
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.harness.world import TestDatabase, World, fresh_topic
from tests.integration.doors import Door, DoorName
from tests.integration.scene import ANN, BOB, CAROL, DAN, SALES, added, created, mention, open_to

BOTH = pytest.mark.parametrize("door", ["socket", "rest"])


@pytest_asyncio.fixture(scope="module")
async def own_cluster(world: World, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Nodes with the topics of this file alone: a search of everything goes through all that its asker may open."""
    limits = {"commandsPerSecond": 100_000, "commandsBurst": 100_000, "connectionsPerUser": 500}
    folder = tmp_path_factory.mktemp("search")
    async with Cluster(
        world.new_database(), world.library, world.valkey.url, folder=folder, overrides={"limits": limits}
    ) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def cluster(own_cluster: Cluster) -> AsyncIterator[Cluster]:
    yield own_cluster
    await own_cluster.close_clients()


def new_word() -> str:
    """A word that stands nowhere yet."""
    return f"zq{secrets.token_hex(8)}"


async def found(door: Door, q: str, **more: Any) -> list[dict[str, Any]]:
    """The items of all pages, none of which is longer than `limit`."""
    items: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(100):
        page = await door.call("comments.search", {"q": q, **more, **cursor})
        assert len(page["items"]) <= more.get("limit", 20)
        items += page["items"]
        if page["next"] is None:
            return items
        cursor = {"cursor": page["next"]}
    raise AssertionError("the pages do not end")


async def all_found(door: Door, q: str, **more: Any) -> list[str]:
    """The ids of what is found."""
    return [item["comment"]["id"] for item in await found(door, q, **more)]


def marked(item: dict[str, Any]) -> list[str]:
    """What the highlights mark."""
    return [item["comment"]["text"][start : start + length] for start, length in item["highlights"]]


# --- what is found


@BOTH
async def test_a_comment_is_found_by_its_words_with_highlights(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, bob = [await Door.open(cluster, door, login) for login in ("ann", "bob")]
    word = new_word()
    comment = await added(ann, topic, f"Les {word.upper()}s de l'été, et {word}", anchor={"pageKey": "p"})
    await added(ann, topic, f"Not {new_word()}")
    answer = await bob.call("comments.search", {"q": f"ete {word}"})
    assert list(answer) == ["items", "next"]
    assert answer["items"] == await found(bob, f"ete {word}"), "what is newest is on the first page"
    [item] = answer["items"]
    assert list(item) == ["comment", "highlights"]
    assert item["comment"] == comment
    assert marked(item) == [word.upper(), "été", word]


@pytest.mark.parametrize(
    ("text", "q", "marks"),
    [
        ("Über das CAFÉ", "uber cafe", ["Über", "CAFÉ"]),
        ("cafe\u0301s", "café", ["cafe\u0301"]),
        ("Große STRASSE", "straße", ["STRASSE"]),
        ("Квартальный ОТЧЁТ", "отчет", ["ОТЧЁТ"]),
        ("ΟΔΟΣ Ερμού", "οδος", ["ΟΔΟΣ"]),
        ("كِتَابٌ جديد", "كتاب", ["كِتَابٌ"]),
        ("שָׁלוֹם עולם", "שלום", ["שָׁלוֹם"]),
        ("ภาษาไทยง่าย", "ไทย", ["ไทย"]),
        ("第四季度的銷售報告", "銷售", ["銷售"]),
        ("新しいサーバーが", "ｻｰﾊﾞｰ", ["サーバー"]),
        ("서버가 다운", "서버", ["서버"]),
        ("Ship it 🚀👍🏽 now", "👍", ["👍🏽"]),
        ("किताब अच्छी", "किताब", ["किताब"]),
        ("𝔘𝔫𝔦𝔠𝔬𝔡𝔢 😀 after", "after", ["after"]),
    ],
)
async def test_words_of_any_script_are_found_whatever_their_case_and_accents(
    cluster: Cluster, topic: str, text: str, q: str, marks: list[str]
) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    await added(ann, topic, text)
    [item] = await found(ann, q, topic=topic)
    # A mark that follows a highlighted letter belongs to it, whether the word goes on or not.
    assert marked(item) == marks


async def test_words_are_found_by_their_beginning_and_all_of_them_must_be(
    cluster: Cluster, topic: str
) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    word, other = new_word(), new_word()
    comment = await added(ann, topic, f"{word} and {other}")
    for length in (2, 3, 4, 5, 8, 11, len(word)):
        assert comment["id"] in [
            item["comment"]["id"] for item in await found(ann, word[:length], topic=topic)
        ]
    assert len(await found(ann, f"{other} {word}")) == 1
    assert await found(ann, f"{word} {new_word()}") == []
    assert await found(ann, f"x{word}") == []
    assert await found(ann, word[1:]) == []


async def test_a_mention_is_found_by_its_name_but_not_by_its_spelling(cluster: Cluster, topic: str) -> None:
    ann = await Door.open(cluster, "socket", "ann")
    await added(ann, topic, f"{mention(BOB)}, look")
    [item] = await found(ann, "somebody", topic=topic)
    assert marked(item) == ["Somebody"]
    assert await found(ann, "user", topic=topic) == []
    assert await found(ann, BOB[:8], topic=topic) == []


@BOTH
async def test_a_deleted_comment_is_never_found(cluster: Cluster, topic: str, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    word = new_word()
    comment = await added(ann, topic, word)
    assert len(await found(ann, word)) == 1
    await ann.call("comment.delete", {"commentId": comment["id"]})
    assert await found(ann, word) == []
    assert await found(ann, word, topic=topic) == []


@BOTH
async def test_an_edited_comment_is_found_by_its_new_words_only(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    old, new = new_word(), new_word()
    comment = await added(ann, topic, old)
    discussion = await created(ann, BOB)
    private = await added(ann, discussion["topic"], old)
    for one in (comment, private):
        await ann.call("comment.edit", {"commentId": one["id"], "text": f"Now {new}"})
    assert await found(ann, old) == []
    assert [item["comment"]["id"] for item in await found(ann, new)] == [private["id"], comment["id"]]
    assert [item["comment"]["id"] for item in await found(ann, new, topic=topic)] == [comment["id"]]


async def test_a_search_can_be_narrowed_to_a_topic_and_to_an_author(cluster: Cluster, topic: str) -> None:
    ann, bob = [await Door.open(cluster, "rest", login) for login in ("ann", "bob")]
    word, other = new_word(), fresh_topic()
    discussion = await created(ann, BOB)
    here = await added(ann, topic, word)
    there = await added(bob, other, word)
    private = await added(bob, discussion["topic"], word)
    assert await all_found(ann, word) == [private["id"], there["id"], here["id"]]
    assert await all_found(ann, word, topic=topic.lower()) == [here["id"]]
    assert await all_found(ann, word, topic=discussion["topic"]) == [private["id"]]
    assert await all_found(ann, word, author=BOB.lower()) == [private["id"], there["id"]]
    assert await all_found(ann, word, author=BOB, topic=topic) == []
    assert await all_found(ann, word, topic=fresh_topic()) == []


@BOTH
async def test_pages_go_back_in_time_and_miss_and_repeat_nothing(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann = await Door.open(cluster, door, "ann")
    word = new_word()
    discussion = await created(ann, BOB)
    places = [topic, fresh_topic(), discussion["topic"]]
    ids = [(await added(ann, places[number % 3], f"{word} {number}"))["id"] for number in range(23)]
    ids.sort()  # of two within a millisecond, chance says which is the newer
    first = await ann.call("comments.search", {"q": word, "limit": 5})
    late = await added(ann, topic, f"{word} too late")
    second = await ann.call("comments.search", {"q": word, "limit": 5, "cursor": first["next"]})
    shown = [item["comment"]["id"] for item in first["items"] + second["items"]]
    assert shown == ids[::-1][:10]
    assert await all_found(ann, word, limit=4) == [late["id"], *ids[::-1]]
    assert await all_found(ann, word, limit=24) == [late["id"], *ids[::-1]]


# --- what one may find


@BOTH
async def test_discussions_are_searched_for_their_members_only(cluster: Cluster, door: DoorName) -> None:
    ann, bob, carol, dan = [await Door.open(cluster, door, login) for login in ("ann", "bob", "carol", "dan")]
    word = new_word()
    discussion = await created(ann, BOB, CAROL)
    await added(ann, discussion["topic"], word)
    assert len(await found(bob, word)) == 1
    assert await all_found(dan, word) == []
    refusal = await dan.refusal("comments.search", {"q": word, "topic": discussion["topic"]})
    assert refusal["code"] == "not_found"
    await ann.call("discussion.remove", {"discussionId": discussion["id"], "userId": CAROL})
    await bob.call("discussion.leave", {"discussionId": discussion["id"]})
    for gone in (bob, carol):
        assert await all_found(gone, word) == []
    await ann.call("discussion.delete", {"discussionId": discussion["id"]})
    assert await all_found(ann, word) == []


@BOTH
async def test_content_is_searched_for_those_who_may_open_it_only(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, dan = [await Door.open(cluster, door, login) for login in ("ann", "dan")]
    await open_to(cluster, topic, "ann")
    word = new_word()
    await added(ann, topic, word)
    assert len(await found(ann, word)) == 1
    assert await all_found(dan, word) == []
    assert (await dan.refusal("comments.search", {"q": word, "topic": topic}))["code"] == "not_found"


async def test_nobody_searches_an_inbox(cluster: Cluster) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    asked = {"q": "hello", "topic": f"inbox:{ANN}"}
    assert (await ann.refusal("comments.search", asked))["code"] == "forbidden"
    assert (await ann.refusal("comments.search", {**asked, "topic": f"inbox:{DAN}"}))["code"] == "not_found"


async def test_library_is_asked_at_most_fifty_times_for_a_page(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1)
    ann, dan = [await Door.open(cluster, "rest", login) for login in ("ann", "dan")]
    word = new_word()
    ids = []
    for number in range(60):
        closed = fresh_topic()
        ids.append((await added(ann, closed, word))["id"])
        if number % 10:
            await open_to(cluster, closed, "ann")
    before = await _calls(cluster)
    page = await dan.call("comments.search", {"q": word, "limit": 6})
    assert await _calls(cluster) - before <= search.MOST_CALLS
    assert page["next"] is not None
    assert await all_found(dan, word, limit=6) == ids[50::-10]


async def _calls(cluster: Cluster) -> int:
    """How often the stand-in was asked about content."""
    async with (
        new_session(keeps_cookies=False) as http,
        http.get(f"{cluster.library.root}/standin/calls") as answer,
    ):
        calls: dict[str, int] = await answer.json()
    return sum(count for call, count in calls.items() if "/objects" in call or "/reports" in call)


# --- the index


async def test_what_is_found_does_not_hang_on_when_it_is_moved_to_the_index(
    make_cluster: MakeCluster, database: TestDatabase
) -> None:
    limits = {"commandsPerSecond": 100_000, "commandsBurst": 100_000}
    cluster = await make_cluster(nodes=1, overrides={"limits": limits})
    ann, bob, dan = [await Door.open(cluster, "socket", login) for login in ("ann", "bob", "dan")]
    word, other = new_word(), new_word()
    discussion = await created(ann, BOB)
    topics = [fresh_topic(), discussion["topic"]]
    settled = [await added(ann, topics[number % 2], f"{word} {number}") for number in range(120)]
    await _settle(database)
    recent = [await added(ann, topics[number % 2], f"{word} {number}") for number in range(7)]
    # By their ids: of two within a millisecond, chance says which is the newer.
    expected = sorted((comment["id"] for comment in settled + recent), reverse=True)
    assert await all_found(bob, word, limit=50) == expected
    in_content = sorted((comment["id"] for comment in settled[::2] + recent[::2]), reverse=True)
    assert await all_found(dan, word, limit=50) == in_content
    assert await all_found(ann, word, topic=topics[0]) == in_content
    assert await all_found(bob, word, topic=topics[1]) == [id for id in expected if id not in in_content]
    for comment in (settled[0], settled[1], recent[0]):
        await ann.call("comment.edit", {"commentId": comment["id"], "text": other})
    for comment in (settled[2], settled[3], recent[1]):
        await ann.call("comment.delete", {"commentId": comment["id"]})
    changed = {comment["id"] for comment in (*settled[:4], *recent[:2])}
    for _ in range(2):
        assert await all_found(bob, word, limit=50) == [id for id in expected if id not in changed]
        again = sorted((comment["id"] for comment in (recent[0], *settled[:2])), reverse=True)
        assert await all_found(bob, other) == again
        await _settle(database)


async def _settle(database: TestDatabase) -> None:
    async with _open(database) as db:
        await search.settle(db, at_least=0)
    assert database.sql("SELECT count(*) FROM collab.recent_terms") == "0"


@asynccontextmanager
async def _open(database: TestDatabase) -> AsyncIterator[Database]:
    db = Database(Server(**database.connect_arguments()), pool_size=1, read_pool_size=1)
    await db.start()
    try:
        await db.until_up()
        yield db
    finally:
        await db.stop()


# --- what an older cut has indexed


@pytest_asyncio.fixture
async def without_the_job(own_cluster: Cluster) -> AsyncIterator[None]:
    """While nothing is indexed anew by itself."""
    keep = "INSERT INTO collab.jobs (name, fence, due_at) VALUES ('comments.recut', 1, now() + interval '1 hour')"
    own_cluster.database.sql(f"{keep} ON CONFLICT (name) DO UPDATE SET due_at = excluded.due_at")
    yield
    own_cluster.database.sql("UPDATE collab.jobs SET due_at = now() WHERE name = 'comments.recut'")


@pytest.mark.usefixtures("without_the_job")
@pytest.mark.parametrize("is_settled", [False, True])
async def test_what_an_older_cut_has_indexed_is_found_as_it_was_and_then_by_all_that_reads_the_same(
    cluster: Cluster, topic: str, monkeypatch: pytest.MonkeyPatch, is_settled: bool
) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    comment = await added(ann, topic, "обʼєкт ٢٠٢٦")
    with monkeypatch.context() as then:
        then.setattr("collab_server.domain.search.folded", partial(folded, cut=BEFORE))
        numbers = index_terms(comment["text"])
    if is_settled:
        await _settle(cluster.database)
    table = "comment_terms" if is_settled else "recent_terms"
    where = f"WHERE comment_id = '{comment['id']}'"
    others = "SELECT array_agg(term) FROM unnest(terms) AS term WHERE term BETWEEN 0 AND 1342177279"
    cluster.database.sql(
        f"UPDATE collab.{table} SET terms = ARRAY{sorted(numbers)} || ({others}) {where}"  # as written then
    )
    assert await all_found(ann, "обʼєкт", topic=topic) == [comment["id"]]
    assert await all_found(ann, "٢٠٢٦", topic=topic) == [comment["id"]]
    assert await all_found(ann, "2026", topic=topic) == []
    async with _open(cluster.database) as db:
        assert await search.recut(db, rest=0) >= 1
        assert not await stored.has_older(db)
        assert await search.recut(db, rest=0) == 0
    for q in ("об'єкт", "2026", "обʼєкт", "۲۰۲۶"):
        assert await all_found(ann, q, topic=topic) == [comment["id"]]


class Interrupted:
    """Transactions of which only some are carried out: the node that has begun is gone then."""

    def __init__(self, database: Database, left: int) -> None:
        self.database, self.left = database, left

    async def run(self, work: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError
        return await self.database.run(work)


@pytest.mark.usefixtures("without_the_job")
async def test_comments_without_numbers_are_found_after_an_update_however_often_it_was_interrupted(
    cluster: Cluster, topic: str
) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    word, edited = new_word(), new_word()
    first = await added(ann, topic, f"{word} first")
    sql = cluster.database.sql
    sql(
        f"""
        INSERT INTO collab.comments (
               id, topic_id, seq, thread_id, author_id, author_name, author_initials, text, created_at)
        SELECT md5(number::text || '{word}')::uuid, topic.id, 1000 + number, md5(number::text || '{word}')::uuid,
               'A', 'A', 'A', '{word} ' || number, now()
          FROM collab.topics AS topic
         CROSS JOIN generate_series(1, 250) AS number
         WHERE topic.name = '{topic}'
        """
    )
    assert await all_found(ann, word, topic=topic) == [first["id"]]
    sql("DELETE FROM collab.schema_migrations WHERE version LIKE '%0020'")
    async with _open(cluster.database) as db:
        assert await migrations.apply(db) == ["0020_comments_without_numbers"]
        for left in (2, 1, 3):
            with pytest.raises(ConnectionError):
                await search.recut(Interrupted(db, left), rest=0)
            assert await stored.has_older(db)
        await ann.call("comment.edit", {"commentId": first["id"], "text": edited})
        await search.recut(db, rest=0)
        assert not await stored.has_older(db)
    assert len(await all_found(ann, word, topic=topic, limit=200)) == 250
    assert await all_found(ann, edited, topic=topic) == [first["id"]]


@pytest.mark.usefixtures("without_the_job")
async def test_numbers_are_given_only_to_what_was_read(cluster: Cluster, topic: str) -> None:
    ann = await Door.open(cluster, "rest", "ann")
    before, after = new_word(), new_word()
    comment = await added(ann, topic, before)
    await ann.call("comment.edit", {"commentId": comment["id"], "text": after})
    async with _open(cluster.database) as db:
        late = [(UUID(comment["id"]), 1, f"{{{said_text(before)}}}")]
        assert await db.run(lambda tx: stored.renew(tx, late)) == 0
    assert await all_found(ann, after, topic=topic) == [comment["id"]]


# --- how it is looked for

FILLED = """
    ALTER TABLE collab.comment_terms DROP CONSTRAINT comment_terms_comment_id_fkey;
    INSERT INTO collab.comment_terms (comment_id, topic_id, terms)
    SELECT md5(number::text)::uuid, number % 500, ARRAY[number % 3, 1000 + number % 500, 5000 + number]
      FROM generate_series(1, 1000) AS number;
    INSERT INTO collab.topics (name)
    SELECT CASE WHEN number <= 500 THEN 'content:' ELSE 'inbox:' END || number
      FROM generate_series(1, 1000) AS number;
    ANALYZE collab.comment_terms, collab.topics
"""
"""Numbers without comments, and topics, the newest of which are inboxes."""
TEMPTING = {"enable_seqscan": "off", "random_page_cost": "1000"}
"""To read all comments with a word once seems cheaper than to look some up for each part of the topics; on a hundred
thousand comments it seems so by itself, for PostgreSQL does not know how common the word will be."""


class Explaining:
    """Stands for a database: says how it would read, for whatever arguments."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection
        self.plans: list[str] = []

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        self.plans.append(await self.connection.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *arguments))
        return []


@pytest_asyncio.fixture(scope="module")
async def filled(world: World) -> AsyncIterator[Explaining]:
    database = world.new_database()
    database.sql(FILLED)
    connection = await asyncpg.connect(
        **database.connect_arguments(), server_settings={**SESSION, **TEMPTING}
    )
    yield Explaining(connection)
    await connection.close()
    database.drop()


async def test_a_common_word_is_looked_up_together_with_the_topics_and_not_read_through(filled: Any) -> None:
    await stored.in_topics(filled, [[1]], END, [1, 2, 3], 100)
    await stored.in_discussions_of(filled, [[1]], END, "a person", 100)
    for plan in filled.plans[-2:]:
        looks = [line for line in plan.splitlines() if '"Index Cond"' in line and "terms" in line]
        assert len(looks) == 1
        assert "@>" in looks[0], plan
        assert "&&" in looks[0], plan


async def test_a_search_goes_past_no_discussions_and_inboxes_to_come_to_content(filled: Any) -> None:
    assert await stored.further(filled, 1 << 62, [1, 2], 10) == []
    assert "topics_content" in filled.plans[-1]


# --- what is refused


@BOTH
@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"q": ""}, "q"),
        ({"q": " ,.-! \u0301"}, "q"),
        ({"q": "x" * 201}, "q"),
        ({"q": " ".join(map(chr, range(0x61, 0x61 + 17)))}, "q"),
        ({"q": "x", "author": "nobody"}, "author"),
        ({"q": "x", "topic": "everything"}, "topic"),
        ({"q": "x", "limit": 0}, "limit"),
        ({"q": "x", "limit": 201}, "limit"),
        ({"q": "x", "cursor": "x"}, "cursor"),
        ({"q": "x", "cursor": "OTk5OTk5OTk5OTk5OTk5OTk5LjAuMA"}, "cursor"),
    ],
)
async def test_a_search_that_makes_no_sense_is_refused(
    cluster: Cluster, door: DoorName, payload: dict[str, Any], field: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    refusal = await ann.refusal("comments.search", payload)
    assert refusal["code"] in ("invalid", "too_large")
    assert refusal["field"] == field


# --- people


@BOTH
async def test_people_and_groups_are_found_by_a_part_of_their_name(cluster: Cluster, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    bob = {"kind": "user", "id": BOB, "name": "Bob Baker"}
    assert await ann.call("recipients.find", {"search": "bakE"}) == {"items": [bob], "next": None}
    sales = {"kind": "group", "id": SALES, "name": "Sales"}
    assert await ann.call("recipients.find", {"search": "sales"}) == {"items": [sales], "next": None}
    assert await ann.call("recipients.find", {"search": "sales", "kind": "user"}) == {
        "items": [],
        "next": None,
    }
    assert await ann.call("recipients.find", {"search": new_word()}) == {"items": [], "next": None}


@BOTH
async def test_a_page_is_gone_on_from_on_any_node_by_its_reader_in_its_list_only(
    cluster: Cluster, topic: str, door: DoorName
) -> None:
    ann, elsewhere = [await Door.open(cluster, door, "ann", node) for node in (0, 1)]
    bob = await Door.open(cluster, door, "bob")
    for number in range(3):
        await added(ann, topic, f"{number}")
    asked = {"topic": topic, "limit": 1}
    first = await ann.call("topic.comments", asked)
    again = await ann.call("topic.comments", asked)
    assert first["next"] == again["next"]
    [second] = (await elsewhere.call("topic.comments", {**asked, "cursor": first["next"]}))["items"]
    assert second["text"] == "1"
    changed = ("B" if first["next"][30] == "A" else "A").join((first["next"][:30], first["next"][31:]))
    of_the_version_before = base64.urlsafe_b64encode(b"3").decode().rstrip("=")
    for who, command, payload in (
        (bob, "topic.comments", {**asked, "cursor": first["next"]}),
        (ann, "topic.comments", {**asked, "cursor": changed}),
        (ann, "topic.comments", {**asked, "cursor": first["next"][:-2]}),
        (ann, "topic.comments", {**asked, "cursor": of_the_version_before}),
        (ann, "notification.list", {"cursor": first["next"]}),
        (ann, "discussion.list", {"cursor": first["next"]}),
        (ann, "recipients.find", {"search": "a", "cursor": first["next"]}),
        (ann, "comments.search", {"q": "a", "cursor": first["next"]}),
    ):
        refusal = await who.refusal(command, payload)
        assert (refusal["code"], refusal["field"]) == ("invalid", "cursor")
        assert "first page" in refusal["message"]


@BOTH
async def test_people_come_in_pages(cluster: Cluster, door: DoorName) -> None:
    ann = await Door.open(cluster, door, "ann")
    whole = await ann.call("recipients.find", {"search": "a"})
    assert len(whole["items"]) > 3
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = await ann.call("recipients.find", {"search": "a", "limit": 2, **cursor})
        assert len(page["items"]) <= 2
        items += page["items"]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert items == whole["items"]


@BOTH
@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({}, "search"),
        ({"search": "a", "kind": "dog"}, "kind"),
        ({"search": "a" * 201}, "search"),
        ({"search": "a", "limit": 0}, "limit"),
        ({"search": "a", "cursor": "?"}, "cursor"),
    ],
)
async def test_a_search_for_people_that_makes_no_sense_is_refused(
    cluster: Cluster, door: DoorName, payload: dict[str, Any], field: str
) -> None:
    ann = await Door.open(cluster, door, "ann")
    refusal = await ann.refusal("recipients.find", payload)
    assert refusal["code"] in ("invalid", "too_large")
    assert refusal["field"] == field
