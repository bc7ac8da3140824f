"""Files of JSON that people write by hand: what is in one, or what is wrong with it in words for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collab_server.config.problems import ConfigError, Problem
from collab_server.config.values import json_type

COMMENT_PREFIX = "//"

_MOST_BYTES = 1_000_000
_LONGEST_PLACE = 500


def read_object(file: Path, most_bytes: int = _MOST_BYTES) -> tuple[dict[str, Any], list[Problem]]:
    """The object in a file, without comments, and warnings of names that are in it twice.

    Raises `OSError`, and `ConfigError` for what is no object in JSON.
    """
    with file.open("rb") as stream:
        content = stream.read(most_bytes + 1)

    if len(content) > most_bytes:
        raise ConfigError([Problem(str(file), f"is larger than {most_bytes} bytes")])

    if content.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise ConfigError([Problem(str(file), "is in UTF-16, or no text at all: save it in UTF-8")])

    twice: dict[int, list[str]] = {}

    def keep_last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            if name.startswith(COMMENT_PREFIX):
                continue
            if name in found:
                twice.setdefault(id(found), []).append(name)
            found[name] = value
        return found

    try:
        values = json.loads(content.decode("utf-8-sig"), object_pairs_hook=keep_last)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        words = f"is not valid JSON: {error.msg} ({where}){_hint(error)}"
        raise ConfigError([Problem(str(file), words)]) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(str(file), f"is not in UTF-8 (line {line}): save it in UTF-8")]) from None
    except (RecursionError, ValueError):
        raise ConfigError([Problem(str(file), "is not valid JSON in UTF-8")]) from None
    if not isinstance(values, dict):
        raise ConfigError([Problem(str(file), f"expected an object {{…}}, not {json_type(values)}")])
    return values, [
        Problem(_inside(place, f".{name}"), "is given twice; the last one counts", "warning")
        for place, value in walk(values)
        for name in twice.get(id(value), ())
    ]


def walk(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Everything in a file, by its name, however deep."""
    waiting: list[tuple[str, Any]] = [("", values)]
    while waiting:
        place, value = waiting.pop()
        yield place, value
        if isinstance(value, dict):
            waiting += [(_inside(place, f".{name[:_LONGEST_PLACE]}"), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(_inside(place, f"[{index}]"), inner) for index, inner in enumerate(value)]


def _inside(place: str, what: str) -> str:
    """Cut off: a long name is part of the place of all that is in it."""
    return f"{place}{what}".removeprefix(".")[:_LONGEST_PLACE]


_MARKS = "'`\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"


def _hint(error: json.JSONDecodeError) -> str:
    """What to do about a mistake that is often made, where it is one."""
    before, rest = error.doc[: error.pos].rstrip(), error.doc[error.pos :].lstrip()
    if not error.doc.strip():
        return ": the file is empty"
    if not rest:
        return ": it ends too early"
    if rest.startswith(("//", "/*", "#")):
        return f"; there are no comments: use properties whose names begin with {COMMENT_PREFIX}"
    if error.msg.startswith("Invalid \\"):
        return ": a backslash in a text is written twice, \\\\"
    if rest[0] in "}]" and before.endswith(","):
        return f": a comma too many before {rest[0]}"
    if rest[0] in _MARKS:
        return ': names and texts stand in straight double quotes, "…"'
    if rest.startswith(("True", "False", "None")):
        return ": it is true, false and null, in small letters"
    return ""
