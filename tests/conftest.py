"""Fixtures for every test: real servers once per run, a fresh database per test, nodes on demand.

world            the shared servers (`tests.harness.world.World`)
postgres, valkey the shared PostgreSQL and Valkey: never freeze or stop these
own_postgres, own_valkey, own_library     servers of the test's own, to be frozen, killed, restarted
database         a fresh database with the migrations applied; `empty_database` without
library          the stand-in Library, shared
topic            a `content:` topic that no other test uses
short_path       a folder whose name leaves room for that of a socket
make_cluster     starts nodes for this test: `cluster = await make_cluster(nodes=3)`
cluster          three nodes shared by all tests that only use them as clients do
browser          one Chromium for all tests that need one; each makes contexts of its own, and closes them
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from collab_server.demo.embedded import EmbeddedPostgres, EmbeddedValkey
    from tests.harness.cluster import Cluster
    from tests.harness.world import StandInLibrary, TestDatabase, World

# What starts servers is imported where one is started: the process that only hands out tests, and a worker that has
# unit tests alone, would wait a second for it.

pytest_plugins = ["tests.harness.parallel"]

# Each worker reads all tests, and every `collab-server` that a test starts reads itself: as bytecode from the second
# time on, whatever is usual where the tests run.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says what else the machine does.
hypothesis.settings.register_profile("side by side", deadline=None)
hypothesis.settings.load_profile("side by side")

MakeCluster = Callable[..., Awaitable["Cluster"]]

_HAS_FAILED = pytest.StashKey[bool]()


def pytest_configure() -> None:
    # A run in the background has SIGINT ignored, one under nohup SIGHUP; so would every process that a test starts and
    # stops by it. What a handler takes is no longer ignored there; the run itself goes on when its terminal is closed.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_finish() -> None:
    gc.set_threshold(
        20_000, 20, 20
    )  # what a test leaves is looked through less often: a twelfth of all processor time
    gc.collect()
    gc.freeze()  # thousands of tests stay until the end: no collection has to look through them


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    if report.failed:
        item.stash[_HAS_FAILED] = True
    return report


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose paths may be 107 bytes long."""
    with tempfile.TemporaryDirectory(prefix="w") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    from tests.harness.cluster import warm
    from tests.harness.world import World

    warm()  # it imports while the first servers start
    with World() as world:
        yield world


@pytest.fixture(scope="session")
def postgres(world: World) -> EmbeddedPostgres:
    return world.postgres


@pytest.fixture(scope="session")
def valkey(world: World) -> EmbeddedValkey:
    return world.valkey


@pytest.fixture(scope="session")
def library(world: World) -> StandInLibrary:
    return world.library


@pytest.fixture
def database(world: World) -> Iterator[TestDatabase]:
    database = world.new_database()
    yield database
    database.drop()


@pytest.fixture
def empty_database(world: World) -> Iterator[TestDatabase]:
    database = world.new_database(is_empty=True)
    yield database
    database.drop()


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres

    server = EmbeddedPostgres(tmp_path / "postgres", settings=NOT_DURABLE).start()
    yield server
    server.abort()


@pytest.fixture
def own_valkey() -> Iterator[EmbeddedValkey]:
    from collab_server.demo.embedded import EmbeddedValkey

    server = EmbeddedValkey().start()
    yield server
    server.kill()


@pytest.fixture
def own_library() -> Iterator[StandInLibrary]:
    from tests.harness.world import StandInLibrary

    server = StandInLibrary().start()
    yield server
    server.stop()


@pytest.fixture
def topic() -> str:
    from tests.harness.world import fresh_topic

    return fresh_topic()


@pytest_asyncio.fixture
async def make_cluster(
    request: pytest.FixtureRequest,
    database: TestDatabase,
    library: StandInLibrary,
    valkey: EmbeddedValkey,
    tmp_path: Path,
) -> AsyncIterator[MakeCluster]:
    """`await make_cluster(nodes=3, …)`: the arguments of `Cluster` by name, with this test's servers as
    defaults.

    `start=False` leaves starting to the test.
    """
    from tests.harness.cluster import Cluster

    made: list[Cluster] = []

    async def make(*, start: bool = True, **arguments: Any) -> Cluster:
        folder = tmp_path / f"cluster{len(made) + 1}"
        defaults = {"database": database, "library": library, "redis_url": valkey.url, "folder": folder}
        cluster = Cluster(**{**defaults, **arguments})
        made.append(cluster)
        return await cluster.start() if start else cluster

    yield make
    try:
        for cluster in made:
            await cluster.close()
    finally:
        if request.node.stash.get(_HAS_FAILED, False):
            for cluster in made:
                cluster.show_logs()


@pytest_asyncio.fixture(scope="session")
async def shared_cluster(world: World) -> AsyncIterator[Cluster]:
    from tests.harness.cluster import Cluster

    # Many tests in the name of the same few people: the limits per user have tests with nodes of their own.
    limits = {"commandsPerSecond": 100_000, "commandsBurst": 100_000, "connectionsPerUser": 500}
    cluster = Cluster(
        world.new_database(),
        world.library,
        world.valkey.url,
        folder=world.folder / "cluster",
        overrides={"limits": limits},
    )
    async with cluster:
        yield cluster


@pytest_asyncio.fixture
async def cluster(request: pytest.FixtureRequest, shared_cluster: Cluster) -> AsyncIterator[Cluster]:
    yield shared_cluster
    await shared_cluster.close_clients()
    if request.node.stash.get(_HAS_FAILED, False):
        shared_cluster.show_logs()


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    from playwright.async_api import async_playwright

    from tests.harness.browsers import chromium

    async with async_playwright() as playwright:
        browser = await chromium(playwright)
        yield browser
        await browser.close()
