"""What it costs a node, and a bystander, that somebody sends it hostile input. See the package's docstring."""

from __future__ import annotations

import asyncio
import io
import json
import re
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psutil
from yarl import URL

from tests.harness.clients import new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.world import fresh_topic
from tests.integration.doors import Raw

MEMORY_BYTES = 1 << 30
HELD_SECONDS = 0.1
GROWN_BYTES = 64 << 20
LOG_BYTES = 4096
"""What a node may log meanwhile for reasons of its own."""
TIMES = 10

_SAMPLE = re.compile(r"^(collab_loop_held\w*)(?:\{over_seconds=\"([0-9.]+)\"\})? (\S+)$", re.MULTILINE)


class Node1GiB:
    """One node that may take 1 GiB, and the people who use it.

    The bound is on its address space (`RLIMIT_AS`), which needs no rights and is stricter than one on what it uses.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    async def start(self) -> None:
        """Start the process, then bound it."""
        await self.cluster.start()
        resource.prlimit(self.process.process.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))

    @property
    def process(self) -> Node:
        return self.cluster[0]

    @property
    def url(self) -> str:
        return self.process.url

    async def raw(self, login: str) -> Raw:
        """A bare websocket of somebody, signed in; to be closed by whoever asks."""
        token = await (await self.cluster.person(login)).identity_token()
        return await Raw.open(self.url, {"identityToken": token})

    def memory_bytes(self) -> int:
        """What it uses now (RSS)."""
        memory: int = psutil.Process(self.process.process.pid).memory_info().rss
        return memory

    async def held(self) -> dict[str, float]:
        """How many turns of its loop took longer than each bound, by the bound; `recent` and `max` in seconds."""
        async with new_session(keeps_cookies=False) as http, http.get(f"{self.url}/metrics") as answer:
            text = await answer.text()
        names = {"collab_loop_held_seconds": "recent", "collab_loop_held_max_seconds": "max"}
        return {
            over or names[name]: float(value)
            for name, over, value in _SAMPLE.findall(text)
            if over or name in names
        }


class Cost:
    """What was sent, and what it has cost until now."""

    def __init__(self, node: Node1GiB) -> None:
        self.node = node
        self.sent = 0
        self.bystander_rounds = 0
        self.slowest_round = 0.0

    async def ask(
        self, client: Raw, ack_id: int, command: str, payload: str, timeout: float = 30
    ) -> dict[str, Any]:
        """Send a command with this JSON text and return its acknowledgement."""
        await self.send(client, f"42{ack_id}[{json.dumps(command)},{payload}]")
        return await client.answer(ack_id, timeout)

    async def send(self, client: Raw, *frames: str | bytes) -> None:
        """Send frames as they are."""
        self.sent += sum(len(frame) for frame in frames)
        await client.send(*frames)

    async def call(
        self,
        login: str,
        method: str,
        path: str,
        body: str | bytes = b"",
        *,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """The status and JSON (or text) that a REST call with this body is answered with; `path` is sent as it is."""
        token = await (await self.node.cluster.person(login)).identity_token()
        raw = body.encode() if isinstance(body, str) else body
        self.sent += len(raw) + len(path) + 200
        more = {"X-MSTR-IdentityToken": token, "Content-Type": "application/json", **(headers or {})}
        async with (
            new_session(keeps_cookies=False) as http,
            http.request(
                method, URL(self.node.url + path, encoded=True), data=io.BytesIO(raw), headers=more
            ) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()


@asynccontextmanager
async def costs(
    node: Node1GiB, *, at_once: int = 1, held_seconds: float = HELD_SECONDS, grown_bytes: int = GROWN_BYTES
) -> AsyncIterator[Cost]:
    """Hold a node to its bounds while it is sent what is sent in here. See the package's docstring."""
    cost = Cost(node)
    log_before = node.process.log_path.stat().st_size
    memory_before = node.memory_bytes()
    held_before = await node.held()
    began = time.monotonic()
    async with _bystander(cost):
        yield cost
    held = await node.held()
    grown = node.memory_bytes() - memory_before
    logged = node.process.log_path.stat().st_size - log_before
    print(  # noqa: T201
        f"\n{cost.sent:,} bytes in {time.monotonic() - began:.2f} s: loop held {held['recent']:.3f} s, memory"
        f" {grown / 2**20:+.1f} MB, logged {logged:,} bytes; {cost.bystander_rounds} rounds of a bystander, the slowest"
        f" {cost.slowest_round:.3f} s"
    )
    allowed = held_seconds * at_once
    longer = {
        float(over): held[over] - held_before[over]
        for over in held
        if over[0].isdigit() and float(over) >= allowed
    }
    too_long = {over: count for over, count in longer.items() if count}
    assert not too_long, f"turns of the loop that took longer than so many seconds of CPU time: {too_long}"
    assert grown <= grown_bytes, f"the node has grown by {grown / 2**20:.1f} MB"
    assert logged <= cost.sent + LOG_BYTES, (
        f"{logged} bytes logged for {cost.sent} sent:\n{node.process.log_tail()}"
    )


@asynccontextmanager
async def _bystander(cost: Cost) -> AsyncIterator[None]:
    """Somebody else, who has at least one round before, one after, and as many as there is time for meanwhile."""
    cluster, topic = cost.node.cluster, fresh_topic()
    bob = await cluster.client(0, "bob")
    is_over = asyncio.Event()

    async def one_round() -> None:
        began = time.monotonic()
        await bob.call("me", timeout=30)
        await bob.call("comment.add", {"topic": topic, "text": "As ever"}, timeout=30)
        async with (
            new_session(keeps_cookies=False) as http,
            http.get(f"{cost.node.url}/health/live") as answer,
        ):
            assert answer.status == 200
        cost.bystander_rounds += 1
        cost.slowest_round = max(cost.slowest_round, time.monotonic() - began)

    async def go_on() -> None:
        while not is_over.is_set():
            await one_round()
            await asyncio.sleep(0.1)  # as somebody who works, not as load

    await one_round()
    cost.slowest_round = 0.0
    bystander = asyncio.create_task(go_on())
    try:
        yield
        is_over.set()
        await bystander
        await one_round()
    finally:
        bystander.cancel()
        await bob.close()
