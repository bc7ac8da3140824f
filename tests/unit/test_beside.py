"""What is done for nodes of the version before, which cannot open what is sealed."""

from __future__ import annotations

import struct

from collab_server.cluster.beside import MAX_NODES, Beside, heartbeat_of


def envelope(name: str, *, is_goodbye: bool = False, first: int = 0) -> bytes:
    """As the version before packs it."""
    encoded = name.encode()
    payload = b"" if is_goodbye else b'{"version": "1"}'
    head = struct.pack(">B8sQIB", 1, b"sender-x", first, 1, len(encoded))
    return head + encoded + struct.pack(">BI", 1, len(payload)) + payload


def test_nothing_is_said_while_all_are_there_or_none_is() -> None:
    beside = Beside()
    assert beside.due(0.0) == []
    for at in range(20):
        for name in ("old1", "old2"):
            assert not beside.hear(envelope(name, first=at), float(at))
        assert beside.due(float(at)) == []
    beside.hear(envelope("old1", is_goodbye=True), 20.0)
    beside.hear(envelope("old2", is_goodbye=True), 20.0)
    assert beside.due(20.0) == []


def test_heartbeats_go_on_in_the_name_of_one_that_said_goodbye_while_another_listens() -> None:
    beside = Beside()
    for name in ("old1", "old2"):
        beside.hear(envelope(name), 0.0)
    beside.due(0.0)
    beside.hear(envelope("old1", is_goodbye=True), 0.1)
    assert beside.due(0.1) == [heartbeat_of("old1")], "at once: a grace of 2 s has begun"
    assert beside.due(0.5) == []
    for at in range(2, 10):
        beside.hear(envelope("old2"), float(at))
        assert beside.due(float(at)) == [heartbeat_of("old1")]
    assert beside.due(30.0) == [], "the last one has gone too"
    assert beside.due(31.0) == []


def test_one_that_fell_silent_is_kept_up_until_it_is_heard_again() -> None:
    beside = Beside()
    for at in range(7):
        beside.hear(envelope("old2"), float(at))
        if at == 0:
            beside.hear(envelope("old1"), 0.0)
        told = beside.due(float(at))
        assert told == ([heartbeat_of("old1")] if at > 5 else [])
    beside.hear(envelope("old1"), 7.0)
    assert beside.due(8.0) == []


def test_own_deafness_is_nobodys_silence() -> None:
    beside = Beside()
    for name in ("old1", "old2"):
        beside.hear(envelope(name), 0.0)
    beside.was_deaf(60.0)
    assert beside.due(60.5) == []
    beside.hear(envelope("old2"), 61.0)
    assert beside.due(61.6) == []


def test_heartbeats_of_other_nodes_of_this_version_are_known_as_such() -> None:
    beside = Beside()
    assert beside.hear(heartbeat_of("old1"), 0.0)
    beside.hear(envelope("old2"), 0.0)
    assert beside.due(10.0) == [], "old1 was never heard itself"


def test_what_anybody_makes_up_is_bounded_and_raises_nothing() -> None:
    beside = Beside()
    for number in range(1000):
        beside.hear(envelope(f"made-up-{number}", is_goodbye=number % 2 == 0), number / 1000)
    assert len(beside.due(1.0)) <= MAX_NODES
    whole = envelope("n")
    for junk in (b"", b"\x01", whole[:22], b"\x01" + b"\xff" * 60, b"\x02" + whole[1:], whole[:-1]):
        assert beside.hear(junk, 2.0) in (True, False)
