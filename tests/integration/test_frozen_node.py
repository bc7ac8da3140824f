"""A node that is frozen (SIGSTOP) holds nobody else up for longer than two seconds, and goes on well when it thaws."""

from __future__ import annotations

import asyncio
import itertools
from functools import partial

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed
from tests.harness.cluster import Node
from tests.harness.waiting import Stopwatch, until
from tests.harness.world import TestDatabase
from tests.integration.doors import seqs

LIMITS = {"limits": {"commandsPerSecond": 10_000, "commandsBurst": 10_000}}

LONGEST_SECONDS = 2.8
"""Postgres ends a session that is idle within a transaction after 2 s; the others find out by trying again."""


class Writer:
    """Writes on a topic for as long as the block lasts, each comment until it is stored; how long each took."""

    def __init__(self, client: Client, topic: str, name: str) -> None:
        self._client, self._topic, self._name = client, topic, name
        self._pauses: list[float] = []
        self._pause = Stopwatch()
        self.acknowledged: list[int] = []
        self.refused: list[str] = []

    async def __aenter__(self) -> Writer:
        self._task = asyncio.create_task(self._write())
        return self

    async def _write(self) -> None:
        number = 0
        while True:
            number += 1
            payload = {"topic": self._topic, "text": f"{number}", "requestId": f"{self._name} {number}"}
            while True:
                try:
                    answer = await self._client.call("comment.add", payload)
                    break
                except Failed as refusal:
                    self.refused.append(str(refusal))
                    if refusal.code != "paused":
                        raise
            self.acknowledged.append(answer["seq"])
            self._pauses.append(self._pause.seconds)
            self._pause = Stopwatch()

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    @property
    def has_written(self) -> bool:
        """Whether something is stored. Raises what ended the writing, if that is over."""
        if self._task.done():
            self._task.result()
        return bool(self.acknowledged)

    @property
    def longest_pause(self) -> float:
        """The longest time between two of its comments, the last of which may be to come."""
        return max(*self._pauses, self._pause.seconds) if self._pauses else self._pause.seconds


async def edit_for_ever(client: Client, topic: str) -> None:
    """Edit one's own comment again and again: a transaction of several steps."""
    added = await client.call("comment.add", {"topic": topic, "text": "0"})
    for number in itertools.count(1):
        await client.ask(
            "comment.edit", {"commentId": added["comment"]["id"], "text": f"{number}"}, timeout=30
        )


async def freeze_within_a_transaction(node: Node, database: TestDatabase) -> None:
    """Freeze the node when it has begun a transaction, and so holds a lock."""
    for _ in range(200):
        node.freeze()
        await asyncio.sleep(0.02)  # what was sent before arrives
        held = await asyncio.to_thread(
            database.sql,
            "SELECT count(*) FROM pg_stat_activity "
            f"WHERE state = 'idle in transaction' AND query NOT LIKE 'BEGIN%' AND datname = '{database.name}'",
        )
        if int(held):
            return
        node.thaw()
        await asyncio.sleep(0.01)
    raise AssertionError("the node was never within a transaction")


async def test_a_frozen_node_blocks_no_topic_for_long(make_cluster: MakeCluster, topic: str) -> None:
    """Frozen at the worst moment, again and again: within a transaction on the topic that everybody writes to."""
    cluster = await make_cluster(nodes=3, overrides=LIMITS)
    victims = [await cluster.client(0, login) for login in ("ann", "dan", "eve")]
    bob, carol = await cluster.client(1, "bob"), await cluster.client(2, "carol")
    await carol.call("topic.subscribe", {"topic": topic})
    editing = [asyncio.create_task(edit_for_ever(victim, topic)) for victim in victims]
    await carol.wait_for(lambda event: event.name == "comment.edited")
    acknowledged: list[int] = []
    for round_number in range(3):
        await freeze_within_a_transaction(cluster[0], cluster.database)
        async with Writer(bob, topic, f"{round_number}") as writer:
            await until(
                lambda writer=writer: writer.has_written,  # type: ignore[misc]
                what=lambda writer=writer: f"others write on; refused: {writer.refused}",  # type: ignore[misc]
            )
            assert writer.longest_pause < LONGEST_SECONDS
        acknowledged += writer.acknowledged
        head = acknowledged[-1]
        await carol.wait_for_seq(topic, head, timeout=1)
        cluster[0].thaw()
        await carol.wait_for(
            partial(lambda event, head: (event.seq or 0) > head and event.name == "comment.edited", head=head)
        )
    for task in editing:
        task.cancel()
    await asyncio.gather(*editing, return_exceptions=True)
    head = (await bob.call("topic.get", {"topic": topic}))["seq"]
    await carol.wait_for_seq(topic, head)
    got = carol.events_of(topic)
    assert [event.seq for event in got] == list(range(1, len(got) + 1))
    assert {event.seq for event in got if event.name == "comment.added"} >= set(acknowledged)


async def test_a_thawed_node_knows_what_it_has_missed(make_cluster: MakeCluster, topic: str) -> None:
    cluster = await make_cluster(nodes=2, overrides=LIMITS)
    ann, bob = await cluster.client(0, "ann"), await cluster.client(1, "bob")
    await ann.call("topic.subscribe", {"topic": topic})
    cluster[0].freeze()
    for number in range(50):
        await bob.call("comment.add", {"topic": topic, "text": f"{number}"})
    cluster[0].thaw()
    await ann.wait_for_seq(topic, 50, timeout=4)
    assert seqs(ann, topic) == list(range(1, 51))
