"""What a node knows of ends, with a table of them that is the test's own."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from typing_extensions import override

from collab_server.cluster.alone import Alone
from collab_server.domain.ends import End, EndSession
from collab_server.services.ends import Ends, ask_end
from collab_server.storage import ends as stored

SECOND = 1_000_000


class Telling(Alone):
    """A bus that counts what is told."""

    def __init__(self) -> None:
        self.told = 0

    @override
    def publish(self, kind: int, payload: bytes) -> None:
        self.told += 1


class Node:
    """What was ended, as the database has it and as the node knows it; whose sign-ins it has looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored: list[End] = []
        self.looked_at: list[str] = []
        self.bus = Telling()
        self.ends = Ends(cast("Any", None), cast("Any", self), self.bus)
        monkeypatch.setattr(stored, "since", self._since)
        monkeypatch.setattr(stored, "now", self._now)

    async def _since(self, _database: Any, at: int, most: int) -> list[End]:
        return sorted((end for end in self.stored if end.at >= at), key=lambda end: end.at)[:most]

    async def _now(self, _database: Any) -> int:
        return time.time_ns() // 1000

    def look_at_sign_ins(self, user_ids: Collection[str]) -> None:
        self.looked_at += sorted(user_ids)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(monkeypatch)


def end(user_id: str, at: int, *, kept_until: int | None = None) -> End:
    return End(user_id.encode(), user_id, at, at + 3600 * SECOND if kept_until is None else kept_until)


async def test_an_end_whose_commit_came_late_is_learned_by_the_next_look(node: Node) -> None:
    now = await node._now(None)
    node.stored = [end("ann", now - 100 * SECOND), end("bob", now)]
    await node.ends.load()
    assert (node.looked_at, node.bus.told) == (["ann", "bob"], 0)
    node.stored += [end("carol", now - 30 * SECOND)]
    await node.ends._look()
    assert (node.looked_at, node.bus.told) == (["ann", "bob", "carol"], 1)
    await node.ends._look()
    assert (node.looked_at, node.bus.told) == (["ann", "bob", "carol"], 1), "what is known is no news"


async def test_what_was_ended_is_known_for_as_long_as_it_is_kept_and_no_longer(node: Node) -> None:
    now = await node._now(None)
    over, kept = now - SECOND, now + 3600 * SECOND
    node.stored = [end("ann", 1, kept_until=over), end("bob", 2, kept_until=kept)]
    await node.ends.load()
    node.ends._take([end("carol", 3, kept_until=over)])
    node.ends._take([end("carol", 4, kept_until=kept)])
    assert [node.ends.ended_at(mark) for mark in (b"ann", b"bob", b"carol")] == [1, 2, 4]
    node.ends._forget()
    assert [node.ends.ended_at(mark) for mark in (b"ann", b"bob", b"carol")] == [0, 2, 4]


@pytest.mark.parametrize(
    ("begun", "is_delegated", "days"), [("a sign-in", False, 2), ("", True, 2), ("", False, 30)]
)
async def test_a_token_of_library_stays_refused_for_longer_than_it_can_last(
    begun: str, is_delegated: bool, days: int
) -> None:
    """It has no date that we know of, whereas what we began ourselves is over after `sessionHours`."""
    backends = SimpleNamespace(session_hours=24.0)
    session = SimpleNamespace(is_delegated=is_delegated)
    who = SimpleNamespace(begun=SimpleNamespace(id=begun), session=session)
    kept = await ask_end(cast("Any", backends), cast("Any", who), EndSession())
    assert kept == timedelta(days=days)
    backends.session_hours = 720.0
    assert await ask_end(cast("Any", backends), cast("Any", who), EndSession()) == timedelta(days=31)
