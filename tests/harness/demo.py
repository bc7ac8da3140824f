"""`collab-server demo` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from collab_server.demo.tied import Privileges, TiedProcess, is_alive
from tests.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]
UP_SECONDS = 60

PYTHON_PATH = os.pathsep.join([str(ROOT), str(ROOT / "clients" / "python")])
"""Where the packages of this folder are, installed or not."""


class RunningDemo:
    """A demo that is starting, and ends with this process at the latest; `text` is what it has printed.

    `arguments` come behind `collab-server demo`; `command` is run instead of that, where given.
    """

    def __init__(
        self,
        log: Path,
        *arguments: str | Path,
        command: Sequence[str | Path] | None = None,
        privileges: Privileges = "ours",
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self._log = log
        started = command or [sys.executable, "-m", "collab_server", "demo", *arguments]
        with log.open("wb") as output:
            self.process = TiedProcess(
                started,
                output=output,
                privileges=privileges,
                env={**os.environ, "PYTHONPATH": PYTHON_PATH} if env is None else env,
                cwd=cwd,
            )

    @property
    def text(self) -> str:
        return self._log.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"open +(\S+)/\n", self.text)
        assert found is not None
        return found[1]

    async def wait_until_up(self, timeout: float = UP_SECONDS) -> None:
        """Until it says how to stop it."""

        def is_up() -> bool:
            if self.process.returncode is not None:
                raise RuntimeError(self.text)
            return "Ctrl-C" in self.text

        await until(is_up, timeout, lambda: self.text)

    async def wait_until_ended(self, timeout: float = 20) -> int:
        """The exit status."""
        await until(lambda: self.process.returncode is not None, timeout, lambda: self.text)
        assert self.process.returncode is not None
        return self.process.returncode

    async def stop(self, number: signal.Signals) -> int:
        """Stop it by a signal, and make sure that nothing of it is left; the exit status."""
        tree = self.process.tree()
        assert len(tree) > 10
        self.process.send(number)
        status = await self.wait_until_ended()
        assert [pid for pid in tree if is_alive(pid)] == []
        return status
