"""Events: stored facts. Each has the next `seq` of its topic."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from collab_server.domain.jsontext import NULL, JsonText, dumps, json_shape, json_string, json_time, rfc3339

_event = json_shape("topic", "seq", "type", "at", "actor", "data")
_BEFORE_AT = _event(
    topic=json_string(""), seq=JsonText(""), type=json_string(""), at=json_string("|"), actor=NULL, data=NULL
).partition("|")[0]
"""What `body` has before its time, besides topic, seq and type; and the end of that, behind the type."""
_AT = _BEFORE_AT[_BEFORE_AT.rindex(",") - 1 :]
_AT_CHARACTERS = len("2026-11-23T18:07:00.123Z")


@dataclass(frozen=True, slots=True)
class Event:
    """A stored fact, ready to be sent.

    `body` is the JSON text of the whole event, `{topic, seq, type, at, actor, data}`. It is written once, by the
    node that stored the event or read it, and copied from then on. `trace` names the request that has caused it, as far
    as this node knows: what was read from storage has none.
    """

    topic: str
    seq: int
    type: str
    body: JsonText
    trace: str = field(default="", compare=False)

    @property
    def identity(self) -> str:
        """What tells the event from any other that had its `seq`, for ever: deleted words leave an event, this stays.

        Empty where `body` is not as `event_of` writes it.
        """
        start = len(self.topic) + len(self.type) + len(str(self.seq)) + len(_BEFORE_AT)
        end = start + _AT_CHARACTERS
        if not (self.body.startswith(_AT, start - len(_AT)) and self.body.startswith('"', end)):
            return ""
        return self.type + self.body[start:end]


def event_of(
    topic: str, seq: int, type: str, at: datetime, actor: JsonText, data: JsonText, trace: str = ""
) -> Event:
    """Put an event together."""
    body = _event(
        topic=json_string(topic), seq=seq, type=json_string(type), at=json_time(at), actor=actor, data=data
    )
    return Event(topic, seq, type, body, trace)


def identity_of(type: str, at: datetime) -> str:
    """The identity of an event as it is stored; see `Event.identity`."""
    return type + rfc3339(at)


@lru_cache(maxsize=4096)
def actor_text(user_id: str, name: str, initials: str) -> JsonText:
    """A person as the JSON text that events and comments carry."""
    return dumps({"id": user_id, "name": name, "initials": initials})
