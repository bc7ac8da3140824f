"""Ends: what was ended before its time, as this node knows it, and the command that ends one's own sign-in.

PostgreSQL keeps what was ended (`storage.ends`), the node that ended something tells the others over the bus, and every
node looks at what is new every `LOOK_SECONDS`, so that an end is known everywhere at once, and in 2 s without Redis. A
node that starts takes nobody in before it knows the list.

What is known is held in memory, some 300 bytes each: the sign-outs of the last `sessionHours` and a day, of one person
at most `MOST_OF_ONE`. One task, `run`, owned by the composition root; no end is forgotten while the database is away.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from collab_server.domain.ends import End, Ended, EndSession, mark_of, marks_of
from collab_server.domain.hints import Kind
from collab_server.domain.jsontext import NOTHING, JsonText
from collab_server.domain.people import Identity
from collab_server.errors import ClientError
from collab_server.ports import Bus
from collab_server.services.backends import Backends
from collab_server.services.hub import Hub
from collab_server.storage import ends
from collab_server.storage.database import Database, Transaction

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
OVERLAP_MICROSECONDS = 60_000_000
"""A look begins so long before the latest end that is known: commits come late, and another server's clock may be
behind."""
ROWS_A_LOOK = 5000
ROWS_A_MESSAGE = 500
MOST_OF_ONE = 100
"""So many ends of one person are remembered one by one; those before end all that the person had begun before."""
GRACE = timedelta(days=1)
AUTH_TOKEN_KEPT = timedelta(days=30)


class Ends:
    """What this node knows of. `hub` is told whose sign-ins may have ended just now, `bus` reaches the other nodes."""

    def __init__(
        self,
        database: Database,
        hub: Hub,
        bus: Bus,
    ) -> None:
        self._database = database
        self._hub = hub
        self._bus = bus
        self._known: dict[bytes, End] = {}
        self._by_time: list[tuple[int, bytes]] = []
        self._looked_at = 0
        self._is_loaded = False
        self._ahead = timedelta()  # of the monotonic clock: what the database's says
        self.latest = 0
        bus.listen(Kind.ENDED, self._hear)

    # --- what is known

    def now(self) -> datetime:
        """What time it is for the database, and so for all nodes, whatever this machine's clock says."""
        return datetime.fromtimestamp(time.monotonic(), UTC) + self._ahead

    def ended_at(self, mark: bytes) -> int:
        """When what bears the mark was ended (microseconds); 0 if it was not."""
        end = self._known.get(mark)
        return 0 if end is None else end.at

    async def load(self) -> None:
        """Learn all that there is, and what time it is. Raises `Paused`."""
        await self._tell_time()
        while rows := await ends.since(self._database, self._looked_at, ROWS_A_LOOK):
            self._take(rows)
            before, self._looked_at = self._looked_at, rows[-1].at
            if len(rows) < ROWS_A_LOOK or self._looked_at == before:
                break
        self._is_loaded = True

    async def run(self) -> None:
        """Look for what is new, until stopped."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if self._is_loaded and self._database.is_readable:
                    await self._look()
            except ClientError:
                pass  # the database is away, which has a line of its own
            self._forget()

    async def _look(self) -> None:
        await self._tell_time()
        start = max(self._looked_at - OVERLAP_MICROSECONDS, 0)
        while rows := await ends.since(self._database, start, ROWS_A_LOOK):
            self.tell(self._take(rows))
            before, start = start, rows[-1].at
            self._looked_at = max(self._looked_at, start)
            if len(rows) < ROWS_A_LOOK or start == before:
                break

    async def _tell_time(self) -> None:
        asked_at = time.monotonic()
        now = await ends.now(self._database)
        between = (asked_at + time.monotonic()) / 2
        self._ahead = timedelta(microseconds=now) - timedelta(seconds=between)

    # --- what is new

    def ended(self, fact: Ended) -> None:
        """Something was ended here, and is committed."""
        self.tell(self._take(fact.ends))

    def tell(self, new: Sequence[End]) -> None:
        """Tell the other nodes."""
        for start in range(0, len(new), ROWS_A_MESSAGE):
            rows = [
                [end.mark.hex(), end.user_id, end.at, end.kept_until]
                for end in new[start : start + ROWS_A_MESSAGE]
            ]
            self._bus.publish(Kind.ENDED, json.dumps(rows, separators=(",", ":")).encode())

    def _hear(self, _node: str, payload: bytes) -> None:
        """What another node tells. Raises what a malformed payload raises."""
        self._take(
            [
                End(bytes.fromhex(mark), str(user_id), int(at), int(kept_until))
                for mark, user_id, at, kept_until, *_ in json.loads(payload)
            ]
        )

    def _take(self, rows: Iterable[End]) -> list[End]:
        """Those that were not known."""
        new = [end for end in rows if end.at > self.ended_at(end.mark)]
        for end in new:
            self._known[end.mark] = end
            heapq.heappush(self._by_time, (end.kept_until, end.mark))
            self.latest = max(self.latest, end.at)
        if new:
            self._hub.look_at_sign_ins({end.user_id for end in new})
        return new

    def _forget(self) -> None:
        now = int(self.now().timestamp() * 1_000_000)
        while self._by_time and self._by_time[0][0] < now:
            _, mark = heapq.heappop(self._by_time)
            end = self._known.get(mark)
            if end is not None and end.kept_until < now:
                del self._known[mark]


# --- the commands


async def ask_end(backends: Backends, who: Identity, command: EndSession) -> timedelta:
    """For how long the end has to be remembered."""
    kept = timedelta(hours=backends.session_hours) + GRACE
    return kept if who.begun.id or who.session.is_delegated else max(kept, AUTH_TOKEN_KEPT)


async def end(tx: Transaction, who: Identity, command: EndSession, kept: timedelta) -> JsonText:
    """End the sign-in that `who` is of; where none was begun, the token of Library that was shown."""
    is_own = not who.begun.id and not who.session.is_delegated
    marks = marks_of(who.begun, who.session.auth_token if is_own else None)
    tx.recorded.append(Ended(tuple(await _store(tx, who.user.id, marks, kept))))
    return NOTHING


async def sign_out(database: Database, user_id: str, session_hours: float) -> None:
    """End all that a person has begun until now; the nodes find it in `LOOK_SECONDS`. Raises `Paused`."""
    kept = timedelta(hours=session_hours) + GRACE

    async def work(tx: Transaction) -> None:
        await _store(tx, user_id, [mark_of("person", user_id)], kept)

    await database.run(work)


async def _store(tx: Transaction, user_id: str, marks: Sequence[bytes], kept: timedelta) -> list[End]:
    person = mark_of("person", user_id)
    return await ends.store(tx, user_id, marks, kept, most=MOST_OF_ONE, person=person)
