"""A node notices that its clock is not the database's, and nothing else makes it think so."""

import logging

import pytest

from collab_server.storage.clock import ClockWatch

NOON = 1_800_000_000.0


@pytest.mark.parametrize(
    ("wrong_by", "words"), [(90.0, "90 s ahead of the database's"), (-7200.0, "7200 s behind the database's")]
)
def test_a_wrong_clock_is_one_line_and_so_is_a_right_one(
    caplog: pytest.LogCaptureFixture, wrong_by: float, words: str
) -> None:
    watch = ClockWatch()
    with caplog.at_level(logging.INFO):
        for off in (0.0, 0.5, wrong_by, wrong_by, wrong_by / abs(wrong_by) * 1.5, wrong_by, 0.2, 0.0):
            watch.compare(NOON + off, NOON, NOON + off)
    assert [record.getMessage() for record in caplog.records] == [
        f"the clock of this node is {words}: set it by NTP",
        "the clock of this node agrees with the database's again",
    ]


def test_a_slow_answer_is_no_wrong_clock() -> None:
    watch = ClockWatch()
    for database_at in (NOON, NOON + 0.5, NOON + 30):
        watch.compare(NOON, database_at, NOON + 30)
        assert watch.ahead_seconds == 0
    watch.compare(NOON, NOON - 5, NOON + 30)
    assert watch.ahead_seconds == 5
    watch.compare(NOON, NOON + 33, NOON + 30)
    assert watch.ahead_seconds == -3
