"""JSON as text: one way to write it, one way to write times."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from collab_server.errors import Invalid, TooLarge

INTEGER_DIGITS = 100  # clients of python-socketio refuse a whole packet for a longer one
_MANY_DIGITS = re.compile(rf"[0-9]{{{INTEGER_DIGITS + 1}}}")

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:)([0-5][0-9]|60)((?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))"
)

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def dumps(value: Any) -> str:
    """Compact JSON text, characters beyond ASCII as they are.

    Raises `ValueError` for NaN and infinities and `RecursionError` for very deep values.
    """
    return _encode(value)


def now_ms(now: datetime | None = None) -> datetime:
    """The time now in UTC, cut to the milliseconds that the wire shows, so that what is stored is what is sent."""
    moment = now or datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T18:07:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"  # it ends in +00:00


def read_rfc3339(text: str) -> datetime:
    """The moment that a time of RFC 3339 names, in UTC; of a leap second, the second before.

    Raises `ValueError` for what is none, or not in the years 1 to 9999.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise ValueError("no time of RFC 3339")
    minute, second, rest = found.groups()
    try:
        return datetime.fromisoformat((minute + min(second, "59") + rest).upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("no year that there is") from None


def is_blank(text: str) -> bool:
    """True if there is nothing in it but white space, as JavaScript and JSON Schema count it, too."""
    return not text.replace("\ufeff", "").strip()


def check_characters(value: Any, field: str = "") -> None:
    """Refuse U+0000 and lone surrogates, which no JSON text in Postgres can hold, anywhere in a parsed payload.

    Raises `Invalid`, naming the field that holds the character.
    """
    stack: list[tuple[str, Any]] = [(field, value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, str):
            if "\0" in item or not _is_encodable(item):
                raise Invalid("U+0000 and lone surrogates are not allowed", field=path or None)
        elif isinstance(item, dict):
            for key, inner in item.items():
                stack.append((f"{path}.{key}" if path else key, inner))
                stack.append((path or "payload", key))  # looked at first: a path is of keys that can be sent
        elif isinstance(item, list):
            stack.extend((f"{path}[{index}]", inner) for index, inner in enumerate(item))


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_object_text(value: dict[str, Any], *, field: str, max_bytes: int, max_levels: int) -> str:
    """A JSON object as compact text, for keeping it just as it came.

    Raises `Invalid` when it is nested deeper than `max_levels` or holds a number that JSON cannot write, or clients
    cannot read, and `TooLarge` when the text has more than `max_bytes` bytes in UTF-8.
    """
    if _levels(value, max_levels) > max_levels:
        raise Invalid(f"expected an object of at most {max_levels} levels", field=field)
    try:
        text = dumps(value)
    except (ValueError, TypeError):
        raise Invalid(
            "expected JSON: no binary, no number outside the range of a double", field=field
        ) from None
    if _MANY_DIGITS.search(text) and _has_long_integer(value):
        raise Invalid(f"expected integers of at most {INTEGER_DIGITS} digits", field=field)
    if len(text.encode()) > max_bytes:
        raise TooLarge(f"expected at most {max_bytes} bytes of JSON", field=field)
    return text


def _has_long_integer(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, int) and abs(item) >= 10**INTEGER_DIGITS:
            return True
    return False


def _levels(value: Any, stop_after: int) -> int:
    """How deep `value` is nested; counting ends one level after `stop_after`."""
    depth = 0
    layer = [value]
    while layer and depth <= stop_after:
        inner: list[Any] = []
        for item in layer:
            if isinstance(item, dict):
                inner.extend(item.values())
            elif isinstance(item, list):
                inner.extend(item)
        containers = any(isinstance(item, dict | list) for item in layer)
        depth += 1 if containers else 0
        layer = [item for item in inner if isinstance(item, dict | list)]
    return depth
