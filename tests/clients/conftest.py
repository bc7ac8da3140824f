from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.harness.cluster import Cluster


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[Proxy]:
    """A way to the first of the shared nodes, that can be cut."""
    way = Proxy(("127.0.0.1", cluster[0].port)).start()
    yield way
    way.stop()
