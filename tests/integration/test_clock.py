"""Clocks that jump, on one node or on all: nobody is dropped, nothing is out of order, everybody can come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import Client
from tests.harness.hurry import with_clock
from tests.harness.waiting import until
from tests.harness.world import fresh_topic
from tests.integration.doors import say, seqs

pytestmark = pytest.mark.alone  # it is about times

HOUR = 3600.0


@pytest.mark.parametrize(
    "jump_seconds", [2 * HOUR, -2 * HOUR, 400 * 24 * HOUR, -30.0], ids=lambda s: f"{s:g} s"
)
@pytest.mark.parametrize("where", ["one node", "all nodes"])
async def test_a_clock_that_jumps_drops_nobody(
    make_cluster: MakeCluster, tmp_path: Path, jump_seconds: float, where: str
) -> None:
    shift = tmp_path / "shift"
    jumping = await make_cluster(nodes=1, env=with_clock(shift))
    steady = await make_cluster(nodes=1, env=with_clock(shift) if where == "all nodes" else {})
    topic = fresh_topic()
    ann, bob = await jumping.client(0, "ann"), await steady.client(0, "bob")
    poller = await jumping.client(0, "carol", transport="polling")
    people = (ann, bob, poller)
    for client in people:
        await client.call("topic.subscribe", {"topic": topic})
    await say(ann, topic, "Before")

    shift.write_text(str(jump_seconds))
    for number in range(10):
        await say((ann, bob)[number % 2], topic, f"{number}")
    wrong = f"{abs(jump_seconds):.0f} s {'ahead of' if jump_seconds > 0 else 'behind'} the database's"
    await until(lambda: wrong in jumping[0].log, 10, "the node says so")
    await ann.call("typing", {"topic": topic, "typing": True})
    await bob.wait_for("typing")
    if jump_seconds > HOUR:  # the node thinks that its tokens are old, and hands out new ones
        await ann.wait_for(
            lambda event: event.name == "server.hello", skip=1 + index_of(ann, "server.hello"), timeout=15
        )
    for client in people:
        await client.wait_for_seq(topic, 11)
        assert seqs(client, topic) == list(range(1, 12))
        assert client.is_connected
        assert not [event for event in client.events if event.name in ("server.signed_out", "topic.closed")]

    for client in (ann, bob):
        for node in (jumping[0], steady[0]):  # both ways between a clock that is right and one that is not
            token = [event.data for event in client.events if event.name == "server.hello"][-1]["resumeToken"]
            again = await Client.connect(node.url, resume_token=token)
            answer = await again.call("topic.subscribe", {"topic": topic, "after": 5})
            assert [event["seq"] for event in answer["events"]] == list(range(6, 12))
            await again.close()
    for cluster in (jumping, steady):
        assert (await cluster[0].status())["state"] == "running"

    shift.write_text("0")  # and back
    await say(bob, topic, "After")
    for client in people:
        await client.wait_for_seq(topic, 12)
        assert client.is_connected
    page = await ann.call("topic.comments", {"topic": topic, "order": "oldest"})
    texts = [comment["text"] for comment in page["items"]]
    assert texts == ["Before", *(f"{number}" for number in range(10)), "After"]
    await until(lambda: not [e for e in bob.events if e.name == "server.signed_out"])


def index_of(client: Client, name: str) -> int:
    """Where the first event of that name is."""
    return next(number for number, event in enumerate(client.events) if event.name == name)
