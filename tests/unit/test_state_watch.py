"""How the node is, as those are told who are connected to it."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.services.state_watch import StateWatch

STATES = [
    (None, True, True),
    ("the database", True, False),
    ("the database", False, False),
    ("Redis", True, True),
]
"""The reason, and whether people can read and write."""
RUNNING = {"state": "running", "reason": None, "serving": {"reads": True, "writes": True, "live": True}}


class Hub:
    """Keeps what each of those was told last who have come."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any] | None] = []
        self.greeting: Any = None

    def tell_all(self, _: str, state: dict[str, Any]) -> None:
        self.told = [state for _ in self.told]

    def come(self) -> None:
        """Somebody is here, and then welcomed."""
        self.told.append(None)
        state = self.greeting()
        if state is not None:
            self.told[-1] = json.loads(state)


@pytest.mark.parametrize("seed", range(20))
def test_however_somebody_comes_they_know_what_all_others_know(seed: int) -> None:
    """Also where the node is otherwise for so short that nobody hears of it."""
    chance, hub = random.Random(seed), Hub()
    status = SimpleNamespace(is_draining=False, look=lambda: None, drain=lambda: None)
    watch = StateWatch(
        cast("Any", status), cast("Any", hub), cast("Any", SimpleNamespace(note=lambda **_: None))
    )

    def become() -> None:
        status.reason, reads, writes = chance.choice(STATES)
        status.is_running = status.reason is None
        status.serving = SimpleNamespace(reads=reads, writes=writes, live=True)

    become()
    watch.look()
    for _ in range(200):
        step = chance.choice([become, become, hub.come, hub.come, watch.look])
        step()
        if step == watch.look:
            state = "running" if status.is_running else "paused"
            reads, writes = status.serving.reads, status.serving.writes
            serving = {"reads": reads, "writes": writes, "live": True}
            expected = {"state": state, "reason": status.reason, "serving": serving}
            assert [told or RUNNING for told in hub.told] == [expected] * len(hub.told)
