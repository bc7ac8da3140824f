"""The bytes between the nodes."""

from __future__ import annotations

import pytest

from collab_server.cluster.envelope import (
    Kind,
    UnreadableEnvelope,
    open_envelope,
    pack_envelope,
    pack_event,
    unpack_event,
)
from collab_server.cluster.link import Address, parse_address

SENDER = b"12345678"


def test_envelope_brings_back_its_messages_in_order() -> None:
    messages = [(Kind.EVENT, b"one"), (Kind.SOCKETIO, b""), (Kind.EVENT, b"\x00" * 70_000)]
    envelope = open_envelope(pack_envelope(SENDER, "node-ü", 2**40, messages))
    assert (envelope.sender, envelope.node, envelope.first, envelope.count) == (SENDER, "node-ü", 2**40, 3)
    assert envelope.messages() == messages


def test_next_layout_is_unreadable_and_nothing_worse() -> None:
    data = pack_envelope(SENDER, "a", 0, [(Kind.EVENT, b"one")])
    with pytest.raises(UnreadableEnvelope):
        open_envelope(bytes([data[0] + 1]) + data[1:])


def test_every_cut_of_an_envelope_is_unreadable() -> None:
    data = pack_envelope(SENDER, "node", 0, [(Kind.EVENT, b"one"), (Kind.EVENT, b"two")])
    for end in range(len(data)):
        with pytest.raises(UnreadableEnvelope):
            open_envelope(data[:end]).messages()
    with pytest.raises(UnreadableEnvelope):
        open_envelope(data + b"x").messages()


def test_event_hint_brings_back_its_body_byte_by_byte() -> None:
    body = '{"seq":7,"text":"grüße"}'.encode()
    hint = unpack_event(pack_event("inbox:ABC", 7, "comment.added", body))
    assert (hint.topic, hint.seq, hint.type, hint.body) == ("inbox:ABC", 7, "comment.added", body)


def test_event_body_over_the_limit_is_left_out_for_postgres() -> None:
    assert unpack_event(pack_event("t", 1, "x", b"12345", max_body_bytes=5)).body == b"12345"
    assert unpack_event(pack_event("t", 1, "x", b"123456", max_body_bytes=5)).body is None
    assert unpack_event(pack_event("t", 1, "x", b"")).body == b""


def test_every_cut_of_an_event_before_its_body_is_unreadable() -> None:
    data = pack_event("topic", 1, "type", None)
    for end in range(len(data)):
        with pytest.raises(UnreadableEnvelope):
            unpack_event(data[:end])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host", Address((("host", 6379),))),
        ("valkey://host:7000/3", Address((("host", 7000),), database=3)),
        ("rediss://ann:p%40ss@host", Address((("host", 6379),), "ann", "p@ss", is_tls=True)),
        ("redis://:secret@[::1]:7000", Address((("::1", 7000),), None, "secret")),
        (
            "redis+sentinel://ann:pw@h1:26379,h2/mymaster/1?sentinelPassword=other",
            Address(
                (("h1", 26379), ("h2", 26379)),
                "ann",
                "pw",
                1,
                master="mymaster",
                sentinel_password="other",
            ),
        ),
    ],
)
def test_address_is_read_from_its_url(url: str, expected: Address) -> None:
    assert parse_address(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host",
        "redis://user:hunter2@",
        "redis://user:hunter2/x@host",
        "redis://user:hunter2#@host",
        "redis://user:hunter2@host:0",
        "redis://user:hunter2@host/zero",
        "redis://user:hunter2@[host",
        "redis://user:hunter2@h1,h2",
        "redis+sentinel://user:hunter2@host:26379",
    ],
)
def test_wrong_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse_address(url)
    assert "hunter2" not in str(refused.value)


def test_address_shows_no_password() -> None:
    assert "hunter2" not in repr(parse_address("redis://ann:hunter2@host"))
