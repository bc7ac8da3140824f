"""The systemd unit and the logrotate file, as far as they can be run without systemd."""

from __future__ import annotations

import asyncio
import configparser
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collab_server.config import Limits
from collab_server.demo.embedded import free_port
from tests.e2e.deployed import ROOT, debians
from tests.harness.cluster import Node
from tests.harness.waiting import until

UNIT = ROOT / "deploy" / "systemd" / "collab@.service"
LOGROTATE = ROOT / "deploy" / "logrotate" / "collab"
SCRIPT = Path(sys.executable).parent / "collab-server"


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/collab/bin/collab-server", str(SCRIPT)))
    command = [str(debians("systemd-analyze")), "verify", "--man=no", f"{tmp_path}/collab@3000.service"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    about_it = [line for line in (done.stdout + done.stderr).splitlines() if "collab@" in line]
    assert about_it == []
    assert done.returncode == 0, done.stderr


def test_the_unit_runs_what_there_is_and_leaves_it_time_to_drain(unit: configparser.ConfigParser) -> None:
    service = unit["Service"]
    program, *arguments = service["ExecStart"].replace("%i", "3000").split()
    assert program.endswith("/bin/collab-server")
    arguments[arguments.index("/etc/collab/config.json")] = str(ROOT / "config.json.example")
    check = subprocess.run(
        [SCRIPT, "check-config", *arguments[1:3]], capture_output=True, text=True, timeout=60, check=False
    )
    assert (arguments[0], check.returncode) == ("serve", 0), check.stderr
    assert int(service["TimeoutStopSec"]) > 10
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["Restart"] == "always", "a node that has met a bug ends, and is to come back"
    # A connection is a file: strangers alone may be so many, and what is read and written besides is little.
    assert int(service["LimitNOFILE"]) > 2 * Limits().strangers


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """A node without any server behind it, with a log file."""
    nowhere = {"host": "127.0.0.1", "port": free_port(), "username": "u", "password": "p"}
    node = Node(tmp_path, {"dataSource": nowhere, "logFile": str(tmp_path / "3000.log")}, launch="serve")
    node.spawn()
    await node.wait_for_health("live", 200)
    yield node
    await node.kill()


async def test_logrotate_takes_a_log_away_and_the_node_begins_a_new_one(node: Node, tmp_path: Path) -> None:
    logrotate, log, rotated = debians("logrotate"), tmp_path / "3000.log", tmp_path / "3000.log.1"
    text = LOGROTATE.read_text()
    assert "systemctl reload 'collab@*'" in text
    text = text.replace("/var/log/collab/*.log", str(log))
    text = text.replace("systemctl reload 'collab@*'", f"/bin/kill -HUP {node.process.pid}")
    if os.getuid() == 0:
        text = f"su root root\n{text}"  # folders of tests may be written by others
    config = tmp_path / "logrotate.conf"
    config.write_text(text)
    config.chmod(0o644)
    begun = log.stat().st_ino
    command = [str(logrotate), "--force", "--state", str(tmp_path / "state"), str(config)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    await until(lambda: log.exists() and "SIGHUP: certificates are read again" in log.read_text())
    assert "the node has started" in rotated.read_text()
    assert rotated.stat().st_ino == begun, "it is moved: what is written while it is copied would be lost"
