"""What waits to be sent is bounded; it goes by the way that is attached, and only its answers count."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from collab_server.cluster.backlog import Backlog
from collab_server.cluster.counters import Counters
from collab_server.cluster.outbox import Outbox
from collab_server.cluster.seal import Seal
from collab_server.domain.hints import Kind
from collab_server.domain.keys import KeyRing


class Road:
    """A way that answers when the test says so, even if it was left before."""

    def __init__(self) -> None:
        self.answers: list[Callable[[str | None], None]] = []
        self.closed_because: str | None = None

    def publish(self, channel: bytes, data: bytes, on_answer: Callable[[str | None], None]) -> None:
        self.answers.append(on_answer)

    def ping(self, on_answer: Callable[[], None]) -> None:
        on_answer()

    def close(self, reason: str) -> None:
        self.closed_because = reason


@pytest.mark.parametrize("said", [None, "it is full"], ids=["taken", "a problem"])
async def test_what_a_way_says_that_was_left_is_not_about_the_one_after_it(said: str | None) -> None:
    seal = Seal(b"s" * 16)
    seal.use("e1", KeyRing.of(b"k" * 32))
    outbox = Outbox(Backlog(Counters(), lambda: 0.0), seal, lambda: 0.0, node="n", carried_by="the courier")
    outbox.use_channel("c")
    left, now = Road(), Road()
    outbox.attach(left)
    outbox.publish(Kind.EVENT, b"one")
    outbox.flush()
    outbox.detach()
    outbox.attach(now)
    assert (len(left.answers), len(now.answers)) == (1, 1)
    outbox.publish(Kind.EVENT, b"two")
    left.answers[0](said)
    assert len(outbox.backlog) == 2, "neither is known to have arrived"
    assert len(now.answers) == 1, "one envelope is under way at a time"
    assert now.closed_because is None
    now.answers[0](None)
    assert (len(outbox.backlog), len(now.answers)) == (1, 2)
    now.answers[1](None)
    assert not outbox.backlog


# --- what waits


@pytest.mark.parametrize(
    ("size", "kept"), [(1, 10), (9, 10), (10, 10), (11, 9), (50, 2), (100, 1)], ids=lambda number: str(number)
)
def test_of_what_waits_the_oldest_goes_when_it_is_too_much_in_number_or_bytes(size: int, kept: int) -> None:
    counters = Counters()
    backlog = Backlog(counters, lambda: 0.0, max_bytes=100, max_messages=10)
    for number in range(15):
        backlog.put((Kind.EVENT, bytes([number]) * size, b""))
    assert (len(backlog), backlog.bytes) == (kept, kept * size)
    assert (backlog.first, backlog.next_number) == (15 - kept, 15), "what is given up keeps its number"
    assert backlog.first_messages()[0][1] == bytes([15 - kept]) * size
    assert counters.dropped == 15 - kept


def test_what_could_never_be_sent_is_a_gap_with_a_number_of_its_own() -> None:
    counters = Counters()
    backlog = Backlog(counters, lambda: 0.0, max_bytes=100)
    backlog.put((Kind.EVENT, b"before", b""))
    backlog.put((Kind.EVENT, b"x" * 99, b"tr"))
    assert backlog.first_messages() == [(Kind.EVENT, b"before", b""), (Kind.GAP, b"", b"")]
    assert (backlog.bytes, counters.dropped) == (6, 1)


def test_what_is_too_old_to_be_of_use_goes_and_nothing_else_does() -> None:
    now = 0.0
    backlog = Backlog(Counters(), lambda: now)
    for _ in range(3):
        backlog.put((Kind.EVENT, b"x", b""))
        now += 1.5
    now = 3.4
    backlog.drop_stale()
    assert (backlog.first, len(backlog)) == (1, 2)
    backlog.drop_stale()
    assert (backlog.first, len(backlog)) == (1, 2)


# --- a way on which nothing answers


async def test_a_way_that_does_not_answer_is_left_and_what_carries_is_called_by_its_name() -> None:
    now = 0.0
    seal = Seal(b"s" * 16)
    seal.use("e1", KeyRing.of(b"k" * 32))
    outbox = Outbox(Backlog(Counters(), lambda: now), seal, lambda: now, node="n", carried_by="the courier")
    outbox.use_channel("c")
    road = Road()
    outbox.attach(road)
    outbox.publish(Kind.EVENT, b"one")
    outbox.flush()
    now = 0.9
    outbox.look()
    assert road.closed_because is None
    now = 101.0
    outbox.stood_still(100.0)  # the process did: nobody could have read the answer
    outbox.look()
    assert road.closed_because is None
    now = 101.1
    outbox.look()
    assert road.closed_because == "the courier does not answer"
