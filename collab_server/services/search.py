"""Finding people and comments.

A search for comments goes back in time, the newest first, along what fits: the discussions that the asker is a member
of, which one statement knows, and content, for which Library is asked topic by topic, for a page at most
`MOST_CALLS` times. What is rare is looked for in both at once. A page ends when it is full or has cost enough; its
cursor goes on from the last comment looked at. What the asker may not read leaves nothing in the answer but, at most,
that a page is short.

Runs `settle_for_ever` beside the commands, as a task of the application's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

from collab_server.domain.ids import library_id
from collab_server.domain.jsontext import dumps
from collab_server.domain.people import Identity
from collab_server.domain.search import (
    PERIOD_BITS,
    QUERY_CHARACTERS,
    FindRecipients,
    Query,
    SearchComments,
    author_term,
    highlights,
    parse_query,
    period_before,
    query_terms,
    topic_term,
)
from collab_server.domain.topics import Topic, parse_topic
from collab_server.errors import ClientError, TooLarge
from collab_server.services.access import access_topic
from collab_server.services.backends import Backends
from collab_server.services.pages import page_limit
from collab_server.storage import comments, search
from collab_server.storage.database import Database, Reads
from collab_server.storage.search import Candidate

log = logging.getLogger(__name__)

MOST_CALLS = 50
"""How often Library is asked for one page."""
CALLS_A_TOPIC = 2  # an object is a dashboard, or else a report
TOPICS_AT_ONCE = 8
PAGE_SECONDS = 1.5
MOST_STEPS = 30
FIRST_BATCH = 30
BATCH = 100
"""How many texts are read at a time: most pages are full after the first, and each may be in a place of its own."""
FIRST_SIZE = 1
LONGEST_SIZE = len(PERIOD_BITS) - 1
"""The periods that a search begins with, and the longest that there are."""
MOST_EXPECTED = 10 * BATCH
"""How many comments a period may be expected to hold: the index tells all of them, the newest `BATCH` are used."""

SETTLE_SECONDS = 5.0
WORTH_SETTLING = 1000
SETTLED_AT_ONCE = 2000

_BEGINNING = UUID(int=0)
END = UUID(int=(1 << 128) - 1)


async def find_recipients(backends: Backends, who: Identity, command: FindRecipients) -> str:
    """`{items: [{kind, id, name}], next}`: users and groups whose name contains `search`, as Library tells the asker.

    With a `kind`, a page may be short, or empty, and still have a next one.
    """
    if len(command.search) > QUERY_CHARACTERS:
        raise TooLarge(f"expected at most {QUERY_CHARACTERS} characters", field="search")
    limit = page_limit(command.limit)
    [offset] = backends.cursors.read(who, "recipients.find", command.cursor) or (0,)
    found = await backends.library.recipients(who, command.search, offset=offset, limit=limit + 1)
    items = [
        {"kind": one.kind, "id": one.id, "name": one.name}
        for one in found[:limit]
        if command.kind in (None, one.kind)
    ]
    cursor = None
    if len(found) > limit:
        cursor = backends.cursors.write(who, "recipients.find", offset + limit)
    return dumps({"items": items, "next": cursor})


async def search_comments(backends: Backends, who: Identity, command: SearchComments) -> str:
    """`{items: [{comment, highlights: [[start, length]]}], next}`, the newest first, offsets in code points."""
    database = backends.database
    topic = None
    if command.topic is not None:
        topic, _ = await access_topic(backends, who, command.topic, "comments.search")
    query = parse_query(command.q)
    author = None if command.author is None else library_id(command.author, "author")
    limit = page_limit(command.limit)
    cursor = backends.cursors.read(who, "comments.search", command.cursor)
    before = END if cursor is None else UUID(int=cursor[0])

    found, place = await _page(backends, who, query, topic, author, before, limit)
    next_cursor = None if place is None else backends.cursors.write(who, "comments.search", place.int)
    return f'{{"items":[{",".join(await _shown(database, query, found))}],"next":{dumps(next_cursor)}}}'


async def _page(
    backends: Backends,
    who: Identity,
    query: Query,
    topic: Topic | None,
    author: str | None,
    before: UUID,
    limit: int,
) -> tuple[list[UUID], UUID | None]:
    """The comments of a page, and the place to go on from; None at the end of all."""
    readable = _Readable(backends, who, topic)
    found: list[UUID] = []
    place = before
    steps = 0
    async for fitting, reached in walk(backends.database, who.user.id, query, topic, author, before):
        for index, candidate in enumerate(fitting):
            may_read = await readable.ask(fitting[index:])
            if may_read is None:
                return found, place
            if may_read and len(found) == limit:
                return found, found[-1]
            if may_read:
                found.append(candidate.id)
            place = candidate.id
        place = reached
        steps += 1
        if steps == MOST_STEPS and place != _BEGINNING:
            return found, place
    return found, None


async def _shown(database: Reads, query: Query, ids: Sequence[UUID]) -> list[str]:
    """The JSON text of what was found, looked at again as it is now."""
    items = []
    now = await comments.get_many(database, ids) if ids else {}
    for id in ids:
        comment = now.get(id)
        marked = None if comment is None or comment.is_deleted else highlights(query, comment.text)
        if comment is not None and marked is not None:
            items.append(f'{{"comment":{comment.as_json()},"highlights":{dumps(marked)}}}')
    return items


class _Readable:
    """Which of the topics that turn up in one search the asker may read, found out for some of them at a time."""

    def __init__(self, backends: Backends, who: Identity, permitted: Topic | None) -> None:
        self._library = backends.library
        self._who = who
        self._answers = {} if permitted is None else {permitted.name: True}
        self._calls_left = MOST_CALLS
        self._deadline = asyncio.get_running_loop().time() + PAGE_SECONDS

    async def ask(self, candidates: Sequence[Candidate]) -> bool | None:
        """Whether the first of these may be read; None when it has cost enough. The others are asked for with it.

        Raises `Unavailable` when only Library could tell and it is silent.
        """
        first = candidates[0].topic
        if first.startswith("discussion:"):
            return True  # the statement that found it knows the members
        if first not in self._answers:
            names = [name for name in dict.fromkeys(one.topic for one in candidates) if self._is_open(name)]
            names = names[: min(TOPICS_AT_ONCE, self._calls_left // CALLS_A_TOPIC)]
            if not names or asyncio.get_running_loop().time() > self._deadline:
                return None
            self._calls_left -= CALLS_A_TOPIC * sum(not self._is_remembered(name) for name in names)
            self._answers.update(zip(names, await asyncio.gather(*map(self._may_open, names)), strict=True))
        return self._answers[first]

    def _is_open(self, name: str) -> bool:
        return name not in self._answers and not name.startswith("discussion:")

    def _is_remembered(self, name: str) -> bool:
        topic = parse_topic(name)
        return self._library.last_answer(self._who, topic.first, topic.second) is not None

    async def _may_open(self, name: str) -> bool:
        topic = parse_topic(name)
        return await self._library.may_open(self._who, topic.first, topic.second) is not None


# -- going back in time ------------------------------------------------------------------------------------------


async def walk(
    database: Reads, user_id: str, query: Query, topic: Topic | None, author: str | None, before: UUID
) -> AsyncIterator[tuple[list[Candidate], UUID]]:
    """Comments below an id in which the query stands, the newest first, in steps: what was found, and the id down to
    which that is all.

    They are in discussions of the user, or on content, whosoever may open it.
    """
    terms = query_terms(query)
    if author is not None:
        terms.append(author_term(author))
    topic_id = None
    if topic is not None:
        topic_id = await search.topic_id(database, topic.name)
        if topic_id is None:
            return
        terms.append(topic_term(topic_id))
    recent = await search.recent(database, user_id, terms, before, topic_id)  # first: see `storage.search`
    known = {one.id: one for one in recent}
    sources: list[_InContent | _InDiscussions] = [_InDiscussions(database, terms, topic_id, user_id)]
    floors = [before]
    if topic is None or topic.kind == "content":
        content = _InContent(database, terms, topic_id, user_id)
        floor = await content.begin(before)
        if not recent and floor != _BEGINNING:
            found, floor = await content.survey(floor)
            known.update((one.id, one) for one in found)
        if content.is_rare:  # one look for everything; what the survey found comes again
            sources, floors = [content], [before]
        elif topic is None:
            sources, floors = [content, *sources], [floor, before]
        else:
            sources, floors = [content], [floor]
    while before != _BEGINNING:
        for index, source in enumerate(sources):
            if floors[index] >= before:
                found, floors[index] = await source.below(before)
                known.update((one.id, one) for one in found)
        reached = max(floors)
        step = [known.pop(id) for id in sorted((id for id in known if id >= reached), reverse=True)]
        for start in range(0, len(step), BATCH):
            batch = step[start : start + BATCH]
            yield [one for one in batch if highlights(query, one.text) is not None], batch[-1].id
        yield [], reached
        before = reached


class _InContent:
    """Comments on content, looked for in one period after the other, longer ones as long as they will hold few.

    What is rare is looked for in all of time, which finds what is in discussions with it.
    """

    def __init__(self, database: Reads, terms: Sequence[int], topic_id: int | None, user_id: str) -> None:
        self._database, self._terms, self._topic_id, self._user_id = database, terms, topic_id, user_id
        self._batch = FIRST_BATCH
        self._size = FIRST_SIZE
        self._oldest = _BEGINNING

    @property
    def is_rare(self) -> bool:
        """Whether so few are expected that the next look is into all of time."""
        return self._size > LONGEST_SIZE

    async def begin(self, before: UUID) -> UUID:
        """The id, at most `before`, from which on there are none."""
        settled = await search.settled(self._database)
        if settled is None:
            return _BEGINNING
        self._oldest, newest = settled
        return min(before, UUID(int=newest.int + 1))

    async def survey(self, before: UUID) -> tuple[list[Candidate], UUID]:
        """As `below`. When the first period holds none, the longest tells at once whether this is rare."""
        found, begin = await self.below(before)
        if not found and begin != _BEGINNING:
            self._size = max(self._size, LONGEST_SIZE)
            found, begin = await self.below(begin)
        return found, begin

    async def below(self, before: UUID) -> tuple[list[Candidate], UUID]:
        """The next candidates, and the id from which on there are no more of them."""
        period, begin = period_before(before, self._size)
        terms = self._terms if period is None else [*self._terms, period]
        found = await search.with_terms(
            self._database, self._user_id, terms, before, self._topic_id, self._batch
        )
        if len(found) == self._batch:
            self._batch = BATCH
            return found, found[-1].id
        longer_begin = max(period_before(begin, self._size + 1)[1], min(self._oldest, begin))
        expected = len(found) * (begin.int - longer_begin.int) / (before.int - begin.int)
        if expected <= MOST_EXPECTED:
            self._size += 1
        return found, begin


class _InDiscussions:
    """Comments in the discussions that a user is a member of, all of them or one."""

    def __init__(self, database: Reads, terms: Sequence[int], topic_id: int | None, user_id: str) -> None:
        self._database, self._terms, self._topic_id, self._user_id = database, terms, topic_id, user_id
        self._batch = FIRST_BATCH

    async def below(self, before: UUID) -> tuple[list[Candidate], UUID]:
        """The next candidates, and the id from which on there are no more of them."""
        found = await search.in_discussions_of(
            self._database, self._user_id, self._terms, before, self._topic_id, self._batch
        )
        if len(found) < self._batch:
            return found, _BEGINNING
        self._batch = BATCH
        return found, found[-1].id


# -- keeping the index ---------------------------------------------------------------------------------------------


async def settle_for_ever(database: Database) -> None:
    """Look every `SETTLE_SECONDS` whether so many comments are recent that they are worth moving to the index.

    Any number of nodes may do so: each takes what no other has taken. Ends only by being cancelled.
    """
    while True:
        await asyncio.sleep(SETTLE_SECONDS)
        try:
            await settle(database)
        except ClientError:
            log.debug("recent comments stay where they are until the database is back")
        except Exception:
            log.exception("recent comments could not be moved to the index; searches read them one by one")


async def settle(database: Database, *, at_least: int = WORTH_SETTLING) -> None:
    """Move what is recent to the index, if there is enough of it.

    Raises `Paused`.
    """
    if await search.count_recent(database) < at_least:
        return
    moved = SETTLED_AT_ONCE
    while moved == SETTLED_AT_ONCE:
        moved = await search.settle(database, SETTLED_AT_ONCE)
        await search.settle_index(
            database
        )  # until then every look into the index reads what was moved one by one
