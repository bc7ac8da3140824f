"""`collab-server demo`: comes up, shows a conversation, leaves nothing behind."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collab_server.demo.demo import DEFAULT_PORT
from collab_server.demo.embedded import NOT_DURABLE, EmbeddedPostgres, free_port
from collab_server.demo.run import run_demo
from collab_server.demo.tied import Privileges, is_alive, unprivileged
from tests.harness.clients import new_session
from tests.harness.demo import RunningDemo
from tests.harness.waiting import Stopwatch, until

ROOT = Path(__file__).resolve().parents[2]
PEOPLE = {
    "people": [{"login": "zoe", "id": "5" * 32, "fullName": "Zoë Zed", "initials": "ZZ"}],
    "groups": [],
    "projects": [
        {"id": "6" * 32, "name": "Own", "objects": [{"id": "7" * 32, "name": "Own numbers", "type": 55}]}
    ],
}

StartDemo = Callable[..., RunningDemo]


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    demos: list[RunningDemo] = []

    def start(data: str = "data", *arguments: str | Path, privileges: Privileges = "ours") -> RunningDemo:
        log = tmp_path / f"demo{len(demos) + 1}.log"
        given = ("--data", tmp_path / data, *arguments)
        demos.append(RunningDemo(log, *given, privileges=privileges))
        return demos[-1]

    yield start
    for demo in demos:
        demo.process.kill()


async def test_an_ordinary_user_plays_the_check_and_data_stay_for_the_next(start_demo: StartDemo) -> None:
    # Root, where the kernel lets it, becomes one.
    privileges: Privileges = "namespace" if unprivileged() == "namespace" else "ours"
    for numbers in ("1 to 5", "6 to 10"):
        demo = start_demo("data", "--check", privileges=privileges)
        assert await demo.wait_until_ended(90) == 0, demo.text
        assert "Passed" in demo.text
        assert f"each {numbers}, in order, once" in demo.text


async def test_two_demos_do_not_meet_and_nothing_is_left_of_either(start_demo: StartDemo) -> None:
    first, second = start_demo("one"), start_demo("two")
    await first.wait_until_up()
    await second.wait_until_up()
    assert first.url != second.url
    for demo in (first, second):
        for path in ("/", "/status", "/MicroStrategyLibrary/standin/people"):
            async with new_session() as http, http.get(demo.url + path) as answer:
                assert answer.status == 200
    assert await first.stop(signal.SIGTERM) == 0
    tree = second.process.tree()
    os.kill(second.process.pid, signal.SIGKILL)
    second.process.wait(30)
    await until(lambda: not any(is_alive(pid) for pid in tree), 10, "all processes are gone")


async def test_a_demo_is_shaped_and_whatever_of_it_is_killed_nothing_is_left(
    start_demo: StartDemo, tmp_path: Path
) -> None:
    (tmp_path / "people.json").write_text(json.dumps(PEOPLE))
    port = free_port()
    shape = ("--port", str(port), "--host", "0.0.0.0", "--people", tmp_path / "people.json")
    demo = start_demo("data", *shape)
    await demo.wait_until_up()
    assert demo.url == f"http://127.0.0.1:{port}"
    for words in ("sign in as  zoe ", f"{demo.url}/docs", f"content:{'6' * 32}:{'7' * 32}", "protocol.md"):
        assert words in demo.text
    assert "sign in as anybody" in demo.text  # it is open to others
    again = start_demo("data")
    assert await again.wait_until_ended() == 1
    assert f"already, at {demo.url}/ (process {demo.process.pid})" in again.text
    assert_in_words(again.text)
    async with new_session() as http:
        async with http.get(f"{demo.url}/docs") as answer:
            assert answer.status == 200
        # What does not fit into memory would go into files, for which a full disk has no room.
        bodies = tmp_path / "data" / "nginx" / "temp_body"
        bodies.rmdir()
        bodies.touch()
        async with http.post(
            f"{demo.url}/api/topics/x/comments", data=io.BytesIO(b"x" * 1_500_000)
        ) as answer:
            assert answer.status in (401, 413)
            assert answer.content_type == "application/json"
        tree = demo.process.tree()
        nginx, warm, valkey = (part(tree, name) for name in ("nginx", "warm", "valkey"))
        os.kill(warm, signal.SIGKILL)  # and with it all nodes
        await until(lambda: demo.text.count("has ended") == 3, 10, lambda: demo.text)
        async with http.get(f"{demo.url}/status") as answer:
            assert answer.status == 503
            assert (await answer.json())["code"] == "unavailable"
    os.kill(nginx, signal.SIGKILL)
    os.kill(valkey, signal.SIGKILL)
    await until(lambda: demo.text.count("has ended") == 5, 10, lambda: demo.text)
    demo.process.send(signal.SIGINT)
    assert await demo.wait_until_ended() == 0
    assert [pid for pid in tree if is_alive(pid)] == []
    with socket.socket() as tried:
        tried.bind(("0.0.0.0", port))


def part(tree: list[int], words: str) -> int:
    """The process of the tree whose command line has these words."""
    found = [pid for pid in tree if words.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return found[0]


def assert_in_words(text: str) -> None:
    """It says in one line what is wrong, and what to do."""
    [line] = [line for line in text.splitlines() if line.startswith("collab-server demo: ")]
    assert "--data" in line or "--port" in line
    assert "Traceback" not in text
    assert len(text.splitlines()) < 12


async def test_a_taken_port_is_passed_over_unless_it_was_wished(
    start_demo: StartDemo, tmp_path: Path
) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # somebody else has it
            taken.bind(("127.0.0.1", DEFAULT_PORT))
            taken.listen()
        wished, demo = start_demo("wished", "--port", str(DEFAULT_PORT)), start_demo()
        assert await wished.wait_until_ended() == 1
        assert f"port {DEFAULT_PORT} is in use" in wished.text
        assert_in_words(wished.text)
        await demo.wait_until_up()
        assert not demo.url.endswith(f":{DEFAULT_PORT}")
        assert await demo.stop(signal.SIGHUP) == 0
    # It was not begun there, where NGINX would have tried for seconds.
    assert f":{DEFAULT_PORT} failed" not in (tmp_path / "data" / "nginx" / "nginx.log").read_text()


@pytest.fixture(scope="module")
def used_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a demo of before has left, as far as it goes wrong here."""
    folder = tmp_path_factory.mktemp("used")
    folder.chmod(0o711)
    with EmbeddedPostgres(folder / "postgres", settings=NOT_DURABLE):
        pass
    (folder / "postgres" / "postgres.log").write_text("FATAL:  of an earlier run\n" * 30)
    return folder


def spoil_version(folder: Path) -> None:
    (folder / "postgres" / "pgdata" / "PG_VERSION").write_text("16\n")


def spoil_password(folder: Path) -> None:
    (folder / "postgres" / "password").write_text("another")


def spoil_owner(folder: Path) -> None:
    os.chown(folder, 4711, 4711)


def spoil_postgres_owner(folder: Path) -> None:
    os.chown(folder / "postgres", 4711, 4711)


def spoil_log(folder: Path) -> None:
    (folder / "valkey.log").mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_version, "FATAL:  database files are incompatible with server DETAIL:"),
        (spoil_password, "is not that of the data beside it"),
        (spoil_log, "valkey.log cannot be used: Is a directory"),
        (spoil_owner, "belongs to the user 4711"),
        (spoil_postgres_owner, "belongs to the user 4711"),
    ],
)
def test_what_is_wrong_with_a_folder_is_a_line_with_the_next_step(
    used_folder: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    words: str,
) -> None:
    if "owner" in spoil.__name__ and os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder = tmp_path / "used"
    shutil.copytree(used_folder, folder)
    tmp_path.chmod(0o711)
    spoil(folder)
    owners = {path: path.stat().st_uid for path in (folder, folder / "postgres")}
    assert run_demo(folder) == 1
    said = capfd.readouterr()
    assert words in said.err
    assert "earlier run" not in said.err
    assert_in_words(said.err)
    assert owners == {path: path.stat().st_uid for path in owners}


def _freeze_postgres(demo: RunningDemo) -> None:
    for pid in demo.process.tree():
        with contextlib.suppress(OSError):  # a process of it that has just ended
            if Path(f"/proc/{pid}/comm").read_text() == "postgres\n":
                os.kill(pid, signal.SIGSTOP)


async def test_an_interrupted_start_leaves_nothing_running(start_demo: StartDemo) -> None:
    demo = start_demo()
    await until(lambda: "PostgreSQL" in demo.text, 30, lambda: demo.text)
    _freeze_postgres(demo)  # so that it is not up before it is interrupted
    await until(lambda: "stand-in Library" in demo.text, 30, lambda: demo.text)
    tree = demo.process.tree()
    demo.process.send(signal.SIGINT)
    watch = Stopwatch()
    await until(lambda: demo.process.returncode is not None, 20, lambda: demo.text)
    assert watch.seconds < 15
    assert demo.process.returncode == 130
    assert [pid for pid in tree if is_alive(pid)] == []
    assert "Traceback" not in demo.text


SWALLOWING = """
import os, signal, time, weakref
from collab_server.demo import run

class Gone:
    pass

def die(*_):
    os.kill(os.getpid(), signal.{signal})
    time.sleep(0)

try:
    with run._interruptible():
        gone = Gone()
        kept = weakref.ref(gone, die)
        del gone
        print("swallowed", flush=True)
        time.sleep(60)
except run._Interrupted:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_that_comes_where_python_swallows_it_is_heard_all_the_same(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWING.format(signal=name)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.split() == ["swallowed", "stopped"]
    assert done.stderr == ""
