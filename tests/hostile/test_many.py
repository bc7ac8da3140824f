"""Many people at once who do all that the limits allow, and more: somebody else is served in between."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from collab_server.demo.standin import Person
from tests.harness.world import PROJECT_ID, StandInLibrary, fresh_topic, test_data
from tests.hostile.conftest import MakeNode
from tests.hostile.costs import Node1GiB
from tests.integration.doors import Raw

PEOPLE = 10
SOCKETS, LOOPS = 4, 1
"""So many websockets, and loops of REST calls, of each of them."""
SECONDS = float(os.environ.get("HOSTILE_MANY_SECONDS", "5"))
BETWEEN_SECONDS = 0.15
"""Of the node's own processor time, what lies between a bystander's command and its answer, most of the time. That of
others waits behind them no longer than it takes to compute this much: the machine may be busy, and is not asked."""

Packet = Callable[[int, str], str]

FLOODS: list[tuple[Packet, int]] = [
    (lambda n, topic: f'42{n}["me"]', 1000),
    (lambda n, topic: f'42{n}["sing",{{"a":[]}}]', 1000),
    (lambda n, topic: f'42{n}["comments.search",{{"q":"ab","limit":200}}]', 8),
    (lambda n, topic: f'42{n}["topic.summaries",{{"topics":{json.dumps([topic] * 500)}}}]', 8),
    (lambda n, topic: f'42{n}["topic.summaries",{{"topics":{json.dumps(unknown(n))}}}]', 8),
    (lambda n, topic: f'42{n}["topic.comments",{{"topic":"{topic}","limit":200}}]', 8),
    (lambda n, topic: f'42{n}["comment.add",{{"topic":"{topic}","text":"{"x" * 990_000}"}}]', 3),
    (lambda n, topic: f'42{n}["comment.add",{{"topic":"{topic}","text":"{"é́b " * 2400}"}}]', 8),
    (lambda n, topic: f'42{n}["comment.add",{{"topic":"{topic}","text":"As all the time"}}]', 200),
    (lambda n, topic: f'42{n}["topic.subscribe",{{"topic":"{unknown(n)[0]}"}}]', 50),
]

_numbers = itertools.count()


def unknown(n: int) -> list[str]:
    """Topics of which nobody has asked yet."""
    return [f"content:{PROJECT_ID}:AB{next(_numbers):030X}" for _ in range(500)]


@pytest_asyncio.fixture
async def library() -> AsyncIterator[StandInLibrary]:
    """One with many who are up to no good."""
    data = test_data()
    more = tuple(
        Person(login=f"eve{n}", id=f"BAD{n:029X}", fullName=f"Eve the {n}.", initials="E")
        for n in range(PEOPLE)
    )
    standin = StandInLibrary(data=data.model_copy(update={"people": (*data.people, *more)})).start()
    yield standin
    standin.stop()


def computed(node: Node1GiB) -> float:
    """What the thread of the node's loop has computed, in seconds."""
    pid = node.process.process.pid
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


async def flood(eve: Raw, packet: Packet, at_once: int, topic: str) -> None:
    waiting = 0
    for number in itertools.count():
        while waiting >= at_once:
            frame = await eve.next(60)
            assert frame is not None, "the connection was closed"
            waiting -= str(frame).startswith("43")
        await eve.send(packet(number, topic))
        waiting += 1


async def call(http: aiohttp.ClientSession, url: str, token: str) -> None:
    for number in itertools.count():
        path = "/api/me" if number % 2 else "/api/search?q=ab&limit=200"
        async with http.get(url + path, headers={"X-MSTR-IdentityToken": token}) as answer:
            await answer.read()


@pytest.mark.alone  # processor time grows with whoever shares the processor's caches
@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel keeps no schedstat")
@pytest.mark.parametrize("transport", ["lean", "asgi"])
async def test_a_bystander_is_served_between_many_who_flood(
    make_node: MakeNode, library: StandInLibrary, transport: str
) -> None:
    node = await make_node(library=library, env={"COLLAB_TRANSPORT": transport.replace("lean", "")})
    topic = fresh_topic()
    kinds = itertools.cycle(FLOODS)
    bob = await node.cluster.client(0, "bob")
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        )
        people = [f"eve{number}" for number in range(PEOPLE)]
        eves: list[Raw] = []
        for login in people * SOCKETS:  # one after the other: how many may sign in at once is another matter
            eves.append(await node.raw(login))
            stack.push_async_callback(eves[-1].close)
        persons = await asyncio.gather(*(node.cluster.person(login) for login in people * LOOPS))
        tokens = await asyncio.gather(*(person.identity_token() for person in persons))
        work = [flood(eve, *next(kinds), topic) for eve in eves]
        work += [call(http, node.url, token) for token in tokens]
        tasks = [asyncio.create_task(one) for one in work]
        between, took = [], []
        ends_at = time.monotonic() + SECONDS
        mine = fresh_topic()
        while time.monotonic() < ends_at:
            began, computed_before = time.monotonic(), computed(node)
            await bob.call("comment.add", {"topic": mine, "text": "As ever"}, timeout=30)
            between.append(computed(node) - computed_before)
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.1)
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    print(  # noqa: T201
        f"\n{transport}: {len(between)} comments, between asking and answer {statistics.median(between):.3f} s of the"
        f" node's time, {max(between):.3f} s at most; {statistics.median(took):.3f} s, {max(took):.3f} s by the clock,"
        f" 99 of 100 in {sorted(took)[len(took) * 99 // 100]:.3f} s"
    )
    assert not ended, ended[0]
    assert statistics.median(between) <= BETWEEN_SECONDS
