"""Ends: that a sign-in, a token, or all of a person's are over before their time.

What was ended is remembered by *marks*: digests, from which nobody learns a token.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from collab_server.domain.sign_ins import Begun
from collab_server.domain.wire import WIRE, Text

MARK_BYTES = 32

Marked = Literal["sign-in", "identity token", "auth token", "person"]
"""What a mark is of; never renamed, for marks are stored."""


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
