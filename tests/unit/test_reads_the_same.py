"""What reads the same is found, whatever it is written with; what is another word is not."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from collab_server.domain.folding import BEFORE, folded
from collab_server.domain.search import highlights, index_terms, parse_query, query_terms
from tests.harness.vectors import vectors

SEARCH = vectors("search")
PAIRS: list[dict[str, Any]] = SEARCH["pairs"]
SCRIPTS = {pair["script"] for pair in PAIRS}
DECISION = Path(__file__).parents[2] / "docs/decisions/0007-comments-are-found-by-numbers-made-in-python.md"


def read(text: str) -> tuple[list[str], list[str]]:
    of = folded(text)
    return of.words.split(), of.runs.split()


def reads_the_same(one: str, other: str) -> bool:
    """Whether two texts read the same within a sentence; what is the same text does."""
    return one == other or read(f"a {one} z") == read(f"a {other} z")


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_what_reads_the_same_is_found_and_marked(script: str) -> None:
    for pair in PAIRS:
        if pair["script"] != script:
            continue
        for said, asked in ((pair["text"], pair["query"]), (pair["query"], pair["text"])):
            text, query = f"a {said} z", parse_query(asked)
            found = highlights(query, text)
            assert found is not None, (ascii(said), ascii(asked))
            assert set(query_terms(query)) <= index_terms(text), (ascii(said), ascii(asked))
            if said == pair["text"]:
                assert [text[start : start + length] for start, length in found] == pair["marks"]


@pytest.mark.parametrize("words", SEARCH["apart"], ids=lambda words: ascii(words))
def test_what_is_another_word_is_not_found(words: list[str]) -> None:
    one, other = words
    assert highlights(parse_query(one), f"a {other} z") is None
    assert highlights(parse_query(other), f"a {one} z") is None


def test_the_documents_give_the_figure() -> None:
    before = 0
    for pair in PAIRS:
        said, asked = (folded(f" {pair[key]} ", BEFORE) for key in ("text", "query"))
        before += (said.words.split(), said.runs.split()) == (asked.words.split(), asked.runs.split())
    assert len(PAIRS) >= 200
    assert len(SCRIPTS) >= 30
    [figure] = re.findall(r"all (\d+) pairs in (\d+) scripts; (\d+) of them", DECISION.read_text())
    assert figure == (str(len(PAIRS)), str(len(SCRIPTS)), str(before))


ALL = [
    chr(point)
    for point in range(0x30000)
    if unicodedata.category(chr(point)) not in ("Cn", "Co", "Cs")
    and (point % 97 == 0 or not (0x3400 <= point < 0xA000 or 0xAC00 <= point < 0xD7A4 or point >= 0x20000))
]


@pytest.mark.parametrize(
    ("written", "right"),
    [
        *[(f"ท{tone}{sign}น", f"ท{sign}{tone}น") for tone in "่้๊๋์" for sign in "ัิีึื็"],
        *[(f"น\u0e4d{tone}\u0e32", f"น{tone}\u0e33") for tone in "่้๊๋"],
        *[(f"ກ{tone}{sign}ນ", f"ກ{sign}{tone}ນ") for tone in "່້໊໋" for sign in "ັິີຶືົ"],
        *[(f"ນ\u0ecd{tone}\u0eb2", f"ນ{tone}\u0eb3") for tone in "່້໊໋"],
        *[
            (f"ស\u17d2រ\u17d2{letter}ី", f"ស\u17d2{letter}\u17d2រី")
            for letter in map(chr, range(0x1780, 0x17A3))
        ],
        ("ក\u17d2ដ", "ក\u17d2ត"),
        ("ស\u17d2រ\u17d2ដី", "ស\u17d2ត\u17d2រី"),
    ],
)
def test_signs_that_are_drawn_the_same_in_either_order_read_the_same(written: str, right: str) -> None:
    assert read(f"ก {written} ក") == read(f"ก {right} ក")


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_every_character_reads_the_same_in_every_form_of_unicode(form: Any) -> None:
    assert [c for c in ALL if not reads_the_same(c, unicodedata.normalize(form, c))] == []


def test_every_character_reads_the_same_in_either_case() -> None:
    """But for the iota that is written below vowels, which is a letter beside them in capitals."""
    iota = "\u0345"
    others = [c for c in ALL if iota not in unicodedata.normalize("NFD", c)]
    assert [c for c in others if not reads_the_same(c, c.lower())] == []
    assert [c for c in others if not reads_the_same(c, c.upper())] == []


def test_every_decimal_digit_reads_as_its_value() -> None:
    digits = [c for c in ALL if unicodedata.decimal(c, None) is not None]
    assert len(digits) > 600
    assert [c for c in digits if read(c) != read(str(unicodedata.decimal(c)))] == []
