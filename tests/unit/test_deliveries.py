"""Deliveries: whoever has to wait for Library holds up nobody else, and nobody pays for what others have sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typing_extensions import override

from collab_server.cluster.alone import Alone
from collab_server.domain.inbox import Notified
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.domain.topics import Topic
from collab_server.errors import NotFound, Unavailable
from collab_server.services.live import deliveries
from collab_server.services.live.deliveries import ASKED_TOGETHER, USERS_A_HINT, Deliveries
from collab_server.services.live.workers import AT_ONCE
from collab_server.storage import inbox
from collab_server.storage.inbox import Due, Pending
from collab_server.telemetry.metrics import Metrics
from tests.harness.waiting import until

TOPIC = f"content:{'F' * 32}:{'D' * 32}"


def topic(number: int) -> str:
    return f"content:{'F' * 32}:{number:032X}"


def identity(user_id: str) -> Identity:
    session = AuthoritySession(user_id, None, is_delegated=True)
    return Identity(User(user_id, user_id, user_id), session, False, datetime.now(UTC))


class Rows:
    """What waits, as `storage.inbox` tells it; and Library, which answers `role_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: dict[str, list[Due]] = {}
        self.put: list[tuple[str, str]] = []
        self.looked: list[tuple[str, Sequence[str]]] = []
        self.refused: list[tuple[str, str]] = []
        self.kept_latest: list[str] = []
        self.asked: list[str] = []
        self.permitted: set[str] = set()
        self.unsaid: set[str] = set()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        for name in ("due", "pending", "refuse", "keep_latest"):
            monkeypatch.setattr(inbox, name, getattr(self, f"_{name}"))
        monkeypatch.setattr(deliveries, "role_on", self._role_on)

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(None)

    async def _due(self, _database: Any, user_id: str, limit: int) -> list[Due]:
        return self.due.get(user_id, [])[:limit]

    async def _pending(self, _db: Any, user_id: str, permitted: Sequence[str], _limit: int) -> Pending:
        self.looked.append((user_id, permitted))
        self.put += [(user_id, topic) for topic in permitted]
        self._forget(user_id, permitted)
        return Pending()

    async def _refuse(self, _tx: Any, *, user_id: str, topics: Sequence[str]) -> None:
        self.refused += [(user_id, topic) for topic in topics]
        self._forget(user_id, topics)

    async def _keep_latest(self, _tx: Any, *, user_id: str, senders: Sequence[str]) -> None:
        self.kept_latest += senders

    def _forget(self, user_id: str, topics: Sequence[str]) -> None:
        self.due[user_id] = [item for item in self.due.get(user_id, []) if item.topic not in topics]

    async def _role_on(self, _database: Any, _library: Any, _who: Identity, topic: Topic) -> str:
        self.asked.append(topic.name)
        await self.may_answer.wait()
        if topic.name in self.unsaid:
            raise Unavailable
        if topic.name not in self.permitted:
            raise NotFound("topic")
        return "viewer"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    return Rows(monkeypatch)


def a_node(
    rows: Rows, *, is_silent: bool = False, is_connected: bool = True, bus: Alone | None = None
) -> Deliveries:
    """Deliveries on a node where everybody is connected, or nobody."""
    hub = SimpleNamespace(
        identity_of=lambda user_id: identity(user_id) if is_connected else None,
        of=lambda user_id: [user_id] if is_connected else [],
        users=lambda: [],
    )
    library, publisher = SimpleNamespace(is_silent=is_silent), SimpleNamespace(announce=lambda events: None)
    return Deliveries(
        cast("Any", rows),
        cast("Any", library),
        cast("Any", hub),
        bus or Alone(),
        cast("Any", publisher),
        Metrics(),
    )


async def test_what_needs_no_leave_of_library_does_not_wait_behind_what_does(rows: Rows) -> None:
    rows.may_answer.clear()
    rows.permitted = {TOPIC}
    waiting = [f"waiting {number}" for number in range(2 * AT_ONCE)]
    rows.due = {user: [Due(TOPIC, "eve")] for user in waiting}
    node = a_node(rows)
    node.notified(Notified((*waiting, "lucky"), is_permitted=False))
    await until(lambda: ("lucky", []) in rows.looked)
    assert not rows.put
    rows.may_answer.set()
    await until(lambda: {user for user, _ in rows.put} == set(waiting))
    await node.stop()


async def test_what_library_refuses_does_not_hide_what_it_permits(rows: Rows) -> None:
    topics = [topic(number) for number in range(50)]
    rows.permitted = {topics[0], topics[-1]}
    rows.due = {"ann": [Due(name, "eve") for name in topics]}
    node = a_node(rows)
    node._hear("other", b"ann")
    await until(lambda: len(rows.put) == 2 and len(rows.refused) == 48)
    assert rows.asked == topics
    assert rows.kept_latest == []
    await node.stop()


async def test_of_who_sends_nothing_that_may_be_known_only_the_latest_wait_on(rows: Rows) -> None:
    rows.permitted = {topic(1)}
    rows.due = {
        "ann": [Due(topic(1), "bob"), Due(topic(2), "eve"), Due(topic(3), "bob"), Due(topic(4), "eve")]
    }
    node = a_node(rows)
    node._hear("other", b"ann")
    await until(lambda: rows.kept_latest)
    assert rows.kept_latest == ["eve"]
    await node.stop()


async def test_what_library_does_not_say_of_one_topic_keeps_no_other_back(rows: Rows) -> None:
    topics = [topic(number) for number in range(3 * ASKED_TOGETHER)]
    rows.unsaid, rows.permitted = {topics[0], topics[5]}, {topics[-1]}
    rows.due = {"ann": [Due(name, "eve") for name in topics]}
    node = a_node(rows)
    node._hear("other", b"ann")
    await until(lambda: rows.put == [("ann", topics[-1])])
    await until(lambda: not node._asks)
    assert rows.asked == topics  # each once: what was not said is asked about by the next sweep
    refused = {name for _, name in rows.refused}
    assert refused == set(topics) - rows.unsaid - rows.permitted, "what was not said was not refused"
    assert rows.kept_latest == []
    await node.stop()


async def test_a_silent_library_is_asked_a_few_questions_at_a_time(rows: Rows) -> None:
    topics = [topic(number) for number in range(3 * ASKED_TOGETHER)]
    rows.unsaid = set(topics)
    rows.due = {"ann": [Due(name, "eve") for name in topics]}
    node = a_node(rows)
    node._hear("other", b"ann")
    await until(lambda: rows.asked and not node._asks)
    assert len(rows.asked) == ASKED_TOGETHER
    await node.stop()


async def test_whoever_reads_waits_for_library_a_moment_and_no_longer(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "READ_SECONDS", 0.05)
    rows.may_answer.clear()
    rows.permitted = {TOPIC}
    rows.due = {"ann": [Due(TOPIC, "eve")]}
    node = a_node(rows, is_connected=False)
    database = cast("Any", rows)
    await node.deliver(database, identity("ann"))
    await node.deliver(database, identity("ann"))
    assert rows.asked == [TOPIC]  # by one task, however often it is read
    assert not rows.put
    rows.may_answer.set()
    await node.deliver(database, identity("ann"))
    assert rows.put == [("ann", TOPIC)]
    await node.deliver(database, identity("ann"))
    assert rows.asked == [TOPIC]
    await node.stop()


async def test_nobody_waits_for_a_silent_library(rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "READ_SECONDS", 60)
    rows.may_answer.clear()
    rows.due = {"ann": [Due(TOPIC, "eve")]}
    node = a_node(rows, is_silent=True)
    async with asyncio.timeout(20):
        await node.deliver(cast("Any", rows), identity("ann"))
    await until(lambda: rows.asked == [TOPIC])
    await node.stop()


class Noting(Alone):
    """A bus, and what was published on it."""

    def __init__(self) -> None:
        self.published: list[bytes] = []

    @override
    def publish(self, kind: int, payload: bytes) -> None:
        self.published.append(payload)


@pytest.mark.parametrize("count", [1, USERS_A_HINT, USERS_A_HINT + 1, 2 * USERS_A_HINT + 7])
async def test_of_however_many_are_told_the_other_nodes_hear_each_once_and_of_no_more_in_a_hint(
    rows: Rows, count: int
) -> None:
    """Who is left out would be told by the sweep, seconds later."""
    bus, users = Noting(), tuple(f"user{number}" for number in range(count))
    node = a_node(rows, is_connected=False, bus=bus)
    node.notified(Notified(users, is_permitted=False))
    hints = [payload.decode().split(",") for payload in bus.published]
    assert [user for hint in hints for user in hint] == list(users)
    assert max(map(len, hints)) <= USERS_A_HINT
    await node.stop()
