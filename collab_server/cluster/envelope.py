"""What the nodes write to each other, to the byte, before it is sealed.

An *envelope* is what one PUBLISH carries: one or more messages of one node, in its order. `cluster.seal` makes it
unreadable, and says whose it is and which number its first message has. Inside are

    count      4 bytes      how many messages follow
    node       1 byte + n   the node's name, UTF-8
    messages   each: kind 1 byte, length of the trace id 1 byte, length 4 bytes, trace id, payload

The trace id is what `telemetry.traces` lets go along: of which request the message is a consequence, empty if of none.
The version before leaves it empty, and reads over one that it finds. The payload of a HEARD is laid out here too; those
of the others are laid out by those who say them (`domain.hints`). All numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import starmap

from collab_server.domain.hints import Kind

__all__ = [
    "OWN_KINDS",
    "Message",
    "UnreadableEnvelope",
    "count_messages",
    "pack_heard",
    "pack_messages",
    "unpack_heard",
    "unpack_messages",
]

OWN_KINDS = frozenset(map(int, (Kind.GAP, Kind.CANARY, Kind.HEARD)))
"""What the bus says itself: no listener gets it, and no counter counts it."""

_COUNT = struct.Struct(">IB")
_MESSAGE = struct.Struct(">BBI")
_HEARD = struct.Struct(">16sQ")


class UnreadableEnvelope(ValueError):
    """Of another layout, not sealed by this installation, changed, or cut short."""


Message = tuple[int, bytes, bytes]
"""What is said once: its kind, its payload, and what goes along of its trace, at most 255 bytes."""


def pack_messages(node: str, messages: Sequence[Message]) -> bytes:
    """The inside of an envelope that carries `messages`. `node` has at most 255 bytes."""
    name = node.encode()
    parts = [_COUNT.pack(len(messages), len(name)), name]
    for kind, payload, trace in messages:
        parts += (_MESSAGE.pack(kind, len(trace), len(payload)), trace, payload)
    return b"".join(parts)


def unpack_messages(data: bytes) -> tuple[str, list[Message]]:
    """The node's name and its messages, as `pack_messages` packed them. Raises `UnreadableEnvelope` unless all are
    whole.
    """
    unpack = _MESSAGE.unpack_from
    found: list[Message] = []
    try:
        count, length = _COUNT.unpack_from(data)
        at = _COUNT.size + length
        name = data[_COUNT.size : at].decode()
        for _ in range(count):
            kind, trace_length, length = unpack(data, at)
            at += 6
            begin = at + trace_length
            found.append((kind, data[begin : begin + length], data[at:begin]))
            at = begin + length
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
