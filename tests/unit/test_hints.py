"""What a node tells the others, to the byte."""

from __future__ import annotations

import pytest

from collab_server.domain.hints import UnreadableHint, pack_event, unpack_event


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
        with pytest.raises(UnreadableHint):
            unpack_event(data[:end])
