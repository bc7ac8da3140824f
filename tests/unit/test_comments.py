"""Comments as words: texts, mentions, anchors."""

from __future__ import annotations

import pytest

from collab_server.domain.comments import Anchor, anchor_text, check_text, mentions_in
from collab_server.domain.ids import library_id
from collab_server.errors import Invalid, TooLarge

ID, OTHER = "A" * 32, "B" * 32


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"@[Ann](user:{ID})", [("user", ID, "Ann")]),
        (f"x@[Ann A.](user:{ID.lower()})y", [("user", ID, "Ann A.")]),
        (f"@[Ann](user:{ID}) @[Group](group:{OTHER})", [("user", ID, "Ann"), ("group", OTHER, "Group")]),
        (f"@[Ann](user:{ID}) @[Annie](user:{ID})", [("user", ID, "Ann")]),
        (f"@[U](user:{ID}) @[G](group:{ID})", [("user", ID, "U"), ("group", ID, "G")]),
        (f"@[a]b](user:{ID})", [("user", ID, "a]b")]),
        (f"@ [Ann](user:{ID})", []),
        (f"@[](user:{ID})", []),
        (f"@[Ann](role:{ID})", []),
        (f"[Ann](user:{ID})", []),
        ("@[Ann](user:)", []),
        ("@[Ann] (user:x)", []),
        ("@[" * 5000, []),
    ],
)
def test_mentions_are_read_out_of_the_text(text: str, expected: list[tuple[str, str, str]]) -> None:
    assert [(m.kind, m.id, m.name) for m in mentions_in(text, 50, library_id)] == expected


def test_a_mention_of_an_impossible_id_is_invalid() -> None:
    with pytest.raises(Invalid):
        mentions_in("@[Ann](user:ann)", 50, library_id)


def test_only_so_many_different_mentions() -> None:
    text = "".join(f"@[N](user:{number % 3:032X})" for number in range(30))
    assert len(mentions_in(text, 3, library_id)) == 3
    with pytest.raises(TooLarge):
        mentions_in(text, 2, library_id)


def test_anchors_leave_out_what_was_not_given() -> None:
    assert anchor_text(None) is None
    assert anchor_text(Anchor()) == "{}"
    assert anchor_text(Anchor(page_key="p", data_point=[1])) == '{"pageKey":"p","dataPoint":[1]}'
    for anchor in (Anchor(page_key=""), Anchor(visualization_key="x" * 257)):
        with pytest.raises(Invalid):
            anchor_text(anchor)
