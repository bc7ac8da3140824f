"""Deliveries: whoever has to wait for Library holds up nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from collab_server.domain.inbox import Notified
from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.domain.topics import Topic
from collab_server.errors import NotFound
from collab_server.services import deliveries
from collab_server.services.deliveries import AT_ONCE, MOST_TOPICS, Deliveries
from collab_server.storage import inbox
from tests.harness.waiting import until

TOPIC = f"content:{'F' * 32}:{'D' * 32}"


def identity(user_id: str) -> Identity:
    session = LibrarySession(user_id, None, is_delegated=True)
    return Identity(User(user_id, user_id, user_id), session, False, datetime.now(UTC))


def a_node() -> Deliveries:
    """Deliveries without a database, on a node where everybody is connected."""
    return Deliveries(
        cast("Any", SimpleNamespace(database=None)),
        lambda events: None,
        connected=identity,
        all_connected=lambda: [],
        tell_nodes=lambda users: None,
    )


async def test_what_needs_no_leave_of_library_does_not_wait_behind_what_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_answer = asyncio.Event()
    looked: list[tuple[str, Sequence[str]]] = []

    async def pending_topics(_database: Any, user_id: str, _limit: int, _skip: int) -> list[str]:
        return [] if user_id == "lucky" else [TOPIC]

    async def pending(_database: Any, user_id: str, permitted: Sequence[str], _limit: int) -> list[UUID]:
        looked.append((user_id, permitted))
        return []

    async def role_on(*_: Any) -> str:
        await may_answer.wait()
        return "viewer"

    monkeypatch.setattr(inbox, "pending_topics", pending_topics)
    monkeypatch.setattr(inbox, "pending", pending)
    monkeypatch.setattr(deliveries, "role_on", role_on)
    node = a_node()
    waiting = [f"waiting {number}" for number in range(2 * AT_ONCE)]
    node.notified(Notified((*waiting, "lucky"), is_permitted=False))
    await until(lambda: ("lucky", []) in looked, 2)
    assert not [user for user, permitted in looked if permitted]
    may_answer.set()
    await until(lambda: {user for user, permitted in looked if permitted} == set(waiting), 2)
    await node.stop()


async def test_what_library_refuses_does_not_hide_what_it_permits(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = [f"content:{'F' * 32}:{number:032X}" for number in range(2 * MOST_TOPICS + 50)]
    permitted = {topics[0], topics[-1]}
    given: set[str] = set()

    async def pending_topics(_database: Any, _user_id: str, limit: int, skip: int) -> list[str]:
        return [topic for topic in topics if topic not in given][skip : skip + limit]

    async def pending(_database: Any, _user_id: str, topics: Sequence[str], _limit: int) -> list[UUID]:
        given.update(topics)
        return []

    async def role_on(_backends: Any, _who: Identity, topic: Topic) -> str:
        if topic.name not in permitted:
            raise NotFound("topic")
        return "viewer"

    async def sweep() -> None:
        node.hear(["ann"])
        await until(lambda: not node._putting.tasks and not node._asking.tasks, 2)

    monkeypatch.setattr(inbox, "pending_topics", pending_topics)
    monkeypatch.setattr(inbox, "pending", pending)
    monkeypatch.setattr(deliveries, "role_on", role_on)
    node = a_node()
    await sweep()
    assert given == {topics[0]}
    for _ in range(2):
        await sweep()
    assert given == permitted
    permitted.add(topics[1])  # and those that were refused are asked about again
    for _ in range(3):
        await sweep()
    assert given == permitted
    await node.stop()
