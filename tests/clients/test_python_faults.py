"""What happens to nodes, to rights and to Library: `collab_client` is told what is so, and loses nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from collab_client import Refused
from tests.clients.test_python_client import Reader, Start, start
from tests.clients.ways import new_epoch
from tests.conftest import MakeCluster
from tests.e2e.test_protocol_snippets import balanced
from tests.faults.proxy import Proxy
from tests.harness.waiting import until
from tests.harness.world import StandInLibrary, TestDatabase
from tests.integration.scene import open_to
from tests.integration.test_rights_cut import LOOKING_OFTEN

__all__ = ["start"]


def ends_with_a_gap(reader: Reader) -> bool:
    return bool(reader.events[-1]["type"] == "gap")


async def test_a_killed_node_costs_nothing(
    make_cluster: MakeCluster, library: StandInLibrary, start: Start, tmp_path: Path
) -> None:
    cluster = await make_cluster(nodes=3)
    with balanced(cluster, library, tmp_path) as nginx:
        url = f"http://127.0.0.1:{nginx.port}"
        ann, bob = await start(cluster, "ann", url), await start(cluster, "bob", url)
        await ann.is_there()
        await bob.is_there()
        for number in range(6):
            ann.add(str(number))
            if number == 2:
                await cluster.nodes[0].kill()
        for reader in (ann, bob):
            await until(partial(reader.shows, *"012345"), 20)
            assert [event["seq"] for event in reader.events] == [1, 2, 3, 4, 5, 6]
        await until(ann.has_sent)


async def test_a_new_epoch_is_told_and_lost_rights_say_so(
    make_cluster: MakeCluster, database: TestDatabase, start: Start, topic: str, tmp_path: Path
) -> None:
    cluster = await make_cluster(nodes=1, env=LOOKING_OFTEN)
    ann, bob = await start(cluster, "ann"), await start(cluster, "bob")
    await bob.is_there()
    await ann.add("of the old epoch")
    before = (await ann.client.ask("topic.get", {"topic": topic}))["seq"]
    await until(lambda: len(bob.events) == before)
    renewed = await new_epoch(database, tmp_path)
    for reader in (ann, bob):
        await until(partial(ends_with_a_gap, reader), 20)
        assert reader.events[-1]["epoch"] == renewed
        assert reader.texts == []
    await ann.add("of the new one")
    for reader in (ann, bob):
        await until(partial(reader.shows, "of the new one"))
    await open_to(cluster, topic, "ann")
    await until(lambda: bob.problem is not None, 30)
    assert bob.problem is not None
    assert bob.problem.code in ("forbidden", "not_found")
    assert (bob.following.present, bob.following.rights) == ((), frozenset())
    with pytest.raises(Refused) as refused:
        await bob.add("nobody will read this")
    assert refused.value.code == "not_found"


async def test_who_is_signed_in_goes_on_while_library_is_silent_and_who_is_not_waits(
    make_cluster: MakeCluster, library: StandInLibrary, start: Start
) -> None:
    way = Proxy((library.host, library.port)).start()
    try:
        cluster = await make_cluster(nodes=0, start=False)
        cluster.add_node(library=way.address)
        await cluster.start()
        with Proxy(("127.0.0.1", cluster[0].port)) as door:
            ann = await start(cluster, "ann", f"http://127.0.0.1:{door.address[1]}")
            await ann.is_there()
            way.refuse()
            way.cut()
            door.cut()
            bob = await start(cluster, "bob")
            async with asyncio.timeout(20):
                await ann.add("without Library")
            await until(lambda: bob.client.problem is not None, 20)
            assert bob.client.state == "connecting"
            assert bob.client.problem is not None
            assert bob.client.problem.code == "unavailable"
            way.heal()
            await until(lambda: bob.texts == ["without Library"], 20)
    finally:
        way.stop()
