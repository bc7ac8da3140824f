"""What Library said to one node is believed by the others, no longer than by the one it was said to."""

from __future__ import annotations

import aiohttp

from tests.conftest import MakeCluster
from tests.harness.clients import Client
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, fresh_topic


async def calls(library: StandInLibrary) -> int:
    """How often Library was asked about an object."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(library.url.removesuffix("/api") + "/standin/calls") as answer,
    ):
        counted: dict[str, int] = await answer.json()
    return sum(number for call, number in counted.items() if "/objects/" in call)


async def test_a_client_that_moves_to_another_node_makes_it_ask_nothing(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    cluster = await make_cluster(nodes=2, library=own_library)
    topic = fresh_topic()
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    token = ann.hello["resumeToken"]
    asked = await calls(own_library)
    await ann.close()
    there = await Client.connect(cluster[1].url, resume_token=token)
    await there.call("topic.subscribe", {"topic": topic})
    assert await calls(own_library) == asked
    await there.close()


async def test_a_node_that_starts_is_told_what_the_others_know(
    make_cluster: MakeCluster, own_library: StandInLibrary
) -> None:
    cluster = await make_cluster(nodes=2, library=own_library)
    topic = fresh_topic()
    ann = await cluster.client(0, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    await cluster[1].stop()
    await cluster[1].start()

    async def has_met_the_other() -> bool:
        return bool((await cluster[1].status(is_verbose=True))["counters"]["bus_received"])

    await until(has_met_the_other, 10, "the new node was told something")
    asked = await calls(own_library)
    there = await Client.connect(cluster[1].url, resume_token=ann.hello["resumeToken"])
    await there.call("topic.subscribe", {"topic": topic})
    assert await calls(own_library) == asked
    await there.close()
