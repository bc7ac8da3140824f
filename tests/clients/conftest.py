from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.clients.panels import Site, site_of
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


@pytest_asyncio.fixture
async def way(node: Cluster) -> AsyncIterator[Proxy]:
    """A way to that node, that can be cut."""
    way = Proxy(("127.0.0.1", node[0].port)).start()
    yield way
    way.stop()


@pytest_asyncio.fixture
async def site(browser: Browser, node: Cluster, way: Proxy, topic: str) -> AsyncIterator[Site]:
    """Pages with the panel, which connect by that way."""
    host, port = way.address
    async with site_of(browser, node, topic, f"http://{host}:{port}") as site:
        yield site
