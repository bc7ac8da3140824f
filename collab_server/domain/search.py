"""Search: which words a text has, in any script, and where a query's words stand in it.

Everything that decides whether a comment is found happens here, so that it does not hang on the locale, the version
or the extensions of a database. A text is *folded* first: case, accents, vowel points, ligatures and widths do not
count (`É` is `e`, `ς` is `σ`, `ガ` is `ｶﾞ`, `🏽` after an emoji is nothing); the vowel signs of Indic scripts, which
make other words, do. Then it falls into *words* (letters and digits, where spaces part words) and *runs* (scripts
written without spaces, Korean, emoji and other signs).

A query's word is found where a word begins with it (a single letter only as a word of its own), a run wherever it
stands in a run; all of them must be found. `index_terms` gives the numbers under which a text is indexed,
`query_terms` those that every text to be found has. They narrow a search down, `highlights` decides.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import accumulate, chain, pairwise, starmap
from typing import Any, ClassVar
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.ids import OPAQUE_ID
from collab_server.domain.wire import WIRE, Cursor, Prose, Text, Whole
from collab_server.errors import Invalid, TooLarge

QUERY_CHARACTERS = 200
QUERY_WORDS = 16
MAX_HIGHLIGHTS = 100

_BEGINNINGS = (2, 3, 4, 6, 9)
"""Of how many characters the beginnings of a word are that it is indexed under."""

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
_STROKES = str.maketrans({"đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "ŧ": "t", "æ": "ae", "œ": "oe"})
_MARKUP = re.compile(rf"\]\((?:user|group):{OPAQUE_ID}\)")  # of a mention; the name in front of it is read

_MOST_MARKS = 30
"""How many marks behind a character are folded with it, as in Unicode's stream-safe texts. No language needs more, and
to bring them into their order takes time that grows with the square of their number."""
_SURELY_CHEAP = 500
"""Texts of so many characters may be anything: the square of this is little."""

Highlight = tuple[int, int]
"""Where something was found: its first code point, how many there are."""


@dataclass(frozen=True, slots=True)
class SearchComments:
    """Comments that the asker may read, by what they say: in some topics at a time, there the newest first."""

    __pydantic_config__: ClassVar[Any] = WIRE
    q: Prose
    topic: Text | None = None
    author: Text | None = None
    cursor: Cursor | None = None
    limit: Whole = 20


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for, folded: the beginnings of words, and runs. Not both are empty."""

    words: frozenset[str]
    runs: frozenset[str]


def parse_query(text: str) -> Query:
    """The query that people wrote.

    Raises `Invalid`, or `TooLarge` for more than `QUERY_CHARACTERS` or `QUERY_WORDS`.
    """
    if len(text) > QUERY_CHARACTERS:
        raise TooLarge(f"expected at most {QUERY_CHARACTERS} characters, got {len(text)}", field="q")
    folded = _folded(text)
    words, runs = set(folded.words.split()), set(folded.runs.split())
    if not words and not runs:
        raise Invalid("expected something to look for: a letter, a digit or an emoji", field="q")
    if len(words) + len(runs) > QUERY_WORDS:
        raise TooLarge(f"expected at most {QUERY_WORDS} words, got {len(words) + len(runs)}", field="q")
    return Query(frozenset(words), frozenset(runs))


def highlights(query: Query, text: str) -> list[Highlight] | None:
    """Where the query's words stand in a text, in order and apart from each other; None unless all of them do.

    At most the first `MAX_HIGHLIGHTS`, in code points. Takes time in proportion to the text.
    """
    folded = _folded(text)
    if not all(begun in folded.words for begun in map(_begun, query.words)):
        return None
    if not all(run in folded.runs for run in query.runs):
        return None
    places = [_places_of_word(_begun(word), folded.words) for word in query.words]
    places += [_places_of_run(run, folded.runs) for run in query.runs]
    return _united(starmap(folded.span, merge(*places)))


def _begun(word: str) -> str:
    """What has to stand in `_Folded.words` for a query's word to be found: words there have a space on both sides."""
    return f" {word}" if len(word) > 1 else f" {word} "


def _places_of_word(begun: str, words: str) -> Iterator[tuple[int, int]]:
    length = len(begun.strip())
    place = words.find(begun)
    while place >= 0:
        yield place + 1, place + 1 + length
        place = words.find(begun, place + 1)


def _places_of_run(run: str, runs: str) -> Iterator[tuple[int, int]]:
    """The places of a run, those made one that follow each other by what the run repeats (`haha` in `hahahaha`).

    So the others are at least half a run apart, and all of them together are no longer than twice the text.
    """
    repeated = run[-_period_of(run) :]
    place = runs.find(run)
    while place >= 0:
        end = place + len(run)
        while runs.startswith(repeated, end):
            end += len(repeated)
        yield place, end
        place = runs.find(run, end - len(run) + 1)


@lru_cache(maxsize=64)
def _period_of(run: str) -> int:
    """The least number of characters after which a run repeats itself; all of them if it does not."""
    borders = [0]  # of each beginning, the longest that it also ends with (Knuth, Morris and Pratt)
    border = 0
    for character in run[1:]:
        while border and run[border] != character:
            border = borders[border - 1]
        border += run[border] == character
        borders.append(border)
    return len(run) - border


def _united(spans: Iterable[tuple[int, int]]) -> list[Highlight]:
    """Spans (first, after the last) in order, those that overlap or touch made one, until there are enough."""
    united: list[tuple[int, int]] = []
    for start, end in spans:
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        elif len(united) == MAX_HIGHLIGHTS:
            break
        else:
            united.append((start, end))
    return [(start, end - start) for start, end in united]


# --- numbers to index by: negative ones for what is said, the others for where and when


def index_terms(text: str) -> set[int]:
    """The numbers of what a text says. Takes time in proportion to the text."""
    folded = _folded(text)
    longest = _BEGINNINGS[-1]
    terms = set(chain.from_iterable(map(_word_terms, {word[:longest] for word in folded.words.split()})))
    for run in set(folded.runs.split()):
        terms.update(map(_number, set(run)), map(_pair_term, set(pairwise(run))))
    return terms


@lru_cache(maxsize=1 << 14)
def _word_terms(word: str) -> tuple[int, ...]:
    """The numbers of a word, of which at most as many characters are given as its longest beginning has."""
    if len(word) == 1:
        return (_number(word),)
    return tuple(_number(word[:length]) for length in _BEGINNINGS if length <= len(word))


def _pair_term(pair: tuple[str, str]) -> int:
    return _number("".join(pair))


def query_terms(query: Query) -> list[int]:
    """Numbers that each text has in which the query is found."""
    spelled = {word[: max((n for n in _BEGINNINGS if n <= len(word)), default=1)] for word in query.words}
    for run in query.runs:
        spelled.update(map("".join, pairwise(run)) if len(run) > 1 else run)
    return [_number(one) for one in spelled]


def author_term(author_id: str) -> int:
    """The number of what somebody has written."""
    return _number(f"@{author_id}")


def said_text(text: str) -> str:
    """The numbers of what a text says, as they go into `terms_text`: made once, before anybody waits for it."""
    return ",".join(map(str, index_terms(text)))


def terms_text(comment: Comment, said: str) -> str:
    """The numbers of a comment but for that of its topic, as PostgreSQL writes an array; `said` is its `said_text`."""
    where = content_terms(comment.id) if comment.topic.startswith("content:") else []
    others = ",".join(map(str, (author_term(comment.author.id), *where)))
    return f"{{{said},{others}}}" if said else f"{{{others}}}"


def topic_term(topic_id: int) -> int:
    """The number of what is on a topic; in SQL `(id % 1073741824)::integer`."""
    return topic_id % _PERIODS


@lru_cache(maxsize=1 << 15)
def _number(spelled: str) -> int:
    return ~(zlib.crc32(spelled.encode()) >> 1)


_PERIODS = 1 << 30
PERIOD_BITS = (20, 24, 28, 32)
"""What is on content is indexed by periods of so many bits of milliseconds: 17 minutes, 5 hours, 3 and 50 days. A
search goes back through them, short ones first, so that what stands everywhere costs no more than what is rare. What is
rare even in the longest is looked for in all of time: a longer period's own list would take longer to read than the
words' lists. Only nodes of versions before this one look into the 17 minutes."""


def content_terms(id: UUID) -> list[int]:
    """The numbers of the periods in which a comment on content, by its UUIDv7, was made."""
    made = id.int >> 80
    return [_period(size, made >> bits) for size, bits in enumerate(PERIOD_BITS)]


def period_before(id: UUID, size: int) -> tuple[int | None, UUID]:
    """The number of the period, one of `PERIOD_BITS` by its index, that ends at `id` or has it inside, and the first
    id that it can hold. Beyond the last size it is all of time, which has no number."""
    if id.int == 0 or size >= len(PERIOD_BITS):
        return None, UUID(int=0)
    number = (id.int - 1) >> 80 >> PERIOD_BITS[size]
    return _period(size, number), UUID(int=number << PERIOD_BITS[size] << 80)


def _period(size: int, number: int) -> int:
    return _PERIODS | size << 26 | number & 0x3FF_FFFF


# --- folding


@dataclass(frozen=True, slots=True)
class _Folded:
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


def _folded(text: str) -> _Folded:
    if "](" in text:
        text = _MARKUP.sub(lambda markup: "\n" * len(markup[0]), text)
    if text.isascii():
        lower = text.lower()
        runs = lower.translate(_ASCII_RUNS) if "$" in lower else ""
        return _Folded(f" {lower.translate(_ASCII_WORDS)} ", f" {runs}", None)
    clusters = list(_clusters(text))
    folded = list(map(_folded_cluster, clusters))
    words = [words for words, _ in folded]
    lengths = list(map(len, words))
    starts = None
    if len(clusters) != len(text) or lengths.count(1) != len(lengths):
        starts = list(accumulate(lengths, initial=1)), list(accumulate(map(len, clusters), initial=0))
    return _Folded(f" {''.join(words)} ", f" {''.join([runs for _, runs in folded])}", starts)


def _clusters(text: str) -> Iterable[str]:
    """A text cut into what is folded as one: a character, with those behind it that may change it."""
    is_plain = (
        "\uff9e" not in text
        and "\uff9f" not in text
        and not _has_many_marks(text)
        and unicodedata.is_normalized("NFC", text)
    )
    return text if is_plain else _composed(text)


def _has_many_marks(text: str) -> bool:
    """Whether more marks follow one another than Unicode's functions can take quickly."""
    if len(text) <= _SURELY_CHEAP:
        return False
    return b"\1" * _MOST_MARKS in bytes(map(bool, map(unicodedata.combining, text)))


def _composed(text: str) -> Iterator[str]:
    start = 0
    for place, character in enumerate(text):
        changes_the_last = (
            unicodedata.combining(character)
            or "\u1160" <= character <= "\u11ff"  # the later letters of a Korean syllable
            or character in "\uff9e\uff9f"  # voice marks of half width
        )
        if place and (not changes_the_last or place - start > _MOST_MARKS):
            yield text[start:place]
            start = place
    if text:
        yield text[start:]


@lru_cache(maxsize=1 << 14)
def _folded_cluster(cluster: str) -> tuple[str, str]:
    """The folded characters twice: spaces instead of those that belong to no word, and to no run."""
    if _is_folded(cluster):
        return (" ", cluster) if _is_of_run(cluster) else (cluster, " ")
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    kept = "".join([part for part in parts if not _is_dropped(part)])
    folded = unicodedata.normalize("NFKC", kept).translate(_STROKES)
    if len(folded) == 1:
        kind = _class(folded)
        return folded if kind == "w" else " ", folded if kind == "r" else " "
    classes = list(map(_class, folded))
    return (
        "".join([part if kind == "w" else " " for part, kind in zip(folded, classes, strict=True)]),
        "".join([part if kind == "r" else " " for part, kind in zip(folded, classes, strict=True)]),
    )


def _is_folded(cluster: str) -> bool:
    """Whether it is surely a letter that folding leaves as it is: most of Han and Hangul, of which there are many."""
    if len(cluster) > 1:
        return False
    return "\uac00" <= cluster <= "\ud7a3" or (
        unicodedata.category(cluster) == "Lo" and unicodedata.is_normalized("NFKD", cluster)
    )


def _is_dropped(character: str) -> bool:
    """Whether a character only varies the one before it, or none: accents, vowel points, joiners, skin tones."""
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
