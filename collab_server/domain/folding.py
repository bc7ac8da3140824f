"""Folding: what a text says, in whatever spelling it says so, with each place where it is said.

Case, accents, vowel points, ligatures and widths do not count, nor what cannot be seen, nor in which of several ways
a letter or digit is written that reads the same (`É` is `e`, `ς` is `σ`, `ガ` and `ｶﾞ` are `が`, `٣` is `3`, `ی` is
`ي`, `🏽` after an emoji is nothing); the vowel signs of Indic scripts, which make other words, do, and so do letters of
different scripts. See `domain.spellings`.

How texts are folded is their *cut*, which has a number. A comment is indexed by the cut of its day. Whoever changes
what is folded gives it the next number and keeps the cut before for queries, until every comment is indexed anew.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, chain
from typing import Final

from collab_server.domain.ids import OPAQUE_ID
from collab_server.domain.letters import is_ignorable
from collab_server.domain.mentions import MENTION
from collab_server.domain.spellings import LETTERS, ORDERS, SEQUENCES

__all__ = ["BEFORE", "CUT", "Cut", "Folded", "folded"]

_RUN_RANGES = (
    *((0x0E00, 0x10A0), (0x1100, 0x1200), (0x1780, 0x1800), (0x1950, 0x1AB0)),  # Thai to Myanmar, Khmer, Tai
    *((0x3005, 0x3008), (0x3021, 0x3030), (0x3040, 0x3200), (0x3400, 0xA000)),  # kana, Bopomofo, Han
    *(
        (0xA960, 0xA980),
        (0xAA60, 0xAAE0),
        (0xAC00, 0xD800),
        (0xF900, 0xFB00),
        (0x1B000, 0x1B170),
    ),  # Hangul, kana
    (0x20000, 0x40000),
)
_RUN_BOUNDS = tuple(chain.from_iterable(_RUN_RANGES))

_MOST_MARKS = 30
"""How many marks behind a character are folded with it, as in Unicode's stream-safe texts. No language needs more, and
to bring them into their order takes time that grows with the square of their number."""
_SURELY_CHEAP = 500
"""Texts of so many characters may be anything: the square of this is little."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text, twice: `words` has spaces where its characters belong to no word, and one more at each end, `runs`
    where they belong to no run, and one more at its beginning, so that a place is the same in both.

    `starts` holds, for each thing that was folded as one, its place in `words` and in the text; None where nothing has
    moved.
    """

    words: str
    runs: str
    starts: tuple[Sequence[int], Sequence[int]] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the folded characters from `start` to before `end` come from."""
        if self.starts is None:
            return start - 1, end - 1
        folded, written = self.starts
        return written[bisect_right(folded, start) - 1], written[bisect_right(folded, end - 1)]


@dataclass(frozen=True, slots=True)
class Cut:
    """One way to fold: its number; which texts are not folded character by character; what changes the character
    before it; what a cluster comes to; and what is passed over in a text as markup, each character made a line feed."""

    number: int
    is_plain: Callable[[str], bool]
    changes_the_last: Callable[[str], bool]
    fold: Callable[[str], tuple[str, str]]
    without_markup: Callable[[str], str]
    sequences: re.Pattern[str] | None = None


def folded(text: str, cut: Cut | None = None) -> Folded:
    """The text as it is read. Takes time in proportion to its length."""
    cut = cut or CUT
    if "](" in text:
        text = cut.without_markup(text)
    if text.isascii():
        lower = text.lower()
        runs = lower.translate(_ASCII_RUNS) if "$" in lower else ""
        return Folded(f" {lower.translate(_ASCII_WORDS)} ", f" {runs}", None)
    clusters = list(_clusters(text, cut))
    both = list(map(cut.fold, clusters))
    words = [words for words, _ in both]
    read = "".join(words)
    starts = None
    if len(clusters) != len(text) or len(read) != len(text) or "" in words:
        starts = list(accumulate(map(len, words), initial=1)), list(accumulate(map(len, clusters), initial=0))
    return Folded(f" {read} ", f" {''.join([runs for _, runs in both])}", starts)


def _clusters(text: str, cut: Cut) -> Iterable[str]:
    """A text cut into what is folded as one: a character, with those behind it that may change it."""
    is_plain = cut.is_plain(text) and not _has_many_marks(text) and unicodedata.is_normalized("NFC", text)
    return text if is_plain else _composed(text, cut)


def _has_many_marks(text: str) -> bool:
    """Whether more marks follow one another than Unicode's functions can take quickly."""
    if len(text) <= _SURELY_CHEAP:
        return False
    return b"\1" * _MOST_MARKS in bytes(map(bool, map(unicodedata.combining, text)))


def _composed(text: str, cut: Cut) -> Iterator[str]:
    whole = {found.start(): found.end() for found in cut.sequences.finditer(text)} if cut.sequences else {}
    start, least_end = 0, whole.get(0, 1)
    for place, character in enumerate(text):
        if place < least_end:
            continue
        if place in whole or not cut.changes_the_last(character) or place - start > _MOST_MARKS:
            yield text[start:place]
            start, least_end = place, whole.get(place, place + 1)
    if text:
        yield text[start:]


def _both(folded: str) -> tuple[str, str]:
    """The folded characters twice: spaces instead of those that belong to no word, and to no run."""
    if len(folded) == 1:
        kind = _class(folded)
        return folded if kind == "w" else " ", folded if kind == "r" else " "
    classes = list(map(_class, folded))
    return (
        "".join([part if kind == "w" else " " for part, kind in zip(folded, classes, strict=True)]),
        "".join([part if kind == "r" else " " for part, kind in zip(folded, classes, strict=True)]),
    )


def _class(character: str) -> str:
    """Whether a character belongs to a word (w), a run (r) or neither."""
    category = unicodedata.category(character)
    if category in ("So", "Sc"):
        return "r"
    if not character.isalnum() and category[0] != "M":
        return " "
    return "r" if _is_of_run(character) else "w"


def _is_of_run(letter: str) -> bool:
    return bisect_right(_RUN_BOUNDS, ord(letter)) % 2 == 1


_ASCII_WORDS = {point: " " for point in range(128) if _class(chr(point)) != "w"}
_ASCII_RUNS = {point: " " for point in range(128) if _class(chr(point)) != "r"}


# --- the cut of today

_VOICE_MARKS: Final = str.maketrans(
    {"\u309b": "\u3099", "\u309c": "\u309a"}
)  # that stand alone; they have no space
_VOICED = "\uff9e\uff9f\u309b\u309c"


_READ_AS: Final = SEQUENCES | ORDERS
_SEQUENCE = re.compile("|".join(map(re.escape, sorted(_READ_AS, key=len, reverse=True))))


_VIRAMA = 9


def _suspicious() -> re.Pattern[str]:
    """What a text has that is not plain, and little else. It begins with a class, at which most of a text is passed
    over quickly, if all in it is of the basic plane."""
    basic = [sequence for sequence in SEQUENCES if sequence[0] <= "\uffff"]
    others = [
        sequence for sequence in basic if unicodedata.combining(sequence[1]) == _VIRAMA or sequence == "เเ"
    ]
    common = [sequence for sequence in basic if sequence not in others]
    firsts, signs = ("".join({sequence[place] for sequence in common}) for place in (0, 1))
    tails = [f"(?<=[{_VOICED}])", f"(?<=[{firsts}])[{signs}]"]
    tails += [f"(?<={sequence[0]}){sequence[1:]}" for sequence in others]
    begins = "".join({sequence[0] for sequence in others})
    return re.compile(f"[{_VOICED}{firsts}{begins}](?:{'|'.join(tails)})")


def _disordered() -> re.Pattern[str]:
    """Where any of `ORDERS` stands. It begins with a class, too."""
    lasts: dict[str, str] = {}
    for sequence in ORDERS:
        lasts[sequence[:-1]] = lasts.get(sequence[:-1], "") + sequence[-1]
    tails = [f"(?<={begun[0]}){begun[1:]}[{last}]" for begun, last in lasts.items()]
    return re.compile(f"[{''.join({begun[0] for begun in lasts})}](?:{'|'.join(tails)})")


_SUSPICIOUS = _suspicious()
_DISORDERED = _disordered()
_HISTORIC = re.compile("[\U00011000-\U000117ff]")  # scripts of the other sequences


def _is_plain(text: str) -> bool:
    return not (_SUSPICIOUS.search(text) or _DISORDERED.search(text) or _HISTORIC.search(text))


def _changes_the_last(character: str) -> bool:
    return (
        unicodedata.category(character)[0] == "M"
        or "\u1160" <= character <= "\u11ff"  # the later letters of a Korean syllable
        or character
        in "\U00016d67\U00016d68"  # of Kirat Rai, since Unicode 16: letters, and parts of longer ones
        or character in _VOICED
    )


def _without_mentions(text: str) -> str:
    """The names in mentions are read; what is behind them is not."""
    return MENTION.sub(
        lambda found: found[0][: len(found[1]) + 2] + "\n" * (len(found[0]) - len(found[1]) - 2), text
    )


@lru_cache(maxsize=1 << 14)
def _fold(cluster: str) -> tuple[str, str]:
    if _is_folded(cluster):
        return (" ", cluster) if _is_of_run(cluster) else (cluster, " ")
    parts = unicodedata.normalize("NFKD", cluster.translate(_VOICE_MARKS)).replace("\u0345", "")
    parts = unicodedata.normalize("NFKD", parts.casefold())
    kept = "".join([part for part in parts if not _is_dropped(part)])
    read = unicodedata.normalize("NFKC", kept).translate(LETTERS)
    if len(cluster) > 1:
        read = _SEQUENCE.sub(lambda found: _READ_AS[found[0]], read)
    return _both("".join(map(_digits, read)))


def _is_folded(cluster: str) -> bool:
    """Whether it is surely a letter that folding leaves as it is: most of Han and Hangul, of which there are many."""
    if len(cluster) > 1:
        return False
    return "\uac00" <= cluster <= "\ud7a3" or (
        unicodedata.category(cluster) == "Lo"
        and ord(cluster) not in LETTERS
        and not is_ignorable(cluster)
        and unicodedata.is_normalized("NFKD", cluster)
    )


def _digits(character: str) -> str:
    """A digit of any script, or a number in a circle, as one of ASCII."""
    if character.isascii() or unicodedata.category(character) not in ("Nd", "No"):
        return character
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return str(digit)
    number = unicodedata.numeric(character, 0.5) if "\u2460" <= character <= "\u27bf" else 0.5
    return str(int(number)) if number.is_integer() else character


def _is_dropped(character: str) -> bool:
    """Whether a character only varies the one before it, or none: accents, vowel points, dots below and strokes through
    a letter, joiners, skin tones."""
    kind = unicodedata.combining(character)
    return (
        kind in (1, 7)
        or 10 <= kind <= 36
        or kind >= 200
        or is_ignorable(character)
        or unicodedata.category(character) in ("Cf", "Me")
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


CUT: Final = Cut(2, _is_plain, _changes_the_last, _fold, _without_mentions, _SEQUENCE)
"""How texts are folded."""


# --- the cut before, for queries alone

_STROKES_1 = str.maketrans({"đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "ŧ": "t", "æ": "ae", "œ": "oe"})
_MARKUP_1 = re.compile(rf"\]\((?:user|group):{OPAQUE_ID}\)")


def _is_plain_1(text: str) -> bool:
    return "\uff9e" not in text and "\uff9f" not in text


def _changes_the_last_1(character: str) -> bool:
    return (
        unicodedata.combining(character) != 0
        or "\u1160" <= character <= "\u11ff"
        or character in "\uff9e\uff9f"
    )


def _fold_1(cluster: str) -> tuple[str, str]:
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    kept = "".join([part for part in parts if not _is_dropped_1(part)])
    return _both(unicodedata.normalize("NFKC", kept).translate(_STROKES_1))


def _is_dropped_1(character: str) -> bool:
    kind = unicodedata.combining(character)
    return (
        10 <= kind <= 36
        or kind >= 200
        or unicodedata.category(character) in ("Cf", "Me")
        or character == "\u0640"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


BEFORE: Final = Cut(
    1,
    _is_plain_1,
    _changes_the_last_1,
    _fold_1,
    lambda text: _MARKUP_1.sub(lambda markup: "\n" * len(markup[0]), text),
)
"""How they were folded by the version before."""
