"""The keys that seal: replaced without signing anybody out, replaced at once, and hardened by a secret."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest_asyncio
from cryptography.fernet import Fernet

from collab_server.domain.keys import check_of
from collab_server.storage import installation
from collab_server.storage.database import Database
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import TestDatabase

SECRET = "the-secret-that-all-these-nodes-share"


@pytest_asyncio.fixture
async def stored(database: TestDatabase) -> AsyncIterator[Database]:
    """The nodes' database, as the command line reaches it."""
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    yield reached
    await reached.stop()


async def answers(cluster: Cluster, token: str) -> list[int]:
    """With which status each node answers who shows this resume token."""
    statuses = []
    async with new_session(keeps_cookies=False) as http:
        for node in cluster.nodes:
            headers = {"Authorization": f"Bearer {token}"}
            async with http.get(f"{node.url}/api/me", headers=headers) as answer:
                statuses.append(answer.status)
    return statuses


def all_answer(cluster: Cluster, token: str, status: int) -> Callable[[], Awaitable[bool]]:
    async def do() -> bool:
        return set(await answers(cluster, token)) == {status}

    return do


def key_in(database: TestDatabase, column: str) -> Fernet:
    key = database.sql(f"SELECT encode({column}, 'hex') FROM collab.installation")
    return Fernet(base64.urlsafe_b64encode(bytes.fromhex(key)))


async def test_a_key_is_replaced_and_nobody_is_signed_out(
    make_cluster: MakeCluster, database: TestDatabase, stored: Database
) -> None:
    cluster = await make_cluster(nodes=2)
    ann = await cluster.client(0, "ann")
    token = ann.hello["resumeToken"]
    opened = key_in(database, "seal_key").decrypt(token)

    async def all_nodes_know_the_next_key(_seconds: float) -> None:
        early = key_in(database, "next_seal_key").encrypt(opened).decode()
        await until(all_answer(cluster, early, 200), 10, "both nodes open with the next key")

    epoch = ann.hello["epoch"]
    await installation.rotate_key(stored, wait=all_nodes_know_the_next_key)

    def is_greeted_again() -> bool:
        return sum(event.name == "server.hello" for event in ann.events) > 1

    await until(is_greeted_again, 20, "a new token comes by itself")
    again = [event.data for event in ann.events if event.name == "server.hello"][-1]
    assert key_in(database, "seal_key").decrypt(again["resumeToken"])
    assert again["epoch"] == epoch, "a new key is no new epoch"
    for shown in (token, again["resumeToken"]):
        assert await answers(cluster, shown) == [200, 200]
    assert (await ann.call("me", {}))["user"]["name"]


async def test_a_key_that_is_replaced_at_once_signs_everybody_out(
    make_cluster: MakeCluster, database: TestDatabase, stored: Database
) -> None:
    cluster = await make_cluster(nodes=2)
    ann = await cluster.client(0, "ann")
    token = ann.hello["resumeToken"]
    assert await answers(cluster, token) == [200, 200]
    await installation.replace_key(stored)
    await until(all_answer(cluster, token, 401), 10, "the token opens nowhere")
    await until(lambda: not ann.is_connected, 10, "whoever was signed in is cut off")
    fresh = await cluster.client(1, "ann")
    assert await answers(cluster, fresh.hello["resumeToken"]) == [200, 200]


async def test_with_a_secret_the_database_alone_makes_no_token(
    make_cluster: MakeCluster, database: TestDatabase, stored: Database
) -> None:
    cluster = await make_cluster(nodes=2, overrides={"secret": SECRET})
    ann = await cluster.client(0, "ann")
    token = ann.hello["resumeToken"]
    opened = key_in(database, "seal_key").decrypt(token)

    def is_agreed() -> bool:
        return database.sql("SELECT secret_check IS NOT NULL FROM collab.installation") == "t"

    await until(is_agreed, 30, "all nodes have the secret")
    assert await answers(cluster, token) == [200, 200], "what was sealed without it opens for a while"
    database.sql("UPDATE collab.installation SET secret_since = now() - interval '2 minutes'")
    forged = key_in(database, "seal_key").encrypt(opened).decode()
    await until(all_answer(cluster, forged, 401), 10, "a token made of the row alone is refused")
    fresh = (await cluster.client(1, "ann")).hello["resumeToken"]
    assert await answers(cluster, fresh) == [200, 200]

    await installation.replace_key(stored, check_of(SECRET.encode()))
    by_row = key_in(database, "seal_key").encrypt(opened).decode()

    accepted: list[int] = []

    async def is_replaced() -> bool:
        accepted.extend(status for status in await answers(cluster, by_row) if status == 200)
        return set(await answers(cluster, fresh)) == {401}

    await until(is_replaced, 10, "the key of before opens nowhere")
    assert not accepted, "what is made of the new row opens nowhere at any time"
    assert await answers(cluster, by_row) == [401, 401]
    again = (await cluster.client(0, "ann")).hello["resumeToken"]
    assert await answers(cluster, again) == [200, 200]

    stranger = cluster.add_node(overrides={"secret": None})
    stranger.spawn()
    said = "this node's configuration has none"
    await until(lambda: said in stranger.log, 20, "a node without the secret says so, and does not serve")
    assert (await stranger.status())["state"] == "paused"


async def test_a_secret_is_not_needed_before_all_nodes_have_it(
    make_cluster: MakeCluster, database: TestDatabase
) -> None:
    soon = hurried({"collab_server.services.secret_watch": {"LACKING_SECONDS": 0.5}})
    cluster = await make_cluster(nodes=1, env=soon)
    token = (await cluster.client(0, "ann")).hello["resumeToken"]
    with_secret = cluster.add_node(overrides={"secret": SECRET})
    await with_secret.start()
    told = (await cluster.client(1, "bob")).hello["resumeToken"]
    assert await answers(cluster, token) == await answers(cluster, told) == [200, 200]
    # Each has heard the other by now, and says so in its verbose status.

    async def have_met() -> Any:
        return all([(await node.status(is_verbose=True))["cluster"] for node in cluster.nodes])

    await until(have_met, 10, "the nodes have found each other")
    await until(lambda: "it protects nothing until they do" in with_secret.log, 10, "operators are told")
    assert database.sql("SELECT secret_check IS NULL FROM collab.installation") == "t"
    await cluster[0].stop()

    def is_agreed() -> bool:
        return database.sql("SELECT secret_check IS NOT NULL FROM collab.installation") == "t"

    await until(is_agreed, 40, "the only node left has the secret")
