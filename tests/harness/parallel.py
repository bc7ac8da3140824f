"""Tests side by side: a pytest plugin that gives pytest-xdist its workers, its groups and their order.

A run of all tests, or of a large folder, is spread over workers, each with a world of its own (servers, nodes, ports).
A run of some files stays in one process, which starts faster; so does one with `-s`, `--pdb` or `-k`; `-n` decides
otherwise. What shares fixtures stays together: a file is a group, in `tests/conformance` a file and one way to run
uvicorn; a few long files are divided. The longest groups begin first. Tests marked `alone` run last, while nothing
else does on any worker.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGE = {ROOT, *(ROOT / "tests" / name for name in (".", "integration", "conformance"))}
MOST_WORKERS = 6

LONGEST_FIRST = (
    "faults/test_faults",
    "integration/test_replay",
    "integration/test_openapi",
    "integration/test_embedded_demo",
    "snippets/test_snippets",
    "hostile/test_generated",
    "clients/test_panel",
    "integration/test_cli",
    "integration/test_database",
    "integration/test_permissions",
    "integration/test_presence",
    "integration/test_embedded",
    "integration/test_library_away",
    "integration/test_three_nodes",
    "integration/test_draining",
    "conformance/",
    "integration/",
    "unit/test_workers",
    "unit/test_house",
    "unit/test_bus_trust",
)
"""Where most time goes, as `pytest --durations=0` told; what is not named follows in its own order."""

PARTS = {"integration/test_openapi": 4}
"""Files that are divided, into how many groups."""

READ_THE_SOURCES = {
    f"unit/test_{name}"
    for name in ("error_words", "house", "house_measures", "logs_document", "protocol_document")
}
"""Files that take apart every module of the package: one worker does so once, for all of them."""

_WAY = re.compile(r"\[(asgi|lean-asyncio|lean-h11|lean)\b")


def group_of(nodeid: str) -> str:
    """The tests that one worker runs one after the other."""
    path, _, name = nodeid.partition("::")
    file = path.removeprefix("tests/").removesuffix(".py")
    if file in READ_THE_SOURCES:
        return "tests/unit/test_house.py"
    if file in PARTS:
        return f"{path} {zlib.crc32(name.encode()) % PARTS[file]}"
    way = _WAY.search(name) if file.startswith("conformance/") else None
    return f"{path} {way[1]}" if way else path


def _workers(config: pytest.Config) -> int:
    """How many a run is worth; they wait more than they compute, hence one more than processors."""
    option = config.option
    if option.usepdb or option.collectonly or option.keyword or option.markexpr or option.capture == "no":
        return 0
    paths = [Path(config.invocation_params.dir, argument.partition("::")[0]) for argument in config.args]
    if not any(path.resolve() in LARGE for path in paths):
        return 0
    return min(len(os.sched_getaffinity(0)) + 1, MOST_WORKERS)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    # Workers come by here too: one that took itself for a run of its own would start workers, and those others.
    if "PYTEST_XDIST_WORKER" in os.environ or hasattr(config, "workerinput"):
        return
    if not config.pluginmanager.hasplugin("xdist"):
        return
    if config.option.numprocesses is None and not config.option.tx:
        config.option.numprocesses = _workers(config)
    if config.option.numprocesses and config.option.dist == "no":
        config.option.dist = "loadscope"
        config.option.loadscopereorder = False


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.option.dist != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: no other test runs meanwhile, on any worker")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return

    def place(item: pytest.Item) -> tuple[bool, int]:
        file = item.nodeid.removeprefix("tests/")
        named = (place for place, name in enumerate(LONGEST_FIRST) if file.startswith(name))
        return item.get_closest_marker("alone") is not None, next(named, len(LONGEST_FIRST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    with _turn(item):
        return (yield)


@contextlib.contextmanager
def _turn(item: pytest.Item) -> Iterator[None]:
    """Wait until this test may run beside those of the other workers."""
    folder = getattr(item.config, "workerinput", {}).get("turns")
    if folder is None:
        yield
        return
    with Path(folder, "queue").open("w") as queue, Path(folder, "turn").open("w") as turn:
        # Whoever wants to be alone keeps the queue while it waits, or others would run on past it for ever.
        fcntl.flock(queue, fcntl.LOCK_EX)
        fcntl.flock(turn, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(queue, fcntl.LOCK_UN)
        yield


_TURNS = pytest.StashKey[str]()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    stash = node.config.stash
    if _TURNS not in stash:
        stash[_TURNS] = tempfile.mkdtemp(prefix="collab-turns-")
    node.workerinput["turns"] = stash[_TURNS]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _TURNS in config.stash:
        shutil.rmtree(config.stash[_TURNS], ignore_errors=True)
