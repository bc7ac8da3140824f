"""How events go out on a node whose traces are collected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from typing_extensions import override

from collab_server.domain.events import Event
from collab_server.ports import Bus
from collab_server.services.hub import Hub
from collab_server.services.live.audience import Audience
from collab_server.services.live.feed import Feed
from collab_server.services.live.moves import Moves
from collab_server.services.live.presence import Presence
from collab_server.services.live.publisher import Publisher
from collab_server.telemetry.spans import Spans


class SpannedPublisher(Publisher):
    """A publisher that makes a span of each event that it tells, and of each that it hears."""

    def __init__(self, bus: Bus, feed: Feed, moves: Moves, spans: Spans) -> None:
        super().__init__(bus, feed, moves)
        self._spans = spans

    @override
    def announce(self, events: Iterable[Event]) -> None:
        told = []
        for event in events:
            with self._spans.within(f"announce {event.type}", "producer", trace=event.trace) as span:
                told.append(replace(event, trace=span.trace))
        super().announce(told)

    @override
    def _hear(self, node: str, payload: bytes) -> None:
        with self._spans.within("hear an event", "consumer", {"collab.from": node}):
            super()._hear(node, payload)


class SpannedAudience(Audience):
    """An audience that makes a span of each event that it brings to clients."""

    def __init__(self, hub: Hub, presence: Presence, moves: Moves, spans: Spans) -> None:
        super().__init__(hub, presence, moves)
        self._spans = spans

    @override
    def deliver(self, clients: Iterable[str], event: Event) -> None:
        to = tuple(clients)
        facts = {"collab.clients": len(to), "collab.seq": event.seq}
        with self._spans.within(f"deliver {event.type}", "producer", facts, trace=event.trace):
            super().deliver(to, event)
