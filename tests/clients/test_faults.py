"""What happens to nodes, to rights and to Library: the client shows what is so, and loses nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.javascript import JavaScriptClient
from tests.clients.test_javascript_client import OPEN, SHOWN
from tests.conftest import MakeCluster
from tests.e2e.test_protocol_snippets import balanced
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster
from tests.harness.world import StandInLibrary, TestDatabase
from tests.integration.scene import open_to
from tests.integration.test_rights_cut import LOOKING_OFTEN

StartAt = Callable[..., Awaitable[JavaScriptClient]]
STATE = "return client.connection.snapshot().state"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest_asyncio.fixture
async def start_at(packages: Path) -> AsyncIterator[StartAt]:
    started: list[JavaScriptClient] = []

    async def begin(cluster: Cluster, url: str, login: str) -> JavaScriptClient:
        client = await JavaScriptClient.start(url, await cluster.person(login), packages)
        started.append(client)
        return client

    yield begin
    for client in started:
        await client.__aexit__()


async def test_a_killed_node_costs_nothing(
    make_cluster: MakeCluster, library: StandInLibrary, start_at: StartAt, topic: str, tmp_path: Path
) -> None:
    cluster = await make_cluster(nodes=3)
    with balanced(cluster, library, tmp_path) as nginx:
        url = f"http://127.0.0.1:{nginx.port}"
        ann, bob = await start_at(cluster, url, "ann"), await start_at(cluster, url, "bob")
        for client in (ann, bob):
            await client.run(OPEN, topic)
            await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
        first = cluster.nodes[0]
        for number in range(6):
            await ann.run("void client.topic(given[0]).add({text: given[1]})", [topic, str(number)])
            if number == 2:
                await first.kill()
        expected = [str(number) for number in range(6)]
        for client in (ann, bob):
            await client.until(
                SHOWN,
                lambda shown: shown["texts"] == expected and shown["pending"] == [None] * 6,
                timeout=20,
                given=topic,
            )


async def test_a_new_epoch_begins_afresh_and_lost_rights_say_so(
    make_cluster: MakeCluster, database: TestDatabase, start_at: StartAt, topic: str
) -> None:
    cluster = await make_cluster(nodes=1, env=LOOKING_OFTEN)
    ann, bob = await start_at(cluster, cluster[0].url, "ann"), await start_at(cluster, cluster[0].url, "bob")
    for client in (ann, bob):
        await client.run(OPEN, topic)
        await client.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
    await ann.run("await client.topic(given).add({text: 'of the old epoch'})", topic)
    database.sql("DELETE FROM collab.comments; DELETE FROM collab.events")
    database.sql("UPDATE collab.topics SET last_seq = 0; UPDATE collab.installation SET epoch = 'renewed'")
    for client in (ann, bob):
        await client.until(
            SHOWN, lambda shown: shown["texts"] == [] and shown["state"] == "live", timeout=20, given=topic
        )
    await ann.run("await client.topic(given).add({text: 'of the new one'})", topic)
    for client in (ann, bob):
        await client.until(SHOWN, lambda shown: shown["texts"] == ["of the new one"], given=topic)
    await open_to(cluster, topic, "ann")
    closed = await bob.until(SHOWN, lambda shown: shown["state"] == "closed", timeout=30, given=topic)
    assert (closed["texts"], closed["rights"]) == ([], [])
    problem = await bob.run(
        "const {code, message} = client.topic(given).snapshot().problem; return [code, message]", topic
    )
    assert problem[0] in ("forbidden", "not_found")
    await bob.run("void client.topic(given).add({text: 'nobody will read this'})", topic)
    refused = await bob.until(
        "return client.outbox.snapshot().map(({state, problem}) => [state, problem?.code])",
        lambda entries: entries and entries[0][0] == "refused",
    )
    assert refused == [["refused", "not_found"]]


async def test_who_is_signed_in_goes_on_while_library_is_silent_and_who_is_not_waits(
    make_cluster: MakeCluster, library: StandInLibrary, start_at: StartAt, topic: str
) -> None:
    way = Proxy((library.host, library.port)).start()
    try:
        cluster = await make_cluster(nodes=0, start=False)
        cluster.add_node(library=way.address)
        await cluster.start()
        door = Proxy(("127.0.0.1", cluster[0].port)).start()
        ann = await start_at(cluster, f"http://127.0.0.1:{door.address[1]}", "ann")
        await ann.run(OPEN, topic)
        await ann.until(SHOWN, lambda shown: shown["state"] == "live", given=topic)
        way.refuse()
        way.cut()
        door.cut()
        bob = await start_at(cluster, cluster[0].url, "bob")
        await ann.run("await client.topic(given).add({text: 'without Library'})", topic)
        waits = await bob.until(
            "const {state, problem} = client.connection.snapshot(); return {state, code: problem?.code}",
            lambda state: state.get("code") == "unavailable",
        )
        assert waits["state"] == "connecting"
        way.heal()
        await bob.until(STATE, lambda state: state == "live", timeout=20)
        door.stop()
    finally:
        way.stop()
