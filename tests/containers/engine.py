"""Podman with a storage, networks and limits of its own, below one folder.

What it promises: no image, container or network of the machine's own podman is seen or changed, nor does its
configuration count. What runs concurrently: the containers, which outlive this process: `compose("down")` ends them.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEEDED = {
    "podman": "podman",
    "runc": "runc",
    "netavark": "netavark",
    "aardvark-dns": "aardvark-dns",
    "catatonit": "catatonit",
    "iptables": "iptables",
    "debootstrap": "debootstrap",
}
"""Programs, and the packages of Debian that have them."""
PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin", "/usr/lib/podman")
MOST_FILES = 20_000
MOST_PROCESSES = 16_384
COMMAND_SECONDS = 600

CONTAINERS_CONF = """\
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]
init_path = "{init}"
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{data}/tmp"
volume_path = "{data}/volumes"
[network]
network_backend = "netavark"
network_config_dir = "{data}/networks"
"""
STORAGE_CONF = """\
[storage]
driver = "overlay"
graphroot = "{data}/storage"
runroot = "{data}/run"
"""


class EngineError(Exception):
    """A command failed, or cannot be run here; the text says what, for people."""


class Engine:
    """Podman and podman-compose over the folder `data`, which is made where missing."""

    def __init__(self, data: Path, environment: Mapping[str, str]) -> None:
        """`environment` is what docker-compose.yml has variables for. Raises `EngineError`."""
        missing = [package for name, package in NEEDED.items() if _found(name) is None]
        if missing:
            raise EngineError(f"apt-get install {' '.join(missing)}")
        if os.geteuid() != 0:
            raise EngineError("this makes networks and a tree of packages: run it as root")
        self.data = data
        data.mkdir(parents=True, exist_ok=True)
        values = {
            "data": data,
            "files": min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MOST_FILES),
            "processes": min(resource.getrlimit(resource.RLIMIT_NPROC)[1], MOST_PROCESSES),
            "init": _found("catatonit"),
        }
        for name, text in (("containers.conf", CONTAINERS_CONF), ("storage.conf", STORAGE_CONF)):
            (data / name).write_text(text.format(**values))
        self._environment = {
            **os.environ,
            "CONTAINERS_CONF": str(data / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(data / "storage.conf"),
            **environment,
        }
        self._compose = self._installed_compose()

    def run(self, *arguments: str | Path, has_stderr: bool = False) -> str:
        """What `podman …` prints. Raises `EngineError` where it fails."""
        return self._run([_found("podman") or "podman", *arguments], has_stderr=has_stderr)

    def succeeds(self, *arguments: str) -> bool:
        """Whether `podman …` ends with 0."""
        try:
            self.run(*arguments)
        except EngineError:
            return False
        return True

    def compose(self, *arguments: str) -> str:
        """What `podman-compose …` prints on this project's docker-compose.yml. Raises `EngineError`."""
        return self._run([self._compose, "--file", ROOT / "docker-compose.yml", *arguments])

    def inspect(self, name: str) -> dict[str, Any]:
        """What podman knows of a container."""
        [found] = json.loads(self.run("container", "inspect", name))
        return dict(found)

    def _run(self, command: list[str | Path], *, has_stderr: bool = False) -> str:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=self._environment,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise EngineError(f"not done within {COMMAND_SECONDS} s: {' '.join(map(str, command))}") from None
        if done.returncode:
            end = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
            raise EngineError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{end}")
        return done.stdout + done.stderr if has_stderr else done.stdout

    def _installed_compose(self) -> Path:
        """podman-compose: beside this Python, or installed below the folder. Raises `EngineError`."""
        own = Path(sys.executable).parent / "podman-compose"
        if own.exists():
            return own
        place = self.data / "compose"
        if not (place / "bin" / "podman-compose").exists():
            venv.create(place, with_pip=True, clear=True)
            self._run([place / "bin" / "pip", "install", "--quiet", "podman-compose>=1.6"])
        return place / "bin" / "podman-compose"


def _found(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join(PLACES))
