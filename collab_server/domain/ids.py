"""Identifiers: UUIDv7 for what we make; what an authority makes is opaque, and that authority judges it.

Library's are 32 hex digits, which we write in upper case.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Callable
from datetime import datetime

from collab_server.domain.jsontext import rfc3339
from collab_server.errors import Invalid

NEAR_SECONDS = 300
"""So far the time in an id that a client makes may be from the server's."""

OPAQUE_ID = "[A-Za-z0-9._~@+-]{1,64}"
"""What an id may be that an authority makes: it ends neither in a topic's name, nor in a path, a text, or JSON."""

ReadId = Callable[[str, str], str]
"""`read_id(value, field)`: the id that somebody has written, as its authority writes it. Raises `Invalid`."""

_VERSION_7 = 0x7 << 76 | 0b10 << 62
_CHANCE = 0xFFF << 64 | (1 << 62) - 1
_OPAQUE_ID = re.compile(OPAQUE_ID)
_LIBRARY_ID = re.compile(r"[0-9A-Fa-f]{32}")


def uuid7() -> uuid.UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then chance. Made here, for PostgreSQL < 18."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_7 | chance & _CHANCE
    return uuid.UUID(int=value)


def new_id(value: str, field: str, now: datetime) -> uuid.UUID:
    """The id that a client has made for something new: a UUIDv7 of a time within `NEAR_SECONDS` of `now`.

    What is found is shown by the time in its id: with another one it would be out of its place for ever.
    Raises `Invalid` (naming `field`) otherwise.
    """
    id = own_id(value, field)
    if id.version != 7 or abs((id.int >> 80) / 1000 - now.timestamp()) > NEAR_SECONDS:
        raise Invalid(
            f"expected a UUIDv7 of a time within {NEAR_SECONDS} s of the server's, which is {rfc3339(now)}",
            field=field,
        )
    return id


def library_id(value: str, field: str) -> str:
    """Library's object id in upper case.

    Raises `Invalid` (naming `field`) unless it is 32 hex digits.
    """
    if _LIBRARY_ID.fullmatch(value) is None:
        raise Invalid("expected an id of 32 hex digits", field=field)
    return value.upper()


def opaque_id(value: str, field: str) -> str:
    """The id of an authority that writes it in one way only.

    Raises `Invalid` (naming `field`) unless it is 1 to 64 letters, digits and `._~@+-`.
    """
    if _OPAQUE_ID.fullmatch(value) is None:
        raise Invalid("expected an id: 1 to 64 letters, digits and ._~@+-", field=field)
    return value


def own_id(value: str, field: str) -> uuid.UUID:
    """One of our own ids, a UUID in its usual form of 36 characters.

    Raises `Invalid` (naming `field`) otherwise.
    """
    try:
        parsed = uuid.UUID(value)
    except ValueError:
        parsed = None
    if parsed is None or str(parsed) != value.lower():
        raise Invalid("expected a UUID such as 0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b", field=field)
    return parsed
