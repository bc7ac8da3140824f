"""From what a client sent to a command: first the bounds, which stand in the commands' types, then the types.

What it promises: before a payload is known to be right, no more is done than to look once at what can still be right.
Fields that are not known are refused unseen, texts, lists and free JSON that are too long by their length; of several
things that are wrong the first one is named. What is more than any command can hold is not even decoded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from collab_server.config.limits import Limits
from collab_server.domain.jsontext import check_json, is_sendable, shown_name
from collab_server.domain.wire import AtMost, camel
from collab_server.errors import Invalid, TooLarge

_Check = Callable[[Any, str], None]
"""Refuses a value, of the field that is named. A value of the wrong type is left to pydantic."""

_MORE_VALUES = 10_000
"""What a payload may hold besides a view state, two texts and a list of people: some hundred ids, keys, an anchor."""

_HOLDS_MANY = re.compile(r'"(members|recipients|ids|topics|viewState|anchor)"\s*:')
_BEGINNING = 4096

_EXPECTED = {
    "string_type": "expected a string",
    "int_type": "expected a whole number",
    "bool_type": "expected true or false",
    "dict_type": "expected an object",
    "dataclass_type": "expected an object",
    "list_type": "expected a list",
    "missing": "is required",
    "unexpected_keyword_argument": "is not known here",
}


class Payloads:
    """Reads the payloads of these commands, by name, within these limits."""

    def __init__(self, commands: Iterable[tuple[str, type]], limits: Limits) -> None:
        self._parsers: dict[str, tuple[_Check, TypeAdapter[Any]]] = {
            name: (_check_of(command, limits), TypeAdapter(command)) for name, command in commands
        }
        # Of the JSON text of any payload, no more characters can be brackets and commas, in its texts or between them.
        self.most_values = (
            limits.viewStateBytes + 2 * limits.textCharacters + 3 * limits.discussionMembers + _MORE_VALUES
        )

    def check_text(self, text: str) -> None:
        """Refuse JSON text that has more values than any payload, before it is decoded: that takes 20 times as long
        as to count them, and as many bytes.

        Raises `Invalid`, which names the field that they are most likely in.
        """
        if len(text) > self.most_values:
            values = text.count(",") + text.count("[") + text.count("{")
            if values > self.most_values:
                begun = _HOLDS_MANY.findall(text, 0, _BEGINNING)
                message = f"expected a payload of at most {self.most_values} values"
                raise Invalid(message, field=begun[-1] if begun else None)

    def read(self, name: str, payload: Any) -> Any:
        """The command, a frozen dataclass of the domain, that the payload of a command of this name spells.

        Raises `Invalid` or `TooLarge`, naming the field and saying what was expected.
        """
        if not isinstance(payload, dict):
            raise Invalid("expected one object as payload")
        check, parser = self._parsers[name]
        check(payload, "")
        try:
            return parser.validate_python(payload)
        except ValidationError as error:
            raise _first_of(error) from None


def _first_of(error: ValidationError) -> Invalid:
    first = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "literal_error":
        expected = f"expected {first['ctx']['expected']}"
    else:
        expected = _EXPECTED.get(first["type"], first["msg"])
    return Invalid(expected, field=_path(first["loc"]))


def _path(location: tuple[int | str, ...]) -> str | None:
    """`("members", 0, "id")` → `members[0].id`."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path or None


# --- bounds, made of the types


def _check_of(hint: Any, limits: Limits, bound: AtMost | None = None) -> _Check:
    """The check of a type. Raises `TypeError` for one that could hold any amount of anything."""
    if get_origin(hint) is Annotated:
        bound = next((part for part in hint.__metadata__ if isinstance(part, AtMost)), bound)
        return _check_of(hint.__origin__, limits, bound)
    if get_origin(hint) in (Union, UnionType):
        [one] = [part for part in get_args(hint) if part is not NoneType]
        return _check_of(one, limits, bound)
    if is_dataclass(hint):
        hints = get_type_hints(hint, include_extras=True)
        return _check_object({camel(f.name): _check_of(hints[f.name], limits) for f in fields(hint)})
    if hint in (int, bool) or get_origin(hint) is Literal:
        return _check_nothing
    most = (
        None if bound is None else bound.most if isinstance(bound.most, int) else getattr(limits, bound.most)
    )
    if hint is str:
        return _check_text(most)
    if most is None:
        raise TypeError(f"a payload's {hint} needs an AtMost")
    if get_origin(hint) is list:
        return _check_list(_check_of(get_args(hint)[0], limits), most)
    if hint is Any or get_origin(hint) is dict:
        return _check_json(most)
    raise TypeError(f"{hint} is no type of a payload")


def _check_nothing(value: Any, field: str) -> None:
    """Its type is all that can be wrong."""


def _check_object(checks: dict[str, _Check]) -> _Check:
    *most, last = checks or ("nothing",)
    known = f"{', '.join(most)} or {last}" if most else last

    def check(value: Any, field: str) -> None:
        if not isinstance(value, dict):
            return
        before = f"{field}." if field else ""
        for name, inner in value.items():  # ends after the first that is not known
            if name not in checks:
                shown = shown_name(name)
                place = field or None if shown is None else before + shown
                raise Invalid(f"is not known here: expected {known}", field=place)
            checks[name](inner, before + name)

    return check


def _check_list(check_item: _Check, most: int) -> _Check:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, list):
            return
        if len(value) > most:
            raise TooLarge(f"expected at most {most} items, got {len(value)}", field=field)
        for index, item in enumerate(value):
            check_item(item, f"{field}[{index}]")

    return check


def _check_json(most: int) -> _Check:
    def check(value: Any, field: str) -> None:
        try:
            check_json(value, field=field, max_bytes=most)
        except TooLarge as error:
            error.field = field.partition(".")[0]  # an anchor is too large as a whole
            raise

    return check


def _check_text(most: int | None) -> _Check:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, str):
            return
        if most is not None and len(value) > most:
            raise Invalid(f"expected at most {most} characters", field=field)
        if not is_sendable(value):
            raise Invalid("U+0000 and lone surrogates are not allowed", field=field)

    return check
