"""A node of several workers is one to Library: a person has one session there, and is asked about once."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.harness.clients import Client, new_session
from tests.harness.cluster import Cluster
from tests.harness.hurry import hurried
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, World, fresh_topic

WORKERS = 4
PATIENCE = 60
UNHURRIED = hurried(
    {
        "collab_server.workers.siblings": {"WORD_SECONDS": 60.0},
        "collab_server.workers.figures": {"SILENT_MILLISECONDS": 3_600_000},
    }
)
"""However busy the machine is: who is at it is not taken for frozen."""


async def told(library: StandInLibrary, what: str) -> Any:
    async with new_session() as http, http.get(f"{library.root}/standin/{what}") as answer:
        return await answer.json()


async def calls(library: StandInLibrary, part: str) -> int:
    counted: dict[str, int] = await told(library, "calls")
    return sum(number for call, number in counted.items() if part in call)


async def delegated(library: StandInLibrary) -> int:
    """How many sessions there are beside those that people have begun themselves."""
    return int((await told(library, "sessions"))["open"]) - await calls(library, "/auth/login")


async def workers_with(cluster: Cluster, what: str) -> int:
    found: list[dict[str, Any]] = (await cluster[0].status(is_verbose=True))["workers"]
    return len([worker for worker in found if worker[what]])


async def clients_at_all_workers(cluster: Cluster, login: str) -> list[Client]:
    """Of one person, each signed in by a token of its own."""
    clients: list[Client] = []
    while await workers_with(cluster, "connections") < WORKERS:
        assert len(clients) < 10 * WORKERS, "the supervisor spreads them"
        clients += await asyncio.gather(*(cluster.client(0, login) for _ in range(WORKERS)))
    return clients


async def test_a_person_at_all_workers_has_one_session_is_asked_about_once_and_leaves_as_one(
    world: World, own_library: StandInLibrary
) -> None:
    database, overrides = world.new_database(), {"cpus": WORKERS, "rightsSeconds": 600}
    made = Cluster(database, own_library, None, nodes=1, launch="serve", overrides=overrides, env=UNHURRIED)
    async with made as cluster:
        await until(lambda: _all_serve(cluster), PATIENCE, "all workers serve")
        clients = await clients_at_all_workers(cluster, "ann")
        assert await calls(own_library, "/auth/delegate") == len(clients), "each token is proved"
        await until(lambda: _is_one(own_library), PATIENCE, "the surplus is logged out")

        for _ in range(2):
            topic, before = fresh_topic(), await calls(own_library, "/objects/")
            await asyncio.gather(*(client.call("topic.subscribe", {"topic": topic}) for client in clients))
            assert await calls(own_library, "/objects/") == before + 1

        async with new_session() as http:
            await http.post(f"{own_library.root}/standin/end-sessions", json={"person": "ann"})
        asking = asyncio.create_task(clients[0].ask("topic.subscribe", {"topic": fresh_topic()}))
        for client in clients:
            await client.wait_until_closed(timeout=PATIENCE)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def _all_serve(cluster: Cluster) -> bool:
    return await workers_with(cluster, "started") == WORKERS


async def _is_one(library: StandInLibrary) -> bool:
    return await delegated(library) == 1
