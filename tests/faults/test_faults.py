"""Nothing acknowledged is ever lost: a short run under faults, and bugs planted in real nodes, which it finds.

`FAULTS_SEED` repeats a run; `FAULTS_COUNT` makes it longer. See docs/faults.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Iterator

import pytest

from tests.faults.report import as_text, summary, table, tallies
from tests.faults.run import run
from tests.faults.schedule import ALL_KINDS, BACK_IN_TIME, OF_WORKERS, Arrangement, make_schedule

RUN_SECONDS = 380
PLANT_SECONDS = 90


@pytest.fixture(autouse=True)
def _quiet_clients() -> Iterator[None]:
    """Engine.IO's client logs what the faults do to it."""
    logger = logging.getLogger("engineio")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(level)


async def test_nothing_acknowledged_is_lost_doubled_or_out_of_order() -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(10**6))
    count = int(os.environ.get("FAULTS_COUNT") or 30)
    said: list[str] = []
    async with asyncio.timeout(RUN_SECONDS * max(count, 30) / 30):
        outcome = await run(make_schedule(seed, count), seed, say=said.append)
    print("\n".join(said), as_text(table(tallies(outcome))), summary(outcome), *outcome.tracebacks, sep="\n")
    assert outcome.findings == [], f"repeat it with: make faults N={count} SEED={seed}"
    assert outcome.tracebacks == [], "a node logged a bug of ours"
    assert outcome.acknowledged > 5 * count
    assert len(outcome.intervals) == count


@pytest.mark.parametrize("arrangement", ["workers", "vertical"])
async def test_nothing_is_lost_between_workers_of_nodes_and_a_balancer_without_affinity(
    arrangement: Arrangement,
) -> None:
    seed = int(os.environ.get("FAULTS_SEED") or random.randrange(10**6))
    kinds = [*OF_WORKERS, "node kill", "client cut"]
    steps = make_schedule(seed, 4, kinds=kinds, nodes=1 if arrangement == "vertical" else 3)
    said: list[str] = []
    async with asyncio.timeout(PLANT_SECONDS):
        outcome = await run(steps, seed, say=said.append, arrangement=arrangement)
    print("\n".join(said), as_text(table(tallies(outcome))), summary(outcome), *outcome.tracebacks, sep="\n")
    assert outcome.findings == [], f"seed {seed}"
    assert outcome.tracebacks == [], "a node logged a bug of ours"
    assert outcome.acknowledged > 20


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        ("drop_a_hint_and_repair_nothing", "undelivered"),
        ("acknowledge_before_the_commit", "lost"),
        ("forget_a_request_id", "doubled"),
        ("deliver_after_removal", "not allowed"),
    ],
)
async def test_a_bug_planted_in_the_nodes_is_found(plant: str, kind: str) -> None:
    found: set[str] = set()
    async with asyncio.timeout(PLANT_SECONDS):
        for seed in range(1, 4):  # whether writes meet what is planted is up to chance: three runs surely do
            steps = make_schedule(seed, 2, kinds=["library cut", "redis cut"])
            outcome = await run(steps, seed, plant=plant, heal_seconds=4, pause_seconds=0.05)
            found |= {finding.kind for finding in outcome.findings}
            if kind in found:
                break
    assert kind in found


async def test_a_database_that_went_back_in_time_unnoticed_is_found() -> None:
    steps = make_schedule(1, 1, kinds=[BACK_IN_TIME])
    async with asyncio.timeout(PLANT_SECONDS):
        outcome = await run(steps, 1, plant="believe_the_database", heal_seconds=4, pause_seconds=0.05)
    assert {"lost", "phantom"} <= {finding.kind for finding in outcome.findings}


def test_a_schedule_is_the_same_for_the_same_seed() -> None:
    assert make_schedule(7, 100) == make_schedule(7, 100)
    assert make_schedule(7, 100) != make_schedule(8, 100)


def test_a_schedule_deals_every_kind_before_it_repeats_one() -> None:
    faults = [fault for step in make_schedule(3, len(ALL_KINDS)) for fault in step.faults]
    dealt = [fault.kind for fault in faults[: len(ALL_KINDS) - 5]]
    assert len(set(dealt)) == len(dealt)


def test_two_faults_at_once_never_strike_the_same_thing() -> None:
    for step in make_schedule(5, 400):
        assert len({fault.kind.partition(" ")[0] for fault in step.faults}) == len(step.faults)
