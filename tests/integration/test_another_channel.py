"""People are told elsewhere by the channel of another package: installed beside the server."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from collab_server.storage import tellings
from collab_server.storage.database import Database, Transaction
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.packages import EXAMPLES, install
from tests.harness.waiting import until
from tests.harness.world import TestDatabase
from tests.integration.doors import say
from tests.integration.scene import BOB, CAROL

SOON = hurried(
    {
        "collab_server.services.jobs": {"LOOK_SECONDS": 0.2},
        "collab_server.services.channels": {"EVERY_SECONDS": 0.1},
    }
)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    installed = install(EXAMPLES / "letters", tmp_path / "site")
    return {**SOON, "PYTHONPATH": os.pathsep.join((installed["PYTHONPATH"], SOON["PYTHONPATH"]))}


def letters(folder: Path, user_id: str) -> list[dict[str, Any]]:
    path = folder / f"{user_id}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def told(database: TestDatabase) -> bool:
    """Whether nothing is left to be told."""
    return database.sql("SELECT count(*) FROM collab.tellings").strip() == "0"


async def mention(cluster: Cluster, node: int, topic: str, *people: tuple[str, str]) -> Client:
    ann = await cluster.client(node, "ann")
    await say(ann, topic, " ".join(f"@[{name}](user:{id})" for name, id in people))
    return ann


async def test_what_comes_into_an_inbox_is_told_once_by_a_channel_of_another_package(
    make_cluster: MakeCluster, database: TestDatabase, env: dict[str, str], tmp_path: Path, topic: str
) -> None:
    folder = tmp_path / "letters"
    channels = [{"kind": "inbox"}, {"kind": "letters", "folder": str(folder)}]
    cluster = await make_cluster(nodes=2, overrides={"channels": channels}, env=env)
    bob = await cluster.client(1, "bob")
    await mention(cluster, 0, topic, ("Bob", BOB), ("Carol", CAROL))
    await bob.wait_for("notification.added")
    # Nobody can be told before there is a folder; and Carol, who is away, not before it is known that she may know.
    await until(lambda: "could not be told; it is tried again" in cluster[0].log + cluster[1].log, 10)
    assert letters(folder, BOB) == []
    status = await cluster[0].status(is_verbose=True)
    assert status["dependencies"]["channel letters"]["error"] == f"there is no folder {folder}"
    assert status["state"] == "running"
    folder.mkdir()
    assert (await cluster[0].status(is_verbose=True))["dependencies"]["channel letters"]["ok"]
    database.sql("UPDATE collab.tellings SET due_at = now()")
    await until(lambda: letters(folder, BOB), 10, "the letter is there")
    await until(lambda: told(database), 10, "nothing is left to be told")
    (letter,) = letters(folder, BOB)
    assert letter["subject"] == "Ann Archer mentioned you"
    assert letter["text"].startswith("@[Bob")
    assert letters(folder, CAROL) == []
    carol = await cluster.client(0, "carol")
    await carol.wait_for("notification.added")
    await until(lambda: letters(folder, CAROL), 10, "her letter is there")
    await until(lambda: told(database), 10, "nothing is left to be told")
    assert (len(letters(folder, BOB)), len(letters(folder, CAROL))) == (1, 1)


async def test_what_was_read_in_the_inbox_is_not_told(
    make_cluster: MakeCluster, database: TestDatabase, env: dict[str, str], tmp_path: Path, topic: str
) -> None:
    folder = tmp_path / "letters"
    channels = [{"kind": "inbox"}, {"kind": "letters", "folder": str(folder)}]
    cluster = await make_cluster(nodes=1, overrides={"channels": channels}, env=env)
    bob = await cluster.client(0, "bob")
    await mention(cluster, 0, topic, ("Bob", BOB))
    told_of = (await bob.wait_for("notification.added")).data["data"]["notification"]
    await until(lambda: "could not be told; it is tried again" in cluster[0].log, 10)
    await bob.call("notification.read", {"ids": [told_of["id"]]})
    folder.mkdir()
    database.sql("UPDATE collab.tellings SET due_at = now()")
    await until(lambda: told(database), 10, "nothing is left to be told")
    assert letters(folder, BOB) == []


async def test_what_was_edited_meanwhile_is_told_without_words(
    make_cluster: MakeCluster, database: TestDatabase, env: dict[str, str], tmp_path: Path, topic: str
) -> None:
    """Those of then were taken back, and to those of now nobody knows the right."""
    folder = tmp_path / "letters"
    channels = [{"kind": "inbox"}, {"kind": "letters", "folder": str(folder)}]
    cluster = await make_cluster(nodes=1, overrides={"channels": channels}, env=env)
    bob = await cluster.client(0, "bob")
    ann = await mention(cluster, 0, topic, ("Bob", BOB))
    told_of = (await bob.wait_for("notification.added")).data["data"]["notification"]
    await until(lambda: "could not be told; it is tried again" in cluster[0].log, 10)
    edit = {"commentId": told_of["commentId"], "text": f"New @[Bob](user:{BOB})"}
    await ann.call("comment.edit", edit)
    folder.mkdir()
    database.sql("UPDATE collab.tellings SET due_at = now()")
    await until(lambda: letters(folder, BOB), 10, "the letter is there")
    assert [letter["text"] for letter in letters(folder, BOB)] == [""]


async def test_what_could_not_be_told_is_tried_again_later_and_later(database: TestDatabase) -> None:
    id, told = str(uuid4()), "'B0B', gen_random_uuid(), 'mention', 'discussion:1'"
    database.sql(
        "INSERT INTO collab.notifications"
        " (id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at)"
        f" VALUES ('{id}', {told}, '{{}}', '', '{{}}', true, now());"
        f"INSERT INTO collab.tellings (notification_id, channel) VALUES ('{id}', 'letters')"
    )
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    waits: list[float] = []

    async def fail(tx: Transaction) -> None:
        await tellings.later(tx, "letters", id)
        waits.append(
            await tx.fetchval("SELECT extract(epoch FROM due_at - now())::float FROM collab.tellings")
        )

    try:
        for _ in range(20):
            await reached.run(fail)
    finally:
        await reached.stop()
    assert waits[:12] == [10.0 * 2**tries for tries in range(12)]
    assert waits[12:] == [6 * 3600.0] * 8
    assert database.sql("SELECT tries FROM collab.tellings").strip() == "20"


DAY_OLD = """
    INSERT INTO collab.jobs (name, fence, due_at, done_at)
    VALUES ('tell.gone', 7, now(), now() - interval '25 hours'),
           ('tell.elsewhere', 7, now(), now() - interval '23 hours');
      WITH told AS (
           INSERT INTO collab.notifications
                  (id, user_id, cause, kind, topic, by_user, text, why, is_permitted, created_at, seq)
           SELECT gen_random_uuid(), 'B0B', gen_random_uuid(), 'mention', 'discussion:1',
                  '{"id": "A11", "name": "Ann", "initials": "A"}', '', '{}', true, now(), number
             FROM generate_series(1, 5) AS number
        RETURNING id, seq
           )
    INSERT INTO collab.tellings (notification_id, channel, due_at)
    SELECT told.id, lot.channel, now() - make_interval(hours => lot.hours)
      FROM told
      JOIN (VALUES (1, 'letters', 30), (2, 'gone', 25), (3, 'gone', 23), (4, 'elsewhere', 30), (5, 'never', 25))
        AS lot (seq, channel, hours) USING (seq)
"""


async def test_what_a_channel_that_is_gone_has_left_is_dropped_after_a_day(
    make_cluster: MakeCluster, database: TestDatabase, env: dict[str, str], tmp_path: Path
) -> None:
    database.sql(DAY_OLD)
    channels = [{"kind": "inbox"}, {"kind": "letters", "folder": str(tmp_path / "none")}]
    await make_cluster(nodes=1, overrides={"channels": channels}, env=env)
    is_done = "SELECT done_at IS NOT NULL FROM collab.jobs WHERE name = 'tellings.forget'"
    await until(lambda: database.sql(is_done) == "t", 20, "the upkeep was done")
    left = "FROM collab.tellings JOIN collab.notifications ON id = notification_id ORDER BY seq"
    # Another node still tells by one; what this node's own channel could not tell yet is tried again.
    assert database.sql(f"SELECT channel, seq {left}").split() == ["letters|1", "gone|3", "elsewhere|4"]
