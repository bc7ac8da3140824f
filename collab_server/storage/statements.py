"""How long statements take, by what they do: measured where asyncpg is called, at the price of a look into a table.

What a statement does is read off its text when it is met first: the table that it changes, else locks, else reads.
asyncpg has query loggers of its own, which take four times as long and need a turn of the loop for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg
from typing_extensions import override

from collab_server.telemetry.definitions import DEFINITIONS
from collab_server.telemetry.metrics import Histogram, Histograms
from collab_server.telemetry.spans import Spans

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    Connection = asyncpg.Connection

__all__ = ["OTHER", "Statements", "TimedConnection", "named"]

OTHER = "other"
MOST_KNOWN = 1000
"""Texts that are kept: there are some hundred, a search makes some more of its own."""

MAIN = ("comments", "discussions", "notifications")
"""What a statement that changes several tables is for: the first of these, rather to insert into it than anything else,
or else what it does first."""

_TABLE = r"\s+(?:ONLY\s+)?collab\.(\w+)"
_CHANGE = re.compile(rf"\b(?:(INSERT)\s+INTO|(UPDATE)|(DELETE)\s+FROM){_TABLE}", re.IGNORECASE)
_READ = re.compile(rf"\bFROM{_TABLE}", re.IGNORECASE)
_LOCK = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+)?(?:UPDATE|SHARE|KEY\s+SHARE)\b", re.IGNORECASE)
_BOUNDARY = re.compile(r"\s*(BEGIN|COMMIT|ROLLBACK)\b", re.IGNORECASE)


def named(sql: str) -> str:
    """What a statement does, in two words of which there are only a few."""
    if (boundary := _BOUNDARY.match(sql)) is not None:
        return boundary[1].lower()
    if changes := [_words(found) for found in _CHANGE.finditer(sql)]:
        verb, table = min(changes, key=_rank)
        return f"{verb} {table}"
    if read := _READ.search(sql):
        return f"{'lock' if _LOCK.search(sql) else 'select'} {read[1]}"
    return OTHER


def _words(change: re.Match[str]) -> tuple[str, ...]:
    verb = change[1] or change[2] or change[3]
    return verb.lower(), change[4]


def _rank(words: tuple[str, ...]) -> tuple[int, bool]:
    verb, table = words
    return (MAIN.index(table), verb != "insert") if table in MAIN else (len(MAIN), False)


class Statements:
    """How long they took; `times` has it by what they do."""

    __slots__ = ("_known", "_times")

    def __init__(self, times: Histograms | None = None) -> None:
        self._times = times or Histograms(DEFINITIONS["statement_seconds"].bounds)
        self._known: dict[str, Histogram] = {}

    def note(self, sql: str, seconds: float) -> None:
        """One took so long."""
        (self._known.get(sql) or self._meet(sql)).note(seconds)

    def _meet(self, sql: str) -> Histogram:
        histogram = self._times.of(named(sql))
        if len(self._known) < MOST_KNOWN:
            self._known[sql] = histogram
        return histogram


class SpannedStatements(Statements):
    """Those of a node whose traces are collected: each makes a span, if somebody has asked for it."""

    __slots__ = ("_spans",)

    def __init__(self, times: Histograms, spans: Spans) -> None:
        super().__init__(times)
        self._spans = spans

    @override
    def note(self, sql: str, seconds: float) -> None:
        super().note(sql, seconds)
        self._spans.note(named(sql), "client", seconds, {"db.system.name": "postgresql"})


class TimedConnection(Connection):
    """A connection whose statements are noted in `statements`."""

    statements = Statements()  # until it has its own

    @override
    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        began = perf_counter()
        try:
            return await super().execute(query, *args, timeout=timeout)
        finally:
            self.statements.note(query, perf_counter() - began)

    @override
    async def executemany(self, command: str, args: Iterable[Any], *, timeout: float | None = None) -> None:
        began = perf_counter()
        try:
            await super().executemany(command, args, timeout=timeout)
        finally:
            self.statements.note(command, perf_counter() - began)

    @override
    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        began = perf_counter()
        try:
            return await super().fetch(query, *args, **options)
        finally:
            self.statements.note(query, perf_counter() - began)

    @override
    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        began = perf_counter()
        try:
            return await super().fetchrow(query, *args, **options)
        finally:
            self.statements.note(query, perf_counter() - began)

    @override
    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        began = perf_counter()
        try:
            return await super().fetchval(query, *args, **options)
        finally:
            self.statements.note(query, perf_counter() - began)
