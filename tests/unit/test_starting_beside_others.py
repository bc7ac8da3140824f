"""A worker that starts where others serve leaves clients to them, but not for so long that uvicorn ends it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server import app
from collab_server.realtime import process


class Seat:
    """Beside others that serve; counts how often that is asked."""

    looks = 0

    @property
    def others_serve(self) -> bool:
        self.looks += 1
        return True


@pytest.mark.parametrize(("age_seconds", "waits"), [(0.0, True), (3.0, True), (4.5, False)])
async def test_a_worker_that_took_long_to_import_does_not_wait_as_well(
    monkeypatch: pytest.MonkeyPatch, age_seconds: float, waits: bool
) -> None:
    monkeypatch.setattr(process, "age_seconds", lambda: age_seconds)
    monkeypatch.setattr(app, "STARTING_SECONDS", 0.1)
    node = SimpleNamespace(status=SimpleNamespace(has_started=False, is_draining=False))
    seat = Seat()
    await app._until_of_use(cast("Any", node), cast("Any", seat))
    assert (seat.looks > 1) is waits


def test_a_process_knows_how_long_it_has_been_there() -> None:
    first = process.age_seconds()
    assert 0 < first <= process.age_seconds()
