"""What a node's log says of the events that it has delivered.

What a node has read itself, for the bus was late, has no trace there: on a busy machine some of the first have none. So
whoever looks for one tries again, with another event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tests.harness.cluster import Node
from tests.harness.waiting import until


def facts_of(line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", line))


def delivered(node: Node, topic: str) -> dict[str, str]:
    """What a node's log says of a topic's events: the trace of each, by its `seq`."""
    facts = [facts_of(line) for line in node.log.splitlines() if "delivered to clients" in line]
    return {fact["seq"]: fact.get("trace", "") for fact in facts if fact["topic"] == topic}


async def heard_of(node: Node, topic: str, seqs: Iterable[str]) -> dict[str, str]:
    """The traces of these events, once all are delivered."""
    wanted = set(seqs)
    await until(lambda: delivered(node, topic).keys() >= wanted)
    told = delivered(node, topic)
    return {seq: told[seq] for seq in wanted}
