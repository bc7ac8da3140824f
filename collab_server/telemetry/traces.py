"""Traces: what one request, connection or command causes, on whatever node, named by one id.

The id comes in with the request (`X-Request-ID`, or the trace id of `traceparent`) or is made here. It is part of the
context in which the request is served: every line that is logged there bears it, an event that it stores keeps it until
it is delivered, and what is said over the bus takes it along to the other nodes.

Anybody may send any id: one that does not look like an id is not taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar

from collab_server.domain.chance import chance

__all__ = ["CURRENT", "HEADER", "ID", "MOST_CHARACTERS", "carried", "name_of", "of_carried", "of_request"]

HEADER = "X-Request-ID"
MOST_CHARACTERS = 64

CURRENT: ContextVar[str] = ContextVar("trace", default="")
"""The id of the trace that the running code belongs to; empty for what a node does by itself.

Where traces are collected, the span follows behind a space, as a `traceparent` spells it (`spans`): `name_of` takes the
id alone.
"""

ID = re.compile(rb"[0-9A-Za-z._~:/+=@-]{1,%d}" % MOST_CHARACTERS)
"""What an id looks like that is taken."""
_TRACEPARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_REQUEST_ID, _PARENT = HEADER.lower().encode(), b"traceparent"


def of_request(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id of a request's trace, by its headers (names in lower case); a new one if they bring none.

    `X-Request-ID` counts before `traceparent`: it is of whoever stands nearest. Of several the first.
    """
    parent = None
    for name, value in headers:
        if name == _REQUEST_ID and ID.fullmatch(value):
            return value.decode("ascii")
        if name == _PARENT and parent is None and (found := _TRACEPARENT.fullmatch(value)):
            parent = found[1]
    return chance(8).hex() if parent is None else parent.decode("ascii")


def carried() -> bytes:
    """What goes along with something that is said over the bus now: the id and, if there is one, the span; at most 255
    bytes. What follows a further space is for versions to come, and is handed on as it came."""
    return CURRENT.get().encode("ascii")


def of_carried(raw: bytes) -> str:
    """What came along with something over the bus, for `CURRENT`."""
    return raw.decode("ascii", "replace") if raw else ""


def name_of(trace: str) -> str:
    """The id of a trace, as logs and answers have it."""
    return trace.partition(" ")[0]
