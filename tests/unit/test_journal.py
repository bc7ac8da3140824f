"""Lines about what clients do and hear: every ticket is found, and nobody writes more than they send."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from typing_extensions import override

from collab_server import telemetry
from collab_server.errors import CODES, ClientError, Internal, Invalid, NotFound, Unauthenticated
from collab_server.telemetry.journal import (
    LINES,
    LINES_OF_ALL,
    LINES_OF_CONNECTIONS,
    Journal,
    person,
    stranger,
)

ANN, BOB = person("A" * 32), person("B" * 32)


class Written(logging.Handler):
    """What was logged, as facts."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append({"event": record.getMessage(), **vars(record)})

    def of(self, ticket: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("ticket") == ticket]


@pytest.fixture
def written() -> Any:
    handler, logger = Written(), logging.getLogger("collab_server.telemetry.journal")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_error_up_to_ten_a_minute_has_a_line_of_its_own(written: Written) -> None:
    journal = Journal(["text"])
    for number in range(LINES):
        heard = journal.error(Invalid("expected a text", field="text[3].x"), ANN, command="comment.add")
        (line,) = written.of(heard.ticket_id)
        assert (line["code"], line["user"], line["field"]) == ("invalid", ANN.name, "text")
        assert (line["why"], line["command"]) == ("expected a text", "comment.add")
        assert len(written.lines) == number + 1


def test_more_errors_of_a_minute_share_a_ticket_and_are_counted(written: Written) -> None:
    clock = Clock()
    journal = Journal(clock=clock)
    errors = [NotFound() if number % 3 else Invalid("no") for number in range(100)]
    heard = [journal.error(error, ANN).ticket_id for error in errors]
    assert len(set(heard)) == LINES + 1
    assert all(written.of(ticket) for ticket in heard)
    assert len(written.lines) == LINES + 1
    assert "under the same ticket" in written.lines[-1]["event"]
    clock.now = 61.0
    later = journal.error(NotFound(), ANN)
    summary, line = written.lines[LINES + 1 :]
    assert (summary["ticket"], summary["user"]) == (heard[-1], ANN.name)
    assert summary["counts"] == "not_found 60, invalid 30"
    assert line["ticket"] == later.ticket_id != heard[-1]


def test_one_person_has_no_part_in_the_lines_of_another(written: Written) -> None:
    journal = Journal()
    for _ in range(50):
        journal.error(NotFound(), ANN)
    journal.error(NotFound(), BOB)
    assert written.lines[-1]["user"] == BOB.name
    assert written.lines[-1]["event"] == "an error was sent"


def test_strangers_from_anywhere_write_little_and_find_every_ticket(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry.journal, "MOST_KNOWN", 500)
    clock = Clock()
    journal = Journal(clock=clock)
    tickets = set()
    for number in range(3_000):
        error = journal.error(
            Unauthenticated("a token is needed"), stranger(f"2001:db8:{number % 900:x}::{number:x}")
        )
        tickets.add(error.ticket_id)
        journal.line("a request was refused", stranger(f"10.{number % 250}.{number % 199}.1"))
    assert len(written.lines) <= 2 * LINES_OF_ALL["strangers"] + 1
    assert all(written.of(ticket) for ticket in tickets)
    assert len(journal._minutes) <= 500 + 10
    clock.now = 1000.0
    journal.error(Unauthenticated("a token is needed"), stranger("::1"))
    assert len(written.lines) <= 3 * LINES_OF_ALL["strangers"]
    counts = [line["counts"] for line in written.lines if "counts" in line]
    sums = sum(int(part.split()[-1]) for line in counts for part in line.split(", "))
    full = sum(
        "counts" not in line and "under the same ticket" not in line["event"] for line in written.lines
    )
    assert sums + full == 2 * 3_000 + 1


def test_a_bug_is_heard_as_internal_and_found_with_its_traceback(written: Written) -> None:
    try:
        raise KeyError("a secret")
    except KeyError as error:
        heard = Journal().error(error, ANN, command="me")
    assert (heard.code, "secret" in heard.message) == ("internal", False)
    line, trace = written.of(heard.ticket_id)
    assert (line["exception"], trace["exc_info"][0]) == ("KeyError", KeyError)
    assert "why" not in line


def test_what_two_people_hear_of_the_same_has_two_tickets(written: Written) -> None:
    journal, error = Journal(), NotFound("topic")
    for_ann, for_bob = journal.error(error, ANN), journal.error(error, BOB)
    assert for_ann.ticket_id != for_bob.ticket_id
    assert (for_ann.message, type(for_bob)) == (for_bob.message, NotFound)
    assert [written.of(heard.ticket_id)[0]["user"] for heard in (for_ann, for_bob)] == [ANN.name, BOB.name]


@pytest.mark.parametrize("field", ["WordsOfAUser", "WordsOfAUser.text", "viewState.WordsOfAUser"])
def test_names_that_somebody_has_made_up_are_not_written(written: Written, field: str) -> None:
    Journal(["text", "viewState"]).error(Invalid("is not known here", field=field), ANN)
    assert "WordsOfAUser" not in repr(written.lines)


def test_the_lines_about_connections_of_a_person_are_bounded_and_counted(written: Written) -> None:
    clock = Clock()
    journal = Journal(clock=clock)
    for _ in range(LINES_OF_CONNECTIONS):
        journal.line("signed in", ANN, door="socketio")
        journal.line("disconnected", ANN, why="transport close")
    assert len(written.lines) == LINES_OF_CONNECTIONS
    clock.now = 100.0
    journal.line("signed in", BOB)
    half = LINES_OF_CONNECTIONS // 2
    assert written.lines[-2]["counts"] == f"signed in {half}, disconnected {half}"


def test_an_error_told_once_more_is_the_same_but_for_its_ticket() -> None:
    for kind in CODES.values():
        error: ClientError = Internal() if kind is Internal else kind("words")
        error.retry_after = 7
        again = error.once_more()
        assert {**again.as_wire(), "ticketId": ""} == {**error.as_wire(), "ticketId": ""}
        assert again.ticket_id != error.ticket_id
