"""Hints: what a node tells the others over the bus. What gets lost of them is read from Postgres, or asked again.

The bus knows a hint as a number, its `Kind`, and bytes. The payload of an EVENT is laid out here, big-endian; no JSON
is parsed on the way, a body is sent on as the bytes it came in. The other payloads belong to those who say them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

__all__ = ["MAX_BODY_BYTES", "EventHint", "Kind", "UnreadableHint", "pack_event", "unpack_event"]

MAX_BODY_BYTES = 65_536

_EVENT = struct.Struct(">QBHH")
_HAS_BODY = 1


class Kind(IntEnum):
    """What a message is about. Numbers are for ever: two versions may share one bus.

    GAP, CANARY and HEARD are what a bus may say to itself at the other nodes; nobody else publishes or hears them. So
    are 240 to 255, which another package's bus may use as it likes; 200 to 239 are those of another's authority.
    """

    GAP = 0
    """Here was something too large for the bus: read Postgres."""
    CANARY = 1
    """The heartbeat."""
    EVENT = 2
    SOCKETIO = 3
    PRESENCE = 4
    LIMITS = 5
    NOTIFIED = 6
    """Ids of users, separated by commas, for whom notifications wait."""
    RIGHTS = 7
    """What Library said of who may open what."""
    HEARD = 8
    """How much of which node the sender has heard: what shows the others that it is alive."""
    RECIPIENTS = 12
    """How many people somebody has told something, as `LIMITS`."""
    SESSION_ENDED = 13
    """The digest of a session that Library does not know any more."""
    ENDED = 14
    """What was ended of somebody's: sign-ins, tokens, or all that they had begun."""
    WATCHED = 15
    """How many questions of the authority were asked for what somebody watches, as `LIMITS`."""


class UnreadableHint(ValueError):
    """No event, or cut short."""


@dataclass(frozen=True, slots=True)
class EventHint:
    """That topic `topic` now has the event `seq` of type `type`.

    `body` is the event as clients get it, ready UTF-8 bytes, or None where it was too large for the bus: the
    receiver reads Postgres.
    """

    topic: str
    seq: int
    type: str
    body: bytes | None


def pack_event(
    topic: str, seq: int, type: str, body: bytes | None, *, max_body_bytes: int = MAX_BODY_BYTES
) -> bytes:
    """The payload of an EVENT message; a body over `max_body_bytes` is left out."""
    topic_name, type_name = topic.encode(), type.encode()
    if body is None or len(body) > max_body_bytes:
        return _EVENT.pack(seq, 0, len(topic_name), len(type_name)) + topic_name + type_name
    return b"".join(
        (_EVENT.pack(seq, _HAS_BODY, len(topic_name), len(type_name)), topic_name, type_name, body)
    )


def unpack_event(payload: bytes) -> EventHint:
    """The hint that `pack_event` packed. Raises `UnreadableHint` for anything else."""
    try:
        seq, flags, topic_length, type_length = _EVENT.unpack_from(payload)
        topic_end = _EVENT.size + topic_length
        type_end = topic_end + type_length
        if len(payload) < type_end:
            raise UnreadableHint("cut short")
        return EventHint(
            payload[_EVENT.size : topic_end].decode(),
            seq,
            payload[topic_end:type_end].decode(),
            payload[type_end:] if flags & _HAS_BODY else None,
        )
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableHint("not an event") from error
