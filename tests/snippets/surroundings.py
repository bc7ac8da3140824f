"""What the text around a block says that it runs in: Node, a virtual environment, a development server, each with what
the text says to install and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tests.harness.node_js import node_binary

PATIENCE_SECONDS = 60
INSTALL_SECONDS = 180
NO_INDEX = "no package index of {} answers here, where this has to be installed from: {}"


@contextlib.asynccontextmanager
async def running(
    *command: str | Path, cwd: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process whose output can be read; ended, with what it has started, at the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=_plain_environment() if env is None else env,
        limit=2**20,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def output_of(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What it prints, and then ends without an error."""
    async with running(*command, cwd=cwd, env=env) as process:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                output, _ = await process.communicate()
        except TimeoutError:
            raise AssertionError(f"it does not end: {command}") from None
    assert process.returncode == 0, output.decode()
    return output.decode()


async def output_until(
    is_enough: Callable[[str], bool], *command: str | Path, cwd: Path, timeout: float = PATIENCE_SECONDS
) -> str:
    """What it prints until that is enough; it goes on by itself."""
    async with running(*command, cwd=cwd) as process:
        return await printed(is_enough, process, timeout)


async def printed(
    is_enough: Callable[[str], bool], process: asyncio.subprocess.Process, timeout: float = PATIENCE_SECONDS
) -> str:
    """What the process has printed once that is enough."""
    assert process.stdout is not None
    output = ""
    try:
        async with asyncio.timeout(timeout):
            while not is_enough(output):
                line = await process.stdout.readline()
                assert line, f"it ended:\n{output}"
                output += line.decode()
    except TimeoutError:
        raise AssertionError(f"not within {timeout:g} s:\n{output}") from None
    return output


def install_for_node(folder: Path, packages: Sequence[str]) -> None:
    """Into the folder just these packages of npm. Skips without an index, or without Node."""
    _need(npm_problem(), "npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    _run([node_binary(), _npm(), "install", "--no-audit", "--no-fund", "--silent", *packages], folder)


def _npm() -> Path:
    return node_binary().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@functools.cache
def pip_problem() -> str:
    """Why pip, as it is configured here, gets nothing; empty where it does."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        return _problem([*command, "--retries=0", "--no-cache-dir", "--no-deps", "--dest", folder, "bidict"])


@functools.cache
def npm_problem() -> str:
    """Why npm, as it is configured here, gets nothing; empty where it does."""
    asked = [
        "view",
        "--fetch-retries=0",
        "--fetch-timeout=20000",
        "--prefer-online",
        "socket.io-client",
        "version",
    ]
    return _problem([node_binary(), _npm(), *asked])


def _problem(command: Sequence[str | Path]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, env=_plain_environment()
        )
    except subprocess.TimeoutExpired:
        return "it is silent"
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return "" if done.returncode == 0 else (lines or ["it ends with an error"])[0]


def _need(problem: str, whose: str) -> None:
    if problem:
        pytest.skip(NO_INDEX.format(whose, problem))


def _run(command: Sequence[str | Path], cwd: Path) -> None:
    done = subprocess.run(
        command,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
        env=_plain_environment(),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _plain_environment() -> dict[str, str]:
    """Ours, without what would lend a new environment the packages of this one."""
    lent = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "NODE_PATH")
    return {name: value for name, value in os.environ.items() if name not in lent}
