"""Those whom the bus tells: of messages, of gaps, of nodes that come and go. None of them can break it.

Nothing runs here but the timer that gathers gaps; `close` cancels it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from collab_server.cluster.counters import Counters
from collab_server.ports import Handler
from collab_server.telemetry import traces

__all__ = ["Listeners"]

log = logging.getLogger(__name__)

GAP_SECONDS = 0.02
LOOK_SECONDS = 1.5
"""How often what does not open may make others look at Postgres."""


class Listeners:
    """Who listens. Between `open` and `close` they are told."""

    def __init__(self, counters: Counters, clock: Callable[[], float]) -> None:
        self._counters = counters
        self._clock = clock
        self._handlers: dict[int, list[Handler]] = {}
        self._on_gap: list[Callable[[], None]] = []
        self._on_found: list[Callable[[str], None]] = []
        self._on_lost: list[Callable[[str], None]] = []
        self._gap_due: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._is_open = True

    def listen(self, kind: int, handler: Handler) -> None:
        """Let `handler(node, payload)` have the messages of this kind."""
        self._handlers.setdefault(int(kind), []).append(handler)

    def on_gap(self, callback: Callable[[], None]) -> None:
        """Let `callback()` know of a gap."""
        self._on_gap.append(callback)

    def on_node_found(self, callback: Callable[[str], None]) -> None:
        """Let `callback(node)` know of a node that was met."""
        self._on_found.append(callback)

    def on_node_lost(self, callback: Callable[[str], None]) -> None:
        """Let `callback(node)` know of a node that has gone."""
        self._on_lost.append(callback)

    def open(self) -> None:
        """Tell of gaps again."""
        self._is_open = True

    def close(self) -> None:
        """Tell of no gap any more."""
        self._is_open = False
        if self._gap_due is not None:
            self._gap_due.cancel()
            self._gap_due = None

    @property
    def has_gap(self) -> bool:
        """Whether there is a gap of which they are told in a moment."""
        return self._gap_due is not None

    def tell(self, kind: int, node: str, payload: bytes, trace: bytes = b"") -> None:
        """A message that is believed, and what came along of the trace that it belongs to."""
        before = traces.CURRENT.set(traces.of_carried(trace))
        for handler in self._handlers.get(kind, ()):
            try:
                handler(node, payload)
            except Exception:
                self._counters.handler_errors += 1
                log.exception("a listener failed", extra={"kind": kind, "from_node": node})
        traces.CURRENT.reset(before)

    def gap(self) -> None:
        """Something may have been missed. Many reasons within 20 ms make one call."""
        if self._gap_due is None and self._is_open:
            self._gap_due = asyncio.get_running_loop().call_later(GAP_SECONDS, self._tell_gap)

    def perhaps_gap(self) -> None:
        """A gap, perhaps, of which anybody could make us believe: at most every 1.5 s."""
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self.gap()

    def found(self, node: str) -> None:
        """A node was met."""
        self._call(self._on_found, node)

    def lost(self, node: str) -> None:
        """A node has gone."""
        self._call(self._on_lost, node)

    def _tell_gap(self) -> None:
        self._gap_due = None
        self._call(self._on_gap)

    @staticmethod
    def _call(callbacks: list[Callable[..., None]], *arguments: object) -> None:
        for callback in callbacks:
            try:
                callback(*arguments)
            except Exception:
                log.exception("a callback of the bus failed")
