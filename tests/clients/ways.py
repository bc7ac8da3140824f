"""The way from a client to a node, and what may happen to it, or to the whole installation."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tests.faults.proxy import Proxy
from tests.harness.cluster import ROOT
from tests.harness.world import TestDatabase


def url_of(proxy: Proxy) -> str:
    """Where a client finds the node by this way."""
    host, port = proxy.address
    return f"http://{host}:{port}"


async def new_epoch(database: TestDatabase, folder: Path) -> str:
    """Begin a new epoch as operators do; returns it."""
    config = folder / "config.json"
    config.write_text(json.dumps({"dataSource": database.data_source()}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "collab_server", "new-epoch", "--config", config),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().strip()
