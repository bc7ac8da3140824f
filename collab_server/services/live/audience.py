"""The audience: what the feed delivers reaches its clients here, and whoever may not hear more is put out.

What it promises: nothing of a topic follows `topic.closed` at a client; a comment that was delivered ends its author's
typing, as it does at clients. Nothing here waits or raises, and nothing runs.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from collab_server.contract.rights import rights_text
from collab_server.domain.events import Event
from collab_server.domain.jsontext import dumps, json_object, json_string
from collab_server.domain.permissions import Standing
from collab_server.services.hub import Hub, Listener
from collab_server.services.live.moves import Moves
from collab_server.services.live.presence import Presence
from collab_server.telemetry import traces

log = logging.getLogger(__name__)

CHANGING_RIGHTS = frozenset({"topic.switched", "owner.changed"})
MOVING_MARKS = frozenset({"topic.was_read", "topic.was_unread"})


class Audience:
    """The feed's outlet: `hub` reaches the clients, `presence` knows who is on a topic, `moves` who watches one."""

    def __init__(self, hub: Hub, presence: Presence, moves: Moves) -> None:
        self._hub = hub
        self._presence = presence
        self._moves = moves

    def deliver(self, clients: Collection[str], event: Event) -> None:
        """Send an event to these clients."""
        self._hub.tell(clients, event.type, event.body)
        if log.isEnabledFor(logging.DEBUG):
            facts = {
                "topic": event.topic,
                "seq": event.seq,
                "type": event.type,
                "trace": traces.name_of(event.trace),
                "clients": len(clients),
            }
            log.debug("delivered to clients of this node", extra=facts)
        self._presence.heard(event)
        if event.type in CHANGING_RIGHTS:
            self._stand(clients, event)
        elif event.type in MOVING_MARKS:
            self._moves.note_of(event.topic.partition(":")[2], json.loads(event.body)["data"]["topic"])

    def put_out(self, clients: Sequence[str], event: Event) -> list[str]:
        """Of the clients whom this event has reached, those whose part in its topic it ends: they are told so.

        It is that of the member who was removed, or everybody's when the discussion was deleted.
        """
        is_deleted = event.type == "discussion.deleted"
        removed = None if is_deleted else json.loads(event.body)["data"]["userId"]
        out = []
        for client in clients:
            listener = self._hub.listeners.get(client)
            if listener is not None and (is_deleted or listener.who.user.id == removed):
                self.close(listener, event.topic, "deleted" if is_deleted else "removed")
                out.append(client)
        return out

    def _stand(self, clients: Collection[str], event: Event) -> None:
        """An event after which some of these clients may do more or less on its topic."""
        data = json.loads(event.body)["data"]
        for client in clients:
            listener = self._hub.listeners.get(client)
            standing = listener.topics.get(event.topic) if listener is not None else None
            if listener is None or standing is None:
                continue
            if event.type == "topic.switched":
                standing = replace(standing, is_commenting=data["commenting"])
            else:
                is_owner = listener.who.user.id == data["userId"]
                standing = replace(standing, role="owner" if is_owner else "member")
            self.stand(listener, event.topic, standing)

    def stand(self, listener: Listener, topic: str, standing: Standing) -> None:
        """A client that is subscribed to the topic stands differently there from now on: it is told what it may do."""
        before = listener.topics[topic]
        listener.topics[topic] = standing
        rights = rights_text(standing, listener.who)
        if rights != rights_text(before, listener.who):
            data = json_object(topic=json_string(topic), rights=rights)
            self._hub.tell((listener.connection,), "topic.rights", data)

    def close(self, listener: Listener, topic: str, reason: str) -> None:
        """Tell a client, which gets nothing more of the topic, that it does not."""
        self._presence.depart(topic, listener.who.user.id, listener.connection, is_for_good=True)
        is_watched = self._moves.forget(listener, (topic,))
        if listener.topics.pop(topic, None) is not None or is_watched:
            self._hub.tell((listener.connection,), "topic.closed", dumps({"topic": topic, "reason": reason}))
