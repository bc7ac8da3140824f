"""The embedded servers: who may start them, what is left of them, what they survive."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from collab_server.demo.embedded import (
    NOT_DURABLE,
    EmbeddedError,
    EmbeddedPostgres,
    EmbeddedValkey,
    free_port,
)
from collab_server.demo.nginx import EmbeddedNginx, balancer_config
from collab_server.demo.tied import NOBODY, Privileges, TiedProcess, is_alive, unprivileged
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary

ROOT = Path(__file__).resolve().parents[2]

# Starts all three, says which processes there are, and stops them on SIGTERM.
STARTER = """
import json, os, signal, sys
from pathlib import Path
from collab_server.demo.embedded import EmbeddedPostgres, EmbeddedValkey, free_port
from collab_server.demo.nginx import EmbeddedNginx, balancer_config

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
folder, port = Path(sys.argv[1]), free_port()
with (
    EmbeddedPostgres(folder / "postgres") as postgres,
    EmbeddedValkey() as valkey,
    EmbeddedNginx(balancer_config(port, ["127.0.0.1:9"]), folder / "nginx", port=port) as nginx,
):
    pids = [pid for server in (postgres, valkey, nginx) for pid in server.process.tree()]
    print(json.dumps({"uid": os.geteuid(), "pids": pids, "answer": postgres.sql("SELECT 6 * 7")}), flush=True)
    signal.pause()
"""


class Starter:
    """A process that runs `STARTER`; `report` is what it said."""

    def __init__(self, folder: Path, privileges: Privileges = "ours") -> None:
        said = folder / "said"
        with said.open("wb") as output:
            self.process = TiedProcess(
                [sys.executable, "-c", STARTER, folder],
                output=output,
                privileges=privileges,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
        deadline = time.monotonic() + 30
        while not said.read_text().endswith("}\n"):
            assert self.process.returncode is None, said.read_text()
            assert time.monotonic() < deadline, said.read_text()
            time.sleep(0.02)
        self.report: dict[str, Any] = json.loads(said.read_text())

    def servers_alive(self) -> list[int]:
        return [pid for pid in self.report["pids"] if is_alive(pid)]


@pytest.fixture
def reachable_folder() -> Iterator[Path]:
    """A folder that every user can reach, which pytest's own is not."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="module")
def one_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path_factory.mktemp("data") / "postgres", settings=NOT_DURABLE).start()
    yield server
    server.abort()


@pytest.fixture
def own_postgres(one_postgres: EmbeddedPostgres) -> EmbeddedPostgres:
    """Running, whatever the test before did to it: the first start is the expensive one."""
    if not one_postgres.is_running:
        one_postgres.start()
    return one_postgres


@pytest.mark.skipif(not Path("/proc/sysvipc/shm").exists(), reason="Linux tells it there")
def test_what_is_aborted_leaves_no_shared_memory(own_postgres: EmbeddedPostgres) -> None:
    def ids() -> set[str]:
        lines = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
        return {line.split()[1] for line in lines}

    key_and_id = (own_postgres.folder / "pgdata" / "postmaster.pid").read_text().splitlines()[6]
    own = key_and_id.split()[1]
    assert own in ids()
    own_postgres.abort()
    assert own not in ids()


def ordinary_user() -> Privileges:
    """How to start a process that is no root."""
    if os.geteuid() == 0 and unprivileged() != "namespace":
        pytest.skip("root cannot become an ordinary user here: the kernel refuses user namespaces")
    return unprivileged()


async def test_all_start_as_whoever_we_are_and_stop_without_a_trace(tmp_path: Path) -> None:
    starter = Starter(tmp_path)
    assert starter.report["uid"] == os.geteuid()
    assert starter.report["answer"] == "42"
    assert len(starter.servers_alive()) >= 5
    starter.process.send(signal.SIGTERM)
    assert starter.process.wait(30) == 0
    assert starter.servers_alive() == []


async def test_all_start_as_an_ordinary_user(tmp_path: Path) -> None:
    starter = Starter(tmp_path, ordinary_user())
    assert starter.report["uid"] != 0
    assert starter.report["answer"] == "42"
    starter.process.send(signal.SIGTERM)
    assert starter.process.wait(30) == 0
    assert starter.servers_alive() == []


@pytest.mark.parametrize("is_root", [True, False], ids=["as we are", "as an ordinary user"])
async def test_servers_die_with_whoever_started_them(tmp_path: Path, is_root: bool) -> None:
    starter = Starter(tmp_path, "ours" if is_root else ordinary_user())
    os.kill(starter.process.pid, signal.SIGKILL)
    starter.process.wait(30)
    await until(lambda: not starter.servers_alive(), 10, "all servers are gone")


async def test_the_data_can_be_used_at_once_after_a_kill_of_the_starter(tmp_path: Path) -> None:
    starter = Starter(tmp_path)
    os.kill(starter.process.pid, signal.SIGKILL)
    starter.process.wait(30)
    with EmbeddedPostgres(tmp_path / "postgres") as postgres:
        assert postgres.sql("SELECT 1") == "1"


def test_root_runs_postgres_as_nobody_where_namespaces_are_refused(reachable_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    folder = reachable_folder / "postgres"
    with EmbeddedPostgres(folder, settings=NOT_DURABLE, privileges="nobody") as postgres:
        assert postgres.sql("SELECT 1") == "1"
        assert Path(f"/proc/{postgres.process.pid}").stat().st_uid == NOBODY
        postgres.kill()
        assert postgres.start().sql("SELECT 2") == "2"
    # And the same data as root again, should the kernel have changed its mind.
    with EmbeddedPostgres(folder, settings=NOT_DURABLE) as postgres:
        assert postgres.sql("SELECT 3") == "3"


def test_nobody_is_told_about_a_folder_that_is_out_of_reach(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become nobody")
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedError, match="choose a folder"):
        EmbeddedPostgres(tmp_path / "postgres", privileges="nobody").start()


def test_postgres_keeps_what_was_committed_through_a_kill(own_postgres: EmbeddedPostgres) -> None:
    port = own_postgres.port
    own_postgres.sql("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)", database="mstr_collab")
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.port == port
    assert own_postgres.sql("SELECT n FROM kept", database="mstr_collab") == "7"


def test_postgres_starts_again_after_only_its_first_process_was_killed(
    own_postgres: EmbeddedPostgres,
) -> None:
    os.kill(own_postgres.process.pid, signal.SIGKILL)
    own_postgres.process.wait(30)
    assert own_postgres.start().sql("SELECT 1") == "1"


def test_the_role_owns_its_database_and_is_no_superuser(own_postgres: EmbeddedPostgres) -> None:
    ask = "SELECT current_user, rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user"
    assert own_postgres.sql(ask, database="mstr_collab") == "mstr_collab|f|t"


async def test_postgres_wants_the_password(own_postgres: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(
            host=own_postgres.host,
            port=own_postgres.port,
            user=own_postgres.user,
            password="wrong",
            database=own_postgres.database,
        )
    assert (own_postgres.folder / "password").stat().st_mode & 0o077 == 0


async def test_a_frozen_postgres_is_silent_and_a_thawed_one_answers(own_postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(own_postgres.url())
    try:
        own_postgres.freeze()
        query = connection.fetchval("SELECT 42")
        pending = await _still_pending(query)
        own_postgres.thaw()
        assert await pending == 42
    finally:
        await connection.close()


def test_a_frozen_postgres_can_be_stopped(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.freeze()
    own_postgres.stop()
    assert not own_postgres.is_running


def test_data_in_use_are_refused_to_a_second_server(own_postgres: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedError, match="another process uses the data"):
        EmbeddedPostgres(own_postgres.folder).start()
    assert own_postgres.sql("SELECT 1") == "1"


def test_a_pid_file_that_names_a_zombie_or_a_stranger_does_not_hinder(own_postgres: EmbeddedPostgres) -> None:
    with subprocess.Popen(["/bin/true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
        for pid in (zombie.pid, os.getpid()):
            own_postgres.kill()
            path = own_postgres.folder / "pgdata" / "postmaster.pid"
            lines = path.read_text().splitlines()
            path.write_text("\n".join([str(pid), *lines[1:]]) + "\n")
            assert own_postgres.start().sql("SELECT 1") == "1"


def test_an_unfinished_first_start_is_begun_anew(tmp_path: Path) -> None:
    half_done = tmp_path / "postgres" / "pgdata.new"
    half_done.mkdir(parents=True)
    (half_done / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(tmp_path / "postgres", settings=NOT_DURABLE) as postgres:
        assert postgres.sql("SELECT 1") == "1"


def test_databases_are_cloned_and_dropped(own_postgres: EmbeddedPostgres) -> None:
    own_postgres.create_database("first")
    own_postgres.sql("CREATE TABLE things (n int)", database="first")
    own_postgres.create_database("second", template="first")
    assert own_postgres.sql("SELECT count(*) FROM things", database="second") == "0"
    own_postgres.drop_database("second")
    with pytest.raises(EmbeddedError, match="does not exist"):
        own_postgres.sql("SELECT 1", database="second")


@pytest.mark.parametrize("server_class", [EmbeddedPostgres, EmbeddedValkey])
def test_a_port_that_is_taken_is_said_in_words(server_class: type[Any], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        arguments = (tmp_path / "data",) if server_class is EmbeddedPostgres else ()
        server = server_class(*arguments, port=port)
        with pytest.raises(EmbeddedError, match="in use"):
            server.start()
        assert not server.is_running


def test_a_server_is_not_started_from_a_thread_that_may_end(tmp_path: Path) -> None:
    refusals: list[BaseException] = []

    def start() -> None:
        try:
            EmbeddedValkey().start()
        except RuntimeError as error:
            refusals.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refusals[0])


def test_valkey_wants_its_password_and_keeps_its_port(own_valkey: EmbeddedValkey) -> None:
    port = own_valkey.port
    own_valkey.kill()
    assert own_valkey.start().port == port
    with socket.create_connection((own_valkey.host, port), timeout=2) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
    command_line = Path(f"/proc/{own_valkey.process.pid}/cmdline").read_bytes()
    assert own_valkey.password.encode() not in command_line


def test_nginx_spreads_and_sticks(tmp_path: Path, own_library: StandInLibrary) -> None:
    port = free_port()
    upstream = f"127.0.0.1:{own_library.port}"
    config = balancer_config(port, [upstream], library=upstream)
    with EmbeddedNginx(config, tmp_path / "nginx", port=port) as nginx:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/standin/people", timeout=20) as answer:
            assert answer.status == 200
            assert "collab_node=" in answer.headers["Set-Cookie"]
        address = f"http://127.0.0.1:{port}/MicroStrategyLibrary/standin/people"
        with urllib.request.urlopen(address, timeout=20) as answer:
            assert answer.status == 200
        tree = nginx.process.tree()
        assert len(tree) == 1  # nothing is left when that is killed
    assert [pid for pid in tree if is_alive(pid)] == []


def test_a_wrong_nginx_configuration_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match='unknown directive "nonsense"'):
        EmbeddedNginx("nonsense;", tmp_path / "nginx", port=free_port()).start()


async def _still_pending(work: Any, seconds: float = 0.1) -> Any:
    """`work` as a task, after making sure that it does not end within `seconds`."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=seconds)
    assert not done
    return task
