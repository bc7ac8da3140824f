"""Whom a bus believes, on a wire and a clock of the test's own: whoever has Redis may record, hold up, play again."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from itertools import permutations

import pytest
from typing_extensions import override

from collab_server.cluster.link import Link
from collab_server.cluster.over_redis import RedisBus
from collab_server.cluster.seal import Seal
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from tests.harness.waiting import until

KEYS = KeyRing.of(b"k" * 32)
TOLD = (Kind.EVENT, Kind.SOCKETIO, Kind.PRESENCE, Kind.LIMITS, Kind.NOTIFIED, Kind.RIGHTS)


class Wire:
    """Redis, as a list: what is published goes to everybody, unless the test holds it back."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.nodes: list[Node] = []
        self.recorded: list[bytes] = []
        self.holds = False

    def carry(self, data: bytes) -> None:
        self.recorded.append(data)
        if not self.holds:
            for node in list(self.nodes):
                node.bus.reception.receive(data)

    def join(self, name: str, *, epoch: str = "e1", keys: KeyRing = KEYS) -> Node:
        node = Node(self, name, epoch, keys)
        self.nodes.append(node)
        node.bus.heart.beat(asks=True)
        return node

    async def meet(self, *names: str) -> list[Node]:
        nodes = [self.join(name) for name in names]
        await until(lambda: all(len(node.bus.nodes) == len(names) - 1 for node in nodes))
        return nodes

    async def pass_time(self, seconds: float) -> None:
        """Heartbeats included."""
        for _ in range(round(seconds / 0.25)):
            self.now += 0.25
            for node in list(self.nodes):
                node.bus.look(late=0.0)
            for _ in range(6):
                await asyncio.sleep(0)


class _Answering(Link):
    """A connection whose PUBLISHes are carried out, and answered unless it is told not to."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self.answers = True

    @override
    def send(self, packed: bytes, on_reply: Callable[[object], None]) -> None:
        data = packed.split(b"\r\n", 6)[6][:-2]
        loop = asyncio.get_running_loop()
        loop.call_soon(self._wire.carry, data)
        if self.answers:
            loop.call_soon(on_reply, 1)


class Node:
    """A bus on the wire, and everything that it has told its listeners."""

    def __init__(self, wire: Wire, name: str, epoch: str, keys: KeyRing) -> None:
        self.name = name
        self.bus = bus = RedisBus("redis://nowhere:1", node=name, clock=lambda: wire.now)
        self.told: list[tuple[str, int, bytes]] = []
        self.delays: list[float] = []
        self.nodes: list[str] = []
        self.gaps = 0
        for kind in TOLD:
            bus.listen(kind, lambda node, payload, kind=kind: self._hear(node, kind, payload))  # type: ignore[misc]
        bus.on_node_found(lambda node: self.nodes.append(f"found {node}"))
        bus.on_node_lost(lambda node: self.nodes.append(f"lost {node}"))
        bus.on_gap(self._gap)
        bus.set_epoch(epoch, keys)
        self.link = _Answering(wire)
        bus.outbox.attach(self.link)

    def _hear(self, node: str, kind: int, payload: bytes) -> None:
        self.told.append((node, kind, payload))
        self.delays.append(self.bus.longest_delay_seconds)

    def _gap(self) -> None:
        self.gaps += 1

    def say(self, text: str = "") -> None:
        for kind in TOLD:
            self.bus.publish(kind, f"{self.name} {kind.name} {text}".encode())


async def settled(wire: Wire) -> None:
    """Until nothing is said any more by itself."""
    count = -1
    while count != len(wire.recorded):
        count = len(wire.recorded)
        await asyncio.sleep(0.06)  # longer than what is gathered waits


async def test_nodes_meet_and_hear_each_other_once_in_order() -> None:
    wire = Wire()
    a, b, c = await wire.meet("a", "b", "c")
    a.say()
    await until(lambda: len(b.told) == len(c.told) == len(TOLD))
    assert [kind for _, kind, _ in b.told] == list(TOLD)
    assert a.told == []
    assert sorted(b.nodes) == ["found a", "found c"]
    assert b.bus.counters.unopened == b.bus.counters.repeated == 0


async def test_what_is_told_on_meeting_is_believed_by_the_one_who_was_met() -> None:
    wire = Wire()
    first = wire.join("first")
    first.bus.on_node_found(lambda node: first.say())
    second = wire.join("second")
    await until(lambda: len(second.told) == len(TOLD))


@pytest.mark.parametrize("goes", ["with a goodbye", "in silence"])
async def test_recordings_of_a_node_that_has_gone_change_nothing(goes: str) -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    a.say()
    await until(lambda: len(b.told) == len(TOLD))
    await wire.pass_time(2)
    await settled(wire)
    wire.nodes.remove(a)
    if goes == "with a goodbye":
        a.bus.publish(Kind.CANARY, b"")
    await settled(wire)
    recorded = list(wire.recorded)
    if goes == "in silence":
        await wire.pass_time(6)
    await until(lambda: b.nodes == ["found a", "lost a"])
    fresh = wire.join("fresh")
    await until(lambda: b.nodes[-1] == "found fresh")
    told = list(b.told)
    for order in (recorded, recorded[::-1], recorded * 2):
        for data in order:
            for node in (b, fresh):
                node.bus.reception.receive(data)
        await settled(wire)
        await wire.pass_time(1)
    assert (b.told, fresh.told) == (told, [])
    assert b.nodes == ["found a", "lost a", "found fresh"]
    assert fresh.nodes == ["found b"]
    assert set(b.bus.nodes) == {"fresh"}


async def test_recordings_of_a_living_node_change_nothing_at_one_just_started() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    for _ in range(3):
        a.say("before")
        await wire.pass_time(1)
    await settled(wire)
    recorded = list(wire.recorded)
    fresh = Node(wire, "fresh", "e1", KEYS)
    for data in recorded:
        fresh.bus.reception.receive(data)
    await settled(wire)
    assert (fresh.told, fresh.nodes, fresh.bus.nodes) == ([], [], {})
    wire.nodes.append(fresh)
    fresh.bus.heart.beat(asks=True)
    for data in recorded:
        fresh.bus.reception.receive(data)
    await until(lambda: len(fresh.bus.nodes) == 2)
    a.say("now")
    await until(lambda: len(fresh.told) == len(TOLD))
    for data in recorded + list(wire.recorded):
        fresh.bus.reception.receive(data)
    assert all(payload.endswith(b"now") for _, _, payload in fresh.told)
    assert len(fresh.told) == len(TOLD)
    assert b.nodes == ["found a", "found fresh"]


async def test_whatever_order_envelopes_come_in_and_how_often_nothing_is_heard_twice_or_late() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    await settled(wire)
    wire.holds, start = True, len(wire.recorded)
    for number in range(4):
        a.bus.publish(Kind.EVENT, b"%d" % number)
        await until(lambda number=number: len(wire.recorded) == start + number + 1)  # type: ignore[misc]
    held = wire.recorded[start:]
    seen = b.bus.peers.met[a.bus._seal.sender]
    number, sealing = seen.expected, seen.sealing
    for order in permutations(held):
        seen.expected, seen.sealing = number, sealing
        b.told.clear()
        for data in (*order, *order):
            b.bus.reception.receive(data)
        heard = [int(payload) for _, _, payload in b.told]
        assert heard == sorted(set(heard))
        assert heard[-1] == 3


async def test_what_was_held_up_is_heard_with_its_delay_and_for_no_longer_than_a_node_is_believed() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    await settled(wire)
    for held_up, is_heard in ((10.0, True), (16.0, False)):
        b.told.clear()
        wire.holds, start = True, len(wire.recorded)
        a.say()
        await until(lambda start=start: len(wire.recorded) > start)  # type: ignore[misc]
        wire.now += held_up
        for data in wire.recorded[start:]:
            b.bus.reception.receive(data)
        assert bool(b.told) is is_heard
        if is_heard:
            assert min(b.delays[-len(TOLD) :]) >= held_up
        wire.holds = False
        gaps = b.gaps
        if not is_heard:
            assert b.bus.counters.unbelieved == len(TOLD)
            await until(lambda gaps=gaps: b.gaps > gaps)  # type: ignore[misc]
        await wire.pass_time(2)
        await settled(wire)
        a.say("again")
        await until(lambda: b.told and b.told[-1][2].endswith(b"again"))


async def test_a_node_that_was_frozen_for_minutes_believes_nothing_of_what_waited() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    await settled(wire)
    start = len(wire.recorded)
    wire.nodes.remove(b)  # frozen: what comes waits in its socket
    for _ in range(30):
        a.say("meanwhile")
        await wire.pass_time(6)
        await asyncio.sleep(0)
    await settled(wire)
    assert a.nodes == ["found b", "lost b"]
    waiting = wire.recorded[start:]
    for data in waiting:
        b.bus.reception.receive(data)
    b.bus.look(late=180.0)
    assert b.told == []
    wire.nodes.append(b)
    b.bus.outbox.flush()
    await until(lambda: a.nodes == ["found b", "lost b", "found b"] and b.gaps)
    gaps = b.gaps
    a.say("after")
    await until(lambda: len(b.told) == len(TOLD))
    assert all(payload.endswith(b"after") for _, _, payload in b.told)
    assert b.nodes == ["found a"], "it never was away, for b"
    assert gaps


async def test_a_network_that_was_away_for_longer_than_a_node_is_believed_is_taken_up_again() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    await settled(wire)
    wire.holds = True
    await wire.pass_time(1)
    await settled(wire)
    for node in (a, b):
        node.bus.proof.failed("Redis is away")
    await wire.pass_time(60)
    wire.holds = False
    for node in (a, b):
        node.bus.heart.beat(asks=True)
    await settled(wire)
    a.say()
    await until(lambda: len(b.told) == len(TOLD))
    assert a.nodes == ["found b"]
    assert b.nodes == ["found a"]


async def test_an_unanswered_publish_is_sealed_anew_and_heard_once() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    await settled(wire)
    opening = Seal(b"o" * 16)
    opening.use("e1", KEYS)
    start = len(wire.recorded)
    for number in range(3):
        a.bus.publish(Kind.EVENT, b"%d" % number)
        if number:
            a.link = _Answering(wire)  # Redis did not answer: the next connection sends all of it again
        a.link.answers = False
        a.bus.outbox.attach(a.link)
        await until(lambda number=number: len(wire.recorded) == start + number + 1)  # type: ignore[misc]
    a.link = _Answering(wire)
    a.bus.outbox.attach(a.link)
    await settled(wire)
    opened = [opening.open(data) for data in wire.recorded[start:]]
    assert len({one.first for one in opened}) == 1
    numbers = [one.sealing for one in opened]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "every sealing counts"
    assert [payload for _, _, payload in b.told] == [b"0", b"1", b"2"]


async def test_no_number_is_ever_used_twice_to_seal() -> None:
    wire = Wire()
    nodes = await wire.meet("a", "b", "c")
    for _ in range(5):
        for node in nodes:
            node.say()
        await wire.pass_time(3)
        nodes[0].bus.outbox._sent_up_to = None
        await settled(wire)
    used = Counter(data[5:29] for data in wire.recorded)
    assert used.most_common(1)[0][1] == 1
    assert len(used) > 40


async def test_junk_makes_nobody_look_at_postgres_more_often_than_every_second_and_a_half(
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    a.say()
    await settled(wire)
    whole = wire.recorded[-1]
    junk = [
        b"", b"junk", b"\x01" + b"j" * 60, b"\x02" + b"j" * 60, whole[:-1], whole + b"x",
        whole[:40] + bytes((whole[40] ^ 1,)) + whole[41:], b"\x02" * 9_000_000,
    ]  # fmt: skip
    b.gaps, told, before = 0, list(b.told), b.bus.counts()
    with caplog.at_level(logging.WARNING):
        for _ in range(40):
            wire.now += 0.25
            for data in junk:
                b.bus.reception.receive(data)
            await asyncio.sleep(0.025)
    assert 1 <= b.gaps <= 1 + 10 / 1.5
    assert b.told == told
    after = b.bus.counters
    assert after.unopened - before["unopened"] == 40 * 5
    assert after.unknown_version - before["unknown_version"] == 40 * 3
    assert len(caplog.records) == 1
    assert a.bus.nodes.keys() == {"b"}


async def test_deafness_cannot_be_hidden_by_playing_a_nodes_own_heartbeats_to_it() -> None:
    wire = Wire()
    (a,) = await wire.meet("a")
    await wire.pass_time(3)
    await settled(wire)
    assert a.bus.is_hearing
    recorded = list(wire.recorded)
    wire.holds = True
    other = Seal(a.bus._seal.sender)
    other.use("e1", KeyRing.of(b"m" * 32))
    for number in range(16):
        await wire.pass_time(0.25)
        for data in recorded:
            a.bus.reception.receive(data)
        a.bus.reception.receive(
            other.seal(1000 + number, b"\0\0\0\1\1a" + bytes((Kind.CANARY, 0, 0, 0, 0, 0)))
        )
        a.bus.reception.receive(b"\x01" + a.bus._seal.sender[:8] + b"\xff" * 50)
    assert not a.bus.is_available
    assert a.bus.problem == "nothing comes back from Redis"


async def test_nodes_of_other_epochs_and_other_keys_are_strangers_for_ever() -> None:
    wire = Wire()
    a = wire.join("a")
    other_epoch, other_key = wire.join("b", epoch="e2"), wire.join("c", keys=KeyRing.of(b"o" * 32))
    for node in (a, other_epoch, other_key):
        node.say()
    await wire.pass_time(3)
    await settled(wire)
    for node in (a, other_epoch, other_key):
        assert (node.told, node.bus.nodes, node.nodes) == ([], {}, [])


async def test_a_new_key_is_no_new_epoch_and_parts_nobody() -> None:
    wire = Wire()
    a, b = await wire.meet("a", "b")
    old, new = KEYS.sealing, b"n" * 32
    for node in (a, b):
        node.bus.set_epoch("e1", KeyRing(old, (new, old)))
    for node in (a, b):
        node.bus.set_epoch("e1", KeyRing(new, (new, old)))
        node.say()
        await settled(wire)
    assert len(a.told) == len(b.told) == len(TOLD)
    assert a.nodes == ["found b"]
    assert b.bus.counters.unopened == 0


async def test_many_recorded_starts_cost_little_and_keep_nobody_from_being_met() -> None:
    wire = Wire()
    (a,) = await wire.meet("a")
    starts = []
    for number in range(200):
        gone = Seal(b"gone" + number.to_bytes(12))
        gone.use("e1", KEYS)
        starts.append(gone.seal(0, b"\0\0\0\1\1g" + bytes((Kind.HEARD, 0, 0, 0, 0, 1)) + b"\x01"))
    said = len(wire.recorded)
    for data in starts * 3:
        a.bus.reception.receive(data)
    await settled(wire)
    assert len(a.bus.peers.strangers) <= 32
    assert len(wire.recorded) - said < 10, "a prompt gathers all who are to be asked"
    b = wire.join("b")
    await until(lambda: a.nodes == ["found b"] and b.nodes == ["found a"])
    await wire.pass_time(6)
    assert not a.bus.peers.strangers, "what is not heard any more is forgotten"
    assert len(a.bus.nodes) == 1


async def test_a_stranger_that_goes_on_speaking_is_asked_once_who_it_is_and_then_by_heartbeats() -> None:
    wire = Wire()
    (a,) = await wire.meet("a")
    gone = Seal(b"gone" + bytes(12))
    gone.use("e1", KEYS)
    await settled(wire)
    said = len(wire.recorded)
    for number in range(6):
        a.bus.reception.receive(gone.seal(number, b"\0\0\0\1\1g" + bytes((Kind.EVENT, 0, 0, 0, 0, 1)) + b"x"))
        await settled(wire)
    assert len(wire.recorded) - said == 1
