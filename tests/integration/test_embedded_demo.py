"""`collab-server demo`: comes up, shows a conversation, leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from collab_server.demo.tied import Privileges, TiedProcess, is_alive, unprivileged
from tests.harness.clients import new_session
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 60

RUN = """
import sys
from pathlib import Path
from collab_server.demo.run import run_demo
sys.exit(run_demo(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "check"))
"""


class RunningDemo:
    """A demo as a process of its own; `text` is what it has printed."""

    def __init__(self, data: Path, log: Path, *, port: int, check: bool, privileges: Privileges) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = TiedProcess(
                [sys.executable, "-c", RUN, data, str(port), "check" if check else "show"],
                output=output,
                privileges=privileges,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    @property
    def text(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"open +(\S+)/\n", self.text)
        assert found is not None
        return found[1]

    async def wait_until_up(self) -> None:
        def is_up() -> bool:
            if self.process.returncode is not None:
                raise RuntimeError(self.text)
            return "Ctrl-C" in self.text

        await until(is_up, UP_SECONDS, lambda: self.text)

    async def stop(self, number: signal.Signals) -> int:
        """Stop it by a signal, and make sure that nothing of it is left; the exit status."""
        tree = self.process.tree()
        assert len(tree) > 10
        self.process.send(number)
        await until(lambda: self.process.returncode is not None, 20, lambda: self.text)
        assert [pid for pid in tree if is_alive(pid)] == []
        status = self.process.returncode
        assert status is not None
        return status


StartDemo = Callable[..., RunningDemo]


@pytest.fixture
def start_demo(tmp_path: Path) -> Iterator[StartDemo]:
    demos: list[RunningDemo] = []

    def start(
        data: str = "data", *, port: int = 18080, check: bool = False, privileges: Privileges = "ours"
    ) -> RunningDemo:
        log = tmp_path / f"demo{len(demos) + 1}.log"
        demos.append(RunningDemo(tmp_path / data, log, port=port, check=check, privileges=privileges))
        return demos[-1]

    yield start
    for demo in demos:
        demo.process.kill()


async def test_the_check_plays_a_conversation_and_passes(start_demo: StartDemo) -> None:
    demo = start_demo(check=True)
    await until(lambda: demo.process.returncode is not None, 90, lambda: demo.text)
    assert demo.process.returncode == 0, demo.text
    assert "Passed" in demo.text
    assert "each 1 to 5, in order, once" in demo.text


async def test_two_demos_do_not_meet_and_a_signal_ends_all_of_each(start_demo: StartDemo) -> None:
    first, second = start_demo("one"), start_demo("two")
    await first.wait_until_up()
    await second.wait_until_up()
    assert first.url != second.url
    for demo in (first, second):
        for path in ("/", "/status", "/MicroStrategyLibrary/standin/people"):
            async with new_session() as http, http.get(demo.url + path) as answer:
                assert answer.status == 200
    assert await first.stop(signal.SIGINT) == 0
    assert await second.stop(signal.SIGTERM) == 0


async def test_an_ordinary_user_starts_a_demo_and_data_stay_for_the_next(start_demo: StartDemo) -> None:
    if os.geteuid() == 0 and unprivileged() != "namespace":
        pytest.skip("root cannot become an ordinary user here: the kernel refuses user namespaces")
    check = start_demo(check=True, privileges=unprivileged())
    await until(lambda: check.process.returncode is not None, 90, lambda: check.text)
    assert check.process.returncode == 0, check.text
    again = start_demo(check=True, privileges=unprivileged())
    await until(lambda: again.process.returncode is not None, 90, lambda: again.text)
    assert "each 6 to 10, in order, once" in again.text


async def test_a_killed_demo_leaves_nothing_running(start_demo: StartDemo) -> None:
    demo = start_demo()
    await demo.wait_until_up()
    tree = demo.process.tree()
    os.kill(demo.process.pid, signal.SIGKILL)
    demo.process.wait(5)
    await until(lambda: not any(is_alive(pid) for pid in tree), 10, "all processes are gone")


async def test_data_in_use_and_a_taken_port_are_no_tracebacks(start_demo: StartDemo, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        demo = start_demo(port=port)
        await demo.wait_until_up()
        assert not demo.url.endswith(f":{port}")
    second = start_demo()
    assert second.process.wait(20) == 1
    assert "another process uses the data" in second.text
    assert "Traceback" not in second.text


async def test_an_interrupted_start_leaves_nothing_running(start_demo: StartDemo) -> None:
    demo = start_demo()
    await until(lambda: "Valkey" in demo.text, 30, lambda: demo.text)
    tree = demo.process.tree()
    demo.process.send(signal.SIGINT)
    began = time.monotonic()
    await until(lambda: demo.process.returncode is not None, 20, lambda: demo.text)
    assert time.monotonic() - began < 15
    assert demo.process.returncode == 130
    assert [pid for pid in tree if is_alive(pid)] == []
    assert "Traceback" not in demo.text
