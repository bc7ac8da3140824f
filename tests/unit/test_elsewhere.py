"""Whose a session is, and whether its node can be reached: what that costs, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from collab_server.domain.keys import KeyRing
from collab_server.ports import Peer
from collab_server.realtime.engine.requests import UNKNOWN_SID
from collab_server.realtime.handover import elsewhere, homes
from collab_server.realtime.handover.elsewhere import Elsewhere
from collab_server.realtime.handover.homes import FACT
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
