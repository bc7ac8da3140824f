"""What waiting for the database costs: a command no more than one statement may, and nobody once it is away."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.errors import Paused
from collab_server.storage.condition import Condition
from collab_server.storage.database import Patience
from collab_server.storage.prober import STATEMENT_TIMEOUT, Prober


class SlowDatabase:
    """Answers after a while, and adds up how long that was; `since` are the beginnings that it was told."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.since: list[float] = []
        self.is_away = False

    async def _read(self, *_: Any, since: float) -> list[Any]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.since.append(since)
        await asyncio.sleep(0.02)
        self.seconds += loop.time() - began
        if self.is_away:
            raise Paused
        return []

    async def run(self, _work: Any, *, since: float) -> list[Any]:
        return await self._read(since=since)


@pytest.mark.parametrize("is_away", [False, True], ids=["answered", "refused"])
async def test_all_that_a_command_waits_counts_together_and_what_it_does_between_does_not(
    *, is_away: bool
) -> None:
    loop = asyncio.get_running_loop()
    slow = SlowDatabase()
    patience = Patience(cast("Any", slow))
    began = loop.time()
    await patience.fetch("")
    await asyncio.sleep(0.1)  # Library is asked
    slow.is_away = is_away
    for read in (patience.fetchrow, patience.fetchval, patience.run):
        try:
            await read(cast("Any", ""))
        except Paused:
            assert is_away
    since = patience.since
    assert loop.time() - since >= patience._spent_seconds - 1e-6
    assert slow.seconds <= patience._spent_seconds <= loop.time() - began - 0.09
    assert slow.since == sorted(slow.since)
    assert len(slow.since) == 4


async def test_a_connection_to_the_server_before_is_used_no_more_once_another_one_answers() -> None:
    """Also where nothing has cut it: who stands between may lead new connections alone to the new server."""
    told: list[str] = []
    pools = SimpleNamespace(replace=lambda: told.append("replace"))
    prober = Prober(SimpleNamespace(address="a"), Condition(name="d", address="a"), pools)  # type: ignore[arg-type]
    started_at = datetime(2026, 11, 23, tzinfo=UTC)

    class Connection:
        terminate = None

        async def fetchrow(self, _: str) -> Any:
            return {
                "is_read_only": False,
                "is_standby": False,
                "started_at": started_at,
                "process": 0,
                "statement_timeout": STATEMENT_TIMEOUT,
                "now": datetime.now(UTC),
            }

    for _ in range(2):
        await prober._ask(cast("Any", Connection()))
    assert told == []
    started_at += timedelta(hours=1)
    for _ in range(2):
        await prober._ask(cast("Any", Connection()))
    assert told == ["replace"]


def test_when_the_database_goes_nobody_waits_for_its_connections_any_longer() -> None:
    forgotten: list[str] = []
    pools = SimpleNamespace(forget=lambda: forgotten.append("all"))
    prober = Prober(cast("Any", None), Condition(name="d", address="a"), cast("Any", pools))
    prober._set(False, "not connected yet")
    prober._set(True, None)
    assert forgotten == []
    prober._set(False, "it is away")
    prober._set(False, "it is still away")
    assert forgotten == ["all"]
