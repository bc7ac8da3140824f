"""What Library said about rights, passed on between the nodes.

When a node goes, its clients come to the others within seconds; if each of those had to ask Library again what each
of them may open, a storm of clients would be a storm of calls. So whatever a node is told it passes on, and a node
that has just come is told what the others know. An answer keeps its age on the way, and what it may have been held up
for is added: it is believed no longer than where it was given. One whose age no answer can have is not believed,
whoever tells it. A refusal is passed on too, and so is heeded everywhere at once.

Hints only: what is lost is asked of Library. Nothing runs here; the bus calls, and so do the questions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from collab_server.authority.library.questions import Questions
from collab_server.domain.contents import ContentInfo
from collab_server.domain.hints import Kind
from collab_server.ports import FRESH_SECONDS, Bus, ContentAnswer

ROWS_A_MESSAGE = 200
MOST_TOLD = 20_000


class SharedRights:
    """Passes on what `questions` is told; `bus` reaches the other nodes. Answers are `most_age_seconds` old at most."""

    def __init__(self, questions: Questions, bus: Bus, *, most_age_seconds: float = FRESH_SECONDS) -> None:
        self._questions = questions
        self._most_age_seconds = most_age_seconds
        self._bus = bus
        questions.on_answer(self._tell_one)
        bus.listen(Kind.RIGHTS, self._hear)
        bus.on_node_found(self._tell_all)

    def _hear(self, _node: str, payload: bytes) -> None:
        """What another node was told; one of another version may know more about it."""
        longest_delay_seconds = self._bus.longest_delay_seconds
        for user_id, project_id, object_id, type, name, age_seconds, *_ in json.loads(payload):
            if not 0 <= age_seconds <= self._most_age_seconds:
                continue
            content = None
            if type:
                content = ContentInfo(object_id, name, type)
                age_seconds += longest_delay_seconds
            self._questions.hear(ContentAnswer(user_id, project_id, object_id, content, age_seconds))

    def _tell_all(self, _node: str) -> None:
        """Tell a node that has come what is known here."""
        known = self._questions.content_answers(MOST_TOLD)
        for start in range(0, len(known), ROWS_A_MESSAGE):
            self._tell(known[start : start + ROWS_A_MESSAGE])

    def _tell_one(self, answer: ContentAnswer) -> None:
        self._tell([answer])

    def _tell(self, answers: Sequence[ContentAnswer]) -> None:
        rows = json.dumps([_row(answer) for answer in answers], separators=(",", ":"))
        self._bus.publish(Kind.RIGHTS, rows.encode())


def _row(answer: ContentAnswer) -> list[Any]:
    type, name = (answer.content.type, answer.content.name) if answer.content is not None else (0, "")
    return [answer.user_id, answer.project_id, answer.object_id, type, name, round(answer.age_seconds, 3)]
