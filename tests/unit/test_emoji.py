"""Emoji: one is one, in whatever spelling."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from collab_server.domain.emoji import MAX_CODE_POINTS, check_emoji, one_each
from collab_server.domain.jsontext import JsonText, dumps
from collab_server.errors import Invalid
from tests.harness.vectors import vectors

EMOJI = vectors("emoji")


@pytest.mark.parametrize("same", EMOJI["same"], ids=lambda same: ascii(same["kept"]))
def test_an_emoji_is_kept_in_one_spelling_however_it_is_written(same: dict[str, Any]) -> None:
    assert {check_emoji(spelled) for spelled in same["spelled"]} == {same["kept"]}
    assert check_emoji(same["kept"]) == same["kept"]


def test_two_texts_are_the_same_emoji_if_they_are_the_same_without_selectors() -> None:
    """What the protocol says to clients."""
    for same in EMOJI["same"]:
        assert len({re.sub("[\ufe0e\ufe0f]", "", spelled) for spelled in same["spelled"]}) == 1


@pytest.mark.parametrize("text", EMOJI["none"], ids=lambda text: ascii(text)[:40])
def test_what_is_not_one_emoji_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_emoji(text)
    assert refusal.value.field == "emoji"


def test_emoji_that_are_two_stay_two() -> None:
    for one, other in EMOJI["apart"]:
        assert check_emoji(one) != check_emoji(other)


def test_the_longest_emoji_is_taken_again_as_it_is_kept() -> None:
    longest = "\u200d".join("\u2764" * (MAX_CODE_POINTS // 2))
    assert check_emoji(check_emoji(longest)) == check_emoji(longest)


def test_reactions_in_several_spellings_are_read_as_one_and_nobody_twice() -> None:
    written = dumps({"👍": ["A"], "\u2764": ["B", "C"], "1\u20e3": ["D"], "\u2764\ufe0f": ["C", "A"]})
    merged = one_each(written)
    assert list(json.loads(merged).items()) == [
        ("👍", ["A"]),
        ("\u2764\ufe0f", ["B", "C", "A"]),
        ("1\ufe0f\u20e3", ["D"]),
    ]
    assert one_each(merged) is merged
    assert one_each(JsonText("{}")) == "{}"
