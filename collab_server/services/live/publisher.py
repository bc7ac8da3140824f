"""The publisher: what was committed, told to this node's feed and over the bus to those of the others.

What goes over the bus is a hint: bytes ready to be sent on, in the order of the commits. The feeds put them in order
again, and read from PostgreSQL what got lost. Nothing here waits or raises.
"""

from __future__ import annotations

from collections.abc import Iterable

from collab_server.domain.events import Event
from collab_server.domain.hints import Kind, pack_event, unpack_event
from collab_server.domain.jsontext import JsonText
from collab_server.ports import Bus
from collab_server.services.live.feed import Feed
from collab_server.services.live.moves import Moves
from collab_server.telemetry import traces

HEAD_BYTES = 600  # of an event nobody follows here: its name, its `seq`, its time


class Publisher:
    """Tells every node, and hears what the others tell."""

    def __init__(self, bus: Bus, feed: Feed, moves: Moves) -> None:
        self._bus = bus
        self._feed = feed
        self._moves = moves
        bus.listen(Kind.EVENT, self._hear)
        bus.on_gap(feed.suspect)
        bus.on_gap(moves.suspect)

    def announce(self, events: Iterable[Event]) -> None:
        """Tell every node, this one first, what was committed. Queues, never waits, never raises."""
        events = tuple(events)
        self._feed.offer(events)
        before = traces.CURRENT.get()
        for event in events:
            self._moves.note(event.topic)
            traces.CURRENT.set(event.trace)
            self._bus.publish(Kind.EVENT, pack_event(event.topic, event.seq, event.type, event.body.encode()))
        traces.CURRENT.set(before)

    def _hear(self, _node: str, payload: bytes) -> None:
        hint = unpack_event(payload)
        self._moves.note(hint.topic)
        if hint.body is None:
            self._feed.hint(hint.topic, hint.seq)
        elif self._feed.is_followed(hint.topic):
            event = Event(hint.topic, hint.seq, hint.type, JsonText(hint.body.decode()), traces.CURRENT.get())
            self._feed.offer((event,))
        else:
            self._feed.witness.note(
                Event(
                    hint.topic, hint.seq, hint.type, JsonText(hint.body[:HEAD_BYTES].decode(errors="replace"))
                )
            )
