"""Comments as words: texts, mentions, anchors."""

from __future__ import annotations

import pytest

from collab_server.domain.comments import Anchor, anchor_text, check_text
from collab_server.errors import Invalid, TooLarge


@pytest.mark.parametrize("text", ["a", " a", "🦊" * 10, "a\n", "a\u200b", "\u202ea"])
def test_texts_that_fit(text: str) -> None:
    assert check_text(text, 10) == text


@pytest.mark.parametrize(
    "text", ["", " ", "\t\r\n", "\u00a0\u2003\u3000", "\u200b", "\u3164 \u00ad", "\U000e0041\ufeff"]
)
def test_blank_texts_are_invalid(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_text(text, 10)
    assert refusal.value.field == "text"


def test_length_is_counted_in_code_points() -> None:
    with pytest.raises(TooLarge, match="at most 10 characters, got 11"):
        check_text("🦊" * 11, 10)


def test_anchors_leave_out_what_was_not_given() -> None:
    assert anchor_text(None) is None
    assert anchor_text(Anchor()) == "{}"
    assert anchor_text(Anchor(page_key="p", data_point=[1])) == '{"pageKey":"p","dataPoint":[1]}'
    for anchor in (Anchor(page_key=""), Anchor(visualization_key="x" * 257)):
        with pytest.raises(Invalid):
            anchor_text(anchor)
