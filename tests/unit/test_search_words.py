"""Words of texts: whatever a text holds, it is read in time and memory that go with its length."""

from __future__ import annotations

import time
import tracemalloc
import unicodedata
from collections.abc import Callable

import pytest

from collab_server.domain.ids import library_id
from collab_server.domain.mentions import mentions_in
from collab_server.domain.search import MAX_HIGHLIGHTS, highlights, index_terms, parse_query, query_terms
from collab_server.services.search.page import BEAT_SECONDS, answer_after

LONGEST = 10_000
MOST_SECONDS = 0.1  # of this thread's CPU: what one callback may take

ODD_TEXTS = {
    "a short word again and again": "ab " * 3333,
    "marks in the wrong order": "a" + "\u0301" * 5000 + "\u0316" * 4999,
    "marks in turn": "a" + "\u0301\u0316" * 4999,
    "nothing but marks": "\u0316\u0301" * 5000,
    "Tibetan marks behind a wide letter": "\uff41" + "\u0f74\u0f72" * 4999,
    "marks of many words": ("a" + "\u0301" * 15 + "\u0316" * 15) * 322,
    "letters that fold to eighteen": "\ufdfa" * LONGEST,
    "signs that fold to six": "\u3316" * LONGEST,
    "ten thousand letters of Han": "".join(map(chr, range(0x4E00, 0x4E00 + LONGEST))),
    "ten thousand syllables": "".join(map(chr, range(0xAC00, 0xAC00 + LONGEST))),
    "syllables in parts": unicodedata.normalize("NFD", "".join(map(chr, range(0xAC00, 0xAC00 + 3300)))),
    "parts of one syllable": "\u1100" + "\u1161" * 9999,
    "voice marks": "\uff9e" * LONGEST,
    "tones": "👍🏽" * 5000,
    "joiners": "\u200d" * LONGEST,
    "beginnings of mentions": "@[" * 5000,
    "beginnings and one end": ("@[" * 120 + f"](user:{'A' * 32})") * 33,
    "ends of mentions": "](user:" * 1400,
    "mentions of nobody": f"@[x](user:{'A' * 32})" * 230,
}


def least_seconds(work: Callable[[str], object], text: str) -> float:
    """What it costs of this thread's CPU, at its best of three: what the machine does beside it makes it dearer.

    Each time the text begins with another letter, so that nothing of it is remembered.
    """

    def once(number: int) -> float:
        tried = chr(ord(text[0]) + number) + text[1:LONGEST]
        begun = time.thread_time()
        work(tried)
        return time.thread_time() - begun

    return min(map(once, range(3)))


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_no_text_takes_long_to_read(text: str) -> None:
    query = parse_query("ab")
    assert least_seconds(index_terms, text) < MOST_SECONDS
    assert least_seconds(lambda tried: mentions_in(tried, LONGEST, library_id), text) < MOST_SECONDS
    assert least_seconds(lambda tried: highlights(query, tried), text) < MOST_SECONDS


@pytest.mark.parametrize(
    ("q", "text"),
    [
        ("ab", "ab " * 3333),
        (" ".join("abcdefghijklmnop"), "a b c d e f g h i j k l m n o p " * 312),
        ("中" * 200, "中" * LONGEST),
        (" ".join("中" * length for length in range(1, 16)), "中" * LONGEST),
        (" ".join(("ガギ" * 9)[:length] for length in range(2, 17)), "ガギ" * 5000),
        ("中" * 99 + "国", "中" * LONGEST),
        ("国" + "中" * 99, "中" * LONGEST),
        ("\u3316" * 200, "\u3316" * LONGEST),
        ("\ufdfa", "\ufdfa" * LONGEST),
        ("中 a", "中a" * 5000),
    ],
)
def test_no_query_takes_long_to_look_for(q: str, text: str) -> None:
    query = parse_query(q)
    assert least_seconds(lambda tried: highlights(query, tried), text) < MOST_SECONDS
    assert set(query_terms(query)) <= index_terms(text) or highlights(query, text) is None


@pytest.mark.parametrize("q", ["a", "ä", "1", "be", "中", "ガ", "한", "😀", "中国", "a 中", "👍🏽"])
def test_whatever_is_looked_for_narrows_down_which_texts_are_read(q: str) -> None:
    """Without a number to look for, all comments that somebody may see would be read."""
    terms = set(query_terms(parse_query(q)))
    assert terms
    assert terms <= index_terms(f"x {q} y")
    assert not terms <= index_terms("nothing of it, no")


def test_marks_without_end_change_nothing_about_the_words_around_them() -> None:
    text = "be" + "\u0301" * 3000 + "\u0316" * 3000 + "t cafe\u0301"
    assert set(query_terms(parse_query("bet café"))) <= index_terms(text)
    assert highlights(parse_query("bet"), text) == [(0, 6003)]
    assert highlights(parse_query("cafe"), text) == [(6004, 5)]
    assert highlights(parse_query("t"), text) is None


@pytest.mark.parametrize(
    ("q", "text", "places"),
    [
        ("ha", "haha ha", [(0, 2), (5, 2)]),
        ("中中", "x中中中国中中", [(1, 3), (5, 2)]),
        ("中国中", "中国中国中国x中国中", [(0, 5), (7, 3)]),
        ("国人 中国", "中国人中国", [(0, 5)]),
        ("a ab abc", "abc ab a b", [(0, 3), (4, 2), (7, 1)]),
        ("ffi", "e\ufb03 \ufb03", [(3, 1)]),
        ("中$", "$中$", [(1, 2)]),
        ("中$", "$x中", None),
        ("中 $", "a$中$b", [(1, 3)]),
    ],
)
def test_where_words_and_runs_stand(q: str, text: str, places: list[tuple[int, int]] | None) -> None:
    assert highlights(parse_query(q), text) == places


def test_there_are_only_so_many_highlights_and_yet_every_word_is_looked_for() -> None:
    text = "ab " * 3000 + "zz"
    found = highlights(parse_query("ab zz"), text)
    assert found == [(3 * number, 2) for number in range(MAX_HIGHLIGHTS)]
    assert highlights(parse_query("ab zy"), text) is None


def test_when_a_search_is_answered_tells_nothing_of_a_short_one_and_little_of_a_long_one() -> None:
    for chance in (0.0, 0.3, 0.999):
        short = {answer_after(elapsed, chance) for elapsed in (0.0, 0.001, 0.01, BEAT_SECONDS)}
        assert len(short) == 1
        assert BEAT_SECONDS <= short.pop() < 2 * BEAT_SECONDS
        for elapsed in (0.03, 0.1, 1.0):
            assert elapsed <= answer_after(elapsed, chance) <= elapsed + max(BEAT_SECONDS, elapsed / 4)


def test_what_is_remembered_of_words_does_not_grow_with_their_length() -> None:
    index_terms("warm")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(40):
            index_terms(f"{number:04}".translate(str.maketrans("0123456789", "абвгдежзик")) * 2500)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 300_000
