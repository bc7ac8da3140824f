"""When a command begins: at once, or in turn with those of others who ask a lot.

Whoever has been quiet passes by. The commands of those who have just used up some of what they may ask at once wait in
a queue of their own each, and the queues are served in turns: one command a turn of the event loop, and none while
turns are long and some are under way. So whatever these people do together, the loop comes round quickly, and neither
it nor the connections to PostgreSQL are full of them when somebody else comes. While the node has little to do nobody
waits for longer than a turn.

Belongs to one event loop. What runs concurrently: while somebody waits, at most one call per turn of the loop. How it
stops: with those who wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable

from collab_server.errors import RateLimited
from collab_server.services.commands.limiter import RateLimiter
from collab_server.telemetry.metrics import Metrics

QUIET_SHARE = 0.9
"""Who has at least so much left of what they may ask at once is quiet."""
FEW, MANY, EACH = 4, 40, 4
"""So many commands of the others are always under way; so many at the most, while turns of the loop are short; and so
many of one user."""
SHORT_SECONDS = 0.004
LOOK_SECONDS = 0.005
"""A turn that computed no longer is short; while they are long, this is when to look again."""
TURN_SECONDS = 10.0
EACH_WAITING = 100


class Turns:
    """See the module. `cpu_clock` counts what this thread has computed; `metrics` tell how many wait."""

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        metrics: Metrics | None = None,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self.limiter = limiter
        self._cpu_clock = cpu_clock
        self._under_way: Counter[str] = Counter()
        self._all_under_way = 0
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        # Those who may be served come in turn; those who have as many under way as they may are left out meanwhile.
        self._order: OrderedDict[str, None] = OrderedDict()
        self._next: asyncio.Handle | None = None
        self._is_later = False  # not in the next turn
        self._last = 0.0
        if metrics is not None:
            metrics.gauges("queue_length", lambda: {("turns",): self.waiting})

    @property
    def waiting(self) -> int:
        """How many commands wait for their turn."""
        return sum(map(len, self._queues.values()))

    def is_quiet(self, user_id: str) -> bool:
        """Whether a command of theirs, which was just let in, may begin without `wait`."""
        return self.limiter.share_left(user_id) >= QUIET_SHARE

    async def wait(self, user_id: str) -> None:
        """Wait for this user's turn; whoever has had it says `done` when their command is over.

        Raises `RateLimited` when too many of theirs wait, or for too long.
        """
        queue = self._queues.setdefault(user_id, deque())
        if len(queue) >= EACH_WAITING:
            raise RateLimited("too many commands of yours wait", retry_after=1)
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._line_up(user_id)
        if self._next is None:
            self._last = self._cpu_clock()
            self._look_again(0)
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.done(user_id)  # it came in the moment we gave up
            else:
                self._leave(user_id, place)
            if isinstance(error, TimeoutError):
                raise RateLimited("your commands wait for too long", retry_after=1) from None
            raise

    def done(self, user_id: str) -> None:
        """A command that has waited is over."""
        self._all_under_way -= 1
        self._under_way[user_id] -= 1
        if not self._under_way[user_id]:
            del self._under_way[user_id]
        if user_id in self._queues:
            self._line_up(user_id)
        self._look_again(0)

    def _line_up(self, user_id: str) -> None:
        if self._under_way[user_id] < EACH:
            self._order.setdefault(user_id)

    def _leave(self, user_id: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(user_id)
        if queue is None or place not in queue:
            return
        queue.remove(place)
        if not queue:
            del self._queues[user_id]
            self._order.pop(user_id, None)

    def _serve(self) -> None:
        """Let the next one begin, if there is room."""
        self._next = None
        now = self._cpu_clock()
        used, self._last = now - self._last, now
        if self._all_under_way >= FEW and used > SHORT_SECONDS:
            self._look_again(LOOK_SECONDS)
            return
        while self._order and self._all_under_way < MANY:
            user_id, _ = self._order.popitem(last=False)
            place = self._queues[user_id][0]
            self._leave(user_id, place)
            has_gone = place.done()  # and has not left yet
            if not has_gone:
                self._all_under_way += 1
                self._under_way[user_id] += 1
                place.set_result(None)
            if user_id in self._queues:
                self._line_up(user_id)
            if not has_gone:
                break
        self._look_again(0)

    def _look_again(self, seconds: float) -> None:
        """In the next turn, or later. Where nobody can begin, the end of a command is early enough."""
        if not self._order or self._all_under_way >= MANY:
            return
        loop = asyncio.get_running_loop()
        if self._next is not None:
            if seconds or not self._is_later:
                return
            self._next.cancel()
        self._is_later = seconds > 0
        self._next = loop.call_later(seconds, self._serve) if seconds else loop.call_soon(self._serve)
