"""What is believed of the rights that another node tells of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typing_extensions import override

from collab_server.authority.library.rights import SharedRights
from collab_server.cluster.alone import Alone
from collab_server.domain.hints import Kind
from collab_server.ports import ContentAnswer, Handler

USER, PROJECT, OBJECT = "A" * 32, "B" * 32, "C" * 32


class Questions:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.heard: list[ContentAnswer] = []

    def on_answer(self, callback: Any) -> None:
        """Nothing is asked here."""

    def hear(self, answer: ContentAnswer) -> None:
        self.heard.append(answer)


class SlowBus(Alone):
    """What is heard on it was under way for so long."""

    def __init__(self, delay: float) -> None:
        self.longest_delay_seconds = delay
        self.handlers: dict[int, Handler] = {}

    @override
    def listen(self, kind: int, handler: Handler) -> None:
        self.handlers[kind] = handler


def hear(*ages: float, type: int = 55, delay: float = 0.0) -> list[float]:
    """The ages of those that are believed."""
    questions = Questions()
    rows = [[USER, PROJECT, OBJECT, type, "Name", age] for age in ages]
    bus = SlowBus(delay)
    SharedRights(questions, bus)  # type: ignore[arg-type]
    bus.handlers[Kind.RIGHTS]("other", json.dumps(rows).encode())
    return [answer.age_seconds for answer in questions.heard]


def test_ages_that_no_answer_can_have_are_not_believed_and_spoil_no_others() -> None:
    wrong = (-0.001, -1e12, 60.001, 1e12, float("nan"), float("inf"), float("-inf"))
    assert hear(0.0, *wrong, 60.0) == [0.0, 60.0]


@pytest.mark.parametrize(("type", "age"), [(55, 12.5), (0, 2.5)])
def test_a_right_is_as_old_as_it_was_and_under_way_and_a_refusal_is_heeded_as_it_was_given(
    type: int, age: float
) -> None:
    assert hear(2.5, type=type, delay=10.0) == [age]
