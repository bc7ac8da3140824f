"""What one person costs a node who does all that the limits allow, and more."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Callable

import psutil
import pytest

from tests.harness.clients import new_session
from tests.harness.world import fresh_topic
from tests.hostile.conftest import MakeNode
from tests.hostile.costs import Node1GiB, costs
from tests.integration.doors import Raw, say

SECONDS = 10.0
SHARE = 0.25
"""Of one processor's time, the most that one person may take."""
REST_CONNECTIONS = 10

Packet = Callable[[int, str], str]

FLOODS: dict[str, tuple[Packet, int]] = {
    "the least": (lambda n, topic: f'42{n}["me"]', 1000),
    "what is none": (lambda n, topic: f'42{n}["sing",{{"a":[]}}]', 1000),
    "searches": (lambda n, topic: f'42{n}["comments.search",{{"q":"ab","limit":200}}]', 8),
    "summaries": (lambda n, topic: f'42{n}["topic.summaries",{{"topics":{json.dumps([topic] * 500)}}}]', 8),
    "long pages": (lambda n, topic: f'42{n}["topic.comments",{{"topic":"{topic}","limit":200}}]', 8),
    "large packets": (
        lambda n, topic: f'42{n}["comment.add",{{"topic":"{topic}","text":"{"x" * 990_000}"}}]',
        3,
    ),
    "view states of many values": (
        lambda n, topic: (
            f'42{n}["comment.add",{{"topic":"{topic}","text":"x","viewState":{{"a":[{"0," * 32_000}0]}}}}]'
        ),
        8,
    ),
    "long texts": (
        lambda n, topic: f'42{n}["comment.add",{{"topic":"{topic}","text":"{"é́b " * 2400}"}}]',
        8,
    ),
}
"""What is sent over and over again, and how many at once."""

EACH = [*FLOODS, "REST calls"] if "HOSTILE_SECONDS" in os.environ else []
"""Each by itself takes as long as all together, and belongs to the longer run."""


async def flood(eve: Raw, packet: Packet, topic: str, *, ends_at: float, at_once: int) -> int:
    """Send packets, so many at once, reading what comes; how many were carried out."""
    numbers = itertools.count()
    done = waiting = 0
    while time.monotonic() < ends_at:
        while waiting < at_once:
            await eve.send(packet(next(numbers), topic))
            waiting += 1
        frame = await eve.next(30)
        assert frame is not None, "the connection was closed"
        if str(frame).startswith("43"):
            waiting -= 1
            done += '"ok":true' in str(frame[:60])
    return done


async def call(node: Node1GiB, *, ends_at: float) -> int:
    """Make REST calls over one connection, one after the other; how many were carried out."""
    token = await (await node.cluster.person("eve")).identity_token()
    done = 0
    async with new_session(keeps_cookies=False) as http:
        while time.monotonic() < ends_at:
            async with http.get(f"{node.url}/api/me", headers={"X-MSTR-IdentityToken": token}) as answer:
                assert answer.status in (200, 429)
                done += answer.status == 200
    return done


@pytest.mark.parametrize("what", ["all together", *EACH])
async def test_nobody_takes_more_than_a_quarter_of_a_node(make_node: MakeNode, what: str) -> None:
    node = await make_node()
    topic = fresh_topic()
    ann = await node.cluster.client(0, "ann")
    for _ in range(40):
        await say(ann, topic, "ab " * 300, viewState={"x": "y" * 2000})
    names = [*FLOODS] if what == "all together" else [what] if what in FLOODS else []
    connections = REST_CONNECTIONS if what in ("all together", "REST calls") else 0
    eves = [await node.raw("eve") for _ in names]
    process = psutil.Process(node.process.process.pid)
    async with costs(node, held_seconds=float("inf")):
        before, began = process.cpu_times(), time.monotonic()
        ends_at = began + SECONDS
        done = await asyncio.gather(
            *(
                flood(eve, FLOODS[name][0], topic, ends_at=ends_at, at_once=FLOODS[name][1])
                for name, eve in zip(names, eves, strict=True)
            ),
            *(call(node, ends_at=ends_at) for _ in range(connections)),
        )
        after, took = process.cpu_times(), time.monotonic() - began
    used = after.user + after.system - before.user - before.system
    print(f"\n{what}: {used / took:.0%} of a processor for {done}")  # noqa: T201
    await asyncio.gather(*(eve.close() for eve in eves))
    assert used <= SHARE * took
