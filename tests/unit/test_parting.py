"""How a session ends: its disconnect handler, plain or not, is called behind its last message, and once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, cast

import pytest

from collab_server.realtime.engine.handlers import Handlers
from collab_server.realtime.engine.incoming import Incoming
from collab_server.realtime.engine.pace import Allowance, Pace
from collab_server.realtime.engine.session import Session


class House:
    """The owner of one session, with what is called for it in `calls`."""

    def __init__(self, *, is_waited_for: bool = False) -> None:
        self.calls: list[str] = []
        self.may_finish = asyncio.Event()
        self._is_waited_for = is_waited_for
        registered = {"message": self._take, "disconnect": self._part}
        self.handlers = Handlers(registered, cast("Any", None), logging.getLogger("test"))
        self.incoming = Incoming(self.handlers, cast("Any", None))
        self.session = Session(
            cast("Any", self), "sid", most_bytes=1000, pace=Pace(per_second=1000, burst=2), is_trusted=True
        )

    def _take(self, sid: str, message: str) -> Awaitable[None] | None:
        self.calls.append(message)
        if message == "end":
            self.end(self.session, "by a message")
        return self._finish() if message in ("end", "wait") else None

    async def _finish(self) -> None:
        await self.may_finish.wait()
        self.calls.append("finished")

    def _part(self, sid: str, reason: str) -> Awaitable[None] | None:
        self.calls.append(reason)
        return self._finish() if self._is_waited_for else None

    def end(self, session: Session, reason: str) -> None:
        if not session.closing:
            session.closing = True
            self.incoming.end(session, reason)

    def forget(self, session: Session) -> None:
        self.calls.append("forgotten")


async def until_all_ran() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_has_gone_is_forgotten_in_the_next_turn_without_a_task() -> None:
    house = House()
    house.incoming.receive(house.session, "4hello")
    house.end(house.session, "gone")
    assert house.calls == ["hello"], "not in the midst of what ends it"
    await asyncio.sleep(0)
    assert house.calls == ["hello", "gone", "forgotten"]
    assert house.session.inbox.worker is None


@pytest.mark.parametrize("is_waited_for", [False, True])
async def test_whoever_closes_a_session_waits_for_its_handler(is_waited_for: bool) -> None:
    house = House(is_waited_for=is_waited_for)
    house.may_finish.set()
    await house.session.close(reason="closed")
    assert house.calls == ["closed", *(["finished"] if is_waited_for else []), "forgotten"]


@pytest.mark.parametrize("message", ["end", "wait"])
async def test_the_end_comes_behind_the_message_that_is_being_handled(message: str) -> None:
    house = House()
    house.incoming.receive(house.session, f"4{message}")
    house.end(house.session, "by a message")
    await until_all_ran()
    assert house.calls == [message]
    house.may_finish.set()
    await until_all_ran()
    assert house.calls == [message, "finished", "by a message", "forgotten"]
    assert house.session.inbox.worker is None


async def test_who_came_too_fast_is_kept_for_as_long_as_what_they_sent_is_worth() -> None:
    house = House()
    house.session.allowance = Allowance(Pace(per_second=0.001, burst=2))
    house.session.allowance.left = -1
    house.session.allowance.seconds_to_wait()  # it is as of now from here on
    house.session.allowance.left = -2
    house.end(house.session, "gone")
    await until_all_ran()
    assert house.calls == []
    worker = house.session.inbox.worker
    assert worker is not None
    worker.cancel()
