"""Calls in flight: who asks at the same time shares one call, and who comes a moment later asks anew."""

from __future__ import annotations

import asyncio
import tracemalloc
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from collab_server.authority.library.answers import Answers
from collab_server.authority.library.calls import SessionGone
from collab_server.authority.library.library import Library
from collab_server.domain.flights import Flights
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import Unauthenticated


async def test_who_comes_in_the_turn_in_which_a_call_lands_asks_anew() -> None:
    flights = Flights()
    is_ready = asyncio.Event()

    async def ask(answer: str) -> str:
        await is_ready.wait()
        return answer

    async def come_late() -> str:
        await is_ready.wait()  # wakes in the same turn as the call in flight, behind it
        return await flights.join("?", lambda: ask("second"))

    asking = [asyncio.create_task(flights.join("?", lambda: ask("first")))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.append(asyncio.create_task(come_late()))
    await asyncio.sleep(0)
    is_ready.set()
    assert await asyncio.gather(*asking) == ["first", "second"]
    assert await flights.join("?", lambda: ask("third")) == "third"


async def test_a_session_that_ends_while_another_of_the_same_user_asks_holds_nothing_up() -> None:
    """Asked through the one session, the question is asked again through the other; it used to spin for ever."""
    library = Library("http://127.0.0.1:9/api")
    is_ready = asyncio.Event()
    one, two = identity("one"), identity("two")

    async def ask(session: AuthoritySession, user_id: str) -> User:
        if session != one.session:
            return User(user_id, "Bob", "B")
        await is_ready.wait()
        raise SessionGone(session)

    async def come_late() -> Any:
        await is_ready.wait()
        return await library.questions.user(two, "B" * 32)

    library.questions._turns.api = cast("Any", SimpleNamespace(user=ask))
    asking = [asyncio.create_task(library.questions.user(one, "B" * 32))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.append(asyncio.create_task(come_late()))
    await asyncio.sleep(0)
    is_ready.set()
    refused, told = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(refused, Unauthenticated)
    assert told == User("B" * 32, "Bob", "B")


def identity(token: str) -> Identity:
    session = AuthoritySession(token, None, is_delegated=True)
    return Identity(User("A" * 32, "Ann", "A"), session, is_administrator=False, expires_at=datetime.now(UTC))


def answers(clock: list[float], *, most_bytes: int = 1 << 30, share_bytes: int = 1 << 20) -> Answers:
    return Answers(
        fresh_seconds=60,
        refusal_seconds=5,
        memory_seconds=900,
        most_bytes=most_bytes,
        share_bytes=share_bytes,
        clock=lambda: clock[0],
    )


MANY = 80  # of 50 KB: four times what one person's may weigh


def found(number: int) -> tuple[Recipient, ...]:
    """What a search for people finds: some 50 KB of it."""
    return tuple(Recipient("user", f"{number:016X}{one:016X}", f"User {number} {one}") for one in range(200))


def test_different_questions_without_end_take_a_bounded_share_of_the_memory() -> None:
    clock = [0.0]
    kept = answers(clock)
    kept.keep(("ann", "content", "p", "o"), "a dashboard")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(MANY):
            kept.keep(("eve", "recipients", "a", number), found(number))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1.5 * (1 << 20)
    assert kept.weight < 1.1 * (1 << 20)
    assert kept.get(("eve", "recipients", "a", MANY - 1)) is not None
    assert kept.get(("eve", "recipients", "a", 0)) is None
    assert kept.get(("ann", "content", "p", "o")) is not None, "others lose nothing by it"


def test_of_many_people_those_are_forgotten_who_asked_least_recently() -> None:
    clock = [0.0]
    kept = answers(clock, most_bytes=100_000)
    for number in range(1000):
        kept.keep((f"user {number}", "content", "p", "o"), f"dashboard {number}")
        assert kept.get(("user 0", "content", "p", "o")) is not None
    assert kept.weight <= 100_000
    assert kept.get(("user 1", "content", "p", "o")) is None
    assert kept.get(("user 999", "content", "p", "o")) is not None
    assert len(kept.fresh()) < 200


def test_an_answer_lasts_for_its_time_and_what_is_over_weighs_nothing() -> None:
    clock = [0.0]
    kept = answers(clock)
    yes, no, short = [("ann", "content", "p", what) for what in ("yes", "no", "short")]
    kept.keep(yes, "a dashboard")
    kept.keep(no, None)
    kept.keep(short, "people", only_seconds=5)
    kept.keep(yes, "of before", age_seconds=1)
    for at, expected in (
        (4.9, {yes: ("a dashboard", True), no: (None, True), short: ("people", True)}),
        (5.0, {yes: ("a dashboard", True), no: None, short: None}),
        (60.0, {yes: ("a dashboard", False), no: None, short: None}),
        (960.0, {yes: None, no: None, short: None}),
    ):
        clock[0] = at
        for question, answer in expected.items():
            got = kept.get(question)
            assert (None if got is None else (got.value, got.is_fresh)) == answer
    assert kept.weight == 0
    kept.keep(no, None)
    clock[0] += 6
    kept.keep(("bob", "content", "p", "o"), "a dashboard")
    assert kept.get(no) is None
    weight = kept.weight
    kept.forget(("bob", "content", "p", "o"))
    assert 0 == kept.weight < weight


def test_what_is_too_heavy_for_a_share_is_not_kept() -> None:
    kept = answers([0.0], share_bytes=10_000)
    kept.keep(("eve", "recipients", "a", 0), found(0))
    assert kept.weight == 0
    assert kept.get(("eve", "recipients", "a", 0)) is None
