"""What must happen once in a cluster: by one node at a time, and by another when that one dies, freezes or stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from collab_server.errors import Paused
from collab_server.services import jobs as jobs_module
from collab_server.services.jobs import Job, Jobs, Lease
from collab_server.storage import jobs
from collab_server.storage.database import Database, Transaction
from collab_server.storage.jobs import ClaimLost
from collab_server.storage.server import Server
from collab_server.telemetry.metrics import Metrics
from tests.conftest import MakeCluster
from tests.harness.cluster import Cluster, Node
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import TestDatabase

NAME = "something.done"
OLD_ANSWERS = """
    INSERT INTO collab.requests (user_id, request_id, fingerprint, answer, created_at)
    SELECT 'A11A0000000000000000000000000001', 'old ' || number, '', '{}', now() - interval '9 days'
      FROM generate_series(1, 60) AS number
"""


@pytest_asyncio.fixture
async def db(database: TestDatabase) -> AsyncIterator[Database]:
    reached = Database(Server(**database.connect_arguments()))
    await reached.start()
    await reached.until_up()
    database.sql("CREATE TABLE collab.deeds (by text, at timestamptz DEFAULT clock_timestamp())")
    yield reached
    await reached.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("LOOK", 0.05), ("LEASE", 0.6), ("RENEW", 0.1), ("RETRY", 0.1)):
        monkeypatch.setattr(jobs_module, f"{name}_SECONDS", seconds)


def deed(by: str) -> Any:
    async def work(tx: Transaction) -> None:
        await tx.execute("INSERT INTO collab.deeds (by) VALUES ($1)", by)

    return work


async def deeds(db: Database) -> list[str]:
    return [row["by"] for row in await db.fetch("SELECT by FROM collab.deeds ORDER BY at")]


async def held_by(db: Database, name: str = NAME) -> str | None:
    found: str | None = await db.fetchval("SELECT holder FROM collab.jobs WHERE name = $1", name)
    return found


class Running:
    """Nodes' jobs, in this process; cancelled as a node that stops does, or as one that is killed."""

    def __init__(self) -> None:
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, db: Database, node: str, *known: Job) -> Jobs:
        made = Jobs(db, known, Metrics(), node=node, until_open=db.until_up, chance=lambda: 0.5)
        self.tasks[node] = asyncio.create_task(made.run())
        return made

    async def stop(self, *nodes: str) -> None:
        stopped = [self.tasks.pop(node) for node in nodes or list(self.tasks)]
        for task in stopped:
            task.cancel()
        await asyncio.gather(*stopped, return_exceptions=True)


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    yield running
    await running.stop()


# --- claims


async def test_of_many_who_claim_a_job_at_once_one_gets_it(db: Database) -> None:
    for _ in range(3):
        claims = await asyncio.gather(*(jobs.claim(db, NAME, f"n{n}", seconds=60) for n in range(10)))
        (got,) = [claim for claim in claims if claim is not None]
        assert await held_by(db) == got.node
        assert await jobs.not_due(db, [NAME, "another"]) == {NAME}
        await jobs.release(db, got, due_in_seconds=0, is_done=True)


async def test_a_job_is_due_again_only_after_its_time(db: Database) -> None:
    first = await jobs.claim(db, NAME, "a", seconds=60)
    assert first is not None
    await jobs.release(db, first, due_in_seconds=60, is_done=True)
    assert await jobs.claim(db, NAME, "b", seconds=60) is None
    assert await jobs.not_due(db, [NAME]) == {NAME}
    await jobs.release(db, first, due_in_seconds=0, is_done=True)  # it is nobody's: nothing is changed
    assert await jobs.claim(db, NAME, "b", seconds=60) is None


async def test_a_job_was_done_last_when_it_was_done_and_not_when_it_failed(db: Database) -> None:
    done: list[Any] = []
    for is_done in (False, True, False):
        claim = await jobs.claim(db, NAME, "one", seconds=30)
        assert claim is not None
        await jobs.release(db, claim, due_in_seconds=0, is_done=is_done)
        done.append(await db.fetchval("SELECT done_at FROM collab.jobs WHERE name = $1", NAME))
    never, once, still = done
    assert (never, once is not None, still) == (None, True, once)


async def test_whoever_has_lost_a_claim_stores_nothing_and_changes_nothing(db: Database) -> None:
    late = await jobs.claim(db, NAME, "a", seconds=0)
    assert late is not None
    assert await jobs.renew(db, late, seconds=0), "nobody else has it yet"
    new = await jobs.claim(db, NAME, "b", seconds=60)
    assert new is not None
    with pytest.raises(ClaimLost):
        await Lease(db, late).run(deed("a"))
    assert not await jobs.renew(db, late, seconds=60)
    await jobs.release(db, late, due_in_seconds=0, is_done=True)
    assert await held_by(db) == "b"
    await Lease(db, new).run(deed("b"))
    assert await deeds(db) == ["b"]


async def test_a_claim_waits_for_what_is_being_committed_under_the_one_before(db: Database) -> None:
    late = await jobs.claim(db, NAME, "a", seconds=0)
    assert late is not None
    is_under_way, may_commit = asyncio.Event(), asyncio.Event()

    async def slow(tx: Transaction) -> None:
        await deed("a")(tx)
        is_under_way.set()
        await may_commit.wait()

    storing = asyncio.create_task(Lease(db, late).run(slow))
    await is_under_way.wait()
    claiming = asyncio.create_task(jobs.claim(db, NAME, "b", seconds=60))
    done, _ = await asyncio.wait({claiming}, timeout=0.2)
    assert not done
    may_commit.set()
    await storing
    new = await claiming
    assert new is not None
    await Lease(db, new).run(deed("b"))
    assert await deeds(db) == ["a", "b"]


async def test_what_was_claimed_before_the_database_went_back_is_lost(
    db: Database, database: TestDatabase
) -> None:
    early = await jobs.claim(db, NAME, "a", seconds=60)
    assert early is not None
    database.sql("UPDATE collab.jobs SET fence = fence - 1, holder = NULL, leased_until = NULL")
    again = await jobs.claim(db, NAME, "b", seconds=60)
    assert again is not None
    assert again.fence == early.fence
    with pytest.raises(ClaimLost):
        await Lease(db, early).run(deed("a"))


# --- doing them


@pytest.mark.usefixtures("quick")
async def test_a_job_is_done_by_one_node_at_a_time_and_again_and_again(
    db: Database, running: Running
) -> None:
    at_once = most_at_once = 0

    async def work(lease: Lease) -> None:
        nonlocal at_once, most_at_once
        at_once += 1
        most_at_once = max(most_at_once, at_once)
        await lease.run(deed("one of them"))
        await asyncio.sleep(0.05)
        at_once -= 1

    made = [running.start(db, f"n{n}", Job(NAME, 0.1, work)) for n in range(4)]

    async def is_done_often() -> bool:
        return len(await deeds(db)) >= 5

    await until(is_done_often, 20)
    assert most_at_once == 1
    assert sum(one.counts()["done"] for one in made) >= 4


@pytest.mark.usefixtures("quick")
async def test_long_work_is_kept_and_given_back_at_once_by_a_node_that_stops(
    db: Database, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_module, "LEASE_SECONDS", 1.5)

    async def work(lease: Lease) -> None:
        await lease.run(deed("begun"))
        await asyncio.sleep(60)

    first = running.start(db, "a", Job(NAME, 60, work))
    await until(lambda: held_by(db))
    running.start(db, "b", Job(NAME, 60, work))
    leased_until = await db.fetchval("SELECT leased_until FROM collab.jobs")
    await until(lambda: db.fetchval("SELECT now() > $1", leased_until), 10, "its first lease is over")
    assert await held_by(db) == "a"
    await running.stop("a")
    assert await held_by(db) in (None, "b")
    assert await jobs.not_due(db, [NAME]) == set() or await held_by(db) == "b"
    await until(lambda: held_by(db))
    assert first.counts() == {"done": 0, "failed": 0, "lost": 0}


@pytest.mark.usefixtures("quick")
async def test_work_ends_with_its_claim_where_the_database_is_not_there_to_renew_it(
    db: Database, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> bool:
        raise Paused

    monkeypatch.setattr(jobs, "renew", away)
    ended = 0

    async def work(lease: Lease) -> None:
        nonlocal ended
        try:
            await asyncio.Event().wait()
        finally:
            ended += 1

    made = running.start(db, "a", Job(NAME, 3600, work))
    await until(lambda: ended and made.counts()["lost"], 10, "another node may be at it")


@pytest.mark.usefixtures("quick")
async def test_a_job_that_fails_or_takes_too_long_is_tried_again_and_disturbs_no_other(
    db: Database, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(jobs_module, "MOST_SECONDS", 0.3)
    tries = {"fails": 0, "lasts": 0, "is well": 0}

    def job(name: str, then: Any) -> Job:
        async def work(lease: Lease) -> None:
            tries[name] += 1
            await then()

        return Job(name, 0.1, work)

    async def fail() -> None:
        raise RuntimeError("a bug")

    async def last() -> None:
        await asyncio.sleep(60)

    async def be_well() -> None:
        pass

    made = running.start(db, "a", job("fails", fail), job("lasts", last), job("is well", be_well))
    await until(lambda: min(tries.values()) >= 2, 20)
    assert made.counts()["failed"] >= 3
    assert made.counts()["done"] >= 1
    assert "RuntimeError: a bug" in caplog.text
    assert "a job took too long" in caplog.text


# --- two nodes


QUICK = hurried(
    {
        "collab_server.services.jobs": {"LOOK_SECONDS": 0.2, "LEASE_SECONDS": 1.5, "RENEW_SECONDS": 0.4},
        "collab_server.services.upkeep": {"UPKEEP_SECONDS": 3600.0, "PAUSE_SECONDS": 0.05},
        "collab_server.storage.requests": {"forget_old": {"at_most": 1}},
    }
)


async def holder_of(cluster: Cluster, database: TestDatabase) -> Node | None:
    """The node that drops old answers now."""
    name = database.sql("SELECT holder FROM collab.jobs WHERE name = 'requests.forget'")
    for node in cluster.nodes:
        if node.is_running and (await node.status(is_verbose=True))["node"] == name:
            return node
    return None


def left(database: TestDatabase) -> int:
    return int(database.sql("SELECT count(*) FROM collab.requests WHERE request_id LIKE 'old %'"))


@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_another_node_goes_on_where_one_was(
    make_cluster: MakeCluster, database: TestDatabase, how: str
) -> None:
    database.sql(OLD_ANSWERS)
    cluster = await make_cluster(nodes=2, env=QUICK)
    first = await until(lambda: holder_of(cluster, database), 10, "a node drops old answers")
    (other,) = [node for node in cluster.nodes if node is not first]
    await until(lambda: left(database) < 58, 10)
    if how == "killed":
        await first.kill()
    else:
        first.freeze()
    before = left(database)
    assert before > 10
    await until(lambda: left(database) < before - 5, 15, "the other one goes on")
    name = (await other.status(is_verbose=True))["node"]
    assert database.sql("SELECT holder, fence FROM collab.jobs WHERE name = 'requests.forget'") == f"{name}|2"
    if how == "frozen":
        first.thaw()
        await until(lambda: "a job was taken over by another node" in first.log, 10)
    await until(lambda: left(database) == 0, 20)
    row = "SELECT holder IS NULL AND done_at IS NOT NULL FROM collab.jobs WHERE name = 'requests.forget'"
    await until(lambda: database.sql(row) == "t", 10)
