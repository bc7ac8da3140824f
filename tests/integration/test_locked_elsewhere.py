"""What somebody else has locked - a frozen node, an administrator - is waited for by those who want it, and by nobody
else, whatever the command and however many they are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from collab_server.demo.embedded import EmbeddedPostgres
from collab_server.domain.topics import parse_topic
from collab_server.services.commands.executor import Write
from collab_server.services.commands.table import TABLE
from collab_server.storage import new_comments, topics
from collab_server.storage.database import COMMAND_SECONDS, Database, Transaction
from collab_server.storage.permits import SHORT_SECONDS
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import Client, new_session
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.harness.world import TestDatabase, apply_migrations, fresh_topic
from tests.integration.doors import Door
from tests.integration.scene import PAYLOADS, PLACES, Scene

WRITES = [name for name, entry in TABLE.items() if isinstance(entry, Write)]
WAIT_FOR_NOTHING = {"share", "session.end"}
"""What these store is nobody's else: no lock of a topic is in their way."""
ASKING = 8
"""More than have their turn on two connections before the others have waited for too long."""
PERMITS = 5
"""Of ten connections, which is what a node has."""
MANY = {"limits": {"commandsPerSecond": 10_000, "commandsBurst": 10_000, "connectionsPerUser": 100}}
TWO_CONNECTIONS = {**MANY, "dataSource": {"poolSize": 2}}


@asynccontextmanager
async def locked(cluster: Cluster, *topics: str) -> AsyncIterator[None]:
    """Have somebody else lock these topics for as long as the block lasts."""
    stranger = await asyncpg.connect(**cluster.database.connect_arguments())
    try:
        async with stranger.transaction():
            rows = await stranger.fetch("SELECT FROM collab.topics WHERE name = ANY($1) FOR UPDATE", topics)
            assert len(rows) == len(topics)
            yield
    finally:
        await stranger.close()


def payload_of(name: str, scene: Scene) -> dict[str, Any]:
    """What it is asked with, at the first place where it can be about something."""
    payloads = (PAYLOADS[name](scene, place) for place in PLACES)
    return dict(next(payload for payload in payloads if payload is not None))


async def waiting_for_locks(cluster: Cluster) -> float:
    """How many transactions of the first node wait."""
    async with new_session(keeps_cookies=False) as http, http.get(f"{cluster[0].url}/metrics") as answer:
        text = await answer.text()
    [told] = re.findall(r'^collab_queue_length\{queue="locks"\} (.*)$', text, re.MULTILINE)
    return float(told)


async def test_whatever_waits_for_a_topic_holds_up_nobody_elsewhere(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1, overrides=TWO_CONNECTIONS)
    ann, bob, eve = [await Door.open(cluster, "socket", login) for login in ("ann", "bob", "eve")]
    owners = [await cluster.client(0, "ann") for _ in range(ASKING)]
    admins = [await cluster.client(0, "admin") for _ in range(ASKING)]
    carol = await cluster.client(0, "carol")
    elsewhere = fresh_topic()
    waited = set()
    for name in sorted(WRITES, key=lambda name: name == "session.end"):
        scene = await Scene.make(cluster, ann, bob, eve)
        payload = payload_of(name, scene)
        async with locked(cluster, *map(scene.topic, PLACES)):
            people = admins if name == "topic.switch" else owners
            held_up = [asyncio.create_task(who.ask(name, payload)) for who in people]
            await asyncio.sleep(0)
            added = await carol.ask("comment.add", {"topic": elsewhere, "text": name})
            assert added["ok"], (name, added)
            edit = {"commentId": added["data"]["comment"]["id"], "text": f"{name}, edited"}
            edited = await carol.ask("comment.edit", edit)
            assert edited["ok"], (name, edited)
            await carol.call("topic.comments", {"topic": elsewhere})
            if not any(each.done() and each.result()["ok"] for each in held_up):
                waited.add(name)
        answers = await asyncio.gather(*held_up)
        assert "internal" not in {answer["error"]["code"] for answer in answers if not answer["ok"]}, answers
    assert set(WRITES) - waited == WAIT_FOR_NOTHING


async def test_what_one_notes_of_a_topic_for_oneself_does_not_wait_for_who_writes_there(
    cluster: Cluster, topic: str
) -> None:
    """The first time, too, when it is stored who it is: they have locked their own inbox by then."""
    ann = await cluster.client(0, "ann")
    comment = {"commentId": (await ann.call("comment.add", {"topic": topic, "text": "0"}))["comment"]["id"]}
    noted: list[tuple[str, str, dict[str, Any]]] = [
        ("bob", "topic.mute", {"topic": topic, "muted": True}),
        ("carol", "topic.read", {"topic": topic, "seq": 1}),
        ("dan", "thread.follow", {**comment, "following": True}),
        ("eve", "thread.mute", {**comment, "muted": True}),
    ]
    people = [await cluster.client(1, login) for login, *_ in noted]
    writes = Database(Server(**cluster.database.connect_arguments()))
    await writes.start()
    try:
        await writes.until_up()

        async def write(tx: Transaction) -> None:
            await topics.lock(tx, parse_topic(topic))
            for who, (_, name, payload) in zip(people, noted, strict=True):
                await who.call(name, payload)

        await writes.run(write)
    finally:
        await writes.stop()


@pytest.mark.parametrize("module", [new_comments, topics])
def test_no_statement_keeps_others_from_referring_to_the_topic_that_it_locks(module: ModuleType) -> None:
    statements = [text for text in vars(module).values() if isinstance(text, str) and "collab.topics" in text]
    assert any(topics.LOCK in text for text in statements)
    assert not [text for text in statements if "FOR UPDATE" in text]


async def changes(who: Client, topics: Sequence[str]) -> list[dict[str, Any]]:
    """Changes of comments of theirs, one on each topic."""
    added = [await who.call("comment.add", {"topic": topic, "text": "0"}) for topic in topics]
    return [{"commentId": each["comment"]["id"], "requestId": str(uuid4())} for each in added]


@pytest.mark.parametrize("connections", [1, 2, 10])
async def test_a_command_repeated_while_its_topic_is_locked_takes_effect_once(
    make_cluster: MakeCluster, connections: int
) -> None:
    overrides = {**MANY, "dataSource": {"poolSize": connections}}
    cluster = await make_cluster(nodes=2, overrides=overrides)
    topics = [fresh_topic() for _ in range(4)]
    ann = await cluster.client(0, "ann")
    edits = [{**change, "text": "1"} for change in await changes(ann, topics) for _ in range(4)]
    clients = [await cluster.client(number % 2, "ann") for number in range(len(edits))]
    async with locked(cluster, *topics):
        asking = [
            asyncio.create_task(who.ask("comment.edit", edit))
            for who, edit in zip(clients, edits, strict=True)
        ]
        await until(lambda: waiting_for_locks(cluster), what="they wait")
    answers = await asyncio.gather(*asking)
    for start in range(0, len(edits), 4):
        again = await ann.call("comment.edit", edits[start])
        of_one = [answer for answer in answers[start : start + 4] if answer["ok"]]
        assert all(answer["data"] == again for answer in of_one)
    assert [(await ann.call("topic.get", {"topic": topic}))["seq"] for topic in topics] == [2] * 4
    assert await waiting_for_locks(cluster) == 0


async def test_what_one_client_says_of_a_locked_topic_is_stored_in_the_order_in_which_it_came(
    cluster: Cluster, topic: str
) -> None:
    ann = await cluster.client(0, "ann")
    [change] = await changes(ann, [topic])
    del change["requestId"]
    async with locked(cluster, topic):
        asking = [
            asyncio.create_task(ann.ask("comment.edit", {**change, "text": f"{number}"}))
            for number in range(1, 6)
        ]
        await until(lambda: waiting_for_locks(cluster), what="the first waits")
    answers = await asyncio.gather(*asking)
    stored = [answer["data"]["comment"]["text"] for answer in answers if answer["ok"]]
    assert stored
    assert [answer["data"]["seq"] for answer in answers if answer["ok"]] == [*range(2, 2 + len(stored))]
    assert stored == sorted(stored)


async def test_nobody_who_comments_elsewhere_waits_for_a_topic_that_is_being_made(cluster: Cluster) -> None:
    """Of a topic that a frozen node was about to make there is no row to be seen, and none can be added."""
    made, elsewhere = [[fresh_topic() for _ in range(6)] for _ in range(2)]
    bobs = [await cluster.client(0, "bob") for _ in made]
    people = [await cluster.client(0, "ann") for _ in elsewhere]
    stranger = await asyncpg.connect(**cluster.database.connect_arguments())
    try:
        async with stranger.transaction():
            await stranger.execute("INSERT INTO collab.topics (name) SELECT unnest($1::text[])", made)
            held_up = []
            for _ in range(3):
                held_up += [
                    asyncio.create_task(bob.ask("comment.add", {"topic": topic, "text": "During"}))
                    for bob, topic in zip(bobs, made, strict=True)
                ]
                adding = [
                    who.ask("comment.add", {"topic": topic, "text": "During"})
                    for who, topic in zip(people, elsewhere, strict=True)
                ]
                answers = await asyncio.gather(*adding)
                assert all(answer["ok"] for answer in answers), answers
    finally:
        await stranger.close()
    answers = await asyncio.gather(*held_up)
    assert {answer["error"]["code"] for answer in answers if not answer["ok"]} <= {"paused"}


async def test_whoever_only_looks_whether_a_topic_is_free_leaves_nothing_in_the_log_of_postgres(
    make_cluster: MakeCluster, own_postgres: EmbeddedPostgres
) -> None:
    """A wait that came to nothing is an error there, with its statement: beside fifty locked topics three hundred a
    second."""
    own_postgres.create_database("mine")
    database = TestDatabase(own_postgres, "mine")
    apply_migrations(database)
    cluster = await make_cluster(nodes=1, database=database, overrides=MANY)
    topics = [fresh_topic() for _ in range(30)]
    edits = await changes(await cluster.client(0, "ann"), topics)
    people = [await cluster.client(0, "ann") for _ in edits]
    async with locked(cluster, *topics):
        asking = [
            who.ask("comment.edit", {**edit, "text": "1"}) for who, edit in zip(people, edits, strict=True)
        ]
        answers = await asyncio.gather(*asking)
    assert {answer["error"]["code"] for answer in answers} == {"paused"}
    most = (
        len(edits) + PERMITS * COMMAND_SECONDS / SHORT_SECONDS
    )  # each once at first, and each permit again and again
    assert own_postgres.log_text().count("ERROR:  canceling statement due to lock timeout") <= most
