"""Search: which words a text has, in any script, and where a query's words stand in it.

Everything that decides whether a comment is found happens here, so that it does not hang on the locale, the version
or the extensions of a database. A text is *folded* first (`domain.folding`): how a letter is written does not count,
only which it is. Then it falls into *words* (letters and digits, where spaces part words) and *runs* (scripts written
without spaces, Korean, emoji and other signs).

A query's word is found where a word begins with it (a single letter only as a word of its own), a run wherever it
stands in a run; all of them must be found. `index_terms` gives the numbers under which a text is indexed,
`query_terms` those that every text to be found has. They narrow a search down, `highlights` decides.

Among a comment's numbers is that of the *cut* by which it was indexed (`cut_term`). One that was indexed by an older
cut is found by the numbers that its query had then (`Query.before`), until it is indexed anew.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import merge
from itertools import chain, pairwise
from typing import Any, ClassVar
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.folding import BEFORE, CUT, folded
from collab_server.domain.letters import whole_span
from collab_server.domain.wire import WIRE, Cursor, Prose, Text, Whole
from collab_server.errors import Invalid, TooLarge

QUERY_CHARACTERS = 200
QUERY_WORDS = 16
MAX_HIGHLIGHTS = 100

_BEGINNINGS = (2, 3, 4, 6, 9)
"""Of how many characters the beginnings of a word are that it is indexed under."""

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
    """What is looked for, folded: the beginnings of words, and runs. Not both are empty.

    `before` is the same by the cut before, where that has other numbers, and not none.
    """

    words: frozenset[str]
    runs: frozenset[str]
    before: Query | None = None


def parse_query(text: str) -> Query:
    """The query that people wrote.

    Raises `Invalid`, or `TooLarge` for more than `QUERY_CHARACTERS` or `QUERY_WORDS`.
    """
    if len(text) > QUERY_CHARACTERS:
        raise TooLarge(f"expected at most {QUERY_CHARACTERS} characters, got {len(text)}", field="q")
    read = folded(text)
    words, runs = frozenset(read.words.split()), frozenset(read.runs.split())
    if not words and not runs:
        raise Invalid("expected something to look for: a letter, a digit or an emoji", field="q")
    if len(words) + len(runs) > QUERY_WORDS:
        raise TooLarge(f"expected at most {QUERY_WORDS} words, got {len(words) + len(runs)}", field="q")
    then = folded(text, BEFORE)
    before = Query(frozenset(then.words.split()), frozenset(then.runs.split()))
    is_other = (before.words, before.runs) != (words, runs) and bool(before.words or before.runs)
    return Query(words, runs, before if is_other else None)


def highlights(query: Query, text: str) -> list[Highlight] | None:
    """Where the query's words stand in a text, in order and apart from each other; None unless all of them do.

    At most the first `MAX_HIGHLIGHTS`, in code points. Takes time in proportion to the text.
    """
    read = folded(text)
    if not all(begun in read.words for begun in map(_begun, query.words)):
        return None
    if not all(run in read.runs for run in query.runs):
        return None
    places = [_places_of_word(_begun(word), read.words) for word in query.words]
    places += [_places_of_run(run, read.runs) for run in query.runs]
    return _united(whole_span(text, *read.span(*place)) for place in merge(*places))


def _begun(word: str) -> str:
    """What has to stand in `Folded.words` for a query's word to be found: words there have a space on both sides."""
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
    read = folded(text)
    longest = _BEGINNINGS[-1]
    terms = set(chain.from_iterable(map(_word_terms, {word[:longest] for word in read.words.split()})))
    for run in set(read.runs.split()):
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
    others = ",".join(map(str, (author_term(comment.author.id), *where, CUT_TERM)))
    return f"{{{said},{others}}}" if said else f"{{{others}}}"


def topic_term(topic_id: int) -> int:
    """The number of what is on a topic; in SQL `(id % 1073741824)::integer`."""
    return topic_id % _PERIODS


@lru_cache(maxsize=1 << 15)
def _number(spelled: str) -> int:
    return ~(zlib.crc32(spelled.encode()) >> 1)


def cut_term(number: int) -> int:
    """The number of what was indexed by a cut; nodes of versions before give none, and so say that it is older."""
    return _PERIODS | 15 << 26 | number


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


CUT_TERM = cut_term(CUT.number)
"""The number of what is indexed as texts are folded now."""
