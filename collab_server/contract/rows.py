"""What a row of the contract is: of a command, an event, a signal; and what is said when half of one is missing.

Shapes are written as types of the wire: `string`, `integer`, `boolean`, `time` (RFC 3339), `id` (a UUID), `libraryId`
(32 hex digits), the name of an object (`Comment`), with `[]` behind for a list, ` | null` for what may be null, and
quoted words separated by ` | ` where only these are sent.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from collab_server.contract.wording import wording
from collab_server.domain.permissions import Who
from collab_server.domain.wire import camel

Shape = Mapping[str, str]
"""Field → type."""

REPEATABLE = "requestId"
"""The field that every command which changes something has: under the same one it takes effect once."""


WAIT = "wait"
"""The query parameter of a call that may wait, in seconds."""


class Incomplete(Exception):
    """Half of something on the wire is missing. The message says which half of what, and where it belongs."""


@dataclass(frozen=True, slots=True)
class Call:
    """The REST call that spells a command.

    `spelling` is method and path, whose `{names}` are fields of the command's payload. `links` say where an answer
    leads: `parameter=/place in the answer` → the commands whose calls take it. One that `may_wait` takes `WAIT`
    besides, in the query: over Socket.IO things come by themselves.
    """

    spelling: str
    summary: str
    status: int = 200
    links: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_wait: bool = False

    @property
    def method(self) -> str:
        """`GET`, `POST`, …"""
        return self.spelling.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path under `/api`."""
        return self.spelling.partition(" ")[2]

    @property
    def in_path(self) -> list[str]:
        """The fields that the path spells, in order."""
        return re.findall(r"\{(\w+)\}", self.path)


@dataclass(frozen=True, slots=True)
class CommandType:
    """A command: all that a client has to know of it, besides what its fields mean (`wording.py`).

    `payload` is the domain's dataclass, whose fields and docstring are those of the command; `who` may give it;
    `answer` is the shape of its data. A command without a `call` is one about the client's own connection, which
    Socket.IO alone carries.

    For the documents: `shown` are the fields that an example has besides those that are required, `either` those of
    which a payload has just one, `remark` what else is to be said of it, `refusals` those that are particular to it.
    """

    name: str
    payload: type
    who: Who
    answer: type[BaseModel] | Shape
    call: Call | None = None
    shown: tuple[str, ...] = ()
    either: tuple[str, ...] = ()
    remark: str = ""
    refusals: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """What it is about: the first part of its name."""
        return self.name.partition(".")[0]

    @property
    def fields(self) -> list[str]:
        """What its payload may hold, as the wire spells it."""
        return [camel(one.name) for one in dataclasses.fields(self.payload)]

    @property
    def field_types(self) -> dict[str, Any]:
        """What each of `fields` is, whether it may be left out or not: `int`, `str`, `list[str]`, …"""
        hints = get_type_hints(self.payload)
        return {camel(one.name): _given(hints[one.name]) for one in dataclasses.fields(self.payload)}

    @property
    def is_write(self) -> bool:
        """Whether it changes something, and may be repeated under its `requestId`."""
        return REPEATABLE in self.fields

    @property
    def says(self) -> str:
        """What it does, in one or two sentences; empty where nobody has said it."""
        text = inspect.getdoc(self.payload) or ""
        return "" if text.startswith(f"{self.payload.__name__}(") else text


@dataclass(frozen=True, slots=True)
class Route:
    """A call as the HTTP door serves it: the names in the path and in the query are fields of the command's payload;
    the other fields come in the body, where `has_body`.
    """

    row: CommandType
    call: Call
    answer: type[BaseModel]
    has_body: bool

    @property
    def command(self) -> str:
        """The name of the command."""
        return self.row.name

    @property
    def method(self) -> str:
        """`GET`, `POST`, …"""
        return self.call.method

    @property
    def path(self) -> str:
        """The path under `/api`."""
        return self.call.path


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event.

    `data` is what it carries, `by` the commands that may cause it, `means` what has happened, `on` the kinds of
    topics it is on.
    """

    name: str
    data: Shape
    by: tuple[str, ...]
    means: str
    on: tuple[str, ...] = ("content", "discussion")


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal and its one argument."""

    name: str
    data: Shape
    means: str


def by_name(rows: Iterable[CommandType], families: Mapping[str, str]) -> dict[str, CommandType]:
    """The rows by their names. `families` say what the first parts of names stand for.

    Raises `Incomplete`, which names everything that is missing in them.
    """
    table: dict[str, CommandType] = {}
    wrong = []
    for row in rows:
        if row.name in table:
            wrong.append(f"{row.name} has two rows")
        table[row.name] = row
    for row in table.values():
        wrong += _missing_in(row, table)
        if row.family not in families:
            wrong.append(f"{row.name}: FAMILIES of catalogue.py does not say what {row.family} is about")
    if wrong:
        raise Incomplete("contract/commands: " + "; ".join(wrong))
    return table


def _given(hint: Any) -> Any:
    """A type without the None that says that it may be left out."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
    given = [part for part in parts if part is not NoneType]
    return given[0] if len(given) == 1 else hint


def _missing_in(row: CommandType, table: Mapping[str, CommandType]) -> Iterator[str]:
    if not row.says:
        yield f"{row.name}: {row.payload.__name__} has no docstring, which says what the command does"
    for name in row.fields:
        if wording(row.name, name) is None:
            yield f"{row.name}: wording.py does not say what {name} means"
    named = {*row.shown, *row.either, *(row.call.in_path if row.call is not None else ())}
    for name in sorted(named.difference(row.fields)):
        yield f"{row.name}: {row.payload.__name__} has no field {name}"
    if row.call is None:
        return
    if not isinstance(row.answer, type):
        yield f"{row.name}: what a REST call answers is a class of contract/shapes.py"
    for taken, targets in row.call.links.items():
        parameters = {part.partition("=")[0] for part in taken.split(";")}
        for target in targets:
            found = table.get(target)
            if found is None or found.call is None:
                yield f"{row.name}: its answer leads to {target}, which has no REST call"
            else:
                for name in sorted(parameters.difference(found.fields)):
                    yield f"{row.name}: its answer leads to {target} by {name}, which that does not take"


def routes_of(rows: Iterable[CommandType]) -> Iterator[Route]:
    """The REST calls of these commands: with a body where the method can have one and the path does not spell all."""
    for row in rows:
        if row.call is None:
            continue
        left = set(row.fields) - {REPEATABLE, *row.call.in_path}
        has_body = row.call.method in ("POST", "PUT", "PATCH") and bool(left)
        assert isinstance(row.answer, type)
        yield Route(row, row.call, row.answer, has_body)
