from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_asyncio

from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """A way to the first of the shared nodes, that can be cut."""
    way = Proxy(("127.0.0.1", cluster[0].port)).start()
    yield way
    way.stop()


@pytest_asyncio.fixture
async def node(make_cluster: MakeCluster) -> Cluster:
    """One node, that pages of this machine's origins may use."""
    return await make_cluster(nodes=1, overrides={"allowedOrigins": ["http://127.0.0.1:*"]})
