"""Packets of Socket.IO: made as stock python-socketio makes them, read as strictly as the reference server does."""

from __future__ import annotations

import json
import re
from typing import Any

from socketio import packet as sio_packet

ATTACHMENTS = 10
JSON_DEPTH = 128

_RESERVED = {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

HEAD = re.compile(
    r"(?P<type>[0-6])"
    r"(?:(?P<attachments>[0-9]{1,3})-)?"
    r"(?:(?P<namespace>/[^,?]*)[^,]*(?:,|\Z))?"
    r"(?P<id>[0-9]{1,20})?"
)
"""How a packet begins."""


class MalformedPacket(ValueError):
    """What a client sent is no Socket.IO packet."""


def _refuse_constant(name: str) -> Any:
    raise MalformedPacket(f"{name} is not JSON")


_JSON: Any = json.JSONDecoder(parse_constant=_refuse_constant)


def _decode_json(text: str) -> Any:
    """As the decoder does, without looking for spaces where there are none. Raises `ValueError` for what is no JSON."""
    try:
        value, end = _JSON.scan_once(text, 0)
    except StopIteration:
        return _JSON.decode(text)
    if end != len(text) and text[end:].strip(" \t\n\r"):
        raise ValueError("more than one value")
    return value


class StrictPacket(sio_packet.Packet):  # type: ignore[misc]
    """A packet as stock python-socketio makes it, read as strictly as the reference server reads it."""

    def decode(self, encoded_packet: Any) -> int:
        """Read the text of a packet; returns the number of attachments that follow.

        Raises:
            MalformedPacket: it is no packet.
        """
        head = HEAD.match(encoded_packet) if isinstance(encoded_packet, str) else None
        if head is None:
            raise MalformedPacket("no packet")
        kind, attachments, self.namespace, id = head.groups()
        self.packet_type = int(kind)
        self.id = int(id) if id else None
        rest = encoded_packet[head.end() :]
        try:
            self.data = _decode_json(rest) if rest else None
        except (ValueError, RecursionError):
            raise MalformedPacket("payload is not JSON") from None
        if rest.count("[") + rest.count("{") > JSON_DEPTH and _is_deep(self.data):
            raise MalformedPacket("payload is too deep")
        is_binary = self.packet_type in (sio_packet.BINARY_EVENT, sio_packet.BINARY_ACK)
        if is_binary is not bool(attachments):
            raise MalformedPacket("attachments are announced wrongly")
        count = int(attachments or 0)
        if count > ATTACHMENTS:
            raise MalformedPacket("too many attachments")
        if is_binary and count == 0:
            self.packet_type -= sio_packet.BINARY_EVENT - sio_packet.EVENT
        return count

    @classmethod
    def _reconstruct_binary_internal(cls, data: Any, attachments: list[bytes]) -> Any:
        if isinstance(data, list):
            return [cls._reconstruct_binary_internal(item, attachments) for item in data]
        if not isinstance(data, dict):
            return data
        if data.get("_placeholder") is True:
            number = data.get("num")
            if type(number) is not int or not 0 <= number < len(attachments):
                raise MalformedPacket("no such attachment")
            return attachments[number]
        return {key: cls._reconstruct_binary_internal(value, attachments) for key, value in data.items()}


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(JSON_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, (list, dict))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
    return any(isinstance(item, (list, dict)) for item in level)


def check(packet: Any) -> None:
    """See to it that the payload has the shape that its type asks for.

    Raises:
        MalformedPacket: it has not.
    """
    kind, data = packet.packet_type, packet.data
    if kind in (sio_packet.EVENT, sio_packet.BINARY_EVENT):
        name = data[0] if isinstance(data, list) and data else None
        is_right = type(name) in (str, int, float) and name not in _RESERVED
    elif kind in (sio_packet.ACK, sio_packet.BINARY_ACK):
        is_right = isinstance(data, list) and packet.id is not None
    elif kind == sio_packet.CONNECT:
        is_right = data is None or isinstance(data, dict)
    else:
        is_right = kind == sio_packet.DISCONNECT and data is None
    if not is_right:
        raise MalformedPacket("wrong payload")
