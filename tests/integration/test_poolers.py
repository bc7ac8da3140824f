"""A pooler between a node and PostgreSQL: where it keeps sessions whole all works, where it does not that is said.

Needs Debian's package `pgbouncer`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collab_server.demo.embedded import free_port
from collab_server.errors import Paused
from collab_server.storage import migrations
from collab_server.storage.database import Database, Transaction
from collab_server.storage.server import Server
from tests.conftest import MakeCluster
from tests.harness.waiting import until
from tests.harness.world import TestDatabase, fresh_topic

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="no pgbouncer here: Debian's package has it")

IGNORING = (
    "statement_timeout, lock_timeout, idle_in_transaction_session_timeout, jit, plan_cache_mode, search_path,"
    " enable_seqscan, idle_session_timeout"
)

Pool = Callable[..., tuple[str, int]]


@pytest.fixture
def pool(empty_database: TestDatabase) -> Iterator[Pool]:
    """`pool("session", "pool_size = 40")`: PgBouncer before the test's database; where it listens."""
    started: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp(prefix="collab-pooler-"))
    folder.chmod(0o755)  # it does not run as root

    def start(mode: str, *more: str, to: TestDatabase = empty_database) -> tuple[str, int]:
        port = free_port()
        server = to.server
        lines = [
            "[databases]",
            f"* = host={server.host} port={server.port} user={server.user} password={server.password}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {port}",
            "unix_socket_dir =",
            "auth_type = any",
            f"pool_mode = {mode}",
            "default_pool_size = 60",
            *more,
        ]
        file = folder / f"pgbouncer{len(started)}.ini"
        file.write_text("\n".join(lines) + "\n")
        assert PGBOUNCER is not None
        who = ["-u", "nobody"] if os.geteuid() == 0 else []
        with (folder / f"pgbouncer{len(started)}.log").open("wb") as log:
            started.append(subprocess.Popen([PGBOUNCER, "-q", *who, str(file)], stdout=log, stderr=log))
        return "127.0.0.1", port

    yield start
    for process in started:
        process.terminate()
        process.wait(30)
    shutil.rmtree(folder)


async def reach(target: TestDatabase, address: tuple[str, int]) -> Database:
    host, port = address
    database = Database(Server(**{**target.connect_arguments(), "host": host, "port": port}))
    await database.start()
    return database


@pytest.mark.parametrize(
    ("mode", "ignoring", "round_robin"),
    [("transaction", "", 0), ("transaction", IGNORING, 1), ("statement", IGNORING, 0)],
)
async def test_a_pooler_that_takes_sessions_apart_is_refused_in_words(
    pool: Pool, empty_database: TestDatabase, mode: str, ignoring: str, round_robin: int
) -> None:
    address = pool(
        mode,
        f"ignore_startup_parameters = {ignoring}",
        f"server_round_robin = {round_robin}",
        "min_pool_size = 2",
    )
    database = await reach(empty_database, address)
    try:
        await until(
            lambda: "pool_mode = session" in (database.problem or ""), what=lambda: str(database.problem)
        )
        assert not database.is_up
        with pytest.raises(Paused):
            await database.fetchval("SELECT 1")
    finally:
        await database.stop()


async def test_a_pool_that_is_too_small_is_not_taken_for_one_that_takes_sessions_apart(
    pool: Pool, empty_database: TestDatabase
) -> None:
    database = await reach(empty_database, pool("session", "default_pool_size = 2"))
    said: set[str] = set()

    def is_said() -> bool:
        said.add(str(database.problem))
        return "gives no further connection" in str(database.problem)

    try:
        await until(is_said, what=lambda: str(said))
        assert not any("pool_mode" in words for words in said)
    finally:
        await database.stop()


@pytest.mark.parametrize("ignoring", ["", IGNORING])
async def test_where_sessions_stay_whole_they_have_their_limits(
    pool: Pool, empty_database: TestDatabase, ignoring: str
) -> None:
    address = pool("session", f"ignore_startup_parameters = {ignoring}", "server_round_robin = 1")
    database = await reach(empty_database, address)
    try:
        await until(lambda: database.is_up, what=lambda: str(database.problem))
        wanted = {
            "statement_timeout": "2s",
            "lock_timeout": "800ms",
            "idle_in_transaction_session_timeout": "2s",
            "search_path": "pg_catalog, pg_temp",
            "jit": "off",
        }

        async def shown(tx: Transaction) -> list[str]:
            return [await tx.fetchval(f"SHOW {name}") for name in wanted]

        assert [await database.fetchval(f"SHOW {name}") for name in wanted] == list(wanted.values())
        wanted["lock_timeout"] = "30ms"  # as long as no permit says otherwise
        assert await database.run(shown) == list(wanted.values())
        assert await database.run(lambda tx: tx.fetchval("SHOW enable_seqscan")) == "off"
        session = await database.session({"statement_timeout": "0"})
        assert await session.fetchval("SHOW statement_timeout") == "0"
        session.terminate()
        assert await migrations.apply(database)
    finally:
        await database.stop()


async def test_nodes_behind_a_pooler_of_sessions_serve(
    pool: Pool, database: TestDatabase, make_cluster: MakeCluster
) -> None:
    host, port = pool("session", to=database)
    cluster = await make_cluster(nodes=1, overrides={"dataSource": {"host": host, "port": port}})
    ann, topic = await cluster.client(0, "ann"), fresh_topic()
    for n in range(20):
        assert (await ann.ask("comment.add", {"topic": topic, "text": f"{n}"}))["ok"]
