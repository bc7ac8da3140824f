"""The gate: what comes out of it, and that every command is counted once."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.config import Limits
from collab_server.domain.jsontext import JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError, Conflict, RateLimited, UnknownCommand
from collab_server.services.commands.figures import Figures
from collab_server.services.commands.gate import CommandGate
from collab_server.services.commands.limiter import RateLimiter
from collab_server.services.commands.turns import EACH, EACH_WAITING, Turns
from collab_server.services.commands.weights import BYTES_OUT
from collab_server.telemetry.journal import Journal
from collab_server.telemetry.metrics import Metrics

ANN = "A" * 32
WHO = cast("Identity", None)  # nobody behind this gate asks


class FakeCommands:
    """Answers as it is told to."""

    limits = Limits()

    def __init__(self) -> None:
        self.answers: Any = None
        self.answer_text = "{}"

    def check_text(self, text: str) -> None: ...

    def read(self, entry: Any, payload: Any) -> Any:
        return SimpleNamespace()

    async def answer(self, who: Any, entry: Any, command: Any) -> JsonText:
        if isinstance(self.answers, BaseException):
            raise self.answers
        return JsonText(self.answer_text)


class House:
    """A gate, its commands and what it has counted."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.commands, self.figures, self.now = FakeCommands(), Figures(self.metrics), 0.0
        self.begun = 0
        self.limiter = RateLimiter(per_second=1, burst=5)
        turns = Turns(self.limiter)
        self.gate = CommandGate(
            "rest", cast("Any", self.commands), turns, self.figures, Journal(), clock=lambda: self.now
        )

    def counted(self) -> dict[tuple[str, str], int]:
        """How many commands are over, by name and outcome."""
        tallies = self.figures.of("rest")
        return {(name, end): n for name, tally in tallies.items() for end, n in tally.outcomes.items()}

    async def pass_one(self, name: str = "me") -> JsonText:
        return await self.gate.answer(WHO, self.gate.read(ANN, name, {}))

    async def take_turn(self, may_end: asyncio.Event) -> None:
        """A command in turn, of which nothing is known but when it is over."""
        async with self.gate.in_turn(ANN, "me"):
            self.begun += 1
            await may_end.wait()


def set_already() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


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
    assert house.gate.refused(ANN, "me", RateLimited("too many")).code == "rate_limited"
    assert house.counted() == {("me", "rate_limited"): 1}


async def test_an_answer_costs_what_it_weighs(house: House) -> None:
    house.commands.answer_text = "x" * (3 * BYTES_OUT + 1)
    await house.pass_one()
    assert house.limiter.report() == b'{"%s":3}' % ANN.encode()


async def test_a_refusal_costs_what_it_shows(house: House) -> None:
    now = {"comment": {"text": "x" * (3 * BYTES_OUT)}}
    house.commands.answers = Conflict("the comment was changed meanwhile", now=now)
    with pytest.raises(Conflict):
        await house.pass_one()
    assert house.limiter.report() == b'{"%s":3}' % ANN.encode()


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
    text = house.metrics.render().decode()

    def bucket(bound: str) -> str:
        return f'collab_command_seconds_bucket{{command="me",door="rest",le="{bound}"}}'

    for bound, count in (("0.0025", 1), ("0.01", 2), ("0.025", 3), ("10.0", 3), ("+Inf", 4)):
        assert f"{bucket(bound)} {count}.0" in text
    assert 'collab_command_seconds_sum{command="me",door="rest"} 20.03' in text
    assert 'collab_commands_total{command="me",door="rest",outcome="ok"} 4.0' in text


async def test_a_command_that_is_refused_its_turn_is_counted_and_never_begins(house: House) -> None:
    tasks = [asyncio.create_task(house.take_turn(asyncio.Event())) for _ in range(EACH)]
    while house.begun < EACH:
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(house.take_turn(asyncio.Event())) for _ in range(EACH_WAITING)]
    await asyncio.sleep(0)  # each has taken its place
    with pytest.raises(RateLimited):
        await house.take_turn(asyncio.Event())
    assert (house.begun, house.counted()) == (EACH, {("me", "rate_limited"): 1})
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(20):  # nobody who gave up has kept a turn
        await asyncio.gather(*(house.take_turn(set_already()) for _ in range(EACH + 1)))


@pytest.mark.parametrize("how", ["done", "failed", "cancelled"])
async def test_a_turn_lasts_until_what_runs_beside_is_over(house: House, how: str) -> None:
    """As a read at the Socket.IO door, which delays nothing that comes behind it."""

    async def read(may_end: asyncio.Event) -> None:
        await may_end.wait()
        if how == "failed":
            raise ValueError

    ends = [asyncio.Event() for _ in range(EACH)]
    tasks = [asyncio.create_task(read(end)) for end in ends]
    for task in tasks:
        async with house.gate.in_turn(ANN, "me") as turn:
            turn.keep_until(task)
    behind = asyncio.create_task(house.take_turn(set_already()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert house.begun == 0
    if how == "cancelled":
        tasks[0].cancel()
    ends[0].set()
    await asyncio.wait_for(behind, 5)
    for end in ends:
        end.set()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_turn_is_over_when_the_command_fails(house: House) -> None:
    for _ in range(2 * EACH):
        with pytest.raises(ValueError, match="bad"):
            async with asyncio.timeout(20), house.gate.in_turn(ANN, "me"):
                raise ValueError("bad")
