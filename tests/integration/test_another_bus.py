"""Nodes over a bus that another package brings: installed beside the server, which knows nothing of it."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import MakeCluster
from tests.harness.packages import EXAMPLES, install
from tests.harness.waiting import until
from tests.integration.doors import say
from tests.integration.scene import ANN


async def test_nodes_are_one_over_the_bus_of_another_package(
    make_cluster: MakeCluster, tmp_path: Path, short_path: Path, topic: str
) -> None:
    env = install(EXAMPLES / "unix_bus", tmp_path / "site")
    bus = {"scaling": "horizontal", "bus": {"kind": "unix", "url": str(short_path)}}
    cluster = await make_cluster(nodes=2, redis_url=None, overrides=bus, env=env)

    async def have_met() -> bool:
        found = [await node.status(is_verbose=True) for node in cluster.nodes]
        return all([one["state"] for one in report["cluster"]] == ["running"] for report in found)

    await until(have_met, what="the nodes know each other")
    status = await cluster[0].status(is_verbose=True)
    assert list(status["dependencies"]) == ["DB Service", "Library"]
    assert status["serving"] == {"reads": True, "writes": True, "live": True}
    assert status["scaling"] == "horizontal"

    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    for client in (bob, ann):
        await client.call("topic.subscribe", {"topic": topic})
    # Who is there is told over the bus alone; comments would be found in PostgreSQL too.
    arrived = await bob.wait_for(lambda event: event.name == "presence" and event.data["joined"])
    assert [user["id"] for user in arrived.data["joined"]] == [ANN]
    await say(ann, topic, "Hello")
    assert (await bob.wait_for("comment.added")).data["data"]["comment"]["text"] == "Hello"

    await cluster[0].kill()

    async def is_alone() -> bool:
        return not (await cluster[1].status(is_verbose=True))["cluster"]

    await until(is_alone, 10, "the other node is known to have gone")
    assert bob.is_connected
