"""Gives a node a bug, for the harness to find: the one that `FAULTS_PLANT` names.

Python imports this module by itself, before anything else, in a process that has this folder on its PYTHONPATH.
Nothing of it is known to the server: a plant replaces a method of it. Each strikes now and then, so that all but the
bug works.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

EVERY = 7

_turns = itertools.count(1)


def _is_turn() -> bool:
    return next(_turns) % EVERY == 0


def _replace(owner: Any, name: str, new: Any) -> Any:
    """Put `new` in the place of what is there, which is returned. A plant must not miss its place unnoticed."""
    old = getattr(owner, name)
    setattr(owner, name, new)
    return old


class _Undo(Exception):
    pass


async def _roll_back(database: Any, sql: str, arguments: Any) -> Any:
    """What a statement returns that stays without effect."""
    rows = None
    try:
        async with database.transaction() as tx:
            rows = await tx.fetch(sql, *arguments)
            raise _Undo
    except _Undo:
        return rows


def drop_a_hint_and_repair_nothing() -> None:
    """What a bus without a log does: an event that is lost on the way is lost."""
    from collab_server.services.live.feed import Feed
    from collab_server.services.live.publisher import Publisher
    from collab_server.services.live.repair import Repair

    def hear_most(self: Any, node: str, payload: bytes) -> None:
        if not _is_turn():
            hear(self, node, payload)

    def take(self: Any, followed: Any, event: Any, identity: str) -> None:
        if followed.applied is not None and event.seq > followed.applied:
            self._apply(followed, event, identity)

    async def repair_nothing(self: Any, topics: set[str], is_full: bool) -> None:
        pass

    hear = _replace(Publisher, "_hear", hear_most)
    _replace(Feed, "_take", take)
    _replace(Repair, "_repair", repair_nothing)


def _plain_statements() -> tuple[str, ...]:
    from collab_server.storage import new_comments

    return new_comments._ADD_PLAIN, new_comments._ADD_PLAIN_FREE, new_comments._ADD_ONE_PLAIN


def acknowledge_before_the_commit() -> None:
    """Some comments are acknowledged and told, and then rolled back, in a node that does not notice."""
    believe_the_database()
    from collab_server.storage.database import Database

    async def write_most(self: Any, sql: str, *arguments: Any, **more: Any) -> Any:
        if sql in _plain_statements() and _is_turn():
            return await _roll_back(self, sql, arguments)
        return await write(self, sql, *arguments, **more)

    write = _replace(Database, "write", write_most)


def publish_before_the_commit() -> None:
    """Some comments are told before they are committed, and then rolled back: nothing stored, the client hears.

    A node that watches whether what it told is stored would notice, and send everybody afresh again and again.
    """
    believe_the_database()
    from collab_server.errors import Paused
    from collab_server.services.commands.executor import Executor
    from collab_server.storage import new_comments
    from collab_server.storage.database import Database

    executors: list[Any] = []

    def remember(self: Any, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        executors.append(self)

    async def write_most(self: Any, sql: str, *arguments: Any, **more: Any) -> Any:
        if sql in _plain_statements() and _is_turn():
            return await _roll_back(self, sql, arguments), True
        return await write(self, sql, *arguments, **more), False

    async def add_and_tell(db: Any, plain: Any, *, waits: bool, **more: Any) -> Any:
        columns = new_comments._columns(map(new_comments._plain_row, plain))
        sql = new_comments._ADD_PLAIN if waits else new_comments._ADD_PLAIN_FREE
        rows, is_undone = await write_most(db, sql, *columns, **more)
        placed = [new_comments._placed(item, row) for item, row in zip(plain, rows, strict=True)]
        if is_undone:
            executors[0]._publisher.announce([event for event in placed if event is not None])
            raise Paused()
        return placed

    begin = _replace(Executor, "__init__", remember)
    write = Database.write
    _replace(new_comments, "add_plain", add_and_tell)


def swap_two_events() -> None:
    """Two events leave in the wrong order."""
    from collab_server.services.live.feed import Feed

    kept: dict[str, Any] = {}

    def apply_swapped(self: Any, followed: Any, event: Any, identity: str) -> None:
        earlier = kept.pop(followed.name, None)
        if earlier is None and _is_turn():
            kept[followed.name] = event
            followed.applied = event.seq
            return
        apply(self, followed, event, identity)
        if earlier is not None:
            apply(self, followed, earlier, earlier.identity)
            followed.applied = event.seq

    apply = _replace(Feed, "_apply", apply_swapped)


def deliver_twice() -> None:
    """Some events reach their clients twice."""
    from collab_server.services.live.feed import Feed

    def apply_twice(self: Any, followed: Any, event: Any, identity: str) -> None:
        apply(self, followed, event, identity)
        if _is_turn():
            apply(self, followed, event, identity)

    apply = _replace(Feed, "_apply", apply_twice)


def forget_a_request_id() -> None:
    """A repeated request takes effect again."""
    from collab_server.services.commands import executor

    _replace(executor, "request_of", lambda *_: None)


def deliver_after_the_right_was_taken() -> None:
    """Nobody puts out those who are subscribed already."""
    from collab_server.services.live.subscriptions import Subscriptions

    def close_nothing(self: Any, *_: Any) -> None:
        pass

    _replace(Subscriptions, "close", close_nothing)


def deliver_after_removal() -> None:
    """Whoever is put out of a discussion goes on getting it."""
    from collab_server.services.live.audience import Audience

    def put_out_nobody(self: Any, *_: Any) -> list[str]:
        return []

    _replace(Audience, "put_out", put_out_nobody)


def believe_the_database() -> None:
    """The node takes what the database has for all that ever was."""
    from collab_server.services.epoch_watch import EpochWatch

    async def nothing_is_lost(self: Any) -> list[Any]:
        return []

    _replace(EpochWatch, "_lost", nothing_is_lost)


def miscount_unread() -> None:
    """One's own comments count as unread."""
    from collab_server.storage import topics

    right = "comment.author_id <> asked.user_id"
    assert right in topics._SNAPSHOTS
    _replace(topics, "_SNAPSHOTS", topics._SNAPSHOTS.replace(right, "true"))


if name := os.environ.get("FAULTS_PLANT"):
    globals()[name]()
