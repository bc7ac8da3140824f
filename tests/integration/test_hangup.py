"""SIGHUP never ends a node; it makes the node open its log file again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collab_server.__main__ import main
from collab_server.demo.embedded import free_port
from tests.harness.clients import new_session
from tests.harness.cluster import Launch, Node
from tests.harness.hurry import hurried
from tests.harness.waiting import until

LAUNCHES = pytest.mark.parametrize("launch", ["uvicorn", "serve"])
SAYS_SO = "SIGHUP: the"
TOLD = "an error was sent"
TELLING_MUCH = hurried({"collab_server.telemetry.journal": {"LINES": 90}})


def paused_node(folder: Path, launch: Launch, **config: object) -> Node:
    """A node without any server behind it."""
    nowhere = {"host": "127.0.0.1", "port": free_port(), "username": "u", "password": "p"}
    config = {"dataSource": nowhere, "logging": True, **config}
    return Node(folder, config, launch=launch, env=TELLING_MUCH)


async def ask(node: Node, times: int) -> None:
    """Ask for what there is not, each time of which is a line."""
    async with new_session() as http:
        for _ in range(times):
            async with http.get(f"{node.url}/api/nowhere") as answer:
                assert answer.status == 404


def hang_up(node: Node) -> None:
    if node.is_running:
        node.process.send(signal.SIGHUP)


@pytest.fixture
async def started() -> AsyncIterator[list[Node]]:
    nodes: list[Node] = []
    yield nodes
    for node in nodes:
        if node.is_running:
            await node.kill()


@LAUNCHES
async def test_a_log_file_that_was_moved_away_is_begun_anew(
    tmp_path: Path, launch: Launch, started: list[Node]
) -> None:
    file, moved = tmp_path / "collab.log", tmp_path / "collab.log.1"
    node = paused_node(tmp_path, launch, logFile=str(file))
    started.append(node)
    node.spawn()
    await until(file.exists, 30, node.log_tail)
    hang_up(node)  # while it is only starting
    await node.wait_for_health("live", 200)
    await until(lambda: SAYS_SO in file.read_text())
    file.rename(moved)
    hang_up(node)
    await until(lambda: file.exists() and SAYS_SO in file.read_text())
    before = moved.read_text()
    await ask(node, 1)
    await until(lambda: TOLD in file.read_text())
    assert moved.read_text() == before
    assert file.read_text().count(SAYS_SO) == 1


def test_serve_is_not_ended_while_it_only_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    monkeypatch.setitem(sys.modules, "collab_server.config", None)  # what it imports first
    try:
        with pytest.raises(ImportError):
            main(["serve"])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@LAUNCHES
async def test_many_hangups_among_requests_and_in_a_drain_lose_no_line(
    tmp_path: Path, launch: Launch, started: list[Node]
) -> None:
    file = tmp_path / "collab.log"
    node = paused_node(tmp_path, launch, logFile=str(file))
    started.append(node)
    node.spawn()
    await node.wait_for_health("live", 200)

    asking = [asyncio.create_task(ask(node, 30)) for _ in range(3)]
    while not all(task.done() for task in asking):
        hang_up(node)
        await asyncio.sleep(0.005)
    stopping = asyncio.create_task(node.stop())
    while not stopping.done():
        hang_up(node)
        await asyncio.sleep(0.005)
    assert await stopping == 0
    text = file.read_text()
    assert text.count(TOLD) == 3 * 30
    assert "the node has stopped" in text
    assert "Traceback" not in text + node.log


async def test_a_node_without_a_log_file_says_so_and_goes_on(tmp_path: Path, started: list[Node]) -> None:
    node = paused_node(tmp_path, "uvicorn")
    started.append(node)
    node.spawn()
    await node.wait_for_health("live", 200)
    hang_up(node)
    await until(lambda: SAYS_SO in node.log)
    await node.wait_for_health("live", 200)
    assert await node.stop() == 0
