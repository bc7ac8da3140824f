"""What is asked of the authority when somebody looks at their inbox."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from typing_extensions import override

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

    def content_age_seconds(self, *_: str) -> float | None:
        return None  # nothing is known yet

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


async def test_asked_about_are_those_that_nobody_was_asked_about_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ages = dict(zip(TOPICS, [70.0, None, 30.0, 900.0, 80.0, None, 400.0], strict=True))
    asked: list[str] = []

    class Remembering(Doorman):
        @override
        def content_age_seconds(self, *about: str) -> float | None:
            return ages[content_topic(*about[1:]).name]

        @override
        async def may_open(self, who: Identity, *content: str) -> object:
            asked.append(content_topic(*content).name)
            return self

    async def unread_topics(*_: Any) -> list[str]:
        return TOPICS

    monkeypatch.setattr(reviews, "unread_topics", unread_topics)
    losses = Losses(cast("Any", None), cast("Any", Remembering()), cast("Any", None))
    await losses.recheck(cast("Any", None), cast("Any", SimpleNamespace(user=User("ann", "ann", "a"))))
    assert [ages[name] for name in asked] == [None, None, 900.0, 400.0]
    await losses.stop()
