"""Sign-ins: what begins when somebody shows a token of Library, and what its end is known by.

A sign-in has an id, which all connections and resume tokens that come of it share. It ends by `session.end`, when its
time is over, when its Library session ends, or when an operator ends all of a person's. What was ended is remembered by
*marks*: digests, from which nobody learns a token.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal

from collab_server.domain.wire import WIRE, Text

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
ID_BYTES = 16
MARK_BYTES = 32

Marked = Literal["sign-in", "identity token", "auth token", "person"]
"""What a mark is of; never renamed, for marks are stored."""


@dataclass(frozen=True, slots=True)
class Begun:
    """The sign-in that somebody's identity is of.

    `id` is empty where none was begun: a request that shows a token of Library. `at` is when it began, by the
    database's clock; `as_of` the latest end that was known then (see `End.at`); `token_mark` that of the identity token
    it began with, if it did with one.
    """

    id: bytes = field(default=b"", repr=False)
    at: datetime = EARLIEST
    as_of: int = 0
    token_mark: bytes = field(default=b"", repr=False)


NOT_BEGUN = Begun()


@dataclass(frozen=True, slots=True)
class End:
    """Something that was ended `at` (microseconds since 1970, by the database's clock): what bears this mark.

    It need not be remembered after `kept_until` (in the same measure).
    """

    mark: bytes
    user_id: str
    at: int
    kept_until: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """End one's sign-in: with all connections and resume tokens that came of it, on all nodes."""

    __pydantic_config__: ClassVar[Any] = WIRE
    request_id: Text | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command has ended."""

    ends: tuple[End, ...]


def mark_of(kind: Marked, value: str | bytes) -> bytes:
    """By what the end of something is remembered: `MARK_BYTES` that do not tell what it is."""
    data = value if isinstance(value, bytes) else value.encode()
    return hashlib.sha256(f"collab-server {kind}\n".encode() + data).digest()


def marks_of(begun: Begun, auth_token: str | None) -> tuple[bytes, ...]:
    """What the end of a sign-in, or of the token that was shown, may be remembered by.

    `auth_token` is given where it is the user's own.
    """
    marks = []
    if begun.id:
        marks.append(mark_of("sign-in", begun.id))
    if begun.token_mark:
        marks.append(begun.token_mark)
    if auth_token is not None:
        marks.append(mark_of("auth token", auth_token))
    return tuple(marks)
