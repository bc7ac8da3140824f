"""What the workers of a node say of it together: sums, how much they ever were, and what any of them lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from collab_server.workers import pages
from collab_server.workers.figures import Number, Row
from collab_server.workers.seat import Seat
from collab_server.workers.siblings import OwnSiblings

__all__ = ["Together"]


@dataclass(frozen=True, slots=True)
class Together:
    """The workers, for the one that has this seat: it tells what is so of itself, and reads what is so of all.

    `page` gives its metrics, in the text format of Prometheus; by `siblings` it asks the others.
    """

    seat: Seat
    page: Callable[[], bytes]
    siblings: OwnSiblings

    # --- what this worker tells

    def connections(self, *, total: int, current: int) -> None:
        """So many there were since this process began, and are now."""
        row = self.seat.row
        row[Number.CONNECTIONS_TOTAL] += total - row[Number.CONNECTIONS_COUNTED]
        row[Number.CONNECTIONS_COUNTED] = total
        row[Number.CONNECTIONS] = current
        self._note_most(Number.CONNECTIONS, Number.MOST_CONNECTIONS)

    def counted(self, *, messages: int, rest_calls: int) -> None:
        """So many since this process began."""
        row = self.seat.row
        row[Number.MESSAGES] += messages - row[Number.MESSAGES_COUNTED]
        row[Number.MESSAGES_COUNTED] = messages
        row[Number.REST_CALLS] += rest_calls - row[Number.REST_CALLS_COUNTED]
        row[Number.REST_CALLS_COUNTED] = rest_calls

    def taken(self, *, cpu: int, memory: int) -> None:
        """What this process takes: percent of one processor, bytes."""
        row = self.seat.row
        row[Number.CPU], row[Number.MEMORY] = cpu, memory
        self._note_most(Number.CPU, Number.MOST_CPU)
        self._note_most(Number.MEMORY, Number.MOST_MEMORY)

    def state(self, *, has_started: bool, is_draining: bool, lacking: int) -> None:
        """How this worker is; `lacking` has a bit for each dependency that is not there. It is alive besides."""
        row = self.seat.row
        row[Number.HAS_STARTED], row[Number.IS_DRAINING], row[Number.LACKING] = (
            has_started,
            is_draining,
            lacking,
        )
        row.beat()

    def _note_most(self, which: Number, most: Number) -> None:
        row = self.seat.row
        row[most] = max(row[most], self.seat.figures.sum(which))

    # --- what is so of all

    @property
    def has_started(self) -> bool:
        """Whether any of them serves."""
        return any(row[Number.HAS_STARTED] for row in self._awake())

    @property
    def lacking(self) -> int:
        """What any of them lacks, of those that serve if there are some: one that has just come lacks everything."""
        rows = self._awake()
        found = 0
        for row in [row for row in rows if row[Number.HAS_STARTED]] or rows:
            found |= row[Number.LACKING]
        return found

    def _awake(self) -> list[Row]:
        own = self.seat.row.number
        return [row for row in self.seat.figures.rows() if row.number == own or row.is_awake]

    async def run(self) -> None:
        """Let the others have this worker's metrics, and ask and tell it things, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(pages.serve(self.seat, self.page))
            group.create_task(self.siblings.run())

    async def metrics(self) -> bytes:
        """Those of all workers that answer."""
        return await pages.all_pages(self.seat, self.page)

    def main(self) -> dict[str, Any]:
        """`main` of `/status`, but for when and by whom the node was started."""
        figures = self.seat.figures
        return {
            "cpu": {"current": figures.sum(Number.CPU), "max": figures.most(Number.MOST_CPU)},
            "memory": {"current": figures.sum(Number.MEMORY), "max": figures.most(Number.MOST_MEMORY)},
            "connections": {
                "total": figures.sum(Number.CONNECTIONS_TOTAL),
                "current": figures.sum(Number.CONNECTIONS),
                "max": figures.most(Number.MOST_CONNECTIONS),
            },
            "messages": {"processed": figures.sum(Number.MESSAGES)},
            "restCalls": {"received": figures.sum(Number.REST_CALLS)},
        }

    def each(self) -> list[dict[str, Any]]:
        """The workers one by one, for administrators."""
        return [
            {
                "worker": row.number,
                "pid": row[Number.PID],
                "awake": row.is_awake,
                "started": bool(row[Number.HAS_STARTED]),
                "cpu": row[Number.CPU],
                "memory": row[Number.MEMORY],
                "connections": row[Number.CONNECTIONS],
                "messages": row[Number.MESSAGES],
                "restCalls": row[Number.REST_CALLS],
            }
            for row in self.seat.figures.rows()
            if row.is_alive
        ]
