"""The journal: lines about what clients do and hear, so many of each and no more.

What it promises: whoever shows the `ticketId` of an error is told what it was, by one search of the logs; and nobody,
signed in or not, makes a node write more than they send. A person or an address has `LINES` full lines about errors a
minute. Later errors of that minute share one ticket: the first of them is written, which says so, and in the end their
count by code. All strangers together, all people, and all bugs have a limit too, and one ticket for what is beyond it.
Lines that bear no ticket (sign-ins, disconnects, refused handshakes) are limited and counted in the same way.

Texts and tokens never come here: `facts` are names, ids, numbers and our own words.

Memory is bounded: of more than `MOST_KNOWN` at a time, the others count as all. One task, `run`, owned by the
composition root, writes the counts when their minutes are over, and when it is stopped.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from collab_server.domain.addresses import network_of
from collab_server.errors import ClientError, Internal

__all__ = ["Journal", "Whose", "person", "stranger"]

log = logging.getLogger(__name__)

LINES = 10
"""About errors, and about what strangers do, of one person or address in a minute."""
LINES_OF_CONNECTIONS = 60
"""About the connections of one person in a minute."""
LINES_OF_ALL = {"strangers": 100, "people": 1000, "bugs": 1000}
MINUTE_SECONDS = 60.0
LOOK_SECONDS = 5.0
MOST_KNOWN = 20_000
_FIELD = re.compile(r"[.\[]")


class Whose(NamedTuple):
    """Who something is about: a `user` by their id, or an `address` whose user is not known."""

    kind: str
    name: str

    @property
    def facts(self) -> dict[str, str]:
        """For a line."""
        return {self.kind: self.name}


def person(user_id: str) -> Whose:
    """Somebody who is signed in."""
    return Whose("user", user_id)


def stranger(address: str | None) -> Whose:
    """Somebody of whom no more is known than where they come from; of IPv6 a /64 is one address."""
    return Whose("address", network_of(address) if address else "unknown")


@dataclass(slots=True)
class _Minute:
    """Of one person or address, or of all: `left` so many full lines; then `counts` what was not written by itself."""

    facts: dict[str, str]
    ends_at: float
    left: float
    ticket: str = ""
    counts: dict[str, int] = field(default_factory=dict)


class Journal:
    """See the module. Of the fields that an error may name, `fields` are written: others somebody has made up."""

    def __init__(self, fields: Collection[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._fields = frozenset(fields)
        self._clock = clock
        self._minutes: OrderedDict[tuple[str, Whose | str], _Minute] = OrderedDict()
        self._first_ends_at = float("inf")  # of these

    async def run(self) -> None:
        """Write the counts of minutes that are over, until cancelled; then all that there are."""
        try:
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                self._close(self._clock())
        finally:
            self._close(float("inf"))

    def error(
        self,
        error: Exception,
        whose: Whose,
        what: str = "an error was sent",
        **facts: Any,
    ) -> ClientError:
        """Write that somebody is told of an error, as far as there is room; returns what they may hear, which has the
        ticket by which that is found.

        An error that is none for clients is a bug: it is written with its traceback, and heard as `Internal`. One that
        has been told already is told once more, to somebody else, under a ticket of its own.
        """
        heard = error if isinstance(error, ClientError) else Internal()
        if heard.is_told:
            heard = heard.once_more()
        heard.is_told = True
        is_bug = isinstance(heard, Internal)
        found = {"code": heard.code, **whose.facts, **facts}
        if is_bug:
            found["exception"] = type(error).__name__
        else:
            found["why"] = heard.message
        if heard.field is not None and (name := _FIELD.split(heard.field, maxsplit=1)[0]) in self._fields:
            found["field"] = name
        group = "bugs" if is_bug else "people" if whose.kind == "user" else "strangers"
        shared = self._beyond("errors", whose, LINES, group, heard.code)
        if shared is None:
            log.info(what, extra={"ticket": heard.ticket_id, **found})
            if is_bug:
                log.error("a bug", exc_info=error, extra={"ticket": heard.ticket_id, **found})
        elif not shared.ticket:
            shared.ticket = heard.ticket_id
            extra = {"ticket": heard.ticket_id, **shared.facts, **found}
            log.info("%s, and the next of this minute under the same ticket", what, extra=extra)
        else:
            heard.ticket_id = shared.ticket
        return heard

    def line(self, what: str, whose: Whose, **facts: Any) -> None:
        """Write what somebody has done, or what has happened to them, as far as there is room."""
        most, group = (LINES_OF_CONNECTIONS, None) if whose.kind == "user" else (LINES, "strangers")
        if self._beyond("lines", whose, most, group, what) is None:
            log.info(what, extra={**whose.facts, **facts})

    def _beyond(self, kind: str, whose: Whose, most: int, group: str | None, name: str) -> _Minute | None:
        """None where there is room for a full line, which is taken; else the minute that now counts one of `name`."""
        all_of_them = None if group is None else self._minute(kind, group, LINES_OF_ALL[group])
        own = self._minute(kind, whose, most) or all_of_them or self._minute(kind, "others", 0)
        assert own is not None  # others may always be counted
        has_room = all_of_them is None or all_of_them.left >= 1
        if has_room and own.left >= 1:
            own.left -= 1
            if all_of_them is not None and all_of_them is not own:
                all_of_them.left -= 1
            return None
        counting = own
        if all_of_them is not None and not own.counts:
            if has_room:
                all_of_them.left -= 1  # for what is written of the others in its minute
            else:
                counting = all_of_them
        counting.counts[name] = counting.counts.get(name, 0) + 1
        return counting

    def _minute(self, kind: str, whose: Whose | str, most: int) -> _Minute | None:
        now = self._clock()
        if self._first_ends_at <= now:
            self._close(now)
        key = (kind, whose)
        minute = self._minutes.get(key)
        if minute is None:
            if len(self._minutes) >= MOST_KNOWN and isinstance(whose, Whose):
                return None
            facts = {"all": whose} if isinstance(whose, str) else whose.facts
            minute = self._minutes[key] = _Minute(facts, now + MINUTE_SECONDS, most)
            self._first_ends_at = min(self._first_ends_at, minute.ends_at)
        return minute

    def _close(self, now: float) -> None:
        """Write the counts of those that end until then; they stand in the order of their ends."""
        while self._minutes:
            key, minute = next(iter(self._minutes.items()))
            if minute.ends_at > now:
                self._first_ends_at = minute.ends_at
                return
            del self._minutes[key]
            _sum_up(key[0], minute)
        self._first_ends_at = float("inf")


def _sum_up(kind: str, minute: _Minute) -> None:
    total = sum(minute.counts.values())
    counts = ", ".join(f"{name} {count}" for name, count in minute.counts.items())
    if kind == "errors" and total > 1:
        extra = {"ticket": minute.ticket, **minute.facts, "counts": counts}
        log.info("errors of one minute were sent under one ticket", extra=extra)
    elif kind == "lines" and total:
        log.info("lines of one minute were left out", extra={**minute.facts, "counts": counts})
