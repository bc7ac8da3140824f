"""Identifiers: UUIDv7 for what we make, 32 hex digits in upper case for what Library makes."""

from __future__ import annotations

import os
import re
import time
import uuid

from collab_server.errors import Invalid

_VERSION_7 = 0x7 << 76 | 0b10 << 62
_CHANCE = 0xFFF << 64 | (1 << 62) - 1
_LIBRARY_ID = re.compile(r"[0-9A-Fa-f]{32}")


def uuid7() -> uuid.UUID:
    """A new UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then chance. Made here, for PostgreSQL < 18."""
    milliseconds = time.time_ns() // 1_000_000
    chance = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | _VERSION_7 | chance & _CHANCE
    return uuid.UUID(int=value)


def library_id(value: str, field: str) -> str:
    """Library's object id in upper case.

    Raises `Invalid` (naming `field`) unless it is 32 hex digits.
    """
    if _LIBRARY_ID.fullmatch(value) is None:
        raise Invalid("expected an id of 32 hex digits", field=field)
    return value.upper()


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
