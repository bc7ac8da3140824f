"""Giving comments the numbers of today's cut, which older versions, or none, have given them.

Nothing is remembered of how far this has come: a comment's numbers tell by which cut they were made, and an index holds
those that are older. So it may be cut anywhere and goes on there, and what a node of the version before still writes is
found by the next run.

Commands come first: what was just done is followed by a pause of several times as long.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from collab_server.domain.comments import Comment
from collab_server.domain.search import said_text, terms_text
from collab_server.storage import comments, search
from collab_server.storage.database import Runs, Transaction

AT_ONCE = 100
SETTLED_EVERY = 20
"""After so many transactions the index takes in what is new, which searches read one by one until then."""
REST = 4.0
"""A pause is so many times as long as the work before it, so that this has a fifth of a processor at most."""
LONGEST_REST_SECONDS = 2.0
MOST_SECONDS = 300.0
"""After that the rest is left to the next run."""


async def recut(runs: Runs, *, rest: float = REST, most_seconds: float = MOST_SECONDS) -> int:
    """Make the numbers of an older cut anew, as far as it comes in so many seconds; returns how many.

    Raises `Paused`.
    """
    return await _renew_all(search.older, runs, rest=rest, most_seconds=most_seconds)


async def reindex(runs: Runs, told: Callable[[int], None]) -> int:
    """Make the numbers of all comments anew, and of those that have none; returns how many. Raises `Paused`.

    `told` hears how many it has been so far.
    """
    return await _renew_all(search.after, runs, told=told)


async def _renew_all(
    some: Callable[[Transaction, UUID, int], Awaitable[Sequence[UUID]]],
    runs: Runs,
    *,
    rest: float = 0.0,
    most_seconds: float = math.inf,
    told: Callable[[int], None] = lambda _: None,
) -> int:
    """Some comments after others, by their ids."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    renewed, times, after = 0, 0, UUID(int=0)
    while loop.time() < begun + most_seconds:
        since = loop.time()
        ids, count = await _renew_some(some, after, runs)
        if not ids:
            break
        renewed, times, after = renewed + count, times + 1, ids[-1]
        if times % SETTLED_EVERY == 0:
            await search.settle_renewed(runs)
            told(renewed)
        await asyncio.sleep(min(rest * (loop.time() - since), LONGEST_REST_SECONDS))
    if times % SETTLED_EVERY:
        await search.settle_renewed(runs)
    return renewed


async def _renew_some(
    some: Callable[[Transaction, UUID, int], Awaitable[Sequence[UUID]]], after: UUID, runs: Runs
) -> tuple[Sequence[UUID], int]:
    """The ids of the next ones, and how many of them have new numbers."""

    async def read(tx: Transaction) -> tuple[Sequence[UUID], list[Comment]]:
        ids = await some(tx, after, AT_ONCE)
        return ids, [*(await comments.get_many(tx, ids)).values()]

    ids, found = await runs.run(read)
    numbers = []
    for comment in found:
        if not comment.is_deleted:
            numbers.append((comment.id, comment.revision, terms_text(comment, said_text(comment.text))))
            await asyncio.sleep(0)  # a long text takes as long as a callback may
    return ids, await runs.run(lambda tx: search.renew(tx, numbers)) if numbers else 0
