"""What a person may do per second, on one node and on several."""

from __future__ import annotations

import json

import pytest

from collab_server.errors import RateLimited
from collab_server.services.commands.limiter import (
    FORGET_ABOVE,
    FORGET_SECONDS,
    KEPT_AT_MOST,
    REFUSALS_WAIT_SECONDS,
    RateLimiter,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def limiter(clock: Clock) -> RateLimiter:
    return RateLimiter(per_second=10, burst=5, clock=clock)


def spend(bucket: RateLimiter, times: int, user: str = "ann") -> None:
    for _ in range(times):
        bucket.spend(user)


def test_a_burst_is_allowed_and_then_refused_until_the_bucket_refills() -> None:
    clock = Clock()
    bucket = limiter(clock)
    spend(bucket, 5)
    with pytest.raises(RateLimited) as refused:
        bucket.spend("ann")
    assert refused.value.retry_after == pytest.approx(0.1)
    clock.now += 0.1
    spend(bucket, 1)
    with pytest.raises(RateLimited):
        bucket.spend("ann")


def test_one_user_does_not_spend_anothers_commands() -> None:
    bucket = limiter(Clock())
    spend(bucket, 5)
    spend(bucket, 5, user="bob")


def test_what_was_spent_on_another_node_is_missing_here() -> None:
    clock = Clock()
    here, there = limiter(clock), limiter(clock)
    spend(there, 4)
    report = there.report()
    assert report is not None
    here.hear("other", report)
    spend(here, 1)
    with pytest.raises(RateLimited):
        here.spend("ann")


def test_spending_is_reported_once() -> None:
    bucket = limiter(Clock())
    assert bucket.report() is None
    spend(bucket, 2)
    assert bucket.report() == b'{"ann":2}'
    assert bucket.report() is None


def test_a_bucket_never_owes_more_than_a_burst() -> None:
    clock = Clock()
    bucket = limiter(clock)
    bucket.hear("other", b'{"ann":1000000}')
    with pytest.raises(RateLimited) as refused:
        bucket.spend("ann")
    assert refused.value.retry_after == pytest.approx(0.6)


def test_what_is_dear_is_let_through_and_paid_for_afterwards() -> None:
    clock = Clock()
    bucket = limiter(clock)
    spend(bucket, 4)
    bucket.spend("ann", 4)
    with pytest.raises(RateLimited) as refused:
        bucket.spend("ann")
    assert refused.value.retry_after == pytest.approx(0.4)
    clock.now += 0.4
    spend(bucket, 1)
    assert bucket.report() == b'{"ann":9}'


def test_of_dear_ones_that_were_let_in_together_no_more_is_done_than_there_is() -> None:
    clock = Clock()
    bucket = limiter(clock)
    spend(bucket, 5)
    bucket.spend_more("ann", 3, spent=1)
    with pytest.raises(RateLimited) as refused:
        bucket.spend_more("ann", 3, spent=1)
    assert refused.value.retry_after == pytest.approx(0.4)
    bucket.spend_more("ann", 3, spent=4)  # all that is owed is its own
    bucket.spend_more("ann", 0, spent=1)


def test_how_long_to_wait_until_nothing_is_owed() -> None:
    clock = Clock()
    bucket = limiter(clock)
    bucket.charge("ann", 5)
    assert bucket.wait_seconds("ann") == 0
    bucket.charge("ann", 3)
    assert bucket.wait_seconds("ann") == pytest.approx(0.3)
    clock.now += 0.3
    assert bucket.wait_seconds("ann") == pytest.approx(0)


def test_what_is_taken_if_it_is_there_is_never_owed() -> None:
    bucket = limiter(Clock())
    assert [bucket.take_if_there("ann", 2) for _ in range(3)] == [True, True, False]
    assert bucket.report() == b'{"ann":4}'
    assert bucket.take_if_there("ann", 1)
    assert bucket.wait_seconds("ann") == 0


def test_what_is_charged_is_never_refused_and_told_to_the_others() -> None:
    clock = Clock()
    here, there = limiter(clock), limiter(clock)
    here.charge("ann", 8)
    here.charge("ann", 0)
    report = here.report()
    assert report == b'{"ann":8}'
    there.hear("other", report)
    for bucket in (here, there):
        with pytest.raises(RateLimited) as refused:
            bucket.spend("ann")
        assert refused.value.retry_after == pytest.approx(0.4)


def test_whoever_has_to_wait_is_never_told_no_time_at_all() -> None:
    clock = Clock()
    bucket = limiter(clock)
    spend(bucket, 5)
    clock.now += 0.09995
    with pytest.raises(RateLimited) as refused:
        bucket.spend("ann")
    assert refused.value.retry_after == 0.001


def test_buckets_are_forgotten_when_they_are_full_and_bounded_when_they_are_not() -> None:
    clock = Clock()
    bucket = limiter(clock)
    for number in range(FORGET_ABOVE + 1):
        bucket.hear("other", json.dumps({f"user{number}": 1}).encode())
    assert len(bucket) == FORGET_ABOVE + 1
    clock.now += FORGET_SECONDS
    bucket.hear("other", b'{"ann":5}')
    assert len(bucket) == 1
    clock.now += FORGET_SECONDS
    bucket.hear("other", json.dumps({f"user{number}": 3 for number in range(KEPT_AT_MOST + 10)}).encode())
    assert len(bucket) == KEPT_AT_MOST


def test_a_whole_number_of_recipients_is_taken_or_none() -> None:
    clock = Clock()
    bucket = RateLimiter(per_second=10, burst=100, expected="expected less", clock=clock)
    bucket.spend_whole("ann", 0)
    bucket.spend_whole("ann", 60)
    with pytest.raises(RateLimited, match="expected less") as refused:
        bucket.spend_whole("ann", 50)
    assert refused.value.retry_after == pytest.approx(1)
    bucket.spend_whole("ann", 40)
    clock.now += 10
    bucket.spend_whole("ann", 500)  # more than there can be at once is let through by a full bucket
    with pytest.raises(RateLimited):
        bucket.spend_whole("ann", 1)


def test_refusals_of_one_person_come_one_after_the_other_and_keep_nobody_for_ever() -> None:
    clock = Clock()
    bucket = limiter(clock)
    assert [bucket.refusal_seconds("eve", 0.1) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.3])
    assert bucket.refusal_seconds("ann", 0.1) == pytest.approx(0.1)
    for _ in range(1000):
        assert bucket.refusal_seconds("eve", 0.1) <= REFUSALS_WAIT_SECONDS
    clock.now += REFUSALS_WAIT_SECONDS
    assert bucket.refusal_seconds("eve", 0.1) == pytest.approx(0.1)


def test_the_share_that_is_left_is_of_the_last_time_something_was_taken() -> None:
    clock = Clock()
    bucket = limiter(clock)
    assert bucket.share_left("ann") == 1
    spend(bucket, 2)
    assert bucket.share_left("ann") == pytest.approx(0.6)
    clock.now += 10
    spend(bucket, 1)
    assert bucket.share_left("ann") == pytest.approx(0.8)
