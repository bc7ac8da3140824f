"""Fixtures for what is served as docker-compose.yml serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from collab_server.demo.embedded import free_port
from collab_server.demo.nginx import EmbeddedNginx
from tests.e2e.deployed import deployed_nginx
from tests.harness.cluster import Cluster
from tests.harness.world import StandInLibrary


@pytest.fixture
def nginx(shared_cluster: Cluster, library: StandInLibrary, tmp_path: Path) -> Iterator[EmbeddedNginx]:
    nginx = deployed_nginx(
        "sticky",
        [node.port for node in shared_cluster.nodes],
        port=free_port(),
        folder=tmp_path / "nginx",
        library_port=library.port,
    )
    with nginx:
        yield nginx


@pytest.fixture
def address(nginx: EmbeddedNginx) -> str:
    return f"http://127.0.0.1:{nginx.port}/"
