"""Events: stored facts. Each has the next `seq` of its topic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from collab_server.domain.jsontext import dumps, rfc3339

_AT = '","at":"'
_BEFORE_AT = len('{"topic":"' + '","seq":' + ',"type":"' + _AT)
_AT_CHARACTERS = len("2026-11-23T18:07:00.123Z")


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

    @property
    def identity(self) -> str:
        """What tells the event from any other that had its `seq`, for ever: deleted words leave an event, this stays.

        Empty where `body` is not as `event_of` writes it.
        """
        start = len(self.topic) + len(self.type) + len(str(self.seq)) + _BEFORE_AT
        end = start + _AT_CHARACTERS
        if not (self.body.startswith(_AT, start - len(_AT)) and self.body.startswith('"', end)):
            return ""
        return self.type + self.body[start:end]


def event_of(topic: str, seq: int, type: str, at: datetime, actor: str, data: str) -> Event:
    """Put an event together. `actor` and `data` are JSON text; `topic` and `type` need no escaping."""
    body = f'{{"topic":"{topic}","seq":{seq},"type":"{type}","at":"{rfc3339(at)}","actor":{actor},"data":{data}}}'
    return Event(topic, seq, type, body)


def identity_of(type: str, at: datetime) -> str:
    """The identity of an event as it is stored; see `Event.identity`."""
    return type + rfc3339(at)


@lru_cache(maxsize=4096)
def actor_text(user_id: str, name: str, initials: str) -> str:
    """A person as the JSON text that events and comments carry."""
    return dumps({"id": user_id, "name": name, "initials": initials})
