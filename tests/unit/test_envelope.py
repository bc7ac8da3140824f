"""The bytes between the nodes."""

from __future__ import annotations

import pytest

from collab_server.cluster.envelope import (
    Kind,
    UnreadableEnvelope,
    pack_event,
    pack_heard,
    pack_messages,
    unpack_event,
    unpack_heard,
    unpack_messages,
)


def test_envelope_brings_back_its_messages_in_order() -> None:
    messages = [(Kind.EVENT, b"one"), (Kind.SOCKETIO, b""), (Kind.EVENT, b"\x00" * 70_000)]
    assert unpack_messages(pack_messages("node-ü", messages)) == ("node-ü", messages)


def test_trace_id_of_a_later_version_is_read_over() -> None:
    trace_id, payload = b"0123456789abcdef", b"one"
    traced = bytes((Kind.EVENT, len(trace_id))) + len(payload).to_bytes(4) + trace_id + payload
    following = bytes((Kind.LIMITS, 0)) + (0).to_bytes(4)
    data = b"\0\0\0\2\1n" + traced + following
    assert unpack_messages(data) == ("n", [(Kind.EVENT, b"one"), (Kind.LIMITS, b"")])


def test_every_cut_of_an_envelope_is_unreadable() -> None:
    data = pack_messages("node", [(Kind.EVENT, b"one"), (Kind.EVENT, b"two")])
    for end in range(len(data)):
        with pytest.raises(UnreadableEnvelope):
            unpack_messages(data[:end])
    with pytest.raises(UnreadableEnvelope):
        unpack_messages(data + b"x")


def test_what_was_heard_comes_back_and_every_cut_is_unreadable() -> None:
    heard = {b"1" * 16: 7, b"2" * 16: 2**40}
    data = pack_heard(True, heard.items())
    assert unpack_heard(data) == (True, heard)
    assert unpack_heard(pack_heard(False, [])) == (False, {})
    for end in range(len(data)):
        if end not in (1, 25):
            with pytest.raises(UnreadableEnvelope):
                unpack_heard(data[:end])


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
