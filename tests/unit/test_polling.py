"""Long-polling by itself: what one POST may hold, and what a websocket takes over from it."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from collab_server.realtime.engine.deadlines import Deadlines
from collab_server.realtime.engine.marks import Marks
from collab_server.realtime.engine.polling import PACKETS_PER_PAYLOAD, Polling
from collab_server.realtime.engine.sessions import Sessions
from collab_server.realtime.sockets.newcomers import Newcomers
from collab_server.realtime.strangers import StrangerLimits
from tests.harness.waiting import until


class Side:
    """All that is around a carrier: the session, who keeps it, who answers requests, and the next carrier."""

    def __init__(self, *, is_paused: bool = False) -> None:
        self.inbox = SimpleNamespace(is_paused=is_paused)
        self.allowance = SimpleNamespace(seconds_to_wait=lambda: 0.0)
        self.outgoing_bytes = 1000
        self.owner = self
        self.packets = 0
        self.said: list[str] = []
        self.carrier: Any = Polling(cast("Any", self), cast("Any", self))

    def receive(self, _session: Any, packet: str) -> bool:
        self.packets += 1
        return True

    def end(self, _session: Any, _reason: str) -> None:
        self.said.append("ended")

    def refuse(self, _exchange: Any) -> None:
        self.said.append("refused")

    def respond(self, *_: Any) -> None:
        self.said.append("answered")

    def write(self, ready: list[bytes]) -> None:
        self.said += [frame.decode() for frame in ready]

    def pause_reading(self) -> None:
        self.said.append("paused")


async def test_of_a_session_that_has_ended_no_answer_is_awaited() -> None:
    """Its pong would be missed long after, and the session kept until then."""
    session = cast("Any", object())
    nobody = cast("Any", SimpleNamespace(send=lambda *_: None, close=lambda: None))
    deadlines = Deadlines(nobody, nobody, ping_interval=0.0, ping_timeout=600.0)
    for is_pinged in (False, True):
        deadlines.begin_heartbeat(session)
        if is_pinged:
            await until(lambda: len(deadlines._pongs) == 1)
        deadlines.end_heartbeat(session)
        assert len(deadlines._pings) == len(deadlines._pongs) == 0
    deadlines.close()


@pytest.mark.parametrize("more", [0, 1])
def test_one_post_holds_so_many_packets_and_no_more(more: int) -> None:
    side = Side()
    body = "\x1e".join(["4"] * (PACKETS_PER_PAYLOAD + more)).encode()
    side.carrier.post(SimpleNamespace(body=body, is_too_large=False))
    assert side.said == (["ended", "refused"] if more else ["answered"])
    assert side.packets == (0 if more else PACKETS_PER_PAYLOAD)


@pytest.mark.parametrize("is_paused", [True, False])
def test_whoever_sends_too_much_is_read_no_faster_by_a_websocket(*, is_paused: bool) -> None:
    side = Side(is_paused=is_paused)
    side.carrier.write([b"one", b"two"])
    websocket = side
    Sessions._carry_by(
        cast("Any", SimpleNamespace(reroute=lambda: None)), cast("Any", side), cast("Any", websocket)
    )
    assert side.carrier is websocket
    assert side.said == ["one", "two"] + (["paused"] if is_paused else [])


@pytest.mark.parametrize("size", [8, 60_000])
def test_however_long_a_mark_is_a_poll_that_comes_again_is_known_and_little_is_kept(size: int) -> None:
    marks = Marks()
    marks.greet(b"EIO=4&t=" + b"g" * size)
    first, second = (b"sid=a&t=" + letter * size for letter in (b"f", b"s"))
    assert [marks.come_again(query) for query in (first, second, second, first)] == [
        False,
        False,
        True,
        False,
    ]
    assert sum(map(sys.getsizeof, (getattr(marks, name) for name in Marks.__slots__))) < 2_000


def test_what_a_stranger_weighs_grows_with_the_number_of_their_headers() -> None:
    limits = StrangerLimits(most_bytes=1_000_000)  # one address may take a tenth
    for headers, may_stay in ((10, 40), (250, 3)):
        newcomers = Newcomers(limits, 60.0, cast("Any", None))
        newcomers._waiting = cast("Any", SimpleNamespace(start=lambda _: None, stop=lambda _: None))
        environ = {"asgi.scope": {"headers": [(b"x", b"")] * headers}, "REMOTE_ADDR": "192.0.2.1"}
        for number in range(50):
            newcomers.enter(str(number), environ)
        assert may_stay <= len(newcomers.strangers) <= may_stay * 1.5
