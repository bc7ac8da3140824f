"""Requests whose head is as plain as nearly every client writes it, read without a parser.

A parser calls back for each piece of a request; a head that came whole and holds nothing unusual is found by one
expression. What is not plain - a body without its length, a byte that is not printable ASCII, a header twice or very
many of them, an `Expect` - is not judged here: the parser reads it, so that nothing is taken for another request than
it would take.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_BYTES = 8_192
"""Of a request that is read here, with its body."""
MOST_HEADERS = 64
"""Each takes a hundred bytes and more for as long as its request is remembered, however short it is."""

_HEAD = re.compile(
    rb"(GET|POST) (/[!\"$-~]++) HTTP/1\.1\r\n"  # [!"$-~]: what is visible, but #
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[ -~]*+\r\n)++)\r\n"
)
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]++):([ -~]*+)\r\n")
_LENGTH = re.compile(rb"[0-9]{1,4}")
_NEVER_PLAIN = frozenset([b"transfer-encoding", b"expect"])
_KEEPS_ALIVE = (None, b"keep-alive", b"Keep-Alive")
_OFFERS = (b"upgrade", b"keep-alive, upgrade")
_HANDSHAKE_TARGET = re.compile(rb"[?&]transport=websocket(?:&|\Z)")


@dataclass(slots=True)
class PlainRequest:
    """One request, whole; the names of `headers` are in lower case."""

    method: str
    target: bytes
    headers: list[tuple[bytes, bytes]]
    by_name: dict[bytes, bytes]
    head_bytes: int
    """What the headers came in."""
    body: bytes
    is_handshake: bool
    """It offers to become a websocket, and nothing else."""


def read(data: bytes) -> PlainRequest | None:
    """The request that `data` is, no more and no less; None if it is not a plain one."""
    if len(data) > MOST_BYTES:
        return None
    head = _HEAD.match(data)
    if head is None:
        return None
    method, target, lines = head.groups()
    headers = [(name.lower(), value.lstrip(b" ")) for name, value in _HEADER.findall(lines)]
    by_name = dict(headers)
    if len(by_name) != len(headers) or len(headers) > MOST_HEADERS or not _NEVER_PLAIN.isdisjoint(by_name):
        return None
    body = data[head.end() :]
    length = by_name.get(b"content-length")
    connection = by_name.get(b"connection")
    if b"upgrade" in by_name:
        is_handshake = (
            method == b"GET"
            and length is None
            and not body
            and connection is not None
            and connection.lower() in _OFFERS
            and by_name[b"upgrade"].lower() == b"websocket"
            and b"sec-websocket-key" in by_name
            and _HANDSHAKE_TARGET.search(target) is not None
        )
        return PlainRequest("GET", target, headers, by_name, len(lines), b"", True) if is_handshake else None
    if connection not in _KEEPS_ALIVE:
        return None
    if method == b"GET":
        is_whole = length is None and not body
    else:
        is_whole = length is not None and _LENGTH.fullmatch(length) is not None and int(length) == len(body)
    if not is_whole:
        return None
    return PlainRequest(method.decode("ascii"), target, headers, by_name, len(lines), body, False)
