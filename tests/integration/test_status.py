"""`/status`, readiness and what goes on, while what a node depends on stops, freezes and comes back."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import pytest

from collab_server.demo.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.conftest import MakeCluster
from tests.harness.clients import Client, Rest, Transport, new_session
from tests.harness.cluster import STATUS_TOKEN, Cluster, Node
from tests.harness.waiting import Stopwatch, until
from tests.harness.world import TestDatabase, apply_migrations
from tests.integration.doors import say, seqs

pytestmark = pytest.mark.alone  # it is about times

NOTICE_SECONDS = 5
DB, REDIS, BOTH = "DB Service", "Redis Server", "DB Service, Redis Server"
REASON = "The following dependent services are unavailable: "
KEYS = ["version", "enableTls", "scaling", "logging", "state", "reason", "main"]


def whole_number(value: Any) -> bool:
    return type(value) is int and value >= 0


# --- the answer


async def test_the_answer_is_the_documented_one_on_each_node(cluster: Cluster) -> None:
    pids = set()
    for number, node in enumerate(cluster.nodes):
        await cluster.client(number, "ann")
        status = await node.status()
        assert list(status) == [key for key in KEYS if key != "reason"]
        assert re.fullmatch(r"\d+(\.\w+)+", status["version"])
        assert (status["enableTls"], status["scaling"], status["logging"]) == (False, "horizontal", True)
        assert status["state"] == "running"
        main = status["main"]
        assert list(main) == ["cpu", "memory", "connections", "messages", "restCalls", "up_since", "pid"]
        for name in ("cpu", "memory"):
            assert list(main[name]) == ["current", "max"]
            assert all(whole_number(value) for value in main[name].values())
            assert main[name]["current"] <= main[name]["max"]
        assert 10_000_000 < main["memory"]["current"] < 2_000_000_000
        assert list(main["connections"]) == ["total", "current", "max"]
        connections = main["connections"]
        assert 1 <= connections["current"] <= connections["max"] <= connections["total"]
        assert list(main["messages"]) == ["processed"]
        assert list(main["restCalls"]) == ["received"]
        assert re.fullmatch(r"\d{4}-[1-9]\d?-[1-9]\d? \d\d:\d\d:\d\d", main["up_since"])
        up_since = datetime.strptime(main["up_since"], "%Y-%m-%d %H:%M:%S").astimezone()
        assert 0 <= (datetime.now().astimezone() - up_since).total_seconds() < 3600
        assert main["pid"] == node.process.pid
        pids.add(main["pid"])
    assert len(pids) == 3


async def test_what_is_counted(cluster: Cluster) -> None:
    def counts(status: dict[str, Any]) -> list[int]:
        main = status["main"]
        return [main["connections"]["total"], main["messages"]["processed"], main["restCalls"]["received"]]

    node = cluster[1]
    before = await node.status()
    ann, rest = await cluster.client(1, "ann"), await cluster.rest(1, "ann")
    for command in ("me", "me", "sing"):
        await ann.ask(command)
    for path in ("/me", "/nothing"):
        await rest.request("GET", path)
    after = await node.status()
    assert counts(after) == [old + new for old, new in zip(counts(before), [1, 3, 2], strict=True)]
    assert after["main"]["connections"]["current"] == before["main"]["connections"]["current"] + 1
    await ann.close()

    async def is_gone() -> bool:
        current: int = (await node.status())["main"]["connections"]["current"]
        return bool(current == before["main"]["connections"]["current"])

    await until(is_gone)


async def test_verbose_is_for_administrators_and_the_status_token(cluster: Cluster) -> None:
    plain = set(await cluster[0].status())
    token = {"Authorization": f"Bearer {STATUS_TOKEN}"}
    administrator = {"X-MSTR-IdentityToken": await (await cluster.person("admin")).identity_token()}
    somebody = {"X-MSTR-IdentityToken": await (await cluster.person("ann")).identity_token()}
    forwarded = {"X-Forwarded-For": "127.0.0.1"}
    async with new_session(keeps_cookies=False) as http:

        async def status(headers: dict[str, str], query: str = "?verbose=1") -> dict[str, Any]:
            async with http.get(f"{cluster[0].url}/status{query}", headers=headers) as answer:
                assert answer.status == 200
                content: dict[str, Any] = await answer.json()
                return content

        for query in ("", "?verbose=0", "?verbose"):
            assert set(await status(token, query)) == plain
        # These requests come from the node's own machine, which is nobody in particular.
        for nobody in (
            {},
            forwarded,
            {"X-Forwarded-For": "127.0.0.1, 127.0.0.1"},
            {"Forwarded": "for=127.0.0.1"},
            {"Host": "localhost"},
            somebody,
            {**forwarded, **somebody},
            {"X-MSTR-IdentityToken": "nonsense"},
            {"X-MSTR-IdentityToken": STATUS_TOKEN},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {STATUS_TOKEN}x"},
            {"Authorization": f"Bearer {STATUS_TOKEN[:-1]}"},
            {"Authorization": f"Basic {STATUS_TOKEN}"},
            {"Authorization": STATUS_TOKEN},
        ):
            assert set(await status(nobody)) == plain, nobody
        for headers in (token, administrator, {**forwarded, **token}, {**forwarded, **administrator}):
            verbose = await status(headers)
            assert set(verbose) == plain | {"dependencies", "serving", "node", "cluster", "counters"}
            assert list(verbose["dependencies"]) == [DB, REDIS, "Library"]
            assert all(
                service["ok"] and service["error"] is None for service in verbose["dependencies"].values()
            )
            assert verbose["serving"] == {"reads": True, "writes": True, "live": True}
            assert len(verbose["cluster"]) == 2
            assert verbose["node"] not in {node["node"] for node in verbose["cluster"]}


async def test_health_and_metrics(cluster: Cluster) -> None:
    async with new_session() as http:
        for path in ("/health/live", "/health/ready"):
            async with http.get(cluster[0].url + path) as answer:
                assert answer.status == 200
        async with http.get(f"{cluster[0].url}/metrics") as answer:
            text = await answer.text()
            assert answer.content_type == "text/plain"
    for name in (
        "collab_running 1.0",
        "collab_ready 1.0",
        "collab_connections_total",
        "collab_messages_processed_total",
    ):
        assert name in text
    assert await cluster[0].status()


# --- what happens when something is away


@dataclass
class Watch:
    """Asks `/status` all the while. `last` is the latest answer; `times_ms` says how long each took."""

    node: Node
    last: dict[str, Any] = field(default_factory=dict)
    times_ms: list[float] = field(default_factory=list)

    async def run(self) -> None:
        async with new_session() as http:
            while True:
                watch = Stopwatch()
                async with http.get(f"{self.node.url}/status") as answer:
                    self.last = await answer.json()
                    assert answer.status == 200
                self.times_ms.append(watch.seconds * 1000)
                await asyncio.sleep(0.02)

    async def sees(self, state: str, reason: str | None, within: float = NOTICE_SECONDS) -> None:
        """Wait until the state is said, for exactly this reason."""
        wanted = None if reason is None else REASON + reason
        await until(
            lambda: (self.last.get("state"), self.last.get("reason")) == (state, wanted),
            within + 1.5,  # the promise is for the node; this machine has other things to do
            lambda: f"{state} {reason}: {self.last}",
        )


@asynccontextmanager
async def watching(node: Node) -> AsyncIterator[Watch]:
    watch = Watch(node)
    task = asyncio.create_task(watch.run())
    try:
        yield watch
        assert not task.done(), "the status was answered all the while"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    times = sorted(watch.times_ms)
    assert len(times) > 10
    assert times[len(times) * 95 // 100] < 100, "95 of 100 answers within 100 ms"
    assert times[-1] < 500, f"the slowest took {times[-1]:.0f} ms on a machine that does other things too"


Fault = Literal["stopped", "frozen"]


async def begin(server: EmbeddedPostgres | EmbeddedValkey, fault: Fault) -> None:
    await asyncio.to_thread(server.freeze if fault == "frozen" else server.kill)


async def end(server: EmbeddedPostgres | EmbeddedValkey, fault: Fault) -> None:
    if fault == "frozen":
        server.thaw()
    else:
        await start(server)


async def start(server: EmbeddedPostgres | EmbeddedValkey) -> None:
    server.launch()  # from the main thread, to which it is tied
    await asyncio.to_thread(server.wait_until_ready)


@pytest.fixture
def own_database(own_postgres: EmbeddedPostgres) -> TestDatabase:
    own_postgres.create_database("mine")
    database = TestDatabase(own_postgres, "mine")
    apply_migrations(database)
    return database


async def is_refused_as_paused(client: Client, topic: str, request_id: str) -> dict[str, Any]:
    """A write of somebody who could write: what it is answered."""
    watched = Stopwatch()
    answer = await client.ask("comment.add", {"topic": topic, "text": "Now?", "requestId": request_id})
    assert watched.seconds < 4
    assert answer["ok"] is False, answer
    error: dict[str, Any] = answer["error"]
    assert error["code"] == "paused"
    assert error["retryAfter"] > 0
    assert error["outcome"] in ("none", "unknown")
    return error


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
async def test_without_postgres_nothing_is_stored_and_everybody_stays(
    make_cluster: MakeCluster, own_database: TestDatabase, topic: str, fault: Fault
) -> None:
    cluster = await make_cluster(nodes=2, database=own_database)
    node, postgres = cluster[0], own_database.server
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    rest = await cluster.rest(0, "ann")
    for client in (ann, bob):
        await client.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "Before")
    await bob.wait_for_seq(topic, 1)
    async with watching(node) as watch:
        await watch.sees("running", None)
        await begin(postgres, fault)
        error = await is_refused_as_paused(ann, topic, "during")
        await watch.sees("paused", DB)
        state = (
            await ann.wait_for(lambda e: e.name == "server.state" and e.data["reason"] == REASON + DB)
        ).data
        assert state["state"] == "paused"
        assert state["serving"]["writes"] is False
        assert state["serving"]["live"] is True

        # Known to be away: refused at once, by both doors.
        watched = Stopwatch()
        error = await is_refused_as_paused(ann, topic, "during")
        assert error["outcome"] == "none"
        status, refusal, headers = await rest.request("POST", f"/topics/{topic}/comments", {"text": "Now?"})
        assert (status, refusal["code"], refusal["outcome"]) == (503, "paused", "none")
        assert int(headers["Retry-After"]) >= 1
        assert (await ann.ask("topic.get", {"topic": topic}))["error"]["code"] == "paused"
        assert (await ann.ask("topic.subscribe", {"topic": topic}))["error"]["code"] == "paused"
        assert watched.seconds < 2
        assert (await ann.ask("me"))["ok"]
        assert await health(node) == (200, 503)
        assert ann.is_connected
        assert bob.is_connected

        back_at = len(ann.events)
        await end(postgres, fault)
        await watch.sees("running", None)
        await ann.wait_for(lambda e: e.name == "server.state" and e.data["state"] == "running", skip=back_at)
        assert await health(node) == (200, 200)
    answer = await ann.call("comment.add", {"topic": topic, "text": "Now?", "requestId": "during"})
    await bob.wait_for_seq(topic, answer["seq"])
    await cluster[1].wait_for_state("running")  # it finds out by itself
    after = await say(bob, topic, "After")
    await ann.wait_for_seq(topic, after["seq"])
    assert seqs(ann, topic) == seqs(bob, topic) == list(range(1, after["seq"] + 1))
    assert after["seq"] == 3, "the command that was repeated took effect once"
    assert ann.is_connected
    assert bob.is_connected


FULL = """
    CREATE FUNCTION public.full_for_a_row() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
    CREATE FUNCTION public.full_for_a_table() RETURNS event_trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$;
    CREATE EVENT TRIGGER disk_is_full ON ddl_command_start WHEN TAG IN ('CREATE TABLE')
        EXECUTE FUNCTION public.full_for_a_table();
"""
EMPTIED = "DROP EVENT TRIGGER disk_is_full; DROP FUNCTION public.full_for_a_row CASCADE"


def fill_disk(database: TestDatabase) -> None:
    """From now on nothing is stored, as where the disk is full: no row in any table, nor a table."""
    tables = database.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'collab'"
    )
    refusing = "".join(
        f"CREATE TRIGGER is_full BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION public.full_for_a_row();"
        for table in tables.split()
    )
    database.server.sql(FULL + refusing, database=database.name, as_superuser=True)


def take_no_writes(database: TestDatabase) -> None:
    """As services do that manage a database, before its disk is full."""
    sql = f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on'
    database.server.sql(sql, as_superuser=True)
    sql = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
    database.server.sql(sql, as_superuser=True)


def take_writes(database: TestDatabase) -> None:
    """Those sessions that are there stay as they are."""
    sql = f'ALTER DATABASE "{database.name}" RESET default_transaction_read_only'
    database.server.sql(sql, as_superuser=True)


def empty_disk(database: TestDatabase) -> None:
    database.server.sql(EMPTIED, database=database.name, as_superuser=True)


@pytest.mark.parametrize(
    ("hinder", "help", "transport"),
    [
        (fill_disk, empty_disk, "websocket"),
        (fill_disk, empty_disk, "polling"),
        (take_no_writes, take_writes, "websocket"),
    ],
)
async def test_while_only_nothing_is_stored_people_come_read_and_are_told_so(
    make_cluster: MakeCluster,
    database: TestDatabase,
    topic: str,
    hinder: Callable[[TestDatabase], None],
    help: Callable[[TestDatabase], None],
    transport: Transport,
) -> None:
    cluster = await make_cluster(nodes=1, database=database)
    node = cluster[0]
    ann = await cluster.client(0, "ann")
    await say(ann, topic, "Before")
    async with watching(node) as watch:
        hinder(database)
        if hinder is take_no_writes:
            # A command that meets the end of a session, before the node has, could not say what came of it.
            await watch.sees("paused", DB)
        error = await is_refused_as_paused(ann, topic, "during")
        assert error["outcome"] == "none"
        await watch.sees("paused", DB)
        assert await health(node) == (200, 200)

        bob = await cluster.client(0, "bob", transport=transport)  # has never been here
        told = (await bob.wait_for("server.state")).data
        assert told == {
            "state": "paused",
            "reason": REASON + DB,
            "serving": {"reads": True, "writes": False, "live": True},
        }
        assert [event.name for event in bob.events[:2]] == ["server.hello", "server.state"]
        await bob.call("topic.subscribe", {"topic": topic})
        [comment] = (await bob.call("topic.comments", {"topic": topic}))["items"]
        assert comment["text"] == "Before"
        assert (await bob.call("comments.search", {"q": "before"}))["items"]
        assert await bob.call("notification.list")
        await is_refused_as_paused(bob, topic, "bob's")

        help(database)
        await watch.sees("running", None)
    await ann.call("comment.add", {"topic": topic, "text": "Now?", "requestId": "during"})
    await bob.wait_for_seq(topic, 2)
    again = await cluster.client(0, "ann", transport=transport)
    await again.call("me")
    assert "paused" not in [event.data["state"] for event in again.events if event.name == "server.state"]


@pytest.mark.parametrize(("hinder", "help"), [(fill_disk, empty_disk), (take_no_writes, take_writes)])
async def test_a_node_that_starts_while_only_nothing_is_stored_serves_those_who_read(
    make_cluster: MakeCluster,
    database: TestDatabase,
    topic: str,
    hinder: Callable[[TestDatabase], None],
    help: Callable[[TestDatabase], None],
) -> None:
    [node] = (cluster := await make_cluster(nodes=1, database=database)).nodes
    await say(await cluster.client(0, "ann"), topic, "Before")
    await cluster.close_clients()
    await node.stop()
    hinder(database)
    await node.start()
    bob = await cluster.client(0, "bob")
    [comment] = (await bob.call("topic.comments", {"topic": topic}))["items"]
    assert comment["text"] == "Before"
    await is_refused_as_paused(bob, topic, "bob's")
    await node.wait_for_state("paused", reason=DB)
    help(database)
    await node.wait_for_state("running")
    await say(bob, topic, "After")


async def health(node: Node) -> tuple[int, int]:
    """The HTTP statuses of live and ready."""
    async with new_session() as http:
        statuses = []
        for probe in ("live", "ready"):
            async with http.get(f"{node.url}/health/{probe}") as answer:
                statuses.append(answer.status)
        return statuses[0], statuses[1]


@pytest.mark.parametrize("fault", ["stopped", "frozen"])
async def test_without_redis_writes_go_on_and_other_nodes_follow_a_little_later(
    make_cluster: MakeCluster, own_valkey: EmbeddedValkey, topic: str, fault: Fault
) -> None:
    cluster = await make_cluster(nodes=2, redis_url=own_valkey.url)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    for client in (ann, bob):
        await client.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "Before")
    await bob.wait_for_seq(topic, 1)
    async with watching(cluster[0]) as watch:
        await watch.sees("running", None)
        await begin(own_valkey, fault)
        slowest = 0.0
        for number in range(20):
            watched = Stopwatch()
            answer = await say(ann, topic, f"During {number}")
            assert watched.seconds < 2
            since_stored = Stopwatch()
            await ann.wait_for_seq(topic, answer["seq"], timeout=1)
            if number % 10 == 0:
                await bob.wait_for_seq(topic, answer["seq"], timeout=6)
                slowest = max(slowest, since_stored.seconds)
        assert slowest < 4, "found by reading within some 2 s"
        await watch.sees("paused", REDIS)
        state = (
            await ann.wait_for(lambda e: e.name == "server.state" and e.data["reason"] == REASON + REDIS)
        ).data
        assert state["state"] == "paused"
        assert state["serving"] == {"reads": True, "writes": True, "live": False}
        assert await health(cluster[0]) == (200, 200)
        async with Rest.open(
            cluster[0].url, identity_token=await (await cluster.person("bob")).identity_token()
        ) as rest:
            assert (await rest.get(f"/topics/{topic}"))["seq"] == 21

        await end(own_valkey, fault)
        await watch.sees("running", None)
    await cluster[1].wait_for_state("running")
    answer = await say(ann, topic, "After")
    await bob.wait_for_seq(topic, answer["seq"])
    expected = list(range(1, answer["seq"] + 1))
    assert seqs(ann, topic) == seqs(bob, topic) == expected


async def test_without_both_both_are_named_and_a_node_starts_all_the_same(
    make_cluster: MakeCluster, own_postgres: EmbeddedPostgres, own_valkey: EmbeddedValkey, topic: str
) -> None:
    own_postgres.create_database("mine")
    database = TestDatabase(own_postgres, "mine")
    await asyncio.to_thread(own_postgres.kill)
    await asyncio.to_thread(own_valkey.kill)
    cluster = await make_cluster(nodes=1, database=database, redis_url=own_valkey.url, start=False)
    node = cluster[0]
    node.spawn()
    await node.wait_for_health("live", 200)
    status = await node.status()
    assert list(status) == KEYS
    assert (status["state"], status["reason"]) == ("paused", REASON + BOTH)
    assert await health(node) == (200, 503)
    async with new_session() as http, http.get(f"{node.url}/socket.io/?EIO=4&transport=polling") as answer:
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
    await start(own_valkey)
    await node.wait_for_state("paused", reason=f": {DB}", timeout=NOTICE_SECONDS + 1.5)
    await start(own_postgres)
    await node.wait_for_state("running", timeout=NOTICE_SECONDS + 3)  # it migrates, too
    await node.wait_until_ready()
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "Hello")
    await ann.wait_for_seq(topic, 1)


async def test_clients_come_in_while_redis_is_away(
    make_cluster: MakeCluster, own_valkey: EmbeddedValkey, topic: str
) -> None:
    cluster = await make_cluster(nodes=1, redis_url=own_valkey.url)
    await asyncio.to_thread(own_valkey.kill)
    await cluster[0].wait_for_state("paused", reason=REDIS)
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "Hello")
    await ann.wait_for_seq(topic, 1)
