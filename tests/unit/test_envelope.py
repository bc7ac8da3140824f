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
