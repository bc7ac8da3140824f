"""Typing and not typing, as fast as one can."""

from __future__ import annotations

import time

from collab_server.services.live.typing import TYPING_AGAIN_SECONDS
from tests.harness.world import fresh_topic
from tests.hostile.costs import Node1GiB, costs
from tests.integration.doors import Raw

TIMES = 600


async def test_whoever_types_by_turns_does_not_flood_the_others(node: Node1GiB, eve: Raw) -> None:
    topic = fresh_topic()
    bob = await node.cluster.client(0, "bob")
    await bob.call("topic.subscribe", {"topic": topic})
    async with costs(node) as cost:
        await cost.ask(eve, 0, "topic.subscribe", f'{{"topic":"{topic}"}}')
        began = time.monotonic()
        for number in range(1, TIMES + 1):
            said = "true" if number % 2 else "false"
            await cost.ask(eve, number, "typing", f'{{"topic":"{topic}","typing":{said}}}')
        turns = (time.monotonic() - began) / TYPING_AGAIN_SECONDS + 1
        await bob.wait_for(lambda event: event.name == "typing" and not event.data["typing"], timeout=10)
    signals = [event.data["typing"] for event in bob.events if event.name == "typing"]
    assert signals.count(True) <= turns
    assert signals.count(False) <= turns
