"""What is said of Redis: each time it goes away, once, and why."""

from __future__ import annotations

import logging

import pytest

from collab_server.cluster.counters import Counters
from collab_server.cluster.proof import DEAF_AFTER_SECONDS, Proof

REFUSED = "the Redis user may not do this: NOPERM …"


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("problem", [None, REFUSED])
def test_whoever_hears_nothing_says_that_redis_is_unavailable_whatever_was_known_before(
    problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock, counters = Clock(), Counters()
    proof = Proof(counters, clock)
    with caplog.at_level(logging.INFO, logger="collab_server"):
        for _ in range(2):
            proof.proved()
            for _ in range(3):
                if problem is not None:
                    proof.lost_connection(problem)
                clock.now += DEAF_AFTER_SECONDS + 0.1
                assert proof.has_run_out()
                assert proof.problem == (problem or proof.deaf)
    away = f"Redis is unavailable: {problem or proof.deaf}"
    assert caplog.messages == ["Redis is available", away, "Redis is available", away]
    assert counters.outages == 2


def test_a_connection_that_ends_and_is_made_anew_is_no_outage(caplog: pytest.LogCaptureFixture) -> None:
    counters = Counters()
    proof = Proof(counters, Clock())
    with caplog.at_level(logging.INFO, logger="collab_server"):
        proof.proved()
        proof.lost_connection("Redis closed the connection")
        problems = [proof.problem]
        proof.proved()
        problems.append(proof.problem)
    assert problems == ["Redis closed the connection", None]
    assert caplog.messages == ["Redis is available"]
    assert counters.outages == 0
