"""Purging: deleted things lose the words that their deletion could not take in one transaction.

A deleted comment loses them at once. A deleted discussion may have had a hundred thousand comments: its end is one
event, and its words go afterwards, some comments a transaction, by the node that has this job (`services.upkeep`).
Nodes deliver late by seconds at most, so what is purged after `DELAY_SECONDS` is sent to nobody any more. What nodes of
versions before left behind is purged by `collab-server purge`, which reads through all comments.

Promises: any number of nodes may purge at once; cut at any time, the next one goes on where it ended.
"""

from __future__ import annotations

import asyncio
from functools import partial
from uuid import UUID

from collab_server.services.comments import bury
from collab_server.storage import comments, purging
from collab_server.storage.database import Database, Runs, Transaction

DELAY_SECONDS = 600.0
COMMENTS_AT_ONCE = 25
TOMBSTONES_AT_ONCE = 1000


async def purge_discussions(database: Runs, *, older_than_seconds: float = DELAY_SECONDS) -> int:
    """Take away the words of the discussions deleted so long ago; returns how many there were. Raises `Paused`."""
    purged = 0
    while (is_done := await database.run(lambda tx: _purge_some(tx, older_than_seconds))) is not None:
        purged += is_done
        await asyncio.sleep(0.01)  # commands come first
    return purged


async def _purge_some(tx: Transaction, older_than_seconds: float) -> bool | None:
    """Some comments of a deleted discussion, or at last its name: then True. None where there is nothing to do."""
    discussion = await purging.next_discussion(tx, older_than_seconds)
    if discussion is None:
        return None
    left = await purging.comments_left(tx, discussion, COMMENTS_AT_ONCE)
    for id in left:
        comment = await comments.get(tx, id)
        assert comment is not None  # nothing deletes rows, and the discussion is locked
        await bury(tx, comment, discussion.deleted_at)
    if len(left) == COMMENTS_AT_ONCE:
        return False
    await purging.unname(tx, discussion)
    return True


async def purge_tombstones(database: Database) -> int:
    """Take away what deleted comments still have of their words; returns how many had any. Raises `Paused`."""
    purged, after = 0, UUID(int=0)
    while found := await purging.tombstones(database, after, TOMBSTONES_AT_ONCE):
        after = found[-1].id
        for tombstone in found:
            if tombstone.has_words:
                await database.run(partial(_bury_again, id=tombstone.id))
                purged += 1
    return purged


async def _bury_again(tx: Transaction, id: UUID) -> None:
    comment = await comments.get(tx, id)
    if comment is not None and comment.deleted_at is not None:
        await bury(tx, comment, comment.deleted_at)
