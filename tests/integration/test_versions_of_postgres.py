"""Every supported version of PostgreSQL carries every command; an older one is refused in words.

The embedded one is 18. Others are those that Debian's packages have brought (`/usr/lib/postgresql/*/bin`), and folders
with `initdb` and `postgres` named in `COLLAB_TEST_POSTGRES`, separated by colons.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collab_server.demo.embedded import free_port
from collab_server.storage.server import OLDEST
from tests.conftest import MakeCluster
from tests.harness.cluster import Cluster
from tests.harness.waiting import until
from tests.integration.doors import CALLS, Door
from tests.integration.scene import PAYLOADS, PLACES, Scene

BINARIES = [
    folder
    for folder in (
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *map(Path, filter(None, os.environ.get("COLLAB_TEST_POSTGRES", "").split(":"))),
    )
    if (folder / "initdb").exists()
]
PARAMS: list[Any] = list(BINARIES)
if not BINARIES:
    PARAMS = [pytest.param(None, marks=pytest.mark.skip(reason="no other PostgreSQL, as Debian's, is here"))]


@pytest.fixture(params=PARAMS, ids=str)
def other(request: pytest.FixtureRequest) -> Iterator[tuple[int, dict[str, Any]]]:
    """Which version it is, and the `dataSource` of an empty database there."""
    binaries: Path = request.param
    text = subprocess.run(
        [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
    ).stdout
    folder = Path(tempfile.mkdtemp(prefix="collab-postgres-"))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # as which it refuses to run
        who = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        shutil.chown(folder, "nobody", "nogroup")
    port = free_port()
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"],
        capture_output=True,
        check=True,
        cwd=folder,
        **who,
    )
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off"}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, *options], stdout=log, stderr=log, cwd=folder, **who
        )
    yield (
        int(text.split()[2].split(".")[0]),
        {
            "host": "127.0.0.1",
            "port": port,
            "username": "postgres",
            "password": "any",
            "database": "postgres",
        },
    )
    server.terminate()
    server.wait(20)
    shutil.rmtree(folder)


async def test_every_version_is_served_or_refused_in_words(
    make_cluster: MakeCluster, other: tuple[int, dict[str, Any]]
) -> None:
    version, data_source = other
    cluster = await make_cluster(nodes=1, start=False, overrides={"dataSource": data_source})
    [node] = cluster.nodes
    node.spawn()
    if version < OLDEST:
        words = f"PostgreSQL {OLDEST} or newer is needed, this is {version}."
        await until(lambda: words in node.log, 15, lambda: node.log_tail())
    else:
        await node.wait_until_ready(30)
        await _every_command_is_carried_out(cluster)
    await cluster.close()


async def _every_command_is_carried_out(cluster: Cluster) -> None:
    ann, bob, eve = [await Door.open(cluster, "rest", login) for login in ("ann", "bob", "eve")]
    scene = await Scene.make(cluster, ann, bob, eve)
    last = ["comment.delete", "discussion.leave", "discussion.delete", "session.end"]
    for command in [*(name for name in CALLS if name not in last), *last]:
        for place in PLACES:
            payload = PAYLOADS[command](scene, place)
            if payload is not None:
                answer = await ann.ask(command, payload)
                assert answer["ok"] or answer["error"]["code"] not in ("internal", "paused"), (
                    command,
                    answer,
                )
