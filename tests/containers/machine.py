"""docs/operations/install.md, word for word, on a fresh Debian under systemd beside what docker-compose.yml started."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.containers.engine import ROOT, Engine, EngineError
from tests.containers.stand_ins import MACHINE
from tests.snippets.blocks import BLOCKS

PAGE = "docs/operations/install.md"
INSTALL, USER, UNIT = (BLOCKS[f"{PAGE} sh {number}"].code for number in range(3))
CONFIGURATION = BLOCKS[f"{PAGE} json 0"].code
SOURCE = "/root/source"
SECRETS = {
    "COLLAB_DATASOURCE__PASSWORD": "only-for-trying",
    "COLLAB_REDISSERVERURL": "redis://:only-for-trying@valkey:6379",
}
CHECK = "/opt/collab/bin/collab-server check-config --connect --config /etc/collab/config.json"

Wait = Callable[[Callable[[], bool], float, str], None]


class Machine:
    """The machine, and the steps of the page on it. `wait` raises when something does not come about in time."""

    def __init__(self, engine: Engine, name: str, networks: str, wait: Wait) -> None:
        self._engine = engine
        self._name = name
        self._wait = wait
        engine.run("run", "--detach", "--name", name, "--systemd=always", "--network", networks, MACHINE)

    def remove(self) -> None:
        """End it, and leave nothing of it."""
        self._engine.run("rm", "--force", "--time", "5", self._name)

    def play(self) -> str:
        """All steps; what came of them. Raises `EngineError` with what was printed where one fails."""
        self._wait(lambda: self._is("systemctl is-system-running"), 30, "systemd runs")
        self._copy_source()
        self._run(INSTALL, folder=SOURCE)
        self._run(USER)
        self._write("config.json", self._configuration(), "0640", "root:collab")
        secrets = "".join(f"{name}={value}\n" for name, value in SECRETS.items())
        self._write("secrets.env", secrets, "0600", "root:root")
        self._run(f"systemd-run --wait --pipe --quiet -p EnvironmentFile=/etc/collab/secrets.env {CHECK}")
        self._run("cp /opt/collab/share/collab-server/systemd/collab@.service /etc/systemd/system/")
        self._run(UNIT)
        self._wait(lambda: self._state("3000") == "running", 30, "the node runs")
        self._run("systemctl enable --now collab@3001 collab@3002")
        self._wait(lambda: self._state("3001") == self._state("3002") == "running", 30, "the others run")
        self._reload()
        self._run("systemctl kill --signal=KILL --kill-whom=main collab@3001")
        self._wait(lambda: self._of("3001", "NRestarts") == "1", 30, "it is started again")
        self._run("systemctl stop collab@3002")
        if self._of("3002", "Result") != "success":
            raise EngineError(f"it was not stopped well: {self._of('3002', 'Result')}")
        return "three nodes run; reload, logrotate, kill -9 and stop do what the page says"

    def _reload(self) -> None:
        self._run(
            "mkdir /etc/systemd/system/collab@3000.service.d;"
            " printf '[Service]\\nEnvironment=COLLAB_LOGFILE=/var/log/collab/%%i.log\\n'"
            " >/etc/systemd/system/collab@3000.service.d/log.conf;"
            " cp /opt/collab/share/collab-server/logrotate/collab /etc/logrotate.d/;"
            " systemctl daemon-reload; systemctl restart collab@3000"
        )
        self._wait(lambda: self._state("3000") == "running", 30, "it runs with a log file")
        self._run("logrotate --force /etc/logrotate.conf")
        told = "grep -q 'SIGHUP: certificates are read again' /var/log/collab/3000.log"
        self._wait(lambda: self._is(f"{told} && test -s /var/log/collab/3000.log.1"), 15, "a new log file")

    def _configuration(self) -> str:
        """That of the page, with the addresses of compose, which speaks no TLS."""
        config: dict[str, Any] = json.loads(CONFIGURATION)
        config["dataSource"]["host"] = "postgres"
        del config["dataSource"]["sslRootCertFile"]
        config["authorizationServerUrl"] = "http://library:8080/MicroStrategyLibrary/api"
        return json.dumps(config, indent=2)

    def _copy_source(self) -> None:
        """What a clone would hold: what is committed, as it is here."""
        folder = self._engine.data / "source"
        shutil.rmtree(folder, ignore_errors=True)
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=60
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_file():
                shutil.copy(ROOT / name, target)
        self._engine.run("cp", folder, f"{self._name}:{SOURCE}")

    def _write(self, name: str, text: str, mode: str, owner: str) -> None:
        local = Path(self._engine.data, name)
        local.write_text(text)
        path = f"/etc/collab/{name}"
        self._engine.run("cp", local, f"{self._name}:{path}")
        self._run(f"chown {owner} {path} && chmod {mode} {path}")

    def _run(self, script: str, *, folder: str = "/root") -> str:
        return self._engine.run(
            "exec", "--workdir", folder, self._name, "bash", "-euo", "pipefail", "-c", script
        )

    def _is(self, script: str) -> bool:
        return self._engine.succeeds("exec", self._name, "bash", "-c", script)

    def _state(self, port: str) -> str:
        text = self._engine.run(
            "exec", self._name, "bash", "-c", f"curl -s http://localhost:{port}/status || true"
        )
        return str(json.loads(text)["state"]) if text.startswith("{") else ""

    def _of(self, port: str, name: str) -> str:
        return self._run(f"systemctl show --property {name} --value {shlex.quote(f'collab@{port}')}").strip()
