"""Tokens that nobody has: they fill a line of their own, and neither a good one nor a right waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.conftest import MakeCluster
from tests.faults.proxy import Proxy
from tests.harness.clients import Client, LibraryUser, Refused
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic
from tests.integration.scene import open_to

WATCH = "collab_server.services.live.rights_watch"
LOOKING_OFTEN = hurried({WATCH: {"ROUND_SECONDS": 0.3, "RENEWED_AFTER_SECONDS": (0.5, 0.5)}})
LIBRARY_SECONDS = 0.3
CONNECTIONS = 700


@pytest_asyncio.fixture
async def cluster(make_cluster: MakeCluster, library: StandInLibrary) -> AsyncIterator[Cluster]:
    """One node, with a slow way to Library."""
    proxy = Proxy((library.host, library.port)).start()
    cluster = await make_cluster(nodes=0, redis_url=None, env=LOOKING_OFTEN)
    cluster.add_node(library=proxy.address)
    await cluster.start()
    proxy.delay(LIBRARY_SECONDS)
    yield cluster
    proxy.heal()
    await cluster.close_clients()
    for node in cluster.nodes:
        await node.stop()
    proxy.stop()


class Flood:
    """Strangers at one address, each with one made-up token after the other, for as long as the block lasts."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.answered: Counter[int] = Counter()

    async def __aenter__(self) -> Flood:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, local_addr=("127.0.0.2", 0))
        self._http = aiohttp.ClientSession(connector=connector)
        self._tasks = [asyncio.create_task(self._try_tokens()) for _ in range(CONNECTIONS)]
        return self

    async def _try_tokens(self) -> None:
        for _ in range(1000):
            headers = {"X-MSTR-IdentityToken": secrets.token_hex(16)}
            async with self._http.get(f"{self._url}/api/me", headers=headers) as answer:
                self.answered[answer.status] += 1
            await asyncio.sleep(0.5)  # as refused strangers do

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._http.close()


async def test_in_a_flood_of_made_up_tokens_good_ones_come_in_and_lost_rights_end(cluster: Cluster) -> None:
    topic = fresh_topic()
    bob = await cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    carol = await LibraryUser.sign_in(cluster.library.url, "carol")
    async with Flood(cluster[0].url) as flood:
        await until(lambda: flood.answered.total() > CONNECTIONS, 30)
        refused = 0
        while True:
            token = await carol.identity_token()
            with contextlib.suppress(Refused):
                client = await Client.connect(cluster[0].url, identity_token=token, timeout=20)
                break
            refused += 1
            assert refused < 3, flood.answered
        await client.close()
        await open_to(cluster, topic, "ann")
        await bob.wait_for(lambda event: event.name == "topic.closed", timeout=10)
        assert bob.is_connected
    assert set(flood.answered) <= {401, 503}
