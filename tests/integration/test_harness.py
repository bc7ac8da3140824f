"""The harness itself: what every other test relies on."""

import asyncio
import signal

import asyncpg
import pytest

from collab_server.demo.embedded import EmbeddedValkey
from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, LibraryUser, Refused
from tests.harness.cluster import Cluster
from tests.harness.waiting import MOST_TIMES_SLOWER, RunTimes, Stopwatch, until
from tests.harness.world import StandInLibrary, TestDatabase, fresh_topic


async def test_every_test_gets_a_migrated_database_of_its_own(database: TestDatabase) -> None:
    connection = await asyncpg.connect(**database.connect_arguments())
    try:
        assert await connection.fetchval("SELECT count(*) FROM collab.schema_migrations") >= 1
        assert await connection.fetchval("SELECT current_user") == "mstr_collab"
    finally:
        await connection.close()


def test_an_empty_database_has_no_schema_yet(empty_database: TestDatabase) -> None:
    assert empty_database.sql("SELECT count(*) FROM pg_namespace WHERE nspname = 'collab'") == "0"


def test_topics_are_never_given_twice() -> None:
    assert fresh_topic() != fresh_topic()


async def test_people_sign_in_at_the_stand_in_and_get_identity_tokens(library: StandInLibrary) -> None:
    ann, bob = [await LibraryUser.sign_in(library.url, login) for login in ("ann", "bob")]
    assert (ann.name, bob.name) == ("Ann Archer", "Bob Baker")
    assert await ann.identity_token() != await ann.identity_token()


def test_valkey_is_there_and_wants_a_password(valkey: EmbeddedValkey) -> None:
    assert valkey.password in valkey.url


async def test_until_returns_what_it_waited_for() -> None:
    values = iter([None, 0, "there"])
    assert await until(lambda: next(values)) == "there"


async def test_until_waits_for_what_it_looks_at_to_be_there() -> None:
    come: list[int] = []
    asyncio.get_running_loop().call_later(0.05, come.append, 7)
    assert await until(lambda: come[-1] == 7)

    def the_only() -> bool:
        [one] = gone
        return one == 8

    gone: list[int] = []
    with pytest.raises(AssertionError, match=r"not within 0.05 s: eight") as failed:
        await until(the_only, 0.05, "eight")
    assert isinstance(failed.value.__cause__, ValueError)


async def test_until_says_what_did_not_happen() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.05 s: rain"):
        await until(lambda: asyncio.sleep(0, False), 0.05, "rain")


@pytest.mark.parametrize(
    ("run_times", "seconds"), [((0, 0), 8.0), ((5, 0), 8.0), ((2, 4), 8 / 3), ((1, 99), 1.0)]
)
def test_a_stopwatch_counts_no_waiting_for_a_processor(run_times: RunTimes, seconds: float) -> None:
    now, counted = 1000.0, (7, 7)
    watch = Stopwatch(lambda: now, lambda: counted)
    now, counted = now + 8, (7 + run_times[0], 7 + run_times[1])
    assert watch.seconds == pytest.approx(seconds)


async def test_a_stopwatch_counts_what_is_slept() -> None:
    watch = Stopwatch()
    await asyncio.sleep(0.2)
    assert watch.seconds >= 0.2 / MOST_TIMES_SLOWER


async def test_a_comment_reaches_clients_of_three_nodes(cluster: Cluster, topic: str) -> None:
    people = ("ann", "bob", "carol")
    ann, bob, carol = clients = [await cluster.client(n, login) for n, login in enumerate(people)]
    assert len({client.hello["node"] for client in clients}) == 3
    for client in clients:
        assert (await client.call("topic.subscribe", {"topic": topic}))["seq"] == 0
    answer = await ann.call("comment.add", {"topic": topic, "text": "Good morning"})
    for client in (ann, bob, carol):
        event = await client.wait_for_seq(topic, answer["seq"])
        assert event.data["data"]["comment"]["text"] == "Good morning"


async def test_a_refused_command_raises_with_its_code(cluster: Cluster, topic: str) -> None:
    ann = await cluster.client(0, "ann")
    with pytest.raises(Failed, match="unknown_command") as refusal:
        await ann.call("comment.sing", {"topic": topic})
    assert refusal.value.code == "unknown_command"


async def test_a_refused_connection_raises_with_its_code(cluster: Cluster) -> None:
    with pytest.raises(Refused) as refusal:
        await Client.connect(cluster[0].url, identity_token="nonsense")
    assert refusal.value.code == "unauthenticated"


async def test_a_cut_client_knows_that_it_is_cut(cluster: Cluster) -> None:
    ann = await cluster.client(0, "ann")
    await ann.cut()
    assert not ann.is_connected


async def test_polling_clients_and_rest_work_too(cluster: Cluster, topic: str) -> None:
    bob = await cluster.client(1, "bob", transport="polling")
    await bob.call("topic.subscribe", {"topic": topic})
    ann = await cluster.rest(2, "ann")
    answer = await ann.post(f"/topics/{topic}/comments", {"text": "By REST"})
    await bob.wait_for_seq(topic, answer["seq"])


async def test_nodes_are_stopped_killed_frozen_and_started_again(make_cluster: MakeCluster) -> None:
    cluster = await make_cluster(nodes=1)
    node = cluster[0]
    assert (await node.status())["state"] == "running"
    node.freeze()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await node.status()
    node.thaw()
    assert await node.stop() in (0, -signal.SIGTERM)  # uvicorn ends by the signal that stopped it
    await node.start()
    await node.kill()
    assert not node.is_running
