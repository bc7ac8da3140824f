"""What only looks like a text, and what makes a name look like another one."""

from __future__ import annotations

import re
import unicodedata

import pytest

from collab_server.domain.discussions import check_name
from collab_server.domain.letters import CLEAR_NAME, NOT_BLANK, clear_name, is_blank, is_clear_name
from collab_server.errors import Invalid

ALL = [chr(point) for point in range(0x110000) if not 0xD800 <= point <= 0xDFFF]
JOINERS = "\u200c\u200d"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "\t\r\n",
        "\ufeff",
        "\u3000 \ufeff\u2003",
        "\u200b",
        "\u3164",
        JOINERS,
        "\u2800 \u2800",
        "\U0001d159\u200b",
        "\U00013441",
        "\x01\x7f\x9f",
        "\ufff9\ufffa\ufffb",
        "\U00013430",
    ],
)
def test_what_shows_nothing_is_blank(text: str) -> None:
    assert is_blank(text)
    assert not is_blank(f"{text}x{text}")


SELECTORS = "\u180b\u180f\ufe00\ufe0e\ufe0f\U000e0100\U000e01ef"
FILLERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\U00013441\U00013442\U00016fe4\U0001d159"


def test_every_character_that_python_knows_to_be_unseen_makes_a_name_unclear() -> None:
    for character in ALL:
        unseen = unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp") and character not in JOINERS
        unseen = unseen or character in FILLERS
        if unseen or unicodedata.category(character) != "Cn":
            assert is_clear_name(f"a{character}b") is not unseen, hex(ord(character))


def test_all_white_space_is_blank() -> None:
    assert [hex(ord(one)) for one in ALL if one.isspace() and not is_blank(one)] == []


@pytest.mark.parametrize(
    "name",
    [
        *["Board", "Größe", "ها\u200cها", "👩\u200d💻", "क्\u200dष", "שלום", "a" * 200],
        *["❤\ufe0f\u200d🔥", "1\ufe0f\u20e3", "葛\U000e0100城", "ᠮ\u180b", "☎\ufe0e", "🏳\ufe0f\u200d🌈"],
    ],
)
def test_clear_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name", ["a\r\nb", "\u202eb", "a\x1b[1m", "\u200b", JOINERS, "a\u2028b", "a\u2066b", "\u00ad", "x\u200f"]
)
def test_names_that_are_not_what_they_look_like_are_invalid(name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        check_name(name)
    assert refusal.value.field == "name"


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("Gro\u0308ße", "Größe"),
        ("Sales\u00a0 2026", "Sales 2026"),
        (" \u3000Board\u2003", "Board"),
        ("A\u200dnn", "Ann"),
        ("Ann\u200c", "Ann"),
        ("\u200cAnn \u200d", "Ann"),
        ("ها\u200c", "ها"),
        *[(f"An{selector}n{selector}", "Ann") for selector in SELECTORS],
        *[(f"\u0416{selector} \u05d0{selector}{selector}", "\u0416 \u05d0") for selector in SELECTORS],
        ("Q1\ufe0f", "Q1"),
        ("\ufe0fAnn \ufe0eB", "Ann B"),
        ("❤\ufe0f\ufe0f", "❤\ufe0f"),
        ("A\ufe0f\u200dB", "AB"),
    ],
)
def test_names_are_kept_in_one_spelling(written: str, kept: str) -> None:
    assert check_name(written) == kept
    assert check_name(kept) == kept


def test_the_published_patterns_take_what_the_server_takes() -> None:
    for text in (
        "",
        " ",
        "a",
        " a ",
        "\u2800",
        "a\u2800",
        "\u200b",
        "a\u200b",
        "a\nb",
        "\u200da",
        "\u200d",
        "\u2028",
        "\u3164",
    ):
        assert bool(re.search(NOT_BLANK, text)) is not is_blank(text)
        assert bool(re.search(CLEAR_NAME, text)) is is_clear_name(text), ascii(text)


@pytest.mark.parametrize(
    ("given", "clear"),
    [
        ("Ann\r\nBaker", "Ann Baker"),
        ("\u202eAnn", "Ann"),
        ("  Ann \t B ", "Ann B"),
        ("\u200b", ""),
        ("A\u200bn\u00adn\u034f\u3164B", "Ann B"),
        ("A\u200dnn", "Ann"),
        ("x" * 10_000, "x" * 255),
        ("e\u0301" * 255, "é" * 255),
        ("x" * 254 + "👍🏽", "x" * 254),
        ("👩\u200d💻", "👩\u200d💻"),
    ],
)
def test_the_names_of_others_are_made_clear(given: str, clear: str) -> None:
    assert clear_name(given, 255) == clear
