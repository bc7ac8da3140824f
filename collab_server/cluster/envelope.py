"""What the nodes write to each other, to the byte.

An *envelope* is what one PUBLISH carries: a header and one or more messages of one node, in its order.

    version    1 byte    LAYOUT; whoever does not know it reads Postgres instead
    sender     8 bytes   random per start of a node: tells a node's own echo, and a restart
    first      8 bytes   number of the first message; a node numbers its messages from 0 without a hole
    count      4 bytes   how many messages follow
    node       1 byte + n   the node's name, UTF-8
    messages   each: kind 1 byte, length 4 bytes, payload

The numbers let a receiver see, whatever Redis did, that it missed something, and drop what reaches it twice
or late. The payload of an EVENT is laid out here too; no JSON is parsed on the way, a body is sent on as
the bytes it came in. All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

__all__ = [
    "LAYOUT",
    "MAX_BODY_BYTES",
    "Envelope",
    "EventHint",
    "Kind",
    "UnreadableEnvelope",
    "open_envelope",
    "pack_envelope",
    "pack_event",
    "unpack_event",
]

LAYOUT = 1
MAX_BODY_BYTES = 65_536

_HEADER = struct.Struct(">B8sQIB")
_MESSAGE = struct.Struct(">BI")
_EVENT = struct.Struct(">QBHH")
_HAS_BODY = 1


class Kind(IntEnum):
    """What a message is about. Numbers are for ever: two versions may share one Redis."""

    GAP = 0
    """Here was something too large for the bus: read Postgres."""
    CANARY = 1
    """The heartbeat; consumed by the bus."""
    EVENT = 2
    SOCKETIO = 3
    PRESENCE = 4
    LIMITS = 5
    NOTIFIED = 6
    """Ids of users, separated by commas, for whom notifications wait."""
    RIGHTS = 7
    """What Library said of who may open what."""


class UnreadableEnvelope(ValueError):
    """An envelope of another layout, or cut short: its contents must be read from Postgres."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened header; the messages stay packed until `messages` is asked."""

    sender: bytes
    node: str
    first: int
    count: int
    data: bytes
    start: int

    def messages(self) -> list[tuple[int, bytes]]:
        """`(kind, payload)` in the sender's order. Raises `UnreadableEnvelope` unless all are whole."""
        data, at, found = self.data, self.start, []
        try:
            for _ in range(self.count):
                kind, length = _MESSAGE.unpack_from(data, at)
                at += _MESSAGE.size
                found.append((kind, data[at : at + length]))
                at += length
        except struct.error as error:
            raise UnreadableEnvelope("cut short") from error
        if at != len(data):
            raise UnreadableEnvelope("its length is wrong")
        return found


def pack_envelope(sender: bytes, node: str, first: int, messages: Iterable[tuple[int, bytes]]) -> bytes:
    """The envelope that carries `messages`, `(kind, payload)` each, numbered from `first` on.

    `sender` is 8 bytes, `node` at most 255 bytes of UTF-8.
    """
    name = node.encode()
    parts = [b"", name]
    count = 0
    for kind, payload in messages:
        parts.append(_MESSAGE.pack(kind, len(payload)))
        parts.append(payload)
        count += 1
    parts[0] = _HEADER.pack(LAYOUT, sender, first, count, len(name))
    return b"".join(parts)


def open_envelope(data: bytes) -> Envelope:
    """The header of `data`. Raises `UnreadableEnvelope` for another layout and for anything that is not an
    envelope.
    """
    if not data or data[0] != LAYOUT:
        raise UnreadableEnvelope(f"layout {data[0]}" if data else "empty")
    try:
        _, sender, first, count, length = _HEADER.unpack_from(data)
        start = _HEADER.size + length
        return Envelope(sender, data[_HEADER.size : start].decode(), first, count, data, start)
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableEnvelope("not an envelope") from error


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
    """The hint that `pack_event` packed. Raises `UnreadableEnvelope` for anything else."""
    try:
        seq, flags, topic_length, type_length = _EVENT.unpack_from(payload)
        topic_end = _EVENT.size + topic_length
        type_end = topic_end + type_length
        if len(payload) < type_end:
            raise UnreadableEnvelope("cut short")
        return EventHint(
            payload[_EVENT.size : topic_end].decode(),
            seq,
            payload[topic_end:type_end].decode(),
            payload[type_end:] if flags & _HAS_BODY else None,
        )
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableEnvelope("not an event") from error
