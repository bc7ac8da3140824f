"""What is asked of the authority when somebody looks at their inbox."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.domain.people import Identity, User
from collab_server.domain.topics import content_topic
from collab_server.services.live.losses import RECHECKED, Losses
from collab_server.storage import reviews

TOPICS = [content_topic("F" * 32, f"{number:032X}").name for number in range(RECHECKED + 3)]


class Doorman:
    """Opens everything, and remembers about whom it was asked."""

    def __init__(self, *, is_silent: bool = False) -> None:
        self.is_silent = is_silent
        self.asked: list[str] = []

    def on_refused(self, _callback: Any) -> None:
        """Nothing is refused here."""

    def content_age_seconds(self, *_: str) -> None:
        """Nothing is known yet."""

    async def may_open(self, who: Identity, *_: str) -> object:
        self.asked.append(who.user.id)
        return self


@pytest.mark.parametrize(("is_silent", "most"), [(False, RECHECKED), (True, 0)], ids=["there", "silent"])
async def test_however_often_somebody_looks_a_few_dashboards_are_asked_about_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch, *, is_silent: bool, most: int
) -> None:
    async def unread_topics(*_: Any) -> list[str]:
        return TOPICS

    monkeypatch.setattr(reviews, "unread_topics", unread_topics)
    gate = Doorman(is_silent=is_silent)
    losses = Losses(cast("Any", None), cast("Any", gate), cast("Any", None))
    for _ in range(3):
        for name in ("ann", "bob"):
            who = SimpleNamespace(user=User(name, name, name[0]))
            await losses.recheck(cast("Any", None), cast("Any", who))
    assert sorted(gate.asked) == ["ann"] * most + ["bob"] * most
    await losses.stop()
