"""What is known of the database, as it is said to those who ask and to the administrator."""

from __future__ import annotations

import logging

import asyncpg
import pytest

from collab_server.storage.condition import Condition


@pytest.fixture
def condition() -> Condition:
    return Condition(name="mstr_collab", address="db:5432")


def test_what_is_refused_is_refused_for_what_is_the_matter(condition: Condition) -> None:
    assert str(condition.refusal()) == "the database is away"
    condition.set(True, None)
    assert str(condition.refusal()) == "the database is busy", "there was no time left, and nothing is wrong"
    assert (
        str(condition.paused_by(asyncpg.DiskFullError(), is_lost=False)) == "the database has no space left"
    )
    assert str(condition.refusal()) == "the database has no space left"
    condition.hindrance = None
    condition.paused_by(asyncpg.ReadOnlySQLTransactionError(), is_lost=False)
    assert str(condition.refusal()) == "the database is read-only"
    condition.set(False, "it was stopped")
    assert str(condition.refusal()) == "the database is away"


def test_the_log_says_whether_reads_go_on(condition: Condition, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    condition.set(True, None)
    condition.paused_by(asyncpg.DiskFullError(), is_lost=False)
    condition.set(False, "it was stopped")
    assert [record.getMessage() for record in caplog.records] == [
        "The database is up",
        "The database stores nothing: no space left on the database's disk",
        "The database is away: it was stopped",
    ]
