"""The gate: what comes out of it, and that every command is counted once."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from collab_server.config import Limits
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Conflict, RateLimited, UnknownCommand
from collab_server.services.commands.figures import Figures
from collab_server.services.commands.gate import CommandGate
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.turns import Turns

ANN = "A" * 32
WHO = cast("Identity", None)  # nobody behind this gate asks


class FakeCommands:
    """Answers as it is told to."""

    limits = Limits()

    def __init__(self) -> None:
        self.answers: Any = None

    def check_text(self, text: str) -> None: ...

    def read(self, entry: Any, payload: Any) -> Any:
        return SimpleNamespace()

    async def answer(self, who: Any, entry: Any, command: Any) -> JsonText:
        if isinstance(self.answers, BaseException):
            raise self.answers
        return JsonText("{}")


class House:
    """A gate, its commands and what it has counted."""

    def __init__(self) -> None:
        self.commands, self.figures, self.now = FakeCommands(), Figures(), 0.0
        turns = Turns(RateLimiter(per_second=1, burst=5))
        self.gate = CommandGate(
            "rest", cast("Any", self.commands), turns, self.figures, clock=lambda: self.now
        )

    def counted(self) -> dict[tuple[str, str], int]:
        """How many commands are over, by name and outcome."""
        tallies = self.figures.of("rest")
        return {(name, end): n for name, tally in tallies.items() for end, n in tally.outcomes.items()}

    async def pass_one(self, name: str = "me") -> JsonText:
        return await self.gate.answer(WHO, self.gate.read(ANN, name, {}))


@pytest.fixture
def house() -> House:
    return House()


async def test_a_command_is_counted_under_what_became_of_it(house: House) -> None:
    assert await house.pass_one() == "{}"
    house.commands.answers = Conflict("taken")
    with pytest.raises(Conflict):
        await house.pass_one("comment.edit")
    house.commands.answers = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await house.pass_one("share")
    house.gate.gave_up(house.gate.read(ANN, "topic.get", {}))
    assert house.counted() == {
        ("me", "ok"): 1,
        ("comment.edit", "conflict"): 1,
        ("share", "given up"): 1,
        ("topic.get", "given up"): 1,
    }


@pytest.mark.parametrize("name", ["no.such", None, 7, ["me"]])
async def test_whatever_a_client_makes_up_is_counted_under_one_name(house: House, name: Any) -> None:
    with pytest.raises(UnknownCommand):
        house.gate.read(ANN, name, {})
    assert house.counted() == {("unknown", "unknown_command"): 1}


async def test_a_command_that_is_worth_more_than_is_left_is_refused_when_it_is_read(house: House) -> None:
    for _ in range(5):
        house.gate.admit(ANN)
    with pytest.raises(RateLimited):
        house.gate.admit(ANN)
    assert house.counted() == {}
    assert house.gate.refused("me", RateLimited("too many")).code == "rate_limited"
    assert house.counted() == {("me", "rate_limited"): 1}


async def test_of_a_bug_the_client_hears_a_ticket_that_stands_in_the_log(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.commands.answers = KeyError("secret")
    with caplog.at_level(logging.ERROR), pytest.raises(ClientError) as raised:
        await house.pass_one()
    assert raised.value.code == "internal"
    assert "secret" not in str(raised.value.as_wire())
    [record] = caplog.records
    assert record.__dict__["ticket"] == raised.value.as_wire()["ticketId"]
    assert (record.__dict__["command"], record.__dict__["door"]) == ("me", "rest")
    assert house.counted() == {("me", "internal"): 1}


async def test_prometheus_is_told_how_long_commands_took(house: House) -> None:
    for seconds in (0.0, 0.01, 0.02, 20.0):
        passage = house.gate.read(ANN, "me", {})
        house.now += seconds
        await house.gate.answer(WHO, passage)
    registry = CollectorRegistry()
    registry.register(house.figures)
    text = generate_latest(registry).decode()

    def bucket(bound: str) -> str:
        return f'collab_command_seconds_bucket{{command="me",door="rest",le="{bound}"}}'

    for bound, count in (("0.0025", 1), ("0.01", 2), ("0.025", 3), ("10.0", 3), ("+Inf", 4)):
        assert f"{bucket(bound)} {count}.0" in text
    assert 'collab_command_seconds_sum{command="me",door="rest"} 20.03' in text
    assert 'collab_commands_total{command="me",door="rest",outcome="ok"} 4.0' in text
