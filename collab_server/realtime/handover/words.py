"""What nodes say to each other about a request: its kind is a byte, the rest is laid out here. All numbers are
big-endian; heads are JSON, their texts the bytes that came, as Latin-1.

A connection is for requests or for one websocket, as its first message (HELLO) says. By the first kind go REQUEST,
CANCEL, LET_GO, TAKEN (of an answer) and PING, and ANSWER, PONG back; by the other OPEN, then DATA, EOF either way,
LEAVE, PING, and TRUST back: how large a message may be. Kinds that are not known are ignored.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from urllib.parse import quote, unquote

from collab_server.realtime.engine.requests import HANDED
from collab_server.realtime.engine.session import Headers, Scope
from collab_server.realtime.handover.ids import HOME_BYTES

__all__ = [
    "NUMBER",
    "Answer",
    "For",
    "Garbled",
    "Said",
    "pack_answer",
    "pack_hello",
    "pack_request",
    "pack_scope",
    "unpack_answer",
    "unpack_hello",
    "unpack_number",
    "unpack_request",
    "unpack_scope",
]


class Said(IntEnum):
    """The kinds of messages; never renumbered."""

    HELLO = 1
    WELCOME = 2
    REQUEST = 3
    ANSWER = 4
    CANCEL = 5
    LET_GO = 6
    PING = 7
    PONG = 8
    OPEN = 9
    DATA = 10
    EOF = 11
    LEAVE = 12
    TAKEN = 13
    TRUST = 14


class For(IntEnum):
    """What a connection is for."""

    REQUESTS = 1
    WEBSOCKET = 2


class Garbled(ValueError):
    """No message of this version."""


NUMBER = struct.Struct(">I")
"""Which request is meant, counted by who asks; or how many bytes."""
_HELLO = struct.Struct(f">B{HOME_BYTES}s")
_REQUEST = struct.Struct(">II")
_ANSWER = struct.Struct(">IHBI")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the home has answered."""

    number: int
    status: int
    is_trusted: bool
    headers: Headers
    body: bytes


def unpack_number(payload: bytes) -> int:
    """Raises `Garbled`."""
    if len(payload) != NUMBER.size:
        raise Garbled("no number")
    number: int = NUMBER.unpack(payload)[0]
    return number


def pack_hello(purpose: For, home: bytes) -> bytes:
    """What for, and whom it is meant for."""
    return _HELLO.pack(purpose, home)


def unpack_hello(payload: bytes) -> tuple[For, bytes]:
    """Raises `Garbled`."""
    try:
        purpose, home = _HELLO.unpack(payload)
        return For(purpose), home
    except (struct.error, ValueError) as error:
        raise Garbled("no hello") from error


def pack_scope(scope: Scope) -> bytes:
    """The head of a request, and how it has come."""
    raw_path = scope.get("raw_path") or quote(scope["path"]).encode()  # not every server gives it
    head = (
        scope["method"],
        raw_path.decode("latin-1"),
        scope["query_string"].decode("latin-1"),
        scope["scheme"],
        scope.get("client"),
        scope.get("server"),
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
    )
    return json.dumps(head, separators=(",", ":")).encode()


def unpack_scope(head: bytes, kind: str) -> Scope:
    """The same as ASGI has it, of this type. Raises `Garbled`."""
    try:
        method, raw_path, query, scheme, client, server, headers = json.loads(head)
        return {
            "type": kind,
            "http_version": "1.1",
            "method": str(method),
            "scheme": str(scheme),
            "client": None if client is None else (str(client[0]), int(client[1])),
            "server": None if server is None else (server[0], server[1]),
            "path": unquote(raw_path),
            "raw_path": raw_path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            HANDED: True,
        }
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise Garbled("no head") from error


def pack_request(number: int, scope: Scope, body: bytes | bytearray) -> tuple[bytes, ...]:
    """A request, in parts."""
    head = pack_scope(scope)
    return _REQUEST.pack(number, len(head)), head, bytes(body)


def unpack_request(payload: bytes) -> tuple[int, Scope, bytes]:
    """Its number, head and body. Raises `Garbled`."""
    try:
        number, length = _REQUEST.unpack_from(payload)
    except struct.error as error:
        raise Garbled("no request") from error
    end = _REQUEST.size + length
    return number, unpack_scope(payload[_REQUEST.size : end], "http"), payload[end:]


def pack_answer(answer: Answer) -> tuple[bytes, ...]:
    """An answer, in parts."""
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
    headers = json.dumps(lines, separators=(",", ":")).encode()
    head = _ANSWER.pack(answer.number, answer.status, answer.is_trusted, len(headers))
    return head, headers, answer.body


def unpack_answer(payload: bytes) -> Answer:
    """Raises `Garbled`."""
    try:
        number, status, is_trusted, length = _ANSWER.unpack_from(payload)
        end = _ANSWER.size + length
        lines = json.loads(payload[_ANSWER.size : end])
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in lines]
    except (struct.error, ValueError, TypeError, AttributeError) as error:
        raise Garbled("no answer") from error
    return Answer(number, status, bool(is_trusted), headers, payload[end:])
