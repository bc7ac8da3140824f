"""Calls in flight: who asks at the same time shares one call, and who comes a moment later asks anew."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.errors import Unauthenticated
from collab_server.library.answers import Flights
from collab_server.library.client import SessionGone
from collab_server.library.sessions import Library


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

    async def ask(_client: Any, session: LibrarySession) -> str:
        if session != one.session:
            return "told"
        await is_ready.wait()
        raise SessionGone(session)

    async def come_late() -> Any:
        await is_ready.wait()
        return await library._ask(two, ("content",), ask)

    asking = [asyncio.create_task(library._ask(one, ("content",), ask))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.append(asyncio.create_task(come_late()))
    await asyncio.sleep(0)
    is_ready.set()
    refused, told = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(refused, Unauthenticated)
    assert told == "told"


def identity(token: str) -> Identity:
    session = LibrarySession(token, None, is_delegated=True)
    return Identity(User("A" * 32, "Ann", "A"), session, is_administrator=False, expires_at=datetime.now(UTC))
