"""The bytes between the nodes."""

from __future__ import annotations

import pytest

from collab_server.cluster.envelope import (
    UnreadableEnvelope,
    pack_heard,
    pack_messages,
    unpack_heard,
    unpack_messages,
)
from collab_server.domain.hints import Kind


def test_envelope_brings_back_its_messages_in_order() -> None:
    messages = [
        (Kind.EVENT, b"one", b""),
        (Kind.SOCKETIO, b"", b"a-trace"),
        (Kind.EVENT, b"\x00" * 70_000, b""),
    ]
    assert unpack_messages(pack_messages("node-ü", messages)) == ("node-ü", messages)


def test_a_trace_stands_where_the_version_before_reads_over_it() -> None:
    trace, payload = b"0123456789abcdef", b"one"
    traced = bytes((Kind.EVENT, len(trace))) + len(payload).to_bytes(4) + trace + payload
    following = bytes((Kind.LIMITS, 0)) + (0).to_bytes(4)
    data = b"\0\0\0\2\1n" + traced + following
    messages = [(Kind.EVENT, b"one", trace), (Kind.LIMITS, b"", b"")]
    assert unpack_messages(data) == ("n", messages)
    assert pack_messages("n", messages) == data


def test_every_cut_of_an_envelope_is_unreadable() -> None:
    data = pack_messages("node", [(Kind.EVENT, b"one", b""), (Kind.EVENT, b"two", b"trace")])
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
