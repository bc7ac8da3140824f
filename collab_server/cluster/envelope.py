"""What the nodes write to each other, to the byte, before it is sealed.

An *envelope* is what one PUBLISH carries: one or more messages of one node, in its order. `cluster.seal` makes it
unreadable, and says whose it is and which number its first message has. Inside are

    count      4 bytes      how many messages follow
    node       1 byte + n   the node's name, UTF-8
    messages   each: kind 1 byte, length of the trace id 1 byte, length 4 bytes, trace id, payload

The place of the trace id is reserved: this version leaves it empty, and reads over one that it finds. The payloads of
an EVENT and of a HEARD are laid out here too; no JSON is parsed on the way, a body is sent on as the bytes it came in.
All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import starmap

__all__ = [
    "MAX_BODY_BYTES",
    "EventHint",
    "Kind",
    "UnreadableEnvelope",
    "count_messages",
    "pack_event",
    "pack_heard",
    "pack_messages",
    "unpack_event",
    "unpack_heard",
    "unpack_messages",
]

MAX_BODY_BYTES = 65_536

_COUNT = struct.Struct(">IB")
_MESSAGE = struct.Struct(">BBI")
_EVENT = struct.Struct(">QBHH")
_HEARD = struct.Struct(">16sQ")
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
    HEARD = 8
    """How much of which node the sender has heard: what shows the others that it is alive; consumed by the bus."""
    RECIPIENTS = 12
    """How many people somebody has told something, as `LIMITS`."""
    SESSION_ENDED = 13
    """The digest of a session that Library does not know any more."""
    ENDED = 14
    """What was ended of somebody's: sign-ins, tokens, or all that they had begun."""


class UnreadableEnvelope(ValueError):
    """Of another layout, not sealed by this installation, changed, or cut short."""


def pack_messages(node: str, messages: Sequence[tuple[int, bytes]]) -> bytes:
    """The inside of an envelope that carries `messages`, `(kind, payload)` each. `node` has at most 255 bytes."""
    name = node.encode()
    parts = [_COUNT.pack(len(messages), len(name)), name]
    for kind, payload in messages:
        parts.append(_MESSAGE.pack(kind, 0, len(payload)))
        parts.append(payload)
    return b"".join(parts)


def unpack_messages(data: bytes) -> tuple[str, list[tuple[int, bytes]]]:
    """The node's name and its messages, as `pack_messages` packed them. Raises `UnreadableEnvelope` unless all are
    whole.
    """
    unpack = _MESSAGE.unpack_from
    found: list[tuple[int, bytes]] = []
    try:
        count, length = _COUNT.unpack_from(data)
        at = _COUNT.size + length
        name = data[_COUNT.size : at].decode()
        for _ in range(count):
            kind, skipped, length = unpack(data, at)
            at += 6 + skipped
            found.append((kind, data[at : at + length]))
            at += length
    except (struct.error, UnicodeDecodeError) as error:
        raise UnreadableEnvelope("cut short") from error
    if at != len(data):
        raise UnreadableEnvelope("its length is wrong")
    return name, found


def count_messages(data: bytes) -> int:
    """How many messages are inside, without a look at them. Raises `UnreadableEnvelope` for anything else."""
    try:
        count: int = _COUNT.unpack_from(data)[0]
    except struct.error as error:
        raise UnreadableEnvelope("cut short") from error
    return count


def pack_heard(asks: bool, heard: Iterable[tuple[bytes, int]]) -> bytes:
    """The payload of a HEARD: per start of a node (16 bytes) the number after the last that was heard of it.

    `asks`: the others shall tell at once what they have heard.
    """
    return bytes((asks,)) + b"".join(starmap(_HEARD.pack, heard))


def unpack_heard(payload: bytes) -> tuple[bool, dict[bytes, int]]:
    """What `pack_heard` packed. Raises `UnreadableEnvelope` for anything else."""
    try:
        return payload[0] == 1, {sender: number for sender, number in _HEARD.iter_unpack(payload[1:])}
    except (IndexError, struct.error) as error:
        raise UnreadableEnvelope("not what was heard") from error


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
