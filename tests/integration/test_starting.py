"""A node that cannot finish starting says why once, and everybody hears `paused` meanwhile, whatever they ask."""

from __future__ import annotations

import re
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest

from collab_server.demo.embedded import EmbeddedPostgres
from tests.conftest import MakeCluster
from tests.harness.cluster import Cluster, Node
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import TestDatabase, fresh_topic
from tests.integration.doors import CALLS, Door
from tests.integration.scene import ANN, PAYLOADS, PLACES, Scene

SWEEPS = {
    "collab_server.services.live.deliveries": {"SWEEP_SECONDS": 0.1},
    "collab_server.services.search.settling": {"SETTLE_SECONDS": 0.1},
    "collab_server.services.jobs": {"LOOK_SECONDS": 0.1},
    "collab_server.services.ends": {"LOOK_SECONDS": 0.1},
    "collab_server.services.secret_watch": {"LOOK_SECONDS": 0.1},
}
"""All that goes on by itself, so often that it has surely happened before the test ends."""


@pytest.fixture
def poor(postgres: EmbeddedPostgres, empty_database: TestDatabase) -> Iterator[dict[str, Any]]:
    """The `dataSource` of a role that may not create anything, and what lets it."""
    role = f"poor_{empty_database.name}"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'poor'", as_superuser=True)
    yield {**empty_database.data_source(), "username": role, "password": "poor"}
    postgres.sql(f"DROP OWNED BY {role}", database=empty_database.name, as_superuser=True)
    postgres.sql(f"DROP ROLE {role}", as_superuser=True)


async def test_every_command_is_paused_until_the_migrations_are_done(
    make_cluster: MakeCluster, empty_database: TestDatabase, poor: dict[str, Any], postgres: EmbeddedPostgres
) -> None:
    cluster = await make_cluster(
        nodes=1, start=False, database=empty_database, overrides={"dataSource": poor}, env=hurried(SWEEPS)
    )
    node = await _waiting(cluster, "GRANT CREATE ON DATABASE")
    await _assert_all_paused(cluster)
    assert "Traceback" not in node.log
    assert len(re.findall("is not ready", node.log)) == 1, node.log_tail()
    # What was missing is granted under the running node.
    postgres.sql(f'GRANT CREATE ON DATABASE "{empty_database.name}" TO {poor["username"]}', as_superuser=True)
    await node.wait_until_ready()
    door = await Door.open(cluster, "rest", "ann")
    await door.call("comment.add", {"topic": fresh_topic(), "text": "now"})
    await cluster.close()  # before its role is gone


@pytest.mark.parametrize("encoding", ["WIN1252", "SQL_ASCII"])
async def test_a_database_of_another_encoding_is_refused_before_anything_is_made_in_it(
    make_cluster: MakeCluster, postgres: EmbeddedPostgres, encoding: str
) -> None:
    name = f"narrow_{secrets.token_hex(4)}"
    postgres.sql(
        f"CREATE DATABASE {name} OWNER {postgres.user} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0",
        as_superuser=True,
    )
    try:
        cluster = await make_cluster(nodes=1, start=False, database=TestDatabase(postgres, name))
        node = await _waiting(cluster, f'the database "{name}" has the encoding {encoding}')
        assert "ENCODING 'UTF8'" in node.log
        assert postgres.sql("SELECT to_regnamespace('collab') IS NULL", database=name) == "t"
        await node.stop()
    finally:
        postgres.drop_database(name)


async def _waiting(cluster: Cluster, reason: str) -> Node:
    """The one node, which runs and waits for this."""
    [node] = cluster.nodes
    node.spawn()
    await node.wait_for_health("ready", 503)
    await until(lambda: reason in node.log, what=lambda: node.log_tail())
    assert (await node.status())["state"] == "paused"
    return node


async def _assert_all_paused(cluster: Cluster) -> None:
    scene = Scene(
        secret="zebra",
        content=fresh_topic(),
        said=str(uuid.uuid4()),
        discussion_id=str(uuid.uuid4()),
        said_in_private=str(uuid.uuid4()),
        inbox=f"inbox:{ANN}",
        notification=str(uuid.uuid4()),
    )
    rest = await Door.open(cluster, "rest", "ann")
    asked = 0
    for command in CALLS:
        for place in PLACES:
            payload = PAYLOADS[command](scene, place)
            if payload is not None:
                error = await rest.refusal(command, payload)
                assert error["code"] == "paused", (command, place, error)
                asked += 1
    assert asked > len(CALLS)
    # The other door is closed.
    query = {"EIO": "4", "transport": "polling"}
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{cluster[0].url}/socket.io/", params=query) as answer,
    ):
        assert answer.status == 503
