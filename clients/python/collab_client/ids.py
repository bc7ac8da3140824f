"""Ids that a client chooses, and topics and payloads as they are sent."""

from __future__ import annotations

import json
import secrets
import uuid
from collections.abc import Mapping
from typing import Any


def random_id() -> str:
    """32 random hex digits."""
    return secrets.token_hex(16)


def uuid7(now: float) -> str:
    """A UUIDv7 (RFC 9562) of the time `now`, in seconds since 1970 by the server's clock."""
    number = int(now * 1000) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 7 << 76
    number = number & ~(3 << 62) | 2 << 62
    return str(uuid.UUID(int=number))


def spelled(topic: str) -> str:
    """A topic as the server spells it."""
    kind, colon, ids = topic.partition(":")
    return kind + colon + (ids.lower() if kind == "discussion" else ids.upper())


def wired(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A payload as it is sent, whatever becomes of the object. Raises `TypeError`, `ValueError` for what is no JSON."""
    try:
        sent: dict[str, Any] = json.loads(json.dumps(dict(payload), allow_nan=False))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return sent
