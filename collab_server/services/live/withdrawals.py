"""Withdrawals: what takes notifications out of an inbox again, when there is no more to be told.

The comment was deleted, or names its reader no longer; the discussion is over for them; Library no longer lets them
open the dashboard. Each works in a transaction that locks the inbox, and goes by what is so then.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from collab_server.domain.inbox import FOLLOWED, REPLIED
from collab_server.domain.jsontext import dumps, now_ms
from collab_server.domain.people import User
from collab_server.domain.topics import inbox_topic
from collab_server.storage import event_log, inbox, reviews, topics
from collab_server.storage.database import Transaction
from collab_server.storage.reviews import Told
from collab_server.storage.topics import LockedTopic

__all__ = ["review", "take_back"]


async def review(tx: Transaction, user_id: str, review_ids: Sequence[int]) -> bool:
    """Take out of somebody's inbox what these reviews find to be gone; False where some of it is left to find.

    Who is named no longer in a reply but takes part in its thread, or follows it, is told of it as such.
    """
    own = await topics.lock(tx, inbox_topic(user_id))
    gone = await reviews.gone(tx, user_id, review_ids)
    if removed := [told for told in gone if not (told.takes_part or told.follows)]:
        await reviews.remove(tx, own.id, removed)
    if others := [told for told in gone if told.takes_part]:
        await reviews.tell_otherwise(tx, own.id, others, REPLIED)
    if followers := [told for told in gone if told.follows and not told.takes_part]:
        await reviews.tell_otherwise(tx, own.id, followers, FOLLOWED)
    await _tell(tx, own, user_id, gone)
    is_done = len(gone) < reviews.AT_ONCE
    if is_done:
        await reviews.settle(tx, review_ids)
    return is_done


async def take_back(tx: Transaction, user_id: str, topic_names: Sequence[str]) -> bool:
    """Let what somebody was told of these topics wait until they may open them again; False where some is left."""
    own = await topics.lock(tx, inbox_topic(user_id))
    lost = await reviews.lost(tx, user_id, topic_names)
    if lost:
        await reviews.take_back(tx, own.id, lost)
        await _tell(tx, own, user_id, lost)
    return len(lost) < reviews.AT_ONCE


async def _tell(tx: Transaction, own: LockedTopic, user_id: str, out: Sequence[Told]) -> None:
    """Tell the person's devices what is out of their inbox: that it counts no more, then that it is not there."""
    shown = [told for told in out if told.seq is not None]
    if not shown:
        return
    by = json.loads(shown[-1].by)
    actor, at = User(by["id"], by["name"], by["initials"]), now_ms()
    unread = await inbox.unread(tx, user_id)
    ids = [str(told.id) for told in shown]
    if unread_ids := [str(told.id) for told in shown if not told.is_read]:
        data = dumps({"ids": unread_ids, "unread": unread})
        await event_log.append(tx, own, "notification.read", actor, at, data)
    data = dumps({"ids": ids, "unread": unread})
    await event_log.append(tx, own, "notification.removed", actor, at, data)
