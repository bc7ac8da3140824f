"""Gives a node a bug, for the harness to find: the one that `FAULTS_PLANT` names.

Python imports this module by itself, before anything else, in a process that has this folder on its PYTHONPATH.
Nothing of it is known to the server: a plant replaces a method of it. Each strikes now and then, so that all but the
bug works.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

EVERY = 17

_turns = itertools.count(1)


def _is_turn() -> bool:
    return next(_turns) % EVERY == 0


def drop_a_hint_and_repair_nothing() -> None:
    """What a bus without a log does: an event that is lost on the way is lost."""
    from collab_server.realtime.manager import BusManager
    from collab_server.services.feed import Feed, _Log

    hear = BusManager._hear_event

    def hear_most(self: Any, node: str, payload: bytes) -> None:
        if not _is_turn():
            hear(self, node, payload)

    def take(self: Any, followed: _Log, event: Any) -> None:
        if followed.applied is not None and event.seq > followed.applied:
            self._apply(followed, event)

    async def repair_nothing(self: Any, is_full: bool) -> None:
        pass

    BusManager._hear_event = hear_most  # type: ignore[method-assign]
    Feed._take = take  # type: ignore[method-assign]
    Feed._repair = repair_nothing  # type: ignore[method-assign]


def acknowledge_before_the_commit() -> None:
    """Some transactions are rolled back after they were announced as done."""
    from collab_server.storage.database import Database

    commit = Database._commit

    async def commit_most(self: Any, connection: Any) -> None:
        if _is_turn():
            await connection.execute("ROLLBACK")
            self._writes.give_back(connection)
        else:
            await commit(self, connection)

    Database._commit = commit_most  # type: ignore[method-assign]


def publish_before_the_commit() -> None:
    """Events go out when they are recorded; some of their transactions never commit, and the client is told so."""
    from collab_server.errors import Paused
    from collab_server.services.executor import Executor
    from collab_server.storage.database import Database

    run = Executor.run
    told: dict[int, Callable[[Sequence[Any]], None]] = {}

    async def remember(self: Any, *arguments: Any) -> str:
        told[0] = self._publish
        return await run(self, *arguments)

    commit = Database._commit

    async def commit_most(self: Any, connection: Any) -> None:
        if _is_turn():
            await connection.execute("ROLLBACK")
            self._writes.give_back(connection)
            raise Paused()
        await commit(self, connection)

    from collab_server.storage.database import Transaction

    leave = Transaction.__aexit__

    async def tell_and_leave(self: Any, kind: Any, error: Any, trace: Any) -> None:
        if error is None and 0 in told:
            told[0](self.recorded)
        await leave(self, kind, error, trace)

    Executor.run = remember  # type: ignore[method-assign]
    Database._commit = commit_most  # type: ignore[method-assign]
    Transaction.__aexit__ = tell_and_leave  # type: ignore[method-assign]


def swap_two_events() -> None:
    """Two events leave in the wrong order."""
    from collab_server.services.feed import Feed

    apply = Feed._apply
    kept: dict[str, Any] = {}

    def apply_swapped(self: Any, followed: Any, event: Any) -> None:
        earlier = kept.pop(followed.name, None)
        if earlier is None and _is_turn():
            kept[followed.name] = event
            followed.applied = event.seq
            return
        apply(self, followed, event)
        if earlier is not None:
            apply(self, followed, earlier)
            followed.applied = event.seq

    Feed._apply = apply_swapped  # type: ignore[method-assign]


def deliver_twice() -> None:
    """Some events reach their clients twice."""
    from collab_server.services.feed import Feed

    apply = Feed._apply

    def apply_twice(self: Any, followed: Any, event: Any) -> None:
        apply(self, followed, event)
        if _is_turn():
            apply(self, followed, event)

    Feed._apply = apply_twice  # type: ignore[method-assign]


def forget_a_request_id() -> None:
    """A repeated request takes effect again."""
    from collab_server.services.executor import Executor

    async def carry_out_again(self: Any, write: Any, who: Any, command: Any, request_id: str) -> Any:
        return await self._carry_out(write, who, command)

    Executor._carry_out_once = carry_out_again  # type: ignore[method-assign]


def deliver_after_the_right_was_taken() -> None:
    """Nobody looks after the rights of those who are subscribed already."""
    from collab_server.realtime.server import Door

    async def look_at_nothing(self: Any) -> None:
        import asyncio

        await asyncio.Event().wait()

    Door._look_after_rights = look_at_nothing  # type: ignore[method-assign]


def miscount_unread() -> None:
    """One's own comments count as unread."""
    from collab_server.storage import topics

    topics._SNAPSHOTS = topics._SNAPSHOTS.replace("comment.author_id <> asked.user_id", "true")


if name := os.environ.get("FAULTS_PLANT"):
    globals()[name]()
