"""The database as commands see it: what waits, for how long, and what they are told, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from collab_server.demo.embedded import EmbeddedPostgres
from collab_server.errors import NotFound, Paused
from collab_server.storage import connections
from collab_server.storage.database import Database, Transaction
from collab_server.storage.server import SESSION, Server
from tests.faults.proxy import Proxy
from tests.harness.waiting import Stopwatch, until
from tests.harness.world import TestDatabase

ANSWER_SECONDS = 2.0
NOTICED_SECONDS = 5.0


class Timed:
    """`await Timed(work)`: the result or the error, and the seconds it took, of a machine that does nothing else."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self._work = work
        self.result: Any = None
        self.error: BaseException | None = None
        self.seconds = 0.0

    def __await__(self) -> Any:
        watch = Stopwatch()
        try:
            self.result = yield from self._work.__await__()
        except Exception as error:
            self.error = error
        self.seconds = watch.seconds
        return self


async def add(tx: Transaction, id: int = 1) -> int:
    """One command: counts up row `id`, creating it."""
    value = await tx.fetchval(
        """
        INSERT INTO public.counter (id, value)
        VALUES ($1, 1)
        ON CONFLICT (id) DO UPDATE SET value = counter.value + 1
        RETURNING value
        """,
        id,
    )
    assert isinstance(value, int)
    return value


TABLE = "CREATE TABLE public.counter (id int PRIMARY KEY, value int NOT NULL)"


async def reach(target: TestDatabase, address: tuple[str, int] | None = None, **settings: Any) -> Database:
    arguments = target.connect_arguments()
    if address is not None:
        arguments["host"], arguments["port"] = address
    database = Database(Server(**arguments, node="test"), **settings)
    await database.start()
    async with asyncio.timeout(20):
        await database.until_up()
    return database


@pytest_asyncio.fixture
async def db(empty_database: TestDatabase) -> AsyncIterator[Database]:
    empty_database.sql(TABLE)
    database = await reach(empty_database)
    yield database
    await database.stop()


@pytest.fixture
def proxy(empty_database: TestDatabase) -> Iterator[Proxy]:
    with Proxy((empty_database.server.host, empty_database.server.port)) as proxy:
        yield proxy


@pytest_asyncio.fixture
async def far_db(empty_database: TestDatabase, proxy: Proxy) -> AsyncIterator[Database]:
    """A database behind the proxy."""
    empty_database.sql(TABLE)
    database = await reach(empty_database, proxy.address)
    yield database
    await database.stop()


@pytest_asyncio.fixture
async def own_db(own_postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A database on a server of the test's own."""
    target = TestDatabase(own_postgres, own_postgres.database)
    # The test servers' setting loses commits when PostgreSQL is killed.
    target.sql(f"ALTER DATABASE {target.name} SET synchronous_commit = on")
    target.sql(TABLE)
    database = await reach(target)
    yield database
    await database.stop()


async def test_a_password_that_was_changed_opens_new_connections(empty_database: TestDatabase) -> None:
    arguments = empty_database.connect_arguments()
    database = Database(Server(**{**arguments, "password": "the one before"}, node="test"))
    await database.start()
    try:
        await until(lambda: "password" in (database.problem or ""))
        database.server.use_password(arguments["password"])
        async with asyncio.timeout(20):
            await database.until_up()
    finally:
        await database.stop()


async def fill(db: Database, pool_size: int) -> None:
    """Have every connection for writes opened and used."""
    all_in = asyncio.Barrier(pool_size)

    async def work(tx: Transaction) -> None:
        await tx.execute("SELECT 1")
        async with asyncio.timeout(1.5):
            await all_in.wait()

    await asyncio.gather(*(db.run(work) for _ in range(pool_size)))


async def idle_for(seconds: float) -> None:
    """Let the connections lie idle: here it is time itself that has to pass."""
    await asyncio.sleep(seconds)


def assert_paused(timed: Timed, outcome: str = "none") -> None:
    assert isinstance(timed.error, Paused), timed.error or timed.result
    assert timed.error.outcome == outcome
    assert timed.seconds < ANSWER_SECONDS


# --- in good times


async def test_functions_of_others_never_run_in_our_name(db: Database, empty_database: TestDatabase) -> None:
    user = empty_database.sql("SELECT current_user")
    for schema in ("public", user):
        empty_database.sql(
            f"""
            CREATE SCHEMA IF NOT EXISTS "{schema}";
            CREATE FUNCTION "{schema}".to_json(text) RETURNS json LANGUAGE sql
                AS 'INSERT INTO public.counter VALUES (666, 0); SELECT NULL::json';
            """
        )
    ask = "SELECT to_json('word'::text)::text"
    empty_database.sql(ask)
    trapped = empty_database.sql("SELECT count(*) FROM public.counter WHERE id = 666")
    assert trapped == "1", "the trap itself does not work"
    empty_database.sql("DELETE FROM public.counter")

    async with db.transaction() as tx:
        said = [await tx.fetchval(ask)]
    said += [await db.fetchval(ask), (await db.write(ask))[0][0]]
    session = await db.session({"statement_timeout": "0"})
    said.append(await session.fetchval(ask))
    session.terminate()
    assert said == ['"word"'] * 4
    assert empty_database.sql("SELECT count(*) FROM public.counter") == "0"


async def test_what_a_transaction_did_is_there_after_it(db: Database) -> None:
    async with db.transaction() as tx:
        await add(tx)
        tx.recorded.append("fact")
    assert tx.recorded == ["fact"]
    assert await db.fetchval("SELECT value FROM public.counter") == 1
    row = await db.fetchrow("SELECT id, value FROM public.counter")
    assert row is not None
    assert tuple(row) == (1, 1)
    assert [row["id"] for row in await db.fetch("SELECT id FROM public.counter")] == [1]


async def test_an_error_of_the_service_leaves_nothing_stored(db: Database) -> None:
    async def work(tx: Transaction) -> None:
        await add(tx)
        raise NotFound("comment")

    with pytest.raises(NotFound):
        await db.run(work)
    assert await db.fetchval("SELECT count(*) FROM public.counter") == 0


async def test_a_violated_constraint_is_told_as_it_is_and_the_connection_lives_on(db: Database) -> None:
    for _ in range(3):
        with pytest.raises(asyncpg.NotNullViolationError):
            async with db.transaction() as tx:
                await tx.execute("INSERT INTO public.counter VALUES (1, NULL)")
    with pytest.raises(asyncpg.UndefinedTableError):
        await db.fetch("SELECT 1 FROM nowhere")
    assert await db.run(add) == 1
    assert db.is_up


async def test_a_service_that_swallows_a_database_error_does_not_seem_to_succeed(db: Database) -> None:
    async def work(tx: Transaction) -> None:
        await add(tx)
        with contextlib.suppress(asyncpg.NotNullViolationError):
            await tx.execute("INSERT INTO public.counter VALUES (2, NULL)")

    with pytest.raises(RuntimeError, match="rolled back"):
        await db.run(work)
    assert await db.fetchval("SELECT count(*) FROM public.counter") == 0


async def test_a_finished_transaction_cannot_be_used(db: Database) -> None:
    async with db.transaction() as tx:
        await add(tx)
    with pytest.raises(AttributeError):
        await tx.execute("SELECT 1")


async def test_more_commands_than_connections_all_get_through(db: Database) -> None:
    count = 60  # over ten
    values = await asyncio.gather(*(db.run(add) for _ in range(count)))
    assert sorted(values) == list(range(1, count + 1))


async def test_sessions_carry_the_limits(db: Database) -> None:
    for name, wanted in {
        "statement_timeout": "2s",
        "lock_timeout": "800ms",
        "idle_in_transaction_session_timeout": "2s",
        "transaction_timeout": "2500ms",
        "TimeZone": "UTC",
        "jit": "off",
        "application_name": "collab test",
    }.items():
        assert await db.fetchval(f"SHOW {name}") == wanted


# --- contention


async def test_who_is_silent_with_a_statement_half_sent_holds_a_lock_for_two_seconds(
    db: Database, empty_database: TestDatabase
) -> None:
    """As a node that is frozen between asking how to send a statement, and sending it."""
    await db.run(add)
    looking = await asyncpg.connect(**empty_database.connect_arguments())
    session = await db.session({})
    try:
        await session.execute("BEGIN")
        await session.execute("SELECT FROM public.counter WHERE id = 1 FOR UPDATE")
        await session.prepare("SELECT 1 + $1::int")
        pid = session.get_server_pid()
        await until(
            lambda: looking.fetchval("SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $1", pid),
            what="it is ended",
        )
        assert await db.run(add) == 2
    finally:
        session.terminate()
        looking.terminate()


async def test_deadlocked_commands_both_succeed(empty_database: TestDatabase) -> None:
    empty_database.sql(TABLE)
    db = await reach(empty_database, chance=itertools.cycle((0.0, 1.0)).__next__)
    both_hold = asyncio.Barrier(2)
    is_first_try = {1: True, 2: True}

    def work(first: int, second: int) -> Any:
        async def cross(tx: Transaction) -> None:
            await add(tx, first)
            if is_first_try[first]:
                is_first_try[first] = False
                await both_hold.wait()
            await add(tx, second)

        return cross

    await db.run(lambda tx: tx.executemany("INSERT INTO public.counter VALUES ($1, 0)", [(1,), (2,)]))
    await asyncio.gather(db.run(work(1, 2)), db.run(work(2, 1)))
    assert [row["value"] for row in await db.fetch("SELECT value FROM public.counter")] == [2, 2]
    await db.stop()


@pytest.mark.parametrize("pool_size", [1, 2, 3, 10])
async def test_a_held_lock_pauses_the_command_and_nothing_else(
    empty_database: TestDatabase, pool_size: int
) -> None:
    empty_database.sql(TABLE)
    db = await reach(empty_database, pool_size=pool_size)
    await db.run(add)
    await db.run(partial(add, id=2))
    holder = await asyncpg.connect(**empty_database.connect_arguments())
    try:
        await holder.execute("BEGIN; UPDATE public.counter SET value = value WHERE id = 1")
        blocked = [asyncio.create_task(_timed(db.run(add))) for _ in range(30)]
        await asyncio.sleep(0)
        for value in range(2, 7):
            assert await db.run(partial(add, id=2)) == value
            counted = "UPDATE public.counter SET value = value WHERE id = 2 RETURNING value"
            assert [row["value"] for row in await db.write(counted)] == [value]
        reads = await Timed(db.fetchval("SELECT value FROM public.counter"))
        assert reads.result == 1
        assert reads.seconds < 0.5
        for timed in await asyncio.gather(*blocked):
            assert_paused(timed)
        assert db.is_up
    finally:
        await holder.close()
    assert await db.run(add) == 2
    await db.stop()


async def test_however_many_things_are_locked_nobody_waits_who_wants_something_else(
    empty_database: TestDatabase,
) -> None:
    empty_database.sql(TABLE)
    db = await reach(empty_database, pool_size=2)
    many = range(1, 151)

    async def add_named(tx: Transaction, id: int) -> int:
        tx.is_to_lock(f"row {id}")
        return await add(tx, id)

    await db.write("INSERT INTO public.counter SELECT id, 0 FROM unnest($1::int[]) AS asked (id)", [*many, 0])
    holder = await asyncpg.connect(**empty_database.connect_arguments())
    try:
        await holder.execute("BEGIN; UPDATE public.counter SET value = value WHERE id > 0")
        blocked = [asyncio.create_task(_timed(db.run(partial(add_named, id=id)))) for id in many]
        await asyncio.sleep(0)
        assert await db.run(partial(add_named, id=0)) == 1
        for timed in await asyncio.gather(*blocked):
            assert isinstance(timed.error, Paused)
    finally:
        await holder.close()
    await db.stop()


async def test_nobody_overtakes_those_who_wait_for_the_same_thing(
    db: Database, empty_database: TestDatabase
) -> None:
    await db.run(add)
    late: list[asyncio.Task[None]] = []
    begun, done = [list[int]() for _ in range(2)]

    async def note(tx: Transaction, number: int) -> None:
        begun.append(number)
        tx.is_to_lock("the counter")
        await add(tx)
        done.append(number)
        if number == 2:
            late.extend(asyncio.create_task(db.run(partial(note, number=number))) for number in (5, 6, 7))
            await until(lambda: {5, 6, 7} <= {*begun}, what="they come while it has the lock")

    holder = await asyncpg.connect(**empty_database.connect_arguments())
    waiting = []
    try:
        await holder.execute("BEGIN; UPDATE public.counter SET value = value")
        for number in range(1, 5):
            waiting.append(asyncio.create_task(db.run(partial(note, number=number))))
            await until(lambda number=number: db._pools.permits.waiting == number)  # type: ignore[misc]
    finally:
        await holder.close()
    await asyncio.gather(*waiting)
    await asyncio.gather(*late)
    assert done[:4] == [1, 2, 3, 4]


async def test_what_has_become_free_is_taken_though_all_permits_are_elsewhere(
    empty_database: TestDatabase,
) -> None:
    empty_database.sql(TABLE)
    db = await reach(empty_database, pool_size=2)
    for id in (1, 2):
        await db.run(partial(add, id=id))
    held, free = [await asyncpg.connect(**empty_database.connect_arguments()) for _ in range(2)]
    try:
        await held.execute("BEGIN; UPDATE public.counter SET value = value WHERE id = 1")
        await free.execute("BEGIN; UPDATE public.counter SET value = value WHERE id = 2")
        blocked = [asyncio.create_task(_timed(db.run(add))) for _ in range(5)]
        waiting = asyncio.create_task(db.run(partial(add, id=2)))
        await until(lambda: db._pools.permits.waiting == 6)
        await free.execute("ROLLBACK")
        assert await waiting == 2
    finally:
        await held.close()
        await free.close()
    await asyncio.gather(*blocked)
    await db.stop()


async def test_a_frozen_node_holds_a_row_for_two_seconds_at_most(db: Database) -> None:
    await db.run(add)
    frozen = await db.session(SESSION)  # its process sends nothing any more
    try:
        await frozen.execute("BEGIN; UPDATE public.counter SET value = value")
        watch = Stopwatch()

        async def stored() -> bool:
            return (await Timed(db.run(add))).error is None

        await until(stored)
        assert watch.seconds < 3
    finally:
        frozen.terminate()


async def test_a_cancelled_command_stores_nothing_and_frees_its_connection(db: Database) -> None:
    for _ in range(12):  # more than there are connections
        is_in = asyncio.Event()

        async def work(tx: Transaction, is_in: asyncio.Event = is_in) -> None:
            await add(tx)
            is_in.set()
            await tx.fetchval("SELECT pg_sleep(1.5)")

        task = asyncio.create_task(db.run(work))
        await is_in.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (await Timed(db.fetchval("SELECT count(*) FROM public.counter"))).result == 0
    assert db.is_up


async def test_a_slow_statement_ends_in_time(db: Database) -> None:
    async def work(tx: Transaction) -> None:
        await tx.execute("SELECT pg_sleep(10)")

    assert_paused(await Timed(db.run(work)))
    assert_paused(await Timed(db.fetch("SELECT pg_sleep(10)")))
    assert await db.run(add) == 1


# --- connections lost


async def test_terminated_backends_in_mid_transaction_go_unseen(
    db: Database, empty_database: TestDatabase
) -> None:
    tries = 0

    async def work(tx: Transaction) -> int:
        nonlocal tries
        tries += 1
        value = await add(tx)
        if tries == 1:
            terminate_backends(empty_database)
        await tx.fetchval("SELECT 1")
        return value

    timed = await Timed(db.run(work))
    assert (timed.result, tries) == (1, 2)
    assert await db.fetchval("SELECT value FROM public.counter") == 1
    assert timed.seconds < ANSWER_SECONDS


async def test_terminated_idle_backends_go_unseen(db: Database, empty_database: TestDatabase) -> None:
    for _ in range(3):
        await asyncio.gather(*(db.run(add) for _ in range(20)), *(db.fetchval("SELECT 1") for _ in range(20)))
        terminate_backends(empty_database)
    assert await db.run(add) == 61


async def test_a_commit_cut_by_the_server_is_unknown(db: Database, empty_database: TestDatabase) -> None:
    empty_database.sql(
        """
        CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON public.counter DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION linger();
        """
    )
    task = asyncio.create_task(_timed(db.run(add)))
    await until(
        lambda: empty_database.sql(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'COMMIT' AND state = 'active'"
        )
    )
    terminate_backends(empty_database)
    assert_paused(await task, outcome="unknown")


async def test_a_commit_whose_answer_is_lost_is_unknown_and_stored(
    far_db: Database, proxy: Proxy, empty_database: TestDatabase
) -> None:
    async def work(tx: Transaction) -> None:
        await add(tx)
        proxy.stall("down")

    assert_paused(await Timed(far_db.run(work)), outcome="unknown")
    assert empty_database.sql("SELECT value FROM public.counter") == "1"
    proxy.heal()
    await until(lambda: far_db.is_up)


async def test_a_commit_that_never_arrives_is_unknown_and_not_stored(
    far_db: Database, proxy: Proxy, empty_database: TestDatabase
) -> None:
    async def work(tx: Transaction) -> None:
        await add(tx)
        proxy.stall("up")

    assert_paused(await Timed(far_db.run(work)), outcome="unknown")
    proxy.cut()
    proxy.heal()
    assert empty_database.sql("SELECT count(*) FROM public.counter") == "0"


async def test_dropped_packets_pause_in_time_and_pass_when_they_flow_again(
    far_db: Database, proxy: Proxy
) -> None:
    await asyncio.gather(*(far_db.run(add) for _ in range(20)))
    proxy.stall()
    for timed in await asyncio.gather(*(_timed(far_db.run(add)) for _ in range(30))):
        assert_paused(timed)
    assert_paused(await Timed(far_db.fetchval("SELECT 1")))
    await until(lambda: not far_db.is_up, NOTICED_SECONDS)
    timed = await Timed(far_db.run(add))
    assert_paused(timed)
    assert timed.seconds < 0.05, "once paused, refused at once"
    proxy.cut()  # the old connections never come back
    proxy.heal()
    await until(lambda: far_db.is_up, 2)
    assert await far_db.run(add) >= 21


async def test_half_open_connections_are_not_handed_out_twice(far_db: Database, proxy: Proxy) -> None:
    await asyncio.gather(*(far_db.run(add) for _ in range(20)))
    proxy.lose_target()  # as when a firewall forgot the connections: silence on them, new ones work
    await asyncio.gather(*(_timed(far_db.run(add)) for _ in range(10)))
    assert (await Timed(far_db.run(add))).error is None


@pytest.mark.parametrize("pool_size", [3, 10])
async def test_connections_that_were_forgotten_while_idle_cost_no_command(
    empty_database: TestDatabase, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, pool_size: int
) -> None:
    monkeypatch.setattr(connections, "ASK_AFTER_SECONDS", 0.2)
    empty_database.sql(TABLE)
    db = await reach(empty_database, proxy.address, pool_size=pool_size)
    insert = "INSERT INTO public.counter VALUES (0, 1) ON CONFLICT (id) DO UPDATE SET value = 2"
    try:
        await fill(db, pool_size)
        for write in (lambda: db.run(add), lambda: db.write(insert), lambda: db.fetchval("SELECT 1")):
            await idle_for(0.6)
            proxy.forget_idle(0.4)
            timed = await _timed(write())
            assert timed.error is None
            assert timed.seconds < ANSWER_SECONDS
            assert all([(await _timed(write())).error is None for _ in range(2 * pool_size)])
            await fill(db, pool_size)
        await idle_for(0.6)
        proxy.forget_idle(0.4)
        together = await asyncio.gather(*(_timed(db.run(add)) for _ in range(2 * pool_size)))
        assert [timed.error for timed in together] == [None] * len(together)
        assert db.is_up
    finally:
        await db.stop()


async def test_one_silent_connection_makes_the_others_suspect(far_db: Database, proxy: Proxy) -> None:
    await fill(far_db, 10)
    proxy.lose_target()  # just after they were used, so the first one is trusted
    timed = [await _timed(far_db.run(add)) for _ in range(10)]
    assert [one.error is None for one in timed[1:]] == [True] * 9


async def test_a_connection_used_just_now_is_not_asked(far_db: Database) -> None:
    await far_db.run(add)
    asked: list[object] = []

    async def answers(connection: object, deadline: float) -> bool:
        asked.append(connection)
        return True

    far_db._pools.writes._answers = answers
    for _ in range(20):
        await far_db.run(add)
    assert asked == []
    far_db._pools.suspect()
    await far_db.run(add)
    await far_db.run(add)
    assert len(asked) == 1


async def test_the_system_is_told_to_keep_connections_alive(db: Database) -> None:
    async with db.transaction() as tx:
        connection: Any = tx._connection
        used = connection._transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


# --- the server away


async def test_frozen_server_pauses_in_time_and_recovers(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    changes: list[bool] = []
    own_db.on_change(changes.append)
    await asyncio.gather(*(own_db.run(add) for _ in range(20)))
    own_postgres.freeze()
    work = [own_db.run(add), own_db.fetchval("SELECT 1"), *(own_db.run(add) for _ in range(20))]
    for timed in await asyncio.gather(*map(_timed, work)):
        assert_paused(timed)
    await until(lambda: not own_db.is_up, NOTICED_SECONDS)
    assert "does not answer" in (own_db.problem or "")
    own_postgres.thaw()
    await until(lambda: own_db.is_up, 2)
    assert await own_db.run(add) >= 21
    assert changes == [False, True]
    assert own_db.problem is None


async def test_killed_and_restarted_server_is_used_again(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    await asyncio.gather(*(own_db.run(add) for _ in range(20)))
    own_postgres.kill()
    assert_paused(await Timed(own_db.run(add)))
    await until(lambda: not own_db.is_up, NOTICED_SECONDS)
    assert "nothing listens" in (own_db.problem or "")
    for work in (own_db.run(add), own_db.fetchval("SELECT 1")):
        timed = await Timed(work)
        assert_paused(timed)
        assert timed.seconds < 0.05
    own_postgres.start()
    await until(lambda: own_db.is_up, 2)
    assert (await Timed(own_db.run(add))).result == 21


async def test_writers_through_a_restart_lose_nothing_acknowledged(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    acknowledged: list[int] = []
    unknown = 0
    is_over = False

    async def write(id: int) -> None:
        nonlocal unknown
        while not is_over:
            timed = await Timed(own_db.run(lambda tx: add(tx, id)))
            if timed.error is None:
                acknowledged.append(id)
            else:
                assert isinstance(timed.error, Paused)
                assert timed.seconds < ANSWER_SECONDS
                unknown += timed.error.outcome == "unknown"
                await asyncio.sleep(0.02)

    writers = [asyncio.create_task(write(id)) for id in range(8)]
    for _ in range(2):
        seen = len(acknowledged)
        await until(partial(lambda seen: len(acknowledged) > seen + 50, seen))
        await asyncio.to_thread(own_postgres.stop)
        own_postgres.start()
    seen = len(acknowledged)
    await until(lambda: len(acknowledged) > seen + 50)
    is_over = True
    await asyncio.gather(*writers)
    stored = await own_db.fetchval("SELECT sum(value) FROM public.counter")
    assert len(acknowledged) <= stored <= len(acknowledged) + unknown


async def test_a_node_starts_without_its_database_and_finds_it_later(
    own_postgres: EmbeddedPostgres,
) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    own_postgres.stop()
    database = Database(Server(**target.connect_arguments(), node="early"))
    await database.start()
    try:
        assert_paused(await Timed(database.run(add)))
        await until(lambda: "nothing listens" in (database.problem or ""))
        own_postgres.start()
        await until(lambda: database.is_up, 2)
        assert await database.fetchval("SELECT 1") == 1
    finally:
        await database.stop()


async def test_out_of_connections_goes_on_with_those_it_has(own_postgres: EmbeddedPostgres) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    target.sql(TABLE)
    own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 4", as_superuser=True)
    database = await reach(target)
    try:
        values = await asyncio.gather(*(database.run(add) for _ in range(50)))
        assert sorted(values) == list(range(1, 51))
        assert await database.fetchval("SELECT 1") == 1
        assert database.is_up
    finally:
        await database.stop()


async def test_out_of_connections_from_the_start_is_named(own_postgres: EmbeddedPostgres) -> None:
    target = TestDatabase(own_postgres, own_postgres.database)
    own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 0", as_superuser=True)
    database = Database(Server(**target.connect_arguments()))
    await database.start()
    try:
        await until(lambda: "out of connections" in (database.problem or ""))
        assert not database.is_up
        own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT -1", as_superuser=True)
        await until(lambda: database.is_up, 2)
    finally:
        await database.stop()


async def test_a_full_disk_refuses_writes_and_goes_on_reading(db: Database) -> None:
    changes: list[bool] = []
    db.on_change(changes.append)

    async def fill(tx: Transaction) -> None:
        await tx.execute("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$")

    timed = await Timed(db.run(fill))
    assert_paused(timed)
    assert "no space" in str(timed.error)
    assert changes == [False]
    assert await db.fetchval("SELECT 1") == 1
    await until(lambda: db.is_up, 2)  # the probe finds that there is room
    assert await db.run(add) == 1


async def test_a_disk_that_seems_to_have_room_and_takes_nothing_is_believed_ever_more_seldom(
    db: Database,
) -> None:
    """Where temporary tables may not be made, or are on another disk: else a busy node would be another with each
    command, and say so to everybody."""

    async def fill(tx: Transaction) -> None:
        await tx.execute("DO $$ BEGIN RAISE 'could not extend file' USING ERRCODE = '53100'; END $$")

    seconds = []
    for _ in range(4):
        began = asyncio.get_running_loop().time()
        assert_paused(await Timed(db.run(fill)))
        await until(lambda: db.is_up, 20)
        seconds.append(asyncio.get_running_loop().time() - began)
    assert all(it >= least for it, least in zip(seconds, (0, 1, 2, 4), strict=True)), seconds


@pytest.mark.parametrize("are_cut", [False, True])
async def test_a_server_that_was_told_to_take_no_writes_is_read_until_it_takes_them(
    db: Database, empty_database: TestDatabase, are_cut: bool
) -> None:
    """Only sessions that begin later know that it was told, and that it was told otherwise."""

    def set_read_only(value: str) -> None:
        empty_database.server.sql(
            f'ALTER DATABASE "{empty_database.name}" SET default_transaction_read_only = {value}',
            as_superuser=True,
        )

    begun: list[Transaction] = []
    all_have_begun = asyncio.Event()

    async def add_at_once(tx: Transaction) -> int:
        """On connections of their own: all but the one that is there are made now, and told."""
        begun.append(tx)
        if len(begun) == 5:
            all_have_begun.set()
        await all_have_begun.wait()
        return await add(tx)

    changes: list[bool] = []
    db.on_change(changes.append)
    set_read_only("on")
    if are_cut:
        terminate_backends(empty_database)
    many = await asyncio.gather(*(db.run(add_at_once) for _ in range(5)), return_exceptions=True)
    stored = sorted(each for each in many if isinstance(each, int))
    assert stored == list(range(1, len(stored) + 1))
    assert {(type(each), each.outcome) for each in many if isinstance(each, Paused)} == {(Paused, "none")}
    await until(lambda: not db.is_up, NOTICED_SECONDS)
    assert "read-only: default_transaction_read_only is on" in (db.problem or "")
    assert await db.fetchval("SELECT 1") == 1
    assert_paused(await Timed(db.run(add)))
    set_read_only("off")
    await until(lambda: db.is_up, 2)
    again = await asyncio.gather(*(db.run(add) for _ in range(20)))
    assert sorted(again) == list(range(len(stored) + 1, len(stored) + 21))
    assert changes == [False, True]


@pytest.mark.parametrize("taken_by", ["others", "the node"])
async def test_while_no_writes_and_no_connections_are_taken_reads_go_on_and_it_is_over_once_there_is_one(
    own_db: Database, own_postgres: EmbeddedPostgres, taken_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether writes are taken again is asked on a new connection; those that are there do for what is read."""
    looks = 0
    find = Server.find

    async def counted(server: Server, timeout: float) -> Any:
        nonlocal looks
        looks += 1
        return await find(server, timeout)

    async def refuse(tx: Transaction) -> None:
        await tx.execute("DO $$ BEGIN RAISE 'read-only' USING ERRCODE = '25006'; END $$")

    async def has_looked() -> bool:
        assert own_db.is_readable
        assert await own_db.fetchval("SELECT 1") == 1
        return looks > 2

    await fill(own_db, 10)
    count = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{own_postgres.user}'"
    most = 0 if taken_by == "others" else int(own_postgres.sql(count, as_superuser=True))
    own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT {most}", as_superuser=True)
    monkeypatch.setattr(Server, "find", counted)
    assert_paused(await Timed(own_db.run(refuse)))
    # Not by `until`, to which a read that is refused on the way would be one that is not answered yet.
    async with asyncio.timeout(20):
        if taken_by == "others":
            while not await has_looked():
                await asyncio.sleep(0.02)
            assert not own_db.is_up
            own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT -1", as_superuser=True)
        while not own_db.is_up:
            await has_looked()
            await asyncio.sleep(0.02)
    assert await own_db.run(add) == 1


async def test_a_server_that_takes_no_writes_is_left_once_its_address_leads_to_another(
    far_db: Database, proxy: Proxy, empty_database: TestDatabase, own_postgres: EmbeddedPostgres
) -> None:
    """As where a former primary is told so before another one takes over; what is connected to it stays so."""
    sql = f'ALTER DATABASE "{empty_database.name}" SET default_transaction_read_only = on'
    empty_database.server.sql(sql, as_superuser=True)
    terminate_backends(empty_database)
    assert_paused(await Timed(far_db.run(add)))
    await until(lambda: not far_db.is_up and far_db.is_readable, NOTICED_SECONDS)
    own_postgres.create_database(empty_database.name)
    new = TestDatabase(own_postgres, empty_database.name)
    new.sql(TABLE)
    far_db.server.use_password(own_postgres.password)
    proxy.aim((own_postgres.host, own_postgres.port))
    await until(lambda: far_db.is_up, 5)
    assert await far_db.run(add) == 1
    port = "SELECT current_setting('port')"
    assert {await far_db.fetchval(port) for _ in range(10)} == {f"{own_postgres.port}"}


async def test_stop_ends_at_once_even_if_the_server_is_frozen(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    await asyncio.gather(*(own_db.run(add) for _ in range(20)))
    own_postgres.freeze()
    running = asyncio.create_task(_timed(own_db.run(add)))
    await asyncio.sleep(0)
    assert (await Timed(own_db.stop())).seconds < 0.5
    assert isinstance((await running).error, Paused)
    own_postgres.thaw()


# --- words


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password": "s3cret-but-wrong"}, 'refuses the user "mstr_collab"'),
        ({"database": "nowhere"}, 'there is no database "nowhere"'),
        ({"host": "nowhere.invalid"}, "cannot be found"),
    ],
)
async def test_what_is_wrong_is_said_in_words_without_secrets(
    empty_database: TestDatabase, change: dict[str, Any], words: str
) -> None:
    database = Database(Server(**{**empty_database.connect_arguments(), **change}))
    await database.start()
    try:
        await until(lambda: words in (database.problem or ""), what=lambda: str(database.problem))
        assert "s3cret" not in (database.problem or "")
    finally:
        await database.stop()


async def _timed(work: Awaitable[Any]) -> Timed:
    timed = Timed(work)
    await timed
    return timed


def terminate_backends(target: TestDatabase) -> None:
    target.server.sql(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{target.name}'",
        as_superuser=True,
    )


async def test_a_connection_that_ends_in_the_middle_of_a_statement_is_no_bug(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection: Any = asyncpg.Connection
    prepare = connection._get_statement
    cuts = itertools.count(1)

    async def prepare_and_end(self: Any, *arguments: Any, **more: Any) -> Any:
        statement = await prepare(self, *arguments, **more)
        if next(cuts) == 1:
            self.terminate()
        return statement

    monkeypatch.setattr(asyncpg.Connection, "_get_statement", prepare_and_end)
    assert await db.run(add) == 1
    assert next(cuts) > 2


async def test_reads_go_on_also_in_the_moment_when_writes_are_taken_again(
    own_db: Database, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where others take each connection that becomes free: those that read are not given up for those that write."""
    find = Server.find
    are_taken = True

    def as_superuser(sql: str) -> None:
        own_postgres.sql(sql, as_superuser=True)

    async def taken(server: Server, timeout: float) -> Any:
        """The last one that there is is the one to look on."""
        connection = await find(server, timeout)
        if are_taken:
            as_superuser(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 0")
        return connection

    async def refuse(tx: Transaction) -> None:
        await tx.execute("DO $$ BEGIN RAISE 'read-only' USING ERRCODE = '25006'; END $$")

    async def is_up_and_read() -> bool:
        # Not by `until`, to which a read that is refused on the way would be one that is not answered yet.
        await asyncio.sleep(0.02)
        assert await own_db.fetchval("SELECT 1") == 1
        return own_db.is_up

    await fill(own_db, 10)
    monkeypatch.setattr(Server, "find", taken)
    assert_paused(await Timed(own_db.run(refuse)))
    async with asyncio.timeout(40):
        while "out of connections" not in (own_db.problem or ""):
            assert not await is_up_and_read()
        are_taken = False
        as_superuser(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT -1")
        while not await is_up_and_read():
            pass
    assert await own_db.run(add) == 1


async def test_reads_go_on_where_those_for_writes_are_lost_and_there_are_no_others(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    """They were cut, and others have taken what became free: those that read are there all the same."""
    await fill(own_db, 10)
    assert await own_db.fetchval("SELECT 1") == 1
    limit = f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT"
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COMMIT%'"
    own_postgres.sql(f"{limit} 0", as_superuser=True)
    own_postgres.sql(cut, as_superuser=True)
    # Not by `until`, to which a read that is refused on the way would be one that is not answered yet.
    async with asyncio.timeout(20):
        while own_db.is_up:
            assert await own_db.fetchval("SELECT 1") == 1
    for _ in range(20):
        assert await own_db.fetchval("SELECT 1") == 1
        assert own_db.problem == "the database is out of connections: there is none for what is stored"
        await asyncio.sleep(0.05)
    refused = await Timed(own_db.run(add))
    assert_paused(refused)
    assert "out of connections" in str(refused.error)
    own_postgres.sql(f"{limit} -1", as_superuser=True)
    await until(lambda: own_db.is_up)
    assert await own_db.run(add) == 1


def refused_once(
    monkeypatch: pytest.MonkeyPatch, postgres: EmbeddedPostgres, act: Callable[[], Awaitable[None]]
) -> asyncio.Event:
    """Whoever is refused a connection first hears of it once there are some again and others have acted. Set then."""
    dial = Server._dial
    is_refused = asyncio.Event()

    async def act_first(server: Server, *arguments: Any) -> asyncpg.Connection[Any]:
        try:
            return await dial(server, *arguments)
        except asyncpg.TooManyConnectionsError:
            if not is_refused.is_set():
                is_refused.set()
                postgres.sql(f"ALTER ROLE {postgres.user} CONNECTION LIMIT -1", as_superuser=True)
                await act()
            raise

    monkeypatch.setattr(Server, "_dial", act_first)
    return is_refused


@pytest.mark.parametrize("somebody_stores", [False, True])
async def test_a_connection_that_is_refused_while_those_that_were_lost_are_still_going_pauses_nobody(
    own_db: Database, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, somebody_stores: bool
) -> None:
    """PostgreSQL counts a session until it is gone, and whoever stores something opens one, as the prober does: where a
    node may have as many as it was told to open, one of the two is refused."""
    changes: list[bool] = []

    async def store() -> None:
        if somebody_stores:
            assert await own_db.run(add) == 1

    await fill(own_db, 10)
    assert await own_db.fetchval("SELECT 1") == 1
    own_db.on_change(changes.append)
    is_refused = refused_once(monkeypatch, own_postgres, store)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COMMIT%'"
    own_postgres.sql(f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 0; {cut}", as_superuser=True)
    async with asyncio.timeout(20):
        await is_refused.wait()
    for _ in range(20):
        assert await own_db.fetchval("SELECT 1") == 1
        await asyncio.sleep(0.05)
    assert changes == []
    assert await own_db.run(add) == (2 if somebody_stores else 1)


@pytest.mark.parametrize(("lost", "left", "settings"), [("reads", 9, "on 800ms"), ("writes", 4, "off 30ms")])
async def test_where_those_for_one_thing_are_lost_and_there_are_no_others_one_of_those_for_the_other_is_taken(
    own_db: Database, own_postgres: EmbeddedPostgres, lost: str, left: int, settings: str
) -> None:
    """Others have taken what became free: a node that has connections goes on with those, and says nothing."""
    changes: list[bool] = []
    found: list[str] = []
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query"
    of = {"reads": "LIKE '%pg_sleep%'", "writes": "LIKE 'COMMIT%'"}
    asked = "SELECT current_setting('enable_seqscan') || ' ' || current_setting('lock_timeout')"

    async def ask(tx: Transaction) -> None:
        found.append(await tx.fetchval(asked))

    async def is_used() -> bool:
        with contextlib.suppress(Paused):
            if lost == "reads":
                found.append(await own_db.fetchval(asked))
            else:
                await own_db.run(ask)
        return len(found) == 20

    await asyncio.gather(*(own_db.fetchval("SELECT pg_sleep(0.2)") for _ in range(5)))
    await fill(own_db, 10)
    kept = of["writes" if lost == "reads" else "reads"]
    own_db.on_change(changes.append)
    limit = f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 0"
    own_postgres.sql(
        f"{limit}; SELECT pg_terminate_backend(pid) {others} {of[lost]}",
        as_superuser=True,
    )
    await until(is_used)
    assert set(found) == {settings}
    assert own_postgres.sql(f"SELECT count(*) {others} {kept}", as_superuser=True) == str(left)
    assert await own_db.fetchval("SELECT 1") == 1
    assert await own_db.run(add) == 1
    assert changes == []


async def test_with_a_single_connection_left_reads_go_on(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    """Though it was one for writes."""
    said: list[str | None] = []
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query"
    role = f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT"

    async def is_up_and_read() -> bool:
        assert await own_db.fetchval("SELECT 1") == 1
        return own_db.is_up

    await asyncio.gather(*(own_db.fetchval("SELECT pg_sleep(0.2)") for _ in range(5)))
    await fill(own_db, 10)
    own_db.on_change(lambda _: said.append(own_db.problem))
    own_postgres.sql(
        f"{role} 0; SELECT pg_terminate_backend(pid) {others} LIKE '%pg_sleep%'"
        f" OR pid IN (SELECT pid {others} LIKE 'COMMIT%' OFFSET 1)",
        as_superuser=True,
    )
    await until(lambda: not own_db.is_up)
    for _ in range(20):
        assert not await is_up_and_read()
        await asyncio.sleep(0.05)
    assert_paused(await Timed(own_db.run(add)))
    own_postgres.sql(f"{role} -1", as_superuser=True)
    await until(is_up_and_read)
    assert await own_db.run(add) == 1
    assert said == ["the database is out of connections: there is none for what is stored", None]


async def test_a_node_has_no_more_connections_than_it_was_told_whoever_comes_first(
    own_db: Database, own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the prober takes one of those for writes, those who read may open all there may be."""
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid()"

    async def fill_reads() -> None:
        await asyncio.gather(*(own_db.fetchval("SELECT pg_sleep(0.2)") for _ in range(5)))

    await fill_reads()
    await fill(own_db, 10)
    is_refused = refused_once(monkeypatch, own_postgres, fill_reads)
    own_postgres.sql(
        f"ALTER ROLE {own_postgres.user} CONNECTION LIMIT 0;"
        f" SELECT pg_terminate_backend(pid) {others} AND query LIKE '%pg_sleep%'",
        as_superuser=True,
    )
    async with asyncio.timeout(20):
        await is_refused.wait()
    for _ in range(20):
        await own_db.run(add)
        await asyncio.sleep(0.05)
    await fill(own_db, 10)
    await fill_reads()
    of_the_node = f"SELECT count(*) {others} AND application_name LIKE 'collab%'"
    await until(lambda: own_postgres.sql(of_the_node, as_superuser=True) == "16")


async def test_sessions_that_began_read_only_are_not_taken_for_what_is_stored(
    own_db: Database, own_postgres: EmbeddedPostgres
) -> None:
    """They last; those who read go on with the last of them, and it is over once there is another connection."""
    role = f"ALTER ROLE {own_postgres.user}"
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query"
    said: list[str | None] = []
    await fill(own_db, 10)
    assert await own_db.fetchval("SELECT 'read'") == "read"
    own_postgres.sql(
        f"{role} SET default_transaction_read_only = on; {cut} LIKE '%''read''%'", as_superuser=True
    )
    await asyncio.gather(*(own_db.fetchval("SELECT pg_sleep(0.2)") for _ in range(5)))
    own_postgres.sql(
        f"{role} RESET default_transaction_read_only; {role} CONNECTION LIMIT 0; {cut} LIKE 'COMMIT%'",
        as_superuser=True,
    )
    own_db.on_change(lambda _: said.append(own_db.problem))
    readers = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.2)%' AND pid <> pg_backend_pid()"
    )
    # Not by `until`, to which a read that is refused on the way would be one that is not answered yet.
    async with asyncio.timeout(20):
        while own_postgres.sql(readers, as_superuser=True) != "0":
            assert await own_db.fetchval("SELECT 1") == 1
    assert_paused(await Timed(own_db.run(add)))
    own_postgres.sql(f"{role} CONNECTION LIMIT -1", as_superuser=True)
    await until(lambda: own_db.is_up)
    assert await own_db.run(add) == 1
    assert said == ["the database is out of connections: there is none for what is stored", None]
