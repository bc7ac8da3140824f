"""Events: stored facts. Each has the next `seq` of its topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from collab_server.domain.jsontext import dumps, rfc3339


@dataclass(frozen=True, slots=True)
class Event:
    """A stored fact, ready to be sent.

    `body` is the JSON text of the whole event, `{topic, seq, type, at, actor, data}`. It is written once, by the
    node that stored the event or read it, and copied from then on.
    """

    topic: str
    seq: int
    type: str
    body: str


def event_of(topic: str, seq: int, type: str, at: datetime, actor: str, data: str) -> Event:
    """Put an event together. `actor` and `data` are JSON text; `topic` and `type` need no escaping."""
    body = f'{{"topic":"{topic}","seq":{seq},"type":"{type}","at":"{rfc3339(at)}","actor":{actor},"data":{data}}}'
    return Event(topic, seq, type, body)


def actor_text(user_id: str, name: str, initials: str) -> str:
    """A person as the JSON text that events and comments carry."""
    return dumps({"id": user_id, "name": name, "initials": initials})
