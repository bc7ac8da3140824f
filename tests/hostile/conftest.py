"""Nodes for hostile tests. See the package's docstring."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.conftest import _HAS_FAILED
from tests.harness.cluster import Cluster
from tests.harness.world import World
from tests.hostile.costs import Node1GiB
from tests.integration.doors import Raw

MakeNode = Callable[..., Awaitable[Node1GiB]]

OFTEN = {"limits": {"commandsPerSecond": 1_000_000, "commandsBurst": 1_000_000, "connectionsPerUser": 500}}


@pytest_asyncio.fixture(scope="session")
async def shared_node(world: World) -> AsyncIterator[Node1GiB]:
    folder = world.folder / "hostile"
    overrides = {"logging": False, "administrators": ["E55E0000000000000000000000000005"], **OFTEN}
    cluster = Cluster(
        world.new_database(),
        world.library,
        None,
        nodes=1,
        folder=folder,
        overrides=overrides,
        env={"COLLAB_TRANSPORT": os.environ.get("HOSTILE_TRANSPORT", "")},
    )
    node = Node1GiB(cluster)
    try:
        await node.start()
        yield node
    finally:
        await cluster.close()


@pytest_asyncio.fixture
async def node(request: pytest.FixtureRequest, shared_node: Node1GiB) -> AsyncIterator[Node1GiB]:
    """A node of 1 GiB that all hostile tests share; it does not mind how often somebody asks."""
    yield shared_node
    await shared_node.cluster.close_clients()
    if request.node.stash.get(_HAS_FAILED, False):
        shared_node.cluster.show_logs()


@pytest_asyncio.fixture
async def make_node(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> AsyncIterator[MakeNode]:
    """`await make_node({"limits": {…}}, env=…)`: a node of 1 GiB of this test's own, with a fresh database."""
    made: list[Cluster] = []

    async def make(overrides: dict[str, Any] | None = None, **arguments: Any) -> Node1GiB:
        defaults: dict[str, Any] = {
            "database": world.new_database(),
            "library": world.library,
            "redis_url": None,
        }
        cluster = Cluster(
            **{**defaults, **arguments},
            nodes=1,
            folder=tmp_path / f"node{len(made) + 1}",
            overrides={"logging": False, **(overrides or {})},
        )
        made.append(cluster)
        node = Node1GiB(cluster)
        await node.start()
        return node

    yield make
    try:
        for cluster in made:
            await cluster.close()
    finally:
        if request.node.stash.get(_HAS_FAILED, False):
            for cluster in made:
                cluster.show_logs()


@pytest_asyncio.fixture
async def eve(node: Node1GiB) -> AsyncIterator[Raw]:
    """A bare websocket of eve, who is up to no good."""
    async with await node.raw("eve") as eve:
        yield eve
