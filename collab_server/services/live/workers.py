"""Workers: something is done for one user after the other, for some of them at a time, and never twice at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence

from collab_server.errors import ClientError

__all__ = ["AT_ONCE", "Workers"]

log = logging.getLogger(__name__)

AT_ONCE = 4
MOST_WAITING = 20_000


class Workers:
    """Works for users, `AT_ONCE` of them at the most, each by one task; again for those queued meanwhile."""

    def __init__(self, work: Callable[[str], Awaitable[None]]) -> None:
        self._work = work
        self._waiting: dict[str, None] = {}
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.found = 0
        """So many came of the last sweep."""

    @property
    def waiting(self) -> int:
        """For how many there is to be worked."""
        return len(self._waiting)

    def find(self, users: Sequence[str]) -> None:
        """Work for all that a sweep has found."""
        self.found = len(users)
        self.queue(users)

    def queue(self, users: Iterable[str]) -> None:
        """Work for these users soon. Never waits, never raises."""
        for user in users:
            if user in self._busy:
                self._again.add(user)
            elif len(self._waiting) < MOST_WAITING:  # whoever queues them looks again
                self._waiting[user] = None
        while self._waiting and len(self.tasks) < AT_ONCE:
            user = next(iter(self._waiting))
            del self._waiting[user]
            self._busy.add(user)
            task = asyncio.create_task(self._run(user))
            self.tasks.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            self.queue(())

    async def _run(self, user_id: str) -> None:
        try:
            await self._work(user_id)
        except ClientError:
            pass  # the database or Library is away; whoever has queued them comes back to it
        except Exception:
            log.exception("a delivery failed")
        finally:
            self._busy.discard(user_id)
            if user_id in self._again:
                self._again.discard(user_id)
                self._waiting[user_id] = None
