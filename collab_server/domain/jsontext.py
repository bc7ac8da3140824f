"""JSON as text: one way to write it, one way to write times.

What is JSON already is a `JsonText`. It goes into other JSON as it is, and nothing else does: a text of somebody's, a
name or an id becomes one by `json_string`, so that mypy tells where one would be taken for the other.
"""

from __future__ import annotations

import json
import json.encoder
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, NewType, Protocol, cast

from collab_server.errors import Invalid, TooLarge

JsonText = NewType("JsonText", str)
"""A text that is JSON."""

NULL = JsonText("null")
TRUE = JsonText("true")
FALSE = JsonText("false")
NOTHING = JsonText("{}")

INTEGER_DIGITS = 100  # clients of python-socketio refuse a whole packet for a longer one
_MANY_DIGITS = re.compile(rf"[0-9]{{{INTEGER_DIGITS + 1}}}")

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:)([0-5][0-9]|60)((?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2}))"
)


def _encoding() -> Callable[[Any], str]:
    """What `JSONEncoder.encode` does, with what that makes anew for each value made once."""
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    pieces_of = make(None, encoder.default, encode_basestring, None, ":", ",", False, False, False)
    return lambda value: "".join(pieces_of(value, 0))


_encode = _encoding()


def dumps(value: Any) -> JsonText:
    """Compact JSON text, characters beyond ASCII as they are.

    Raises `ValueError` for NaN and infinities and `RecursionError` for very deep values.
    """
    return JsonText(_encode(value))


json_string = cast(Callable[[str], JsonText], encode_basestring)
"""A text as JSON; as `dumps`, in a fifth of the time."""


def json_time(moment: datetime | None) -> JsonText:
    """A time as JSON (see `rfc3339`), or null."""
    return NULL if moment is None else JsonText(f'"{rfc3339(moment)}"')


def json_list(items: Iterable[JsonText]) -> JsonText:
    """A list of what is JSON already."""
    return JsonText(f"[{','.join(items)}]")


def json_object(**fields: JsonText | int | None) -> JsonText:
    """An object of what is JSON already, of numbers, booleans and null, in this order."""
    return JsonText("{" + ",".join([f'"{name}":{_spelled(value)}' for name, value in fields.items()]) + "}")


def _spelled(value: JsonText | int | None) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


class JsonShape(Protocol):
    """What makes objects of the same fields. Raises `TypeError` for other fields than its own."""

    def __call__(self, **fields: JsonText | int) -> JsonText: ...


def json_shape(*names: str) -> JsonShape:
    """What `json_object` makes of fields of these names, JSON or whole numbers: for what is written all the time.

    It is compiled, as a dataclass is, and then costs what an f-string does.
    """
    template = "{{" + ",".join(f'"{name}":{{{name}}}' for name in names) + "}}"
    return cast(JsonShape, eval(f"lambda *, {', '.join(names)}: f{template!r}"))


def json_in_front(text: JsonText, /, **fields: JsonText | int | None) -> JsonText:
    """An object, which is not empty, with these fields before its own."""
    return JsonText(f"{json_object(**fields)[:-1]},{text[1:]}")


def json_begun(text: JsonText) -> str:
    """An object, which is not empty, without its end, which `json_ended` puts behind it."""
    return text[:-1]


def json_ended(begun: str, last: JsonText) -> JsonText:
    """The object that was begun so, with the fields of another one, which is not empty, behind its own."""
    return JsonText(f"{begun},{last[1:]}")


def json_filled(text: JsonText, /, **fields: JsonText) -> JsonText:
    """JSON with these fields, which are null in it, filled in, the first of each name."""
    for name, value in fields.items():
        # No string in it holds that: it has no bare quotes.
        text = JsonText(text.replace(f'"{name}":null', f'"{name}":{value}', 1))
    return text


def now_ms(now: datetime | None = None) -> datetime:
    """The time now in UTC, cut to the milliseconds that the wire shows, so that what is stored is what is sent."""
    moment = now or datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


@lru_cache(maxsize=16)  # what is written together is of one moment, which is spelled in each several times
def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-11-23T18:07:00.123Z`."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"  # it ends in +00:00


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


def is_sendable(text: str) -> bool:
    """Whether JSON text in Postgres, or on the wire, can hold it: no U+0000, no lone surrogate."""
    return "\0" not in text and _is_encodable(text)


def check_json(value: Any, *, field: str, max_bytes: int) -> None:
    """Refuse parsed JSON that cannot be kept: with U+0000 or a lone surrogate anywhere in it, or too large.

    Raises `Invalid`, naming the place of the character, or `TooLarge`, naming `field`. What JSON text cannot hold for
    another reason passes here, and is refused when that text is made.
    """
    try:
        text = dumps(value)
        size = len(text.encode())
    except (ValueError, TypeError, RecursionError):
        _check_each(value, field, max_bytes)
        return
    if size > max_bytes:
        raise TooLarge(f"expected at most {max_bytes} bytes of JSON", field=field)
    if "\\u0000" in text:  # or a backslash before such letters
        _check_each(value, field, max_bytes)


def _check_each(value: Any, field: str, max_bytes: int) -> None:
    """The same, value by value: at each once, and at no more of them than `max_bytes` of JSON text can hold."""
    bytes_left = max_bytes  # what is counted is the least that its text can have
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            if not is_sendable(item):
                raise Invalid("U+0000 and lone surrogates are not allowed", field=_place(value, field))
            bytes_left -= len(item) + 2
        elif isinstance(item, dict):
            bytes_left -= 2 * len(item) + 1
            if bytes_left >= 0:
                stack.extend(item)
                stack.extend(item.values())
        elif isinstance(item, list):
            bytes_left -= len(item) + 1
            if bytes_left >= 0:
                stack.extend(item)
        else:
            bytes_left -= 1
        if bytes_left < 0:
            raise TooLarge(f"expected at most {max_bytes} bytes of JSON", field=field)


_Steps = tuple[Any, str | int] | None
"""The way to a value: that to what holds it, and its key or index there."""


def _place(value: Any, field: str) -> str:
    """Where in it the first text is that cannot be sent. Of a key, the object that has it."""
    stack: list[tuple[Any, _Steps]] = [(value, None)]
    while stack:
        item, steps = stack.pop()
        if isinstance(item, str) and not is_sendable(item):
            return spelled_path(field, steps)
        if isinstance(item, dict):
            if not all(map(is_sendable, item)):
                return spelled_path(field, steps)
            stack.extend((inner, (steps, key)) for key, inner in item.items())
        elif isinstance(item, list):
            stack.extend((inner, (steps, index)) for index, inner in enumerate(item))
    return field


PATH_CHARACTERS = 100
"""How much of a field's name is shown to those who made it up."""


def shown_name(name: str) -> str | None:
    """A field's name as a client made it up, for telling it: its beginning, or None for what cannot be sent."""
    return name[:PATH_CHARACTERS] if is_sendable(name) else None


def spelled_path(field: str, steps: _Steps) -> str:
    """`viewState` and the steps `a`, 0 → `viewState.a[0]`; the beginning of a long one."""
    parts: list[str | int] = []
    while steps is not None:
        steps, step = steps
        parts.append(step)
    path = field
    for part in reversed(parts):
        if len(path) > PATH_CHARACTERS:
            break
        path += f"[{part}]" if isinstance(part, int) else f".{part[:PATH_CHARACTERS]}"
    return path[:PATH_CHARACTERS]


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_object_text(value: dict[str, Any], *, field: str, max_bytes: int, max_levels: int) -> JsonText:
    """A JSON object as compact text, for keeping it just as it came.

    Raises `Invalid` when it is nested deeper than `max_levels` or holds a number that JSON cannot write, or clients
    cannot read, and `TooLarge` when the text has more than `max_bytes` bytes in UTF-8.
    """
    text = None
    try:
        text = dumps(value)
        may_be_deep = text.count("[") + text.count("{") > max_levels
    except (ValueError, TypeError, RecursionError):
        may_be_deep = True
    if may_be_deep and _levels(value, max_levels) > max_levels:
        raise Invalid(f"expected an object of at most {max_levels} levels", field=field)
    if text is None:
        raise Invalid("expected JSON: no binary, no number outside the range of a double", field=field)
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
    layer = [value] if isinstance(value, dict | list) else []
    while layer and depth <= stop_after:
        depth += 1
        layer = [
            inner
            for item in layer
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
    return depth
