"""Questions that come together are asked together, and the more there are, the longer they are gathered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest

from collab_server.errors import Paused
from collab_server.services.live.snapshots import LONGEST_WINDOW_SECONDS, Snapshots
from collab_server.storage import topics
from collab_server.storage.database import Database
from tests.harness.waiting import Stopwatch


class Asked:
    """Stands for `storage.topics.snapshots`: answers with the question, and remembers the queries' sizes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.error: Exception | None = None
        monkeypatch.setattr(topics, "snapshots", self)

    async def __call__(self, _database: Any, asked: Sequence[tuple[str, str]]) -> Sequence[Any]:
        self.sizes.append(len(asked))
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return asked


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return Asked(monkeypatch)


def reader() -> Snapshots:
    return Snapshots(cast("Database", None))


async def test_each_gets_the_answer_to_what_it_asked(asked: Asked) -> None:
    snapshots = reader()
    questions = [("topic", f"{n}") for n in range(20)]
    answers = await asyncio.gather(*(snapshots.read(*question) for question in questions))
    assert cast("list[Any]", answers) == questions
    assert asked.sizes == [20]


async def test_a_lonely_question_does_not_wait(asked: Asked) -> None:
    snapshots = reader()
    watch = Stopwatch()
    await snapshots.read("topic", "ann")
    await snapshots.read("topic", "ann")
    assert watch.seconds < 0.08
    assert asked.sizes == [1, 1]


async def test_a_storm_is_asked_in_few_queries(asked: Asked) -> None:
    snapshots = reader()

    async def come(number: int) -> None:
        await asyncio.sleep(number * 0.001)
        await snapshots.read("topic", f"{number}")

    await asyncio.gather(*(come(number) for number in range(400)))
    assert sum(asked.sizes) == 400
    assert len(asked.sizes) < 20


async def test_everybody_is_told_when_it_fails(asked: Asked) -> None:
    asked.error = Paused()
    snapshots = reader()
    answers = await asyncio.gather(
        *(snapshots.read("topic", f"{n}") for n in range(3)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [Paused] * 3


async def test_no_question_is_asked_any_more_once_it_has_stopped(asked: Asked) -> None:
    begun = asyncio.all_tasks()
    snapshots = reader()
    first = asyncio.create_task(snapshots.read("content:1:1", "ANN"))
    await first
    waiting = asyncio.create_task(snapshots.read("content:1:1", "BOB"))
    await asyncio.sleep(0)
    await snapshots.stop()
    waiting.cancel()
    await asyncio.wait((waiting,))
    await asyncio.sleep(2 * LONGEST_WINDOW_SECONDS)
    assert asked.sizes == [1]
    assert asyncio.all_tasks() == begun
