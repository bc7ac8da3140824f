"""A node that runs out of file descriptors goes on with whom it has."""

from __future__ import annotations

import resource

import psutil

from tests.conftest import MakeCluster
from tests.harness.clients import Refused
from tests.harness.waiting import until
from tests.harness.world import fresh_topic

SPARE = 3


async def test_a_node_takes_as_many_descriptors_as_it_may(make_cluster: MakeCluster) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1000, soft), hard))  # the node is started with that
    try:
        cluster = await make_cluster(nodes=1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    now, _ = resource.prlimit(cluster[0].process.pid, resource.RLIMIT_NOFILE)
    assert now == (1_048_576 if hard == resource.RLIM_INFINITY else min(hard, 1_048_576))


async def test_without_descriptors_those_who_are_there_go_on_and_others_come_later(
    make_cluster: MakeCluster,
) -> None:
    cluster = await make_cluster(nodes=1)
    node, topic = cluster[0], fresh_topic()
    ann = await cluster.client(node, "ann")
    await ann.call("topic.subscribe", {"topic": topic})
    process = psutil.Process(node.process.pid)
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (process.num_fds() + SPARE, before[1]))

    async def is_refused() -> bool:
        try:
            await cluster.client(node, "bob")
        except Refused:
            return True
        return False

    await until(is_refused, 20, "there are no descriptors left")
    for number in range(3):
        answer = await ann.call("comment.add", {"topic": topic, "text": f"still here {number}"})
        await ann.wait_for_seq(topic, answer["seq"])
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)
    bob = await cluster.client(node, "bob")
    assert bob.is_connected
