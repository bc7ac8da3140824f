"""Migrations: once, in order, by whichever node comes first, and said in words when it may not."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from collab_server.demo.embedded import EmbeddedPostgres
from collab_server.storage import installation, migrations
from collab_server.storage.database import Database
from collab_server.storage.migrations import MigrationError
from collab_server.storage.server import Server
from tests.harness.waiting import until
from tests.harness.world import TestDatabase

FILES = {
    "0001_first.sql": """
-- migrate:up
CREATE TABLE collab.first (text text DEFAULT 'a;b');
INSERT INTO collab.first DEFAULT VALUES;
SELECT pg_sleep(0.2);
-- migrate:down
DROP TABLE collab.first;
""",
    "0002_second.sql": """
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY IF NOT EXISTS first_text ON collab.first (text);
-- migrate:down transaction:false
DROP INDEX CONCURRENTLY collab.first_text;
""",
}
NAMES = ["0001_first", "0002_second"]
INDEX = """
-- migrate:up transaction:false
CREATE INDEX CONCURRENTLY IF NOT EXISTS first_third ON collab.first (text);
"""
COLUMN = "-- migrate:up\nALTER TABLE collab.first ADD COLUMN n int;\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest_asyncio.fixture
async def db(empty_database: TestDatabase) -> AsyncIterator[Database]:
    database = Database(Server(**empty_database.connect_arguments()))
    await database.start()
    await database.until_up()
    yield database
    await database.stop()


async def test_three_nodes_at_once_apply_each_file_once(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    assert await migrations.pending(db, folder) == NAMES
    applied = await asyncio.gather(*(migrations.apply(db, folder) for _ in range(3)))
    assert sorted(applied) == [[], [], NAMES]
    assert await migrations.pending(db, folder) == []
    assert empty_database.sql("SELECT version FROM collab.schema_migrations ORDER BY 1").split() == [
        "0001",
        "0002",
    ]
    assert empty_database.sql("SELECT count(*) FROM collab.first") == "1"


async def test_only_new_files_are_applied(db: Database, folder: Path) -> None:
    await migrations.apply(db, folder)
    (folder / "0003_third.sql").write_text("-- migrate:up\nALTER TABLE collab.first ADD COLUMN n int;\n")
    assert await migrations.apply(db, folder) == ["0003_third"]


async def test_an_index_that_was_cut_off_while_it_was_built_is_built_anew(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    second = folder / "0002_second.sql"
    second.unlink()
    await migrations.apply(db, folder)
    second.write_text(FILES[second.name])
    builders = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%CREATE INDEX%'"
    builders += " AND wait_event_type = 'Lock'"
    is_valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'collab.first_text'::regclass"
    writer = await db.session({})
    try:
        # What is built waits for whoever writes into its table.
        await writer.execute("BEGIN")
        await writer.execute("LOCK TABLE collab.first IN ROW EXCLUSIVE MODE")
        building = asyncio.create_task(migrations.apply(db, folder))
        await until(lambda: empty_database.sql(f"SELECT count(*) {builders}") == "1")
        empty_database.sql(f"SELECT pg_terminate_backend(pid) {builders}")
        [ended] = await asyncio.gather(building, return_exceptions=True)
        assert isinstance(ended, Exception)
    finally:
        writer.terminate()
    assert empty_database.sql(is_valid) == "f"
    assert await migrations.apply(db, folder) == ["0002_second"]
    assert empty_database.sql(is_valid) == "t"


async def test_an_index_that_cannot_be_built_yet_leaves_no_more_with_each_try(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    await migrations.apply(db, folder)
    empty_database.sql("INSERT INTO collab.first SELECT text FROM collab.first")
    (folder / "0003_third.sql").write_text(
        """
-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS first_once ON collab.first (text);
"""
    )
    left = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    for _ in range(4):
        with pytest.raises(MigrationError, match="first_once"):
            await migrations.apply(db, folder)
    assert empty_database.sql(left) == "2", "the index, and what its last try has left"
    empty_database.sql("DELETE FROM collab.first WHERE ctid <> (SELECT min(ctid) FROM collab.first)")
    assert await migrations.apply(db, folder) == ["0003_third"]
    assert empty_database.sql(left) == "0"


async def test_an_index_of_an_administrator_that_cannot_be_built_holds_up_no_migration(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    await migrations.apply(db, folder)
    empty_database.sql("INSERT INTO collab.first SELECT text FROM collab.first")
    with pytest.raises(Exception, match="could not create unique index"):
        empty_database.sql("CREATE UNIQUE INDEX CONCURRENTLY theirs ON collab.first (text)")
    (folder / "0003_third.sql").write_text(INDEX)
    assert await migrations.apply(db, folder) == ["0003_third"]
    left = "SELECT string_agg(indexrelid::regclass::text, ' ') FROM pg_index WHERE NOT indisvalid"
    assert empty_database.sql(left) == "collab.theirs"


@pytest.mark.parametrize(
    ("table", "work", "third"),
    [
        ("other", "CREATE INDEX CONCURRENTLY other_length ON collab.other (length(text))", INDEX),
        ("other", "REINDEX INDEX CONCURRENTLY collab.other_text", INDEX),
        ("other", "DROP INDEX CONCURRENTLY collab.other_text", INDEX),
        ("first", "REINDEX INDEX CONCURRENTLY collab.first_text", INDEX),
        ("first", "REINDEX INDEX CONCURRENTLY collab.first_text", COLUMN),
    ],
    ids=["create", "reindex", "drop", "same table", "table altered"],
)
async def test_whoever_is_at_work_on_an_index_meanwhile_is_waited_for(
    db: Database,
    folder: Path,
    empty_database: TestDatabase,
    caplog: pytest.LogCaptureFixture,
    table: str,
    work: str,
    third: str,
) -> None:
    """They would wait for a session that waits for them, and be cancelled."""
    caplog.set_level(logging.INFO)
    await migrations.apply(db, folder)
    empty_database.sql(
        "CREATE TABLE collab.other (text text); CREATE INDEX other_text ON collab.other (text)"
    )
    (folder / "0003_third.sql").write_text(third)
    unfinished = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
    writer = await asyncpg.connect(**empty_database.connect_arguments())
    try:
        # What is built, or dropped, waits for whoever writes into its table.
        await writer.execute("BEGIN")
        await writer.execute(f"LOCK TABLE collab.{table} IN ROW EXCLUSIVE MODE")
        run = partial(empty_database.server.sql, database=empty_database.name, as_superuser=True)
        working = asyncio.create_task(asyncio.to_thread(run, work))
        await until(lambda: empty_database.sql(unfinished) == "1")
        applying = asyncio.create_task(migrations.apply(db, folder))
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        await until(lambda: "the migration waits" in caplog.text or int(empty_database.sql(waits)) > 1)
        await writer.execute("COMMIT")
        async with asyncio.timeout(20):
            await working
            assert await applying == ["0003_third"]
    finally:
        writer.terminate()
    assert empty_database.sql(unfinished) == "0"
    assert "cut off" not in caplog.text


async def test_versions_of_a_newer_node_are_fine(db: Database, folder: Path) -> None:
    await migrations.apply(db, folder)
    (folder / "0002_second.sql").unlink()
    assert await migrations.apply(db, folder) == []


async def test_a_failing_file_changes_nothing_and_is_named(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    (folder / "0003_bad.sql").write_text("-- migrate:up\nCREATE TABLE collab.third (); SELECT nonsense;\n")
    with pytest.raises(MigrationError, match='0003_bad failed: column "nonsense"'):
        await migrations.apply(db, folder)
    assert empty_database.sql("SELECT to_regclass('collab.third') IS NULL") == "t"
    assert await migrations.pending(db, folder) == ["0003_bad"]


async def test_a_file_in_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "0001_plain.sql").write_text("CREATE TABLE x ();")
    with pytest.raises(MigrationError, match="0001_plain"):
        migrations.read(tmp_path)


def test_the_down_part_is_not_applied(folder: Path) -> None:
    first, second = migrations.read(folder)
    assert "DROP" not in first.up + second.up
    assert (first.in_transaction, second.in_transaction) == (True, False)


async def test_a_missing_privilege_is_named_with_its_remedy(
    postgres: EmbeddedPostgres, empty_database: TestDatabase, folder: Path
) -> None:
    role = f"poor_{empty_database.name}"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'poor'", as_superuser=True)
    database = Database(Server(**{**empty_database.connect_arguments(), "user": role, "password": "poor"}))
    preparation = installation.Preparation(database, folder)
    await database.start()
    task = asyncio.create_task(preparation.run())
    try:
        for said, remedy in (
            ('may not create the schema "collab" in the database', "CREATE SCHEMA collab"),
            ('may not use the schema "collab"', f"GRANT USAGE ON SCHEMA collab TO {role}"),
            ("may not create tables", f"GRANT CREATE ON SCHEMA collab TO {role}"),
        ):
            await until(
                partial(lambda said: said in (preparation.problem or ""), said),
                what=lambda: str(preparation.problem),
            )
            assert f'the user "{role}"' in (preparation.problem or "")
            assert "GRANT" in (preparation.problem or "")
            assert preparation.installation is None
            empty_database.server.sql(remedy, database=empty_database.name, as_superuser=True)
        # What is not among these two files is missing then: the table of the installation.
        await until(lambda: "collab.installation" in (preparation.problem or ""))
    finally:
        task.cancel()
        await asyncio.wait([task])
        await database.stop()
        empty_database.server.sql(f"DROP OWNED BY {role}", database=empty_database.name, as_superuser=True)
        postgres.sql(f"DROP ROLE {role}", as_superuser=True)


async def test_with_nothing_to_do_no_privilege_is_needed(
    postgres: EmbeddedPostgres, db: Database, empty_database: TestDatabase, folder: Path
) -> None:
    await migrations.apply(db, folder)
    role = f"reader_{empty_database.name}"
    postgres.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'poor'", as_superuser=True)
    empty_database.sql(f"GRANT USAGE ON SCHEMA collab TO {role}")
    empty_database.sql(f"GRANT SELECT ON collab.schema_migrations TO {role}")
    reader = Database(Server(**{**empty_database.connect_arguments(), "user": role, "password": "poor"}))
    try:
        assert await migrations.apply(reader, folder) == []
    finally:
        await reader.stop()
        empty_database.server.sql(f"DROP OWNED BY {role}", database=empty_database.name, as_superuser=True)
        postgres.sql(f"DROP ROLE {role}", as_superuser=True)


async def test_nodes_prepare_together_and_share_one_installation(empty_database: TestDatabase) -> None:
    databases = [Database(Server(**empty_database.connect_arguments())) for _ in range(3)]
    preparations = [installation.Preparation(database) for database in databases]
    for database in databases:
        await database.start()
    async with asyncio.timeout(10):
        found = await asyncio.gather(*(preparation.run() for preparation in preparations))
    try:
        assert found[0] == found[1] == found[2]
        key = found[0].keys.current
        assert len(key) == 32
        assert {one.keys.current for one in found} == {key}
        assert repr(key) not in repr(found[0])
        assert all(
            preparation.installation is not None and preparation.problem is None
            for preparation in preparations
        )

        renewed = await installation.new_epoch(databases[0])
        assert renewed != found[0].epoch
        again = await installation.load(databases[1])
        assert (again.epoch, again.keys.current) == (renewed, key)
    finally:
        for database in databases:
            await database.stop()


async def test_a_node_that_starts_without_postgres_migrates_when_it_comes(
    own_postgres: EmbeddedPostgres,
) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    own_postgres.stop()
    database = Database(Server(**target.connect_arguments()))
    preparation = installation.Preparation(database)
    await database.start()
    task: asyncio.Task[Any] = asyncio.create_task(preparation.run())
    try:
        await until(lambda: database.problem)
        assert preparation.installation is None
        own_postgres.start()
        async with asyncio.timeout(20):
            await task
        assert await migrations.pending(database) == []
    finally:
        task.cancel()
        await database.stop()


async def test_what_keeps_a_node_from_being_ready_is_said_once_however_often_it_is_tried(
    database: TestDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After a failover a node waits for others each time before it finds that it cannot note what became of it."""
    for name in ("JUDGE_SECONDS", "LOOK_SECONDS", "RETRY_SECONDS"):
        monkeypatch.setattr(installation, name, 0.01)
    tries = 0
    renew = installation.renew

    async def counted(*given: Any, **more: Any) -> Any:
        nonlocal tries
        tries += 1
        return await renew(*given, **more)

    monkeypatch.setattr(installation, "renew", counted)
    node = Database(Server(**database.connect_arguments()))
    preparation = installation.Preparation(node)
    await node.start()
    try:
        before = await preparation.run()
        database.sql("UPDATE collab.installation SET timeline = '1/00000001'")
        sql = f'ALTER DATABASE "{database.name}" SET default_transaction_read_only ='
        database.server.sql(f"{sql} on", as_superuser=True)
        ends = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        database.server.sql(ends, as_superuser=True)
        await until(lambda: node.is_readable and not node.is_up)
        preparation = installation.Preparation(node)
        task: asyncio.Task[Any] = asyncio.create_task(preparation.run())
        await until(lambda: tries > 3)
        database.server.sql(f"{sql} off", as_superuser=True)
        async with asyncio.timeout(20):
            found = await task
    finally:
        await node.stop()
    assert found.epoch != before.epoch
    assert preparation.problem is None
    said = [record.getMessage() for record in caplog.records if "is not ready" in record.getMessage()]
    assert said.count("The database is not ready: the database is read-only") == 1


async def test_a_migration_whose_connection_is_cut_says_so(
    db: Database, folder: Path, empty_database: TestDatabase
) -> None:
    (folder / "0001_first.sql").write_text("-- migrate:up\nSELECT pg_sleep(20);\n")
    applying = asyncio.create_task(migrations.apply(db, folder))
    sleepers = "FROM pg_stat_activity WHERE query LIKE '%pg_sleep(20)%' AND wait_event = 'PgSleep'"
    await until(lambda: empty_database.sql(f"SELECT count(*) {sleepers}") == "1")
    empty_database.sql(f"SELECT pg_terminate_backend(pid) {sleepers}")
    [ended] = await asyncio.gather(applying, return_exceptions=True)
    assert isinstance(ended, Exception)
    assert db.describe(ended).endswith("terminating connection due to administrator command")


async def test_a_freeze_in_mid_migration_ends_and_is_tried_again(
    own_postgres: EmbeddedPostgres, folder: Path
) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    (folder / "0001_first.sql").write_text(FILES["0001_first.sql"].replace("0.2", "1.0"))
    database = Database(Server(**target.connect_arguments()))
    await database.start()
    await database.until_up()
    applying = asyncio.create_task(migrations.apply(database, folder))
    try:
        await until(
            lambda: target.sql("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.0)%' LIMIT 1")
        )
        own_postgres.freeze()
        await asyncio.wait([applying], timeout=5)
        assert applying.done()
        assert applying.exception() is not None
        own_postgres.thaw()
        await until(lambda: database.is_up, 2)
        async with asyncio.timeout(20):
            assert await migrations.apply(database, folder) == NAMES
    finally:
        own_postgres.thaw()
        await database.stop()
