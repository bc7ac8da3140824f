"""The bus against a real Valkey: order, two installations, and every way in which Redis goes away."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from collab_server.cluster import peers as peers_module
from collab_server.cluster.link import Link, open_link
from collab_server.cluster.over_redis import RedisBus
from collab_server.config.values import parse_redis_url
from collab_server.demo.embedded import EmbeddedValkey
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing
from collab_server.ports import Announcement
from tests.harness.waiting import Stopwatch, seconds_until, until

KEYS = KeyRing.of(b"k" * 32)


@pytest.fixture(scope="module")
def shared_valkey() -> Iterator[EmbeddedValkey]:
    with EmbeddedValkey() as valkey:
        yield valkey


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """One that a test may break."""
    with EmbeddedValkey() as valkey:
        yield valkey


@asynccontextmanager
async def running(url: str, *names: str, epoch: str | None = "e1") -> AsyncIterator[list[RedisBus]]:
    """A bus per name that hears, and hears of, the others; what they missed of each other until then was told."""
    buses = [RedisBus(url, node=name) for name in names]
    try:
        for bus in buses:
            await bus.start(epoch, KEYS)
        if epoch is not None:
            await until(
                lambda: all(
                    bus.is_hearing and len(bus.nodes) == len(names) - 1 and not bus.listeners.has_gap
                    for bus in buses
                )
            )
        yield buses
    finally:
        await asyncio.gather(*(bus.stop() for bus in buses))


@asynccontextmanager
async def admin(valkey: EmbeddedValkey) -> AsyncIterator[Link]:
    link = await open_link(parse_redis_url(valkey.url), (valkey.host, valkey.port))
    try:
        yield link
    finally:
        link.close("done")


class Gaps:
    """Counts the gaps that a bus reports."""

    def __init__(self, bus: RedisBus) -> None:
        self.count = 0
        bus.on_gap(self._told)

    def _told(self) -> None:
        self.count += 1


def collect(bus: RedisBus, kind: int = Kind.EVENT) -> list[tuple[str, bytes]]:
    heard: list[tuple[str, bytes]] = []
    bus.listen(kind, lambda node, payload: heard.append((node, payload)))
    return heard


async def test_messages_of_a_node_arrive_in_order_on_the_others_only(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a", "b", "c") as (a, b, c):
        at_a, at_b, at_c = collect(a), collect(b), collect(c)
        sent = [str(number).encode() for number in range(500)]
        for number, payload in enumerate(sent):
            a.publish(Kind.EVENT, payload)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(at_b) == len(at_c) == 500)
        assert at_b == at_c == [("a", payload) for payload in sent]
        assert at_a == []
        await until(lambda: a.counters.published == 500)
        assert b.counters.received == 500
        assert a.counters.dropped == b.counters.missed == 0


async def test_kinds_are_heard_apart(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a", "b") as (a, b):
        events, limits = collect(b, Kind.EVENT), collect(b, Kind.LIMITS)
        a.publish(Kind.LIMITS, b"l")
        a.publish(77, b"of a later version")
        a.publish(Kind.EVENT, b"e")
        await until(lambda: events and limits)
        assert (events, limits) == ([("a", b"e")], [("a", b"l")])


async def test_two_installations_hear_nothing_of_each_other(shared_valkey: EmbeddedValkey) -> None:
    async with (
        running(shared_valkey.url, "a", "b") as (a, b),
        running(shared_valkey.url, "c", epoch="e2") as (c,),
    ):
        strange, familiar = collect(c), collect(b)
        a.publish(Kind.EVENT, b"x")
        await until(lambda: familiar)
        round_trip = c.counters.published
        c.publish(Kind.EVENT, b"y")
        await until(lambda: c.counters.published > round_trip)
        assert strange == []
        assert c.nodes == {}
        assert set(a.nodes) == {"b"}


async def test_nodes_tell_of_themselves_and_say_goodbye(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a") as (a,):
        found: list[str] = []
        lost: list[str] = []
        a.on_node_found(found.append)
        a.on_node_lost(lost.append)
        b = RedisBus(shared_valkey.url, node="b", announcement=Announcement(version="1.2"))
        await b.start("e1", KEYS)
        await until(lambda: "b" in a.nodes and a.nodes["b"].info)
        assert a.nodes["b"].info == {"version": "1.2"}
        assert abs(a.nodes["b"].seen_at - time.time()) < 5
        await b.stop()
        assert await seconds_until(lambda: lost) < 1
        assert (found, lost, a.nodes) == (["b"], ["b"], {})


async def test_silent_node_is_forgotten(
    shared_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers_module, "FORGOTTEN_AFTER_SECONDS", 0.3)
    async with running(shared_valkey.url, "a", "b") as (a, b):
        lost: list[str] = []
        a.on_node_lost(lost.append)
        monkeypatch.setattr(b.heart, "beat", lambda **_: None)
        await until(lambda: lost)
        assert lost[0] == "b"


async def test_node_that_started_anew_is_lost_and_found(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a", "b") as (a, b):
        told: list[str] = []
        a.on_node_found(lambda node: told.append(f"found {node}"))
        a.on_node_lost(lambda node: told.append(f"lost {node}"))
        for task in b._tasks:
            task.cancel()  # as a kill would: no goodbye
        again = RedisBus(shared_valkey.url, node="b")
        await again.start("e1", KEYS)
        await until(lambda: len(told) == 2)
        assert told == ["lost b", "found b"]
        await again.stop()


async def test_handler_that_raises_stops_nothing(
    shared_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(shared_valkey.url, "a", "b") as (a, b):

        def broken(node: str, payload: bytes) -> None:
            raise RuntimeError("a bug")

        b.listen(Kind.EVENT, broken)
        heard = collect(b)
        with caplog.at_level(logging.ERROR):
            a.publish(Kind.EVENT, b"1")
            a.publish(Kind.EVENT, b"2")
            await until(lambda: len(heard) == 2)
        assert b.counters.handler_errors == 2
        assert "a listener failed" in caplog.text


async def test_slow_handler_deafens_nobody(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a", "b") as (a, b):
        b.listen(Kind.EVENT, lambda node, payload: time.sleep(3))
        heard = collect(b)
        a.publish(Kind.EVENT, b"x")
        await until(lambda: heard)
        proofs = b.proof.proved_at
        await until(lambda: b.proof.proved_at > proofs and b.is_hearing)
        assert b.counters.outages == 0
        assert set(b.nodes) == {"a"}


async def test_unknown_layout_is_counted_and_read_from_postgres(shared_valkey: EmbeddedValkey) -> None:
    async with running(shared_valkey.url, "a") as (a,), admin(shared_valkey) as link:
        gaps = Gaps(a)
        for data in (b"", b"\xff of the next version", b"\x01 cut short"):
            await link.ask("PUBLISH", "collab:e1:bus", data)
        await until(lambda: a.counters.unknown_version == 3 and gaps.count)
        assert a.is_hearing


async def test_what_does_not_fit_is_dropped_oldest_first_and_noticed(shared_valkey: EmbeddedValkey) -> None:
    small = RedisBus(shared_valkey.url, node="small", limits=(1000, 50_000))
    async with running(shared_valkey.url, "b") as (b,):
        heard, gaps = collect(b), Gaps(b)
        await small.start("e1", KEYS)
        await until(lambda: "small" in b.nodes and small.is_hearing and not small.outbox.backlog)
        for number in range(20):
            small.publish(Kind.EVENT, bytes([number]) * 100)
        assert small.outbox.backlog.bytes <= 1000
        assert small.counters.dropped == 10
        await until(lambda: len(heard) == 10)
        assert [payload[0] for _, payload in heard] == list(range(10, 20))
        await until(lambda: gaps.count)
        assert b.counters.missed == 10
        before, dropped = gaps.count, small.counters.dropped
        await until(lambda: small.outbox.backlog.bytes == 0)  # no heartbeat that would be dropped, too
        small.publish(Kind.EVENT, b"x" * 1001)
        assert small.counters.dropped == dropped + 1  # at once: a heartbeat may become stale later
        await until(lambda: gaps.count > before)
        assert len(heard) == 10
        await small.stop()


async def test_stale_messages_are_dropped_while_redis_is_away() -> None:
    bus = RedisBus("redis://127.0.0.1:1", node="a")
    await bus.start("e1", KEYS)
    bus.publish(Kind.EVENT, b"x" * 1000)
    await until(lambda: bus.counters.dropped == 1)
    assert bus.outbox.backlog.bytes < 1000, "heartbeats at the most"
    assert not bus.is_hearing
    assert bus.problem == "cannot reach 127.0.0.1:1: connection refused"
    await bus.stop()


async def test_redis_is_checked_before_the_epoch_is_known(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a", epoch=None) as (a,):
        await until(lambda: a.is_available)
        assert not a.is_hearing
        valkey.freeze()
        assert await seconds_until(lambda: not a.is_available) < 5
        valkey.thaw()
        assert await seconds_until(lambda: a.is_available) < 2
        a.set_epoch("e1", KEYS)
        await until(lambda: a.is_hearing)
        assert a.counters.outages == 1


async def test_killed_redis_is_noticed_and_taken_up_again(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a", "b") as (a, b):
        heard, gaps = collect(b), Gaps(b)
        valkey.kill()
        assert await seconds_until(lambda: not (a.is_available or b.is_available)) < 5
        assert b.problem == f"cannot reach {valkey.host}:{valkey.port}: connection refused"
        a.publish(Kind.EVENT, b"while away")
        await until(lambda: b.counters.connections_lost >= 2)
        valkey.start()
        assert await seconds_until(lambda: a.is_hearing and b.is_hearing) < 2
        await until(lambda: gaps.count)
        a.publish(Kind.EVENT, b"back")
        await until(lambda: heard and heard[-1] == ("a", b"back"))
        assert b.counters.outages == 1
        assert set(b.nodes) == {"a"}, "an outage of Redis is not one of the other nodes"


async def test_frozen_redis_is_noticed_within_five_seconds_and_its_return_within_two(
    valkey: EmbeddedValkey,
) -> None:
    async with running(valkey.url, "a", "b") as (a, b):
        heard, gaps = collect(b), Gaps(b)
        valkey.freeze()
        frozen, frozen_at = Stopwatch(), time.monotonic()
        number = 0
        while a.is_hearing or b.is_hearing or time.monotonic() - frozen_at < 3:
            assert frozen.seconds < 5
            publishing = Stopwatch()
            a.publish(Kind.EVENT, b"%d" % number)
            assert publishing.seconds < 0.05
            number += 1
            await asyncio.sleep(0.01)
        gaps.count = 0
        valkey.thaw()
        assert await seconds_until(lambda: a.is_hearing and b.is_hearing) < 2
        a.publish(Kind.EVENT, b"last")
        await until(lambda: heard and heard[-1] == ("a", b"last"))
        numbers = [int(payload) for _, payload in heard[:-1]]
        assert numbers == sorted(set(numbers)), "what was sent again or late came twice or out of order"
        await until(lambda: gaps.count)


async def test_killed_subscription_is_renewed_before_anybody_sees_it(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a", "b") as (a, b), admin(valkey) as link:
        heard, gaps = collect(b), Gaps(b)
        killed = await link.ask("CLIENT", "KILL", "TYPE", "pubsub")
        assert killed == 2
        await until(lambda: b.counters.connections_lost == 1)
        assert await seconds_until(lambda: gaps.count) < 2
        a.publish(Kind.EVENT, b"x")
        await until(lambda: heard)
        assert b.counters.outages == 0


async def test_killed_publishing_connection_loses_and_doubles_nothing(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a", "b") as (a, b), admin(valkey) as link:
        heard = collect(b)
        for number in range(300):
            a.publish(Kind.EVENT, b"%d" % number)
            if number % 50 == 49:
                await link.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0)
        await until(lambda: len(heard) >= 300)
        assert [int(payload) for _, payload in heard] == list(range(300))


async def test_full_redis_still_carries_messages(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a", "b") as (a, b), admin(valkey) as link:
        await link.ask("CONFIG", "SET", "maxmemory", "1")
        heard = collect(b)
        a.publish(Kind.EVENT, b"x")
        await until(lambda: heard)
        assert a.is_hearing


async def test_wrong_password_is_told_in_words_without_it(
    shared_valkey: EmbeddedValkey, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        bus = RedisBus(f"redis://:hunter2@{shared_valkey.host}:{shared_valkey.port}", node="a")
        await bus.start("e1", KEYS)
        await until(lambda: bus.problem == "Redis refuses the user name or password")
        assert not bus.is_available
        await bus.stop()
        missing = RedisBus(f"redis://{shared_valkey.host}:{shared_valkey.port}", node="a")
        await missing.start("e1", KEYS)
        await until(lambda: missing.problem == "Redis asks for a password")
        await missing.stop()
    assert "hunter2" not in caplog.text + repr(bus) + str(vars(bus))


async def test_user_who_may_not_use_the_channel_is_told_so(valkey: EmbeddedValkey) -> None:
    async with admin(valkey) as link:
        await link.ask("ACL", "SETUSER", "ann", "on", ">pw", "+@all", "resetchannels", "~*")
    bus = RedisBus(f"redis://ann:pw@{valkey.host}:{valkey.port}", node="a")
    await bus.start("e1", KEYS)
    await until(lambda: "may not do this" in (bus.problem or ""))
    await bus.stop()


async def test_something_else_than_redis_is_told_in_words() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        bus = RedisBus(f"redis://127.0.0.1:{port}", node="a")
        await bus.start("e1", KEYS)
        await until(lambda: bus.problem == "what answers there is not Redis")
        await bus.stop()


async def test_stopping_takes_less_than_a_second_whatever_redis_does(valkey: EmbeddedValkey) -> None:
    async with running(valkey.url, "a") as (a,):
        valkey.freeze()
        a.publish(Kind.EVENT, b"x")
        stopping = Stopwatch()
        await a.stop()
        assert stopping.seconds < 1
        valkey.thaw()


async def test_callback_that_raises_stops_nothing(shared_valkey: EmbeddedValkey) -> None:
    bus = RedisBus(shared_valkey.url, node="a", announcement=Announcement(fact=object()))

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    bus.on_gap(broken)
    await bus.start("e1", KEYS)
    await until(lambda: bus.is_hearing)
    await bus.stop()
