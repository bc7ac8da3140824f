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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, pairwise
from typing import Any, ClassVar, Literal
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.wire import WIRE, Prose, Text, Whole
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
_STROKES = str.maketrans({"đ": "d", "ħ": "h", "ı": "i", "ł": "l", "ø": "o", "ŧ": "t", "æ": "ae", "œ": "oe"})
_MARKUP = re.compile(r"\]\((?:user|group):[0-9A-Fa-f]{32}\)")  # of a mention; the name in front of it is read
_PIECES = re.compile("(?P<word>w+)|r+")
_ASCII_PIECES = re.compile(
    r"[0-9a-z]+|\$+"
)  # what the classes of ASCII come to: most texts, several times faster

Highlight = tuple[int, int]
"""Where something was found: its first code point, how many there are."""


@dataclass(frozen=True, slots=True)
class FindRecipients:
    """Users and groups by name, as Library shows them to the asker."""

    __pydantic_config__: ClassVar[Any] = WIRE
    search: Prose
    kind: Literal["user", "group"] | None = None
    cursor: Text | None = None
    limit: Whole = 50


@dataclass(frozen=True, slots=True)
class SearchComments:
    """Comments that the asker may read, by what they say, the newest first."""

    __pydantic_config__: ClassVar[Any] = WIRE
    q: Prose
    topic: Text | None = None
    author: Text | None = None
    cursor: Text | None = None
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
    words, runs = _pieces(_folded(text))
    if not words and not runs:
        raise Invalid("expected something to look for: a letter, a digit or an emoji", field="q")
    if len(words) + len(runs) > QUERY_WORDS:
        raise TooLarge(f"expected at most {QUERY_WORDS} words, got {len(words) + len(runs)}", field="q")
    return Query(frozenset(words), frozenset(runs))


def highlights(query: Query, text: str) -> list[Highlight] | None:
    """Where the query's words stand in a text, in order and apart from each other; None unless all of them do.

    At most the first `MAX_HIGHLIGHTS`, in code points.
    """
    folded = _folded(text)
    missing = {*query.words, *query.runs}
    found: list[tuple[int, int]] = []
    for piece in _PIECES.finditer(folded.classes):
        start, end = piece.span()
        here = folded.text[start:end]
        if piece["word"] is not None:
            begun = [
                word for word in query.words if here == word or (len(word) > 1 and here.startswith(word))
            ]
            missing.difference_update(begun)
            if begun:
                found.append((start, start + max(map(len, begun))))
        else:
            for run in query.runs:
                for match in re.finditer(f"(?={re.escape(run)})", here):
                    missing.discard(run)
                    found.append((start + match.start(), start + match.start() + len(run)))
    if missing:
        return None
    return _united(folded.span(start, end) for start, end in sorted(found))[:MAX_HIGHLIGHTS]


def _united(spans: Iterable[tuple[int, int]]) -> list[Highlight]:
    """Spans (first, after the last) in order, those that overlap or touch made one."""
    united: list[tuple[int, int]] = []
    for start, end in spans:
        if united and start <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((start, end))
    return [(start, end - start) for start, end in united]


# -- numbers to index by: negative ones for what is said, the others for where and when -----------------------------


def index_terms(text: str) -> set[int]:
    """The numbers of what a text says."""
    words, runs = _pieces(_folded(text))
    terms = set(chain.from_iterable(map(_word_terms, words)))
    for run in runs:
        terms.update(map(_number, run), map(_pair_term, pairwise(run)))
    return terms


@lru_cache(maxsize=1 << 16)
def _word_terms(word: str) -> tuple[int, ...]:
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


def terms_text(comment: Comment) -> str:
    """The numbers of a comment but for that of its topic, as PostgreSQL writes an array."""
    where = content_terms(comment.id) if comment.topic.startswith("content:") else []
    return f"{{{','.join(map(str, (*index_terms(comment.text), author_term(comment.author.id), *where)))}}}"


def topic_term(topic_id: int) -> int:
    """The number of what is on a topic; in SQL `(id % 1073741824)::integer`."""
    return topic_id % _PERIODS


@lru_cache(maxsize=1 << 16)
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


# -- folding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folded:
    """A folded text; `classes` says of each of its characters whether it belongs to a word (w), a run (r) or neither.

    `places` holds, for each, the place in the text of what it comes from and the place behind that; None where
    nothing has moved.
    """

    text: str
    classes: str
    places: Sequence[tuple[int, int]] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where in the text the folded characters from `start` to before `end` come from."""
        return (start, end) if self.places is None else (self.places[start][0], self.places[end - 1][1])


def _pieces(folded: _Folded) -> tuple[set[str], set[str]]:
    """The words and the runs of a folded text."""
    if folded.text.isascii():
        pieces = set(_ASCII_PIECES.findall(folded.text))
        return {piece for piece in pieces if piece[0] != "$"}, {piece for piece in pieces if piece[0] == "$"}
    words: set[str] = set()
    runs: set[str] = set()
    for piece in _PIECES.finditer(folded.classes):
        (runs if piece["word"] is None else words).add(folded.text[piece.start() : piece.end()])
    return words, runs


def _folded(text: str) -> _Folded:
    if "](" in text:
        text = _MARKUP.sub(lambda markup: "\n" * len(markup[0]), text)
    if text.isascii():
        lower = text.lower()
        return _Folded(lower, lower.translate(_ascii_classes()), None)
    clusters = list(_clusters(text))
    folded = [_folded_cluster(cluster) for cluster in clusters]
    places: list[tuple[int, int]] = []
    start = 0
    for cluster, (characters, _) in zip(clusters, folded, strict=True):
        end = start + len(cluster)
        places.extend([(start, end)] * len(characters))
        start = end
    return _Folded(
        "".join(characters for characters, _ in folded), "".join(classes for _, classes in folded), places
    )


def _clusters(text: str) -> Iterator[str] | str:
    """A text cut into what is folded as one: a character, with those behind it that may change it."""
    if unicodedata.is_normalized("NFC", text) and "\uff9e" not in text and "\uff9f" not in text:
        return text
    return chain.from_iterable([cluster] for cluster in _composed(text))


def _composed(text: str) -> Iterator[str]:
    start = 0
    for place, character in enumerate(text):
        changes_the_last = (
            unicodedata.combining(character)
            or "\u1160" <= character <= "\u11ff"  # the later letters of a Korean syllable
            or character in "\uff9e\uff9f"  # voice marks of half width
        )
        if place and not changes_the_last:
            yield text[start:place]
            start = place
    if text:
        yield text[start:]


@lru_cache(maxsize=1 << 16)
def _folded_cluster(cluster: str) -> tuple[str, str]:
    """The folded characters, and their classes."""
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold())
    kept = "".join(part for part in parts if not _is_dropped(part))
    folded = unicodedata.normalize("NFKC", kept).translate(_STROKES)
    return folded, "".join(map(_class, folded))


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
    category = unicodedata.category(character)
    point = ord(character)
    if category in ("So", "Sc"):
        return "r"
    if not character.isalnum() and category[0] != "M":
        return " "
    return "r" if any(first <= point < end for first, end in _RUN_RANGES) else "w"


@lru_cache(maxsize=1)
def _ascii_classes() -> str:
    return "".join(map(_class, map(chr, range(128))))
