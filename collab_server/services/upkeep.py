"""Upkeep: what is dropped once nobody may ask for it any more, by one node of the cluster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from collab_server.services.jobs import Job, Lease
from collab_server.services.purging import purge_discussions
from collab_server.services.search.recutting import recut
from collab_server.storage import ends, inbox, requests, reviews, tellings
from collab_server.storage.database import Transaction

__all__ = ["upkeep"]

log = logging.getLogger(__name__)

UPKEEP_SECONDS = 600.0
REVIEW_SECONDS = 86_400.0
"""What asks for a review by itself needs no job; nodes of the version before do not, and had left some behind."""
REVIEWED_AT_ONCE = 20
RECUT_SECONDS = 60.0
"""A run takes five minutes at most; with millions of comments, the next goes on soon."""
PAUSE_SECONDS = 0.01
"""Between two transactions of a job: commands come first."""


def _all(some: Callable[[Transaction], Awaitable[int]]) -> Callable[[Lease], Awaitable[None]]:
    """The work of dropping `some` after some, until there is nothing left."""

    async def work(lease: Lease) -> None:
        while await lease.run(some):
            await asyncio.sleep(PAUSE_SECONDS)

    return work


async def _purge_discussions(lease: Lease) -> None:
    await purge_discussions(lease)


async def _review_inboxes(lease: Lease) -> None:
    """Have what is unread and gone looked at, of some people after the other."""
    last: str | None = ""
    while last is not None:
        last = await lease.run(partial(reviews.ask_of_stale, after=last, users=REVIEWED_AT_ONCE))
        await asyncio.sleep(PAUSE_SECONDS)


async def _recut(lease: Lease) -> None:
    if count := await recut(lease):
        log.info("comments are found by today's cut now", extra={"comments": count})


def upkeep(channels: Sequence[str] = ()) -> tuple[Job, ...]:
    """The jobs of it, where people are told elsewhere by these channels."""
    abandoned = partial(tellings.forget_abandoned, channels=channels)
    return (
        Job("requests.forget", UPKEEP_SECONDS, _all(requests.forget_old)),
        Job("inboxes.forget", UPKEEP_SECONDS, _all(inbox.forget_refused)),
        Job("ends.forget", UPKEEP_SECONDS, _all(ends.forget_old)),
        Job("tellings.forget", UPKEEP_SECONDS, _all(abandoned)),
        Job("discussions.purge", UPKEEP_SECONDS, _purge_discussions),
        Job("inboxes.review", REVIEW_SECONDS, _review_inboxes),
        Job("comments.recut", RECUT_SECONDS, _recut),
    )
