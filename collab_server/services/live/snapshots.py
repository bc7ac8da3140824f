"""Topics as one person finds them, read together: when many subscribe at once, few queries are made.

The first question is asked at once; those that come soon after it wait for the end of a window and go in one query.
A window is as long as the query before it was large: 10 ms a question, `LONGEST_WINDOW_SECONDS` at most. Up to 100
questions a second nobody waits longer than 10 ms; a storm of clients that come back costs 20 queries a second and node,
however large it is.
"""

from __future__ import annotations

import asyncio

from collab_server.storage import topics
from collab_server.storage.database import Database
from collab_server.storage.topics import Snapshot

WINDOW_SECONDS = 0.01  # for each question of the query before
LONGEST_WINDOW_SECONDS = 0.05
AT_ONCE = 500

_Question = tuple[str, str, "asyncio.Future[Snapshot]"]


class Snapshots:
    """Reads snapshots of topics in batches."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: list[_Question] = []
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._running: set[asyncio.Task[None]] = set()

    async def read(self, topic: str, user_id: str) -> Snapshot:
        """The topic as the user finds it, as of a moment after the call.

        Raises `Paused` when the database does not answer.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Snapshot] = loop.create_future()
        self._asked.append((topic, user_id, answer))
        if self._timer is None:
            self._timer = loop.call_at(max(loop.time(), self._not_before), self._ask)
        return await answer

    async def stop(self) -> None:
        """End what still runs: nobody waits for it any more."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _ask(self) -> None:
        self._timer = None
        asked, self._asked = self._asked, []
        window_seconds = min(len(asked) * WINDOW_SECONDS, LONGEST_WINDOW_SECONDS)
        self._not_before = asyncio.get_running_loop().time() + window_seconds
        for start in range(0, len(asked), AT_ONCE):
            task = asyncio.create_task(self._answer(asked[start : start + AT_ONCE]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _answer(self, asked: list[_Question]) -> None:
        try:
            found = await topics.snapshots(self._database, [(topic, user) for topic, user, _ in asked])
        except Exception as error:
            for _, _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, _, answer), snapshot in zip(asked, found, strict=True):
                if not answer.done():
                    answer.set_result(snapshot)
