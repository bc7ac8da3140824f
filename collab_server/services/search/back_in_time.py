"""Going back in time: the comments that have all of some numbers, the newest first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from uuid import UUID

from collab_server.domain.search import (
    PERIOD_BITS,
    period_before,
)
from collab_server.storage import search
from collab_server.storage.database import Reads
from collab_server.storage.search import Terms

FIRST_BATCH = 30
BATCH = 100
"""How many texts are read at a time: most pages are full after the first, and each may be in a place of its own."""
FIRST_SIZE = 1
LONGEST_SIZE = len(PERIOD_BITS) - 1
"""The periods that a search begins with, and the longest that there are."""
MOST_EXPECTED = 10 * BATCH
"""How many comments a period may be expected to hold: the index tells all of them, the newest `BATCH` are used."""

BEGINNING = UUID(int=0)
END = UUID(int=(1 << 128) - 1)


async def walk(
    database: Reads,
    terms: Terms,
    topic_ids: Sequence[int],
    member_id: str | None,
    before: UUID,
    *,
    is_content: bool = True,
) -> AsyncIterator[tuple[list[UUID], UUID]]:
    """Comments below an id that have these numbers, the newest first, in steps: some ids, and the id down to which
    these are all.

    They are on the topics, all content or (not `is_content`) all discussions, or in discussions of the member.
    """
    # The recent ones first: see `storage.search`.
    recent = await search.recent(database, terms, before, topic_ids, member_id)
    known = set(recent)
    sources: list[_InPeriods | _AtOnce] = []
    floors: list[UUID] = []
    if member_id is not None:
        sources.append(
            _AtOnce(lambda *of: search.in_discussions_of(database, terms, of[0], member_id, of[1]))
        )
        floors.append(before)
    if topic_ids and is_content:
        content = _InPeriods(database, terms, topic_ids)
        floor = await content.begin(before)
        if not recent and floor != BEGINNING:
            found, floor = await content.survey(floor)
            known.update(found)
        sources.append(content)
        floors.append(floor)
    elif topic_ids:
        sources.append(_AtOnce(lambda *of: search.in_topics(database, terms, of[0], topic_ids, of[1])))
        floors.append(before)
    while before != BEGINNING:
        for index, source in enumerate(sources):
            if floors[index] >= before:
                found, floors[index] = await source.below(before)
                known.update(found)
        reached = max(floors, default=BEGINNING)
        step = sorted((id for id in known if id >= reached), reverse=True)
        known.difference_update(step)
        batch = FIRST_BATCH
        while step:
            yield step[:batch], step[:batch][-1]
            step, batch = step[batch:], BATCH
        yield [], reached
        before = reached


class _InPeriods:
    """Comments on content, looked for in one period after the other, longer ones as long as they will hold few."""

    def __init__(self, database: Reads, terms: Terms, topic_ids: Sequence[int]) -> None:
        self._database, self._terms, self._topic_ids = database, terms, topic_ids
        self._size = FIRST_SIZE
        self._oldest = BEGINNING

    async def begin(self, before: UUID) -> UUID:
        """The id, at most `before`, from which on there are none."""
        settled = await search.settled(self._database)
        if settled is None:
            return BEGINNING
        self._oldest, newest = settled
        return min(before, UUID(int=newest.int + 1))

    async def survey(self, before: UUID) -> tuple[list[UUID], UUID]:
        """As `below`. When the first period holds none, the longest tells at once whether this is rare."""
        found, begin = await self.below(before)
        if not found and begin != BEGINNING:
            self._size = max(self._size, LONGEST_SIZE)
            found, begin = await self.below(begin)
        return found, begin

    async def below(self, before: UUID) -> tuple[list[UUID], UUID]:
        """The next ones, and the id from which on there are no more of them."""
        period, begin = period_before(before, self._size)
        terms = self._terms if period is None else [[*each, period] for each in self._terms]
        found = await search.in_topics(self._database, terms, before, self._topic_ids, BATCH)
        if len(found) == BATCH:
            return found, found[-1]
        longer_begin = max(period_before(begin, self._size + 1)[1], min(self._oldest, begin))
        expected = len(found) * (begin.int - longer_begin.int) / (before.int - begin.int)
        if expected <= MOST_EXPECTED:
            self._size += 1
        return found, begin


class _AtOnce:
    """Comments that carry no periods, in discussions: the newest ones of all time, and then those before them."""

    def __init__(self, look: Callable[[UUID, int], Awaitable[list[UUID]]]) -> None:
        self._look = look

    async def below(self, before: UUID) -> tuple[list[UUID], UUID]:
        """The next ones, and the id from which on there are no more of them."""
        found = await self._look(before, BATCH)
        return found, found[-1] if len(found) == BATCH else BEGINNING
