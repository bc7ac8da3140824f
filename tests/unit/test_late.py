"""How long the connection of a client is kept that asks no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from collab_server.realtime.lean.late import LateHttpProtocol


class Clock:
    """A loop with one timer, and time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[[], None]) -> object:
        assert self.due is None, "one timer is enough"
        self.due = (self.now + seconds, call)
        return self.due

    def pass_until(self, now: float) -> None:
        while self.due is not None and self.due[0] <= now:
            self.now, call = self.due
            self.due = None
            call()
        self.now = now


class Transport:
    def __init__(self) -> None:
        self.is_closed = False

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True


class Cycle:
    response_complete = False


def kept() -> tuple[Any, Clock, Any]:
    protocol: Any = object.__new__(LateHttpProtocol)
    protocol.loop, protocol.transport, protocol.timeout_keep_alive = Clock(), Transport(), 5
    return protocol, protocol.loop, protocol.transport


def test_who_asks_no_more_is_closed_as_long_after_the_last_answer_as_after_the_first() -> None:
    protocol, clock, transport = kept()
    for second in range(0, 20, 2):
        clock.pass_until(second)
        protocol._be_quiet()
    clock.pass_until(22.9)
    assert not transport.is_closed
    clock.pass_until(23.0)
    assert transport.is_closed
    assert clock.due is None


def test_who_waits_for_an_answer_is_kept_until_after_it() -> None:
    protocol, clock, transport = kept()
    protocol._be_quiet()
    protocol.cycle = Cycle()
    clock.pass_until(60)
    assert not transport.is_closed
    protocol.cycle = None
    protocol._be_quiet()
    clock.pass_until(64.9)
    assert not transport.is_closed
    clock.pass_until(65.0)
    assert transport.is_closed
