"""Whose a discussion becomes while somebody else does something with it: Library's answer is of before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from collab_server.domain.discussions import Discussion, Member
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.services.succession import settle_owner
from collab_server.storage import discussions, event_log, topics

AT = datetime(2026, 11, 23, tzinfo=UTC)
ANN, BOB, CAROL = (Member(User(name, name, name[0]), AT) for name in ("ann", "bob", "carol"))
SEEN = Discussion(UUID(int=1), "x", ANN.user.id, (ANN, BOB, CAROL), None, AT, last_seq=1)
"""As it was looked at: ann, whose account has ended, owns it; bob would be next."""


class Meanwhile:
    """A database in which the discussion is `now`, and a directory that knows everybody but ann."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, now: Discussion | None) -> None:
        self.database = self.directory = self.publisher = self
        self.now = now
        self.handed: list[str] = []
        monkeypatch.setattr(topics, "lock", self._nothing)
        monkeypatch.setattr(discussions, "get", self._get)
        monkeypatch.setattr(discussions, "hand_over", self._hand_over)
        monkeypatch.setattr(event_log, "append", self._nothing)

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(SimpleNamespace(recorded=self.handed))

    async def user(self, _who: Identity, user_id: str) -> User | None:
        return None if user_id == ANN.user.id else User(user_id, user_id, "x")

    def announce(self, _recorded: Any) -> None:
        """Nobody listens."""

    async def _nothing(self, *_: Any) -> None: ...

    async def _get(self, *_: Any) -> Discussion | None:
        return self.now

    async def _hand_over(self, _tx: Any, _id: UUID, owner_id: str) -> None:
        self.handed.append(owner_id)


@pytest.mark.parametrize(
    ("now", "handed"),
    [
        (SEEN, [BOB.user.id]),
        (replace(SEEN, owner_id=CAROL.user.id), []),
        (replace(SEEN, members=(ANN, CAROL)), []),
        (None, []),
    ],
    ids=["as it was", "it is another's by now", "the heir has left", "it is deleted"],
)
async def test_what_has_changed_while_the_directory_was_asked_counts(
    monkeypatch: pytest.MonkeyPatch, now: Discussion | None, handed: list[str]
) -> None:
    meanwhile = Meanwhile(monkeypatch, now)
    carol = Identity(CAROL.user, AuthoritySession("t", None, is_delegated=True), False, AT)
    assert await settle_owner(cast("Any", meanwhile), carol, SEEN) is bool(handed)
    assert meanwhile.handed == handed
