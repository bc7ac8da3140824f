"""How long a node goes on with a job when it cannot tell whether the job is still its own."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from collab_server.errors import Paused
from collab_server.services import jobs as module
from collab_server.services.jobs import Job, Jobs
from collab_server.storage import jobs
from collab_server.storage.jobs import Claim, ClaimLost
from collab_server.telemetry.metrics import Metrics

CLAIM = Claim("job", "node", 1)


@pytest.fixture
def doing(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """While the database is away."""

    async def renew(*_: Any, **__: Any) -> bool:
        raise Paused

    async def at_once() -> None:
        """The database is open."""

    monkeypatch.setattr(jobs, "renew", renew)
    monkeypatch.setattr(module, "RENEW_SECONDS", 0.01)
    return Jobs(cast("Any", None), (), Metrics(), node="node", until_open=at_once)


async def test_a_job_is_left_once_its_claim_has_run_out(doing: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_SECONDS", 0.05)
    is_cut = asyncio.Event()

    async def work(_lease: Any) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            is_cut.set()

    async with asyncio.timeout(20):
        with pytest.raises(ClaimLost):
            await doing._work(Job("job", 1.0, work), CLAIM)
    assert is_cut.is_set()


async def test_a_job_goes_on_while_its_claim_lasts(doing: Jobs) -> None:
    tried = 0

    async def work(_lease: Any) -> None:
        nonlocal tried
        for _ in range(10):
            await asyncio.sleep(0.01)
            tried += 1

    async with asyncio.timeout(20):
        await doing._work(Job("job", 1.0, work), CLAIM)
    assert tried == 10
