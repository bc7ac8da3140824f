"""What every bus promises (`collab_server.ports.Bus`), of each that there is: over Redis, between the workers of one
node, the one of the documents that another package brings, and, as far as one node can tell, that of one that is alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collab_server.cluster.kinds import make_bus
from collab_server.config import ConfigError
from collab_server.config.values import parse_redis_url
from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from collab_server.ports import Announcement, Bus, BusSetup
from tests.harness.packages import EXAMPLES, install
from tests.harness.waiting import until

KEYS = KeyRing.of(b"k" * 32)
OTHERS = range(200, 240)
"""What another package may say over any bus."""
SAID = (Kind.EVENT, Kind.PRESENCE, Kind.LIMITS, OTHERS[0], OTHERS[-1])


class Side:
    """A bus, and everything that it has told its listeners, in order."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.bus = bus
        self.name = name
        self.told: list[tuple[str, ...]] = []
        self.gaps = 0
        for kind in SAID:
            bus.listen(kind, lambda node, payload, kind=kind: self._hear(kind, node, payload))  # type: ignore[misc]
        bus.on_node_found(lambda node: self.told.append(("found", node)))
        bus.on_node_lost(lambda node: self.told.append(("lost", node)))
        bus.on_gap(self._gap)

    def _hear(self, kind: int, node: str, payload: bytes) -> None:
        assert self.bus.longest_delay_seconds >= 0
        self.told.append(("said", node, str(int(kind)), payload.decode()))

    def _gap(self) -> None:
        self.gaps += 1

    @property
    def heard(self) -> list[str]:
        return [one[3] for one in self.told if one[0] == "said"]

    @property
    def nodes(self) -> list[str]:
        return [" ".join(one) for one in self.told if one[0] != "said"]


class Makes:
    """Makes buses of one kind that reach each other."""

    def __init__(
        self, kind: str, url: str | None = None, redis: str | None = None, folder: Path | None = None
    ) -> None:
        self.kind = kind
        self.is_alone = kind == "alone" and folder is None
        self._url = url
        self._folder = folder
        self._redis = None if redis is None else parse_redis_url(redis)

    def side(self, name: str, **facts: object) -> Side:
        setup = BusSetup(node=name, announcement=Announcement(**facts), url=self._url)
        return Side(make_bus(self.kind, setup, self._redis, folder=self._folder), name)

    @asynccontextmanager
    async def running(
        self, *names: str, epoch: str = "e1", before: Callable[[Side], None] = lambda side: None
    ) -> AsyncIterator[list[Side]]:
        """Sides that hear each other; of one that is alone there is nobody to hear. `before` sees each not started."""
        sides = [self.side(name, version=name) for name in names]
        try:
            for side in sides:
                before(side)
                await side.bus.start()
                side.bus.set_epoch(epoch, KEYS)
            await until(lambda: all(side.bus.is_hearing for side in sides))
            if not self.is_alone:
                await until(lambda: all(len(side.bus.nodes) == len(names) - 1 for side in sides))
            yield sides
        finally:
            await asyncio.gather(*(side.bus.stop() for side in sides))


@pytest.fixture(scope="module")
def valkey_of_these() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


def _makes(kind: str, request: pytest.FixtureRequest) -> Makes:
    if kind == "redis":
        valkey: EmbeddedValkey = request.getfixturevalue("valkey_of_these")
        return Makes("redis", redis=valkey.url)
    if kind == "alone":
        return Makes("alone")
    folder: Path = request.getfixturevalue("tmp_path")
    if kind == "workers":
        return Makes("alone", folder=folder)
    install(EXAMPLES / "unix_bus", folder / "site")
    request.getfixturevalue("monkeypatch").syspath_prepend(str(folder / "site"))
    return Makes("unix", str(request.getfixturevalue("short_path")))


@pytest.fixture(params=["redis", "workers", "unix", "alone"])
def makes(request: pytest.FixtureRequest) -> Makes:
    return _makes(request.param, request)


@pytest.fixture(params=["redis", "workers", "unix"])
def reaching(request: pytest.FixtureRequest) -> Makes:
    """Those by which nodes reach each other."""
    return _makes(request.param, request)


def test_what_is_another_packages_to_say_is_none_of_the_servers_kinds() -> None:
    assert not set(OTHERS) & set(Kind)
    assert max(Kind) < OTHERS.start


async def test_one_that_was_not_started_may_be_used_and_stopped(makes: Makes) -> None:
    side = makes.side("a")
    side.bus.publish(Kind.EVENT, b"x")
    assert side.bus.nodes == {}
    assert all(count >= 0 for count in side.bus.counts().values())
    await side.bus.stop()
    await side.bus.stop()


async def test_a_node_hears_nothing_of_its_own(makes: Makes) -> None:
    async with makes.running("a") as (a,):
        for _ in range(20):
            a.bus.publish(Kind.EVENT, b"x")
        await asyncio.sleep(0.1)  # nothing is to come, so there is nothing to wait for
        assert a.told == []
        assert a.bus.problem is None
        assert a.bus.is_available


async def test_what_is_published_never_raises_however_much_it_is(makes: Makes) -> None:
    async with makes.running("a") as (a,):
        for _ in range(20):
            a.bus.publish(Kind.EVENT, b"x" * 1_000_000)
        a.bus.publish(Kind.EVENT, b"x" * 20_000_000)


async def test_nodes_find_each_other_and_what_they_announce(reaching: Makes) -> None:
    async with reaching.running("a", "b", "c") as sides:
        await until(lambda: all(peer.info for side in sides for peer in side.bus.nodes.values()))
        for side in sides:
            others = {other.name for other in sides} - {side.name}
            assert {name: dict(peer.info) for name, peer in side.bus.nodes.items()} == {
                name: {"version": name} for name in others
            }
            assert all(abs(peer.seen_at - time.time()) < 60 for peer in side.bus.nodes.values())
            assert sorted(side.nodes) == sorted(f"found {name}" for name in others)


async def test_what_a_node_says_is_heard_in_its_order_over_all_kinds_and_once(reaching: Makes) -> None:
    async with reaching.running("a", "b", "c") as (a, b, c):
        before = {side: side.gaps for side in (b, c)}
        for number in range(300):
            a.bus.publish(SAID[number % len(SAID)], b"%d" % number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        for side in (b, c):

            def is_told(side: Side = side) -> bool:
                return len(side.heard) == 300 or side.gaps > before[side]

            await until(is_told)
            numbers = [int(one) for one in side.heard]
            assert numbers == sorted(set(numbers))
            assert all(one[1] == "a" for one in side.told if one[0] == "said")
            assert all(
                one[2] == str(int(SAID[int(one[3]) % len(SAID)])) for one in side.told if one[0] == "said"
            )


async def test_whatever_is_lost_is_told(reaching: Makes) -> None:
    async with reaching.running("a", "b") as (a, b):
        await asyncio.sleep(0.1)  # until the gaps of their meeting have been told
        before = b.gaps
        for _ in range(12):
            a.bus.publish(Kind.EVENT, b"x" * 1_000_000)
        a.bus.publish(Kind.EVENT, b"x" * 20_000_000)
        await until(lambda: len(b.heard) == 13 or b.gaps > before)


async def test_a_node_is_found_before_it_is_heard_and_hears_what_is_said_then(reaching: Makes) -> None:
    def welcome(side: Side) -> None:
        side.bus.on_node_found(lambda node: side.bus.publish(Kind.EVENT, b"welcome"))

    async with reaching.running("a", before=welcome) as (a,):
        b = reaching.side("b")
        b.bus.on_node_found(lambda node: b.bus.publish(Kind.EVENT, b"hello"))
        await b.bus.start()
        b.bus.set_epoch("e1", KEYS)
        await until(lambda: a.heard and b.heard)
        assert a.told == [("found", "b"), ("said", "b", str(int(Kind.EVENT)), "hello")]
        assert b.told == [("found", "a"), ("said", "a", str(int(Kind.EVENT)), "welcome")]
        await b.bus.stop()


async def test_a_goodbye_is_heard_and_nothing_after_it(reaching: Makes) -> None:
    async with reaching.running("a", "b") as (a, b):
        await b.bus.stop()
        await until(lambda: a.nodes == ["found b", "lost b"])
        assert a.bus.nodes == {}
        b.bus.publish(Kind.EVENT, b"from beyond")
        await asyncio.sleep(0.05)
        assert a.heard == []


async def test_a_node_that_starts_anew_under_its_name_is_lost_and_found(reaching: Makes) -> None:
    async with reaching.running("a", "b") as (a, _):
        again = reaching.side("b")  # while the one before still runs, as after a kill
        await again.bus.start()
        again.bus.set_epoch("e1", KEYS)
        await until(lambda: a.nodes[:3] == ["found b", "lost b", "found b"])
        await again.bus.stop()


async def test_nodes_of_two_epochs_hear_nothing_of_each_other(reaching: Makes) -> None:
    async with (
        reaching.running("a", "b") as (a, b),
        reaching.running("x", "y", epoch="e2") as (x, y),
    ):
        for side in (a, b, x, y):
            side.bus.publish(Kind.EVENT, side.name.encode())
        await until(lambda: all(side.heard for side in (a, b, x, y)))
        assert (a.heard, b.heard, x.heard, y.heard) == (["b"], ["a"], ["y"], ["x"])
        assert set(a.bus.nodes) | set(b.bus.nodes) == {"a", "b"}


async def test_another_epoch_parts_all_until_they_have_it_too(reaching: Makes) -> None:
    async with reaching.running("a", "b") as (a, b):
        for side in (a, b):
            side.bus.set_epoch("e2", KEYS)
            assert side.nodes[1:2] == [f"lost {'b' if side is a else 'a'}"]
        await until(lambda: a.bus.nodes and b.bus.nodes)
        assert a.nodes == ["found b", "lost b", "found b"]
        a.bus.publish(Kind.EVENT, b"x")
        await until(lambda: b.heard == ["x"])


async def test_other_keys_part_nobody(reaching: Makes) -> None:
    async with reaching.running("a", "b") as (a, b):
        new = b"n" * 32
        for ring in (KeyRing(KEYS.sealing, (new, KEYS.sealing)), KeyRing(new, (new, KEYS.sealing))):
            for side in (a, b):
                side.bus.set_epoch("e1", ring)
            a.bus.publish(Kind.EVENT, b"x")
        await until(lambda: b.heard == ["x", "x"])
        assert (a.nodes, b.nodes) == (["found b"], ["found a"])


async def test_a_listener_that_raises_stops_nothing(
    reaching: Makes, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    def is_broken(side: Side) -> None:
        side.bus.listen(Kind.EVENT, broken)

    async with reaching.running("a", "b", before=is_broken) as (a, b):
        a.bus.publish(Kind.EVENT, b"one")
        await until(lambda: b.heard == ["one"])
        a.bus.publish(Kind.EVENT, b"two")
        await until(lambda: b.heard == ["one", "two"])
        await until(lambda: caplog.text.count("RuntimeError: a bug") == 2)


def test_an_unknown_kind_is_named_with_those_that_are_known(makes: Makes) -> None:
    setup = BusSetup(node="a", announcement=Announcement())
    with pytest.raises(ConfigError) as caught:
        make_bus("natz", setup, None)
    assert caught.value.problems[0].property == "bus.kind"
    *others, last = sorted({"alone", "redis", makes.kind})
    known = f"{', '.join(others)} or {last}"
    assert caught.value.problems[0].message == f'"natz" is no bus that is installed here: expected {known}'
