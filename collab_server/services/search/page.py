"""One page of a search: settle where its asker may read, look there, end when it is full or has cost enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Self
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.jsontext import JsonText, dumps, json_object
from collab_server.domain.people import Identity
from collab_server.domain.search import (
    Highlight,
    Query,
    SearchComments,
    author_term,
    highlights,
    parse_query,
    query_terms,
)
from collab_server.domain.topics import Topic, parse_topic
from collab_server.services.access import access_topic, check_still_member
from collab_server.services.backends import Backends, too_long
from collab_server.services.commands.pages import page_limit, page_text
from collab_server.services.search.back_in_time import BEGINNING, END, walk
from collab_server.services.search.rights import (
    MOST_CALLS,
    Rights,
)
from collab_server.storage import comments, discussions, people, search
from collab_server.storage.search import Candidate, Place, Terms

MOST_NEAR = 100
MOST_ROUNDS = 4
"""How often a page that is not full yet goes on to further topics."""
PAGE_CPU_SECONDS = 0.05
PAGE_BYTES = 500_000
SHOWN_AT_ONCE = 20
SLICE_CHARACTERS = 20_000
"""After reading so much, others get their turn."""
BEAT_SECONDS = 0.025
MOST_STEPS = 30

_ABOVE_ALL = (1 << 63) - 1


async def search_comments(backends: Backends, who: Identity, command: SearchComments) -> JsonText:
    """`{items: [{comment, highlights: [[start, length]]}], next}`, offsets in code points."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    topic = None
    if command.topic is not None:
        topic, _ = await access_topic(backends, who, command.topic, "comments.search")
    query = parse_query(command.q)
    by_author = []
    if command.author is not None:
        by_author = [author_term(backends.gate.read_id(command.author, "author"))]
    terms = [query_terms(query) + by_author]
    if query.before is not None and await search.has_older(backends.database):
        terms.append(query_terms(query.before) + by_author)
    limit = page_limit(command.limit)
    cursor = backends.cursors.read(who, "comments.search", command.cursor, parts=None)

    page = _Page(backends, who, query, terms, limit)
    way = None if cursor is None else _Way.from_numbers(cursor)
    if topic is not None:
        next_way = await page.fill_on(topic, END if way is None else way.before)
    else:
        next_way = await page.fill(way)
    items, next_way = await page.shown(next_way)
    if topic is not None:
        await check_still_member(backends, who, topic)
    next_cursor = None
    if next_way is not None:
        next_cursor = backends.cursors.write(who, "comments.search", *next_way.as_numbers())
    await asyncio.sleep(answer_after(loop.time() - begun, backends.chance()) - (loop.time() - begun))
    return page_text(items, next_cursor)


def answer_after(elapsed: float, chance: float) -> float:
    """When to answer a search that took `elapsed` seconds; `chance` is from 0 to 1.

    What took less than `BEAT_SECONDS` is all the same by then. Of what took longer, a difference is lost in what chance
    adds: at least a beat, and a quarter.
    """
    return max(elapsed, BEAT_SECONDS) + chance * max(elapsed / 4, BEAT_SECONDS)


@dataclass(frozen=True, slots=True)
class _Way:
    """Where a search goes on; what a cursor holds.

    `within` are topics that the asker was seen to be allowed to read, which are being searched, and `has_discussions`
    says whether the asker's discussions are, below the comment `before`. What comes then: the topics of `near` from
    `position` on, and other content with numbers below `below`.
    """

    within: tuple[int, ...]
    has_discussions: bool
    before: UUID
    near: tuple[int, ...] = ()
    position: int = 0
    below: int = 0

    @classmethod
    def from_numbers(cls, numbers: Sequence[int]) -> Self:
        position, below, has_discussions, before, count, *ids = numbers
        return cls(
            tuple(ids[:count]), bool(has_discussions), UUID(int=before), tuple(ids[count:]), position, below
        )

    def as_numbers(self) -> tuple[int, ...]:
        found = (self.position, self.below, int(self.has_discussions), self.before.int, len(self.within))
        return (*found, *self.within, *self.near)

    @property
    def is_searching(self) -> bool:
        return bool(self.within) or self.has_discussions

    @property
    def is_at_end(self) -> bool:
        return self.position >= len(self.near) and self.below == 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A comment in which the query stands, and where the search was when it was found."""

    candidate: Candidate
    highlights: Sequence[Highlight]
    way: _Way


class _Page:
    """One page being filled: what was found, and what it may still cost."""

    def __init__(self, backends: Backends, who: Identity, query: Query, terms: Terms, limit: int) -> None:
        self._backends, self._who, self._query, self._terms = backends, who, query, terms
        self._database = backends.database
        self._limit = limit
        self._rights = Rights(backends, who)
        self._reader = _Reader(query)
        self._found: list[_Found] = []

    async def fill_on(self, topic: Topic, before: UUID) -> _Way | None:
        """Search one topic that the asker was permitted on; where to go on, None at the end."""
        id = await search.topic_id(self._database, topic.name)
        if id is None:
            return None
        way = await self._look(_Way((id,), False, before), is_content=topic.kind == "content")
        return way if way.is_searching else None

    async def fill(self, way: _Way | None) -> _Way | None:
        """Search everywhere, from the beginning or from where a page before has ended.

        Raises `Unavailable` when Library is silent and nothing can be searched without it.
        """
        if way is None:
            way = await self._beginning()
        elif way.within:
            way = replace(way, within=await self._still_open(way.within))
        for _ in range(MOST_ROUNDS):
            if not way.is_searching:
                if way.is_at_end:
                    return None
                way, is_further = await self._go_further(way)
                if not is_further:
                    return None if way.is_at_end else way
            if way.is_searching:
                way = await self._look(way)
            if way.is_searching:
                return way
        return None if way.is_at_end else way

    async def _beginning(self) -> _Way:
        near = await search.near(self._database, self._who.user.id, MOST_NEAR)
        way = _Way((), True, END, tuple(place.id for place in near), 0, _ABOVE_ALL)
        way, _ = await self._go_further(way)
        return way

    async def _go_further(self, way: _Way) -> tuple[_Way, bool]:
        """Settle the rights on some more topics; whether it has come any further."""
        near, further = await self._to_come(way)
        by_turns = [place for pair in zip_longest(near, further) for place in pair if place is not None]
        settled, allowed = await self._rights.settle(by_turns)
        if not settled and self._rights.silence is not None and not (self._found or way.is_searching):
            raise self._rights.silence
        passed = {place.id for place in by_turns[:settled]}
        to_ask = {place.id for place in near} - passed
        position = way.position
        while position < len(way.near) and way.near[position] not in to_ask:
            position += 1
            if position == way.position + MOST_CALLS:
                break
        below = min((place.id for place in further if place.id in passed), default=way.below)
        if passed.issuperset(place.id for place in further) and len(further) < MOST_CALLS:
            below = 0
        way = replace(way, within=tuple(allowed), before=END, position=position, below=below)
        return way, bool(settled)

    async def _to_come(self, way: _Way) -> tuple[list[Place], list[Place]]:
        near = way.near[way.position :][:MOST_CALLS]
        return (
            await search.named(self._database, near) if near else [],
            await search.further(self._database, way.below, way.near, MOST_CALLS) if way.below else [],
        )

    async def _still_open(self, ids: Sequence[int]) -> tuple[int, ...]:
        """Those of the topics of an earlier page that the asker may read still. They took few enough calls then.

        Raises `Unavailable`.
        """
        places = [place for place in await search.named(self._database, ids) if _is_content(place)]
        settled, allowed = await self._rights.settle(places, is_urgent=True)
        if settled < len(places):
            raise self._rights.silence or too_long(self._backends.authority_name)
        return tuple(allowed)

    async def _look(self, way: _Way, *, is_content: bool = True) -> _Way:
        """Search within what was settled. Returns where to go on: still within, when the page must end here."""
        user_id = self._who.user.id if way.has_discussions else None
        place = way.before
        steps = 0
        async for ids, reached in walk(
            self._database, self._terms, way.within, user_id, way.before, is_content=is_content
        ):
            for candidate in await search.texts(self._database, ids) if ids else ():
                marked = await self._reader.read(candidate.text)
                if marked is not None and len(self._found) == self._limit:
                    return replace(way, before=place)
                place = candidate.id
                if marked is not None:
                    self._found.append(_Found(candidate, marked, way))
                if self._reader.has_read_enough:
                    return replace(way, before=place)
            place = reached
            steps += 1
            if steps == MOST_STEPS and place != BEGINNING:
                return replace(way, before=place)
        return replace(way, within=(), has_discussions=False, before=END)

    async def shown(self, way: _Way | None) -> tuple[list[JsonText], _Way | None]:
        """The JSON texts of what was found, looked at again as it is now, and where to go on.

        That is after the last one shown, where the others would make the answer too large.
        """
        items: list[JsonText] = []
        size = 0
        for start in range(0, len(self._found), SHOWN_AT_ONCE):
            some = self._found[start : start + SHOWN_AT_ONCE]
            stands = await comments.get_many(self._database, [one.candidate.id for one in some])
            today = await people.comments_today(self._database, list(stands.values()))
            now = {comment.id: comment for comment in today}
            closed = await self._put_out_of(
                [now[one.candidate.id] for one in some if one.candidate.id in now]
            )
            for one in some:
                comment = now.get(one.candidate.id)
                if comment is None or comment.is_deleted or comment.topic in closed:
                    continue
                marked: Sequence[Highlight] | None = one.highlights
                if comment.text != one.candidate.text:
                    marked = highlights(self._query, comment.text)
                if marked is None:
                    continue
                items.append(json_object(comment=comment.as_json(), highlights=dumps(marked)))
                size += len(items[-1].encode())
                if size > PAGE_BYTES and one is not self._found[-1]:
                    return items, replace(one.way, before=one.candidate.id)
        return items, way

    async def _put_out_of(self, found: Sequence[Comment]) -> set[str]:
        """The discussions, by their topics' names, of those comments that are not the asker's any more, now that the
        comments were read: what was said or edited since they were put out is not for them."""
        topics = {comment.topic: parse_topic(comment.topic) for comment in found}
        ids = {name: UUID(topic.first) for name, topic in topics.items() if topic.kind == "discussion"}
        theirs = await discussions.theirs(self._database, ids.values(), self._who.user.id) if ids else ()
        return {name for name, id in ids.items() if id not in theirs}


class _Reader:
    """Reads texts, no more than a page is worth, letting others take their turn meanwhile."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._characters = 0
        self._seconds = 0.0

    @property
    def has_read_enough(self) -> bool:
        return self._seconds > PAGE_CPU_SECONDS

    async def read(self, text: str) -> list[Highlight] | None:
        """The highlights in a text, None where the query does not stand."""
        self._characters += len(text)
        if self._characters > SLICE_CHARACTERS:
            self._characters = len(text)
            await asyncio.sleep(0)
        begun = time.thread_time()
        marked = highlights(self._query, text)
        self._seconds += time.thread_time() - begun
        return marked


def _is_content(place: Place) -> bool:
    return parse_topic(place.name).kind == "content"
