"""Succession: a discussion whose owner's account has ended belongs to the longest-standing member who is there.

Nobody tells of an account that ends, so it is asked for where it matters: when a member wants what only the owner may,
and when somebody looks at the discussion. Only a directory that knows the asker is believed to know who is gone; where
it does not answer, nothing changes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from collab_server.domain.discussions import Discussion
from collab_server.domain.jsontext import dumps, now_ms
from collab_server.domain.people import Identity
from collab_server.errors import Unavailable
from collab_server.services.backends import Backends
from collab_server.storage import discussions, event_log, topics
from collab_server.storage.database import Transaction

__all__ = ["settle_owner"]


async def settle_owner(
    backends: Backends, who: Identity, discussion: Discussion, *, patience_seconds: float | None = None
) -> bool:
    """Give a discussion, of which the asker is a member, another owner where its own is gone; whether it was done.

    What takes longer than `patience_seconds` to be said is known the next time. Raises `Paused`.
    """
    if discussion.owner_id == who.user.id:
        return False
    heir_id = None
    with contextlib.suppress(Unavailable, TimeoutError):
        async with asyncio.timeout(patience_seconds):
            heir_id = await _heir(backends, who, discussion)
    if heir_id is None:
        return False

    async def hand_over(tx: Transaction) -> Sequence[Any]:
        await _hand_over(tx, discussion, heir_id)
        return tx.recorded

    recorded = await backends.database.run(hand_over)
    backends.publisher.announce(recorded)
    return bool(recorded)


async def _heir(backends: Backends, who: Identity, discussion: Discussion) -> str | None:
    """Whom it falls to, if its owner is gone."""

    async def is_there(user_id: str) -> bool:
        return await backends.directory.user(who, user_id) is not None

    if await is_there(discussion.owner_id) or not await is_there(who.user.id):
        return None
    for member in discussion.members:
        user_id = member.user.id
        if user_id != discussion.owner_id and (user_id == who.user.id or await is_there(user_id)):
            return user_id
    return None


async def _hand_over(tx: Transaction, seen: Discussion, heir_id: str) -> None:
    """Hand over what the owner had when it was looked at, if that is so still."""
    topic = await topics.lock(tx, seen.topic)
    discussion = await discussions.get(tx, UUID(seen.topic.first))
    if discussion is None or discussion.owner_id != seen.owner_id or discussion.member(heir_id) is None:
        return
    owner = discussion.member(discussion.owner_id)
    assert owner is not None  # an owner who leaves hands over
    await discussions.hand_over(tx, discussion.id, heir_id)
    await event_log.append(tx, topic, "owner.changed", owner.user, now_ms(), dumps({"userId": heir_id}))
