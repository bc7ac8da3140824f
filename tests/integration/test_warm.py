"""Forked processes are as good as started ones: their own arguments, chance, signals, end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collab_server.demo.embedded import EmbeddedError
from collab_server.demo.tied import is_alive
from collab_server.demo.warm import ForkedProcess, WarmPython
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]

TELLING = """
import json, os, random, secrets, signal, ssl, sys, tempfile, uuid
told = {
    "arguments": sys.argv[1:], "name": __name__, "folder": os.getcwd(), "pid": os.getpid(), "session": os.getsid(0),
    "word": os.environ.get("WORD"), "home": os.environ.get("HOME"), "path": sys.path[0],
    "chance": [
        random.random(), secrets.token_hex(8), str(uuid.uuid4()), ssl.RAND_bytes(8).hex(),
        next(tempfile._get_candidate_names()),
    ],
    "customized": "sitecustomize" in sys.modules and hasattr(sys.modules["sitecustomize"], "WAS_HERE"),
    "default": [n for n in (signal.SIGTERM, signal.SIGCHLD) if signal.getsignal(n) == signal.SIG_DFL],
    "descriptors": sum(  # but for the file of itself that libffi may have open
        ".so" not in os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
    ),
}
print(json.dumps(told), flush=True)
"""
WAITING = "import time\nprint('waiting', flush=True)\ntime.sleep(600)\n"

FORKING = """
import os, sys, tempfile, time
from pathlib import Path
from collab_server.demo.warm import WarmPython
folder = Path(sys.argv[1])
warm = WarmPython(["json"]).start()
with (folder / "out").open("wb") as output:
    child = warm.run(["waiting"], output=output, env={"PYTHONPATH": str(folder)}, cwd=folder)
print(child.pid, warm._process.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmPython]:
    warm = WarmPython(["json", "random", "secrets", "ssl", "tempfile", "uuid"]).start()
    yield warm
    warm.stop()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "telling.py").write_text(TELLING)
    (tmp_path / "waiting.py").write_text(WAITING)
    return tmp_path


def run(warm: WarmPython, folder: Path, *arguments: str, **env: str) -> tuple[ForkedProcess, Path]:
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as output:
        env = {"PYTHONPATH": str(folder), **env}
        process = warm.run(list(arguments), output=output, env=env, cwd=folder)
    return process, Path(output.name)


def told(warm: WarmPython, folder: Path, *arguments: str, **env: str) -> dict[str, Any]:
    process, output = run(warm, folder, "telling", *arguments, **env)
    assert process.wait(30) == 0, output.read_text()
    answer: dict[str, Any] = json.loads(output.read_text())
    assert answer["pid"] == process.pid
    return answer


def test_it_is_what_python_would_have_started(warm: WarmPython, folder: Path) -> None:
    answer = told(warm, folder, "a", "--b", WORD="said")
    assert (answer["arguments"], answer["name"]) == (["a", "--b"], "__main__")
    assert answer["folder"] == answer["path"] == str(folder)
    assert (answer["word"], answer["home"]) == ("said", None)
    assert answer["session"] == answer["pid"] != os.getsid(0)
    assert answer["default"] == [signal.SIGTERM, signal.SIGCHLD]


def test_two_of_them_share_no_chance_and_no_descriptors(warm: WarmPython, folder: Path) -> None:
    waiting, _ = run(warm, folder, "waiting")
    one, other = (told(warm, folder) for _ in range(2))
    assert not set(one["chance"]) & set(other["chance"])
    waiting.kill()
    assert one["descriptors"] == told(warm, folder)["descriptors"] == 4  # and the folder that is listed


def test_what_python_runs_at_its_start_by_pythonpath_runs(warm: WarmPython, folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text("WAS_HERE = True\n")
    assert told(warm, folder, PYTHONPATH=f"{folder / 'site'}:{folder}")["customized"] is True
    assert told(warm, folder)["customized"] is False


def test_the_exit_code_is_told(warm: WarmPython, folder: Path) -> None:
    (folder / "failing.py").write_text("import sys\nsys.exit(7)\n")
    assert run(warm, folder, "failing")[0].wait(30) == 7
    (folder / "raising.py").write_text("raise ValueError('said')\n")
    process, output = run(warm, folder, "raising")
    assert process.wait(30) == 1
    assert "ValueError: said" in output.read_text()
    assert run(warm, folder, "absent")[0].wait(30) == 1


async def test_it_can_be_frozen_stopped_and_killed(warm: WarmPython, folder: Path) -> None:
    process, output = run(warm, folder, "waiting")
    await until(lambda: "waiting" in output.read_text(), 20)
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    process.freeze()
    state = Path(f"/proc/{process.pid}/stat")
    await until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T")
    assert process.returncode is None
    stopped = process.stop()
    assert [stopped, process.returncode] == [-signal.SIGTERM] * 2
    other, _ = run(warm, folder, "waiting")
    other.kill()
    assert other.returncode == -signal.SIGKILL
    other.send(signal.SIGTERM)  # nobody else's process gets it


async def test_everything_ends_with_the_process_that_began_it(folder: Path) -> None:
    (folder / "forking.py").write_text(FORKING)
    began = await asyncio.create_subprocess_exec(
        *(sys.executable, folder / "forking.py", folder),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert began.stdout is not None
    pids = [int(pid) for pid in (await began.stdout.readline()).split()]
    assert all(is_alive(pid) for pid in pids)
    began.kill()
    await began.wait()
    await until(lambda: not any(is_alive(pid) for pid in pids), 20)


async def test_what_is_forked_ends_with_the_process_that_forked_it(folder: Path) -> None:
    warm = WarmPython(["json"]).start()
    process, _ = run(warm, folder, "waiting")
    warm.stop()
    assert process.wait(30) == -signal.SIGKILL
    await until(lambda: not is_alive(process.pid), 10)
    with pytest.raises(EmbeddedError):
        run(warm, folder, "waiting")


def test_nothing_is_forked_beside_a_thread(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    name = "module_that_starts_a_thread"
    (folder / f"{name}.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=[600], daemon=True).start()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        warm = WarmPython([name]).start()
    with pytest.raises(EmbeddedError):
        run(warm, folder, "waiting")
    warm.stop()
    assert "would not be safe" in capfd.readouterr().err
