"""Whose a session is, and whether its node can be reached: what that costs, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.domain.keys import KeyRing
from collab_server.ports import Peer
from collab_server.realtime.engine.requests import NO_ROOM, UNKNOWN_SID
from collab_server.realtime.handover import elsewhere, homes
from collab_server.realtime.handover.elsewhere import Elsewhere
from collab_server.realtime.handover.homes import FACT
from collab_server.realtime.handover.listener import _Newcomer
from collab_server.realtime.handover.words import For, Said, pack_hello
from collab_server.telemetry.metrics import Metrics
from tests.harness.waiting import until

KEYS = KeyRing.of(b"the secret of an installation, 32"[:32])


class Bus:
    """Tells who is there, and counts how often it was asked."""

    def __init__(self) -> None:
        self.there: dict[str, Peer] = {}
        self.asked = 0

    @property
    def nodes(self) -> Mapping[str, Peer]:
        self.asked += 1
        return self.there


class Websocket:
    """One that is not passed on."""

    def __init__(self) -> None:
        self.refused: list[Any] = []

    def refuse(self, answer: Any) -> None:
        self.refused.append(answer)


def elsewhere_of(bus: Bus, metrics: Metrics | None = None) -> Elsewhere:
    made = Elsewhere(bus, metrics)  # type: ignore[arg-type]  # all of a bus that it uses
    made.keys.set_epoch("an epoch", KEYS)
    return made


async def test_a_crowd_that_waits_for_a_node_is_one_that_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(homes, "MEETING_SECONDS", 0.2)
    bus = Bus()
    here, there = elsewhere_of(bus), elsewhere_of(Bus())
    waiting = [Websocket() for _ in range(100)]
    for websocket in waiting:
        assert here.carry(there.new_id(), {}, websocket)  # type: ignore[arg-type]
    await until(lambda: all(websocket.refused for websocket in waiting), 20, "all were answered")
    assert {websocket.refused[0] for websocket in waiting} == {UNKNOWN_SID}
    assert bus.asked <= 0.2 / homes.MEETING_STEP_SECONDS + 2


async def test_those_beyond_so_many_on_their_way_are_refused_and_there_is_room_again_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(homes, "MEETING_SECONDS", 0.01)
    monkeypatch.setattr(elsewhere, "MOST_CONNECTING", 2)
    here = elsewhere_of(Bus())
    for _ in range(3):
        there = elsewhere_of(Bus())  # one that is found to be gone is not waited for again
        waiting = [Websocket() for _ in range(3)]
        for websocket in waiting:
            assert here.carry(there.new_id(), {}, websocket)  # type: ignore[arg-type]
        assert [websocket.refused for websocket in waiting] == [[], [], [NO_ROOM]]
        await until(lambda: not here._tasks, 20, "nobody is on the way any more")
        assert [websocket.refused for websocket in waiting[:2]] == [[UNKNOWN_SID]] * 2


class Caller:
    """A channel by which a node has come, and what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.is_ended = False

    def send(self, kind: int, *_: bytes) -> None:
        self.told.append(kind)

    def abort(self) -> None:
        self.is_ended = True


@pytest.mark.parametrize("is_meant", [True, False], ids=["for this node", "for the one before it there"])
def test_whoever_means_another_node_that_was_at_this_address_is_not_let_in(*, is_meant: bool) -> None:
    here, before = (elsewhere_of(Bus()).home for _ in range(2))
    listener, caller = SimpleNamespace(home=here), Caller()
    newcomer = _Newcomer(cast("Any", listener), cast("Any", caller))
    newcomer.heard(Said.HELLO, pack_hello(For.WEBSOCKET, here if is_meant else before))
    assert (caller.told, caller.is_ended) == (([Said.WELCOME], False) if is_meant else ([], True))


async def test_a_node_that_is_there_and_cannot_be_reached_is_told_until_it_can_or_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(elsewhere, "SURE_SECONDS", 0.05)
    monkeypatch.setattr(elsewhere, "AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(elsewhere, "LOOK_SECONDS", 0.03)
    bus, metrics = Bus(), Metrics()
    here, there = elsewhere_of(bus, metrics), elsewhere_of(Bus())

    def told() -> bytes:
        return metrics.render()

    assert b"collab_homes_unreachable 0.0" in told()
    at = ["unix:/nowhere/at/all"]
    bus.there = {"node": Peer({FACT: {"home": there.home.hex(), "at": at}}, 0.0)}
    running = asyncio.create_task(here.run())
    try:
        await until(lambda: b"collab_homes_unreachable 1.0" in told(), 20, "it is said")
        bus.there = {}
        await until(lambda: b"collab_homes_unreachable 0.0" in told(), 20, "it is gone")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_that_a_home_is_gone_is_remembered_for_a_while_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bus = Bus()
    known, home = homes.Homes(cast("Any", bus)), bytes(4)
    assert known.may_be(home), "it may just have started"
    known.has_gone(home)
    known.look()
    assert not known.may_be(home)
    bus.there = {"it": Peer({FACT: {"home": home.hex(), "at": []}}, 0.0)}
    await until(lambda: known.may_be(home), what="it is there again")
    bus.there = {}
    await until(lambda: not known.may_be(home), what="and gone")
    monkeypatch.setattr(homes, "GONE_SECONDS", -1.0)
    known.has_gone(home)
    known.look()
    assert known.may_be(home)
