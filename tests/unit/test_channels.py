"""Channels that fail: what they have to tell is tried so often, and holds nothing else up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import pytest

from collab_server.domain.people import User
from collab_server.ports import Telling
from collab_server.services.channels import MOST_IN_VAIN, MOST_TRIES, Channels
from collab_server.storage import tellings
from collab_server.telemetry.metrics import Metrics


class Post:
    """A channel, and its tellings as rows: each is due again as soon as it was put off. It cannot tell `wrong`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, wrong: tuple[str, ...] = ()) -> None:
        self.tries = dict.fromkeys(names, 0)
        self.wrong = wrong
        self.told: list[str] = []
        for name in ("due", "told", "later"):
            monkeypatch.setattr(tellings, name, getattr(self, f"_{name}"))
        self.channels = Channels({"post": cast("Any", self)}, Metrics())

    async def tell(self, telling: Telling) -> None:
        if telling.id in self.wrong:
            raise OSError
        self.told.append(telling.id)

    async def run(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        return await work(None)

    async def _due(self, _tx: Any, *, channel: str, most: int) -> list[tuple[Telling, bool, int]]:
        of = partial(
            Telling,
            user_id="ann", kind="mention", topic="", comment_id=None, by=User("b", "b", "b"), text="", why="",
            at=datetime.now(UTC),
        )  # fmt: skip
        return [(of(id=id), False, tries) for id, tries in self.tries.items()][:most]

    async def _told(self, _tx: Any, *, channel: str, id: str) -> None:
        del self.tries[id]

    async def _later(self, _tx: Any, *, channel: str, id: str) -> None:
        self.tries[id] += 1

    async def turn(self) -> None:
        """The job's, until it leaves the channel alone."""
        [job] = self.channels.jobs()
        await job.work(cast("Any", self))


async def test_what_cannot_be_told_is_tried_so_often_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(monkeypatch, "wrong", "right", wrong=("wrong",))
    await post.turn()
    assert post.told == ["right"]
    for _ in range(MOST_TRIES):
        await post.turn()
    assert post.tries == {}
    assert post.channels.counts() == {"told": 1, "failed": MOST_TRIES, "dropped": 1}


async def test_a_channel_that_fails_again_and_again_is_left_alone_until_its_next_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [str(number) for number in range(10)]
    post = Post(monkeypatch, *names, wrong=tuple(names))
    await post.turn()
    assert sum(post.tries.values()) == post.channels.counts()["failed"] == MOST_IN_VAIN
