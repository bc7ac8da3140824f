"""By what a client marks its polls, so that one that comes again is told from the next one.

A balancer, or a browser, asks again where the connection was cut by which the answer went, and nobody would know that
what was in it is lost. Clients mark each poll with another `t`; some with the time of a clock, which may stand still
between two, or with what is always the same.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from enum import Enum
from hashlib import sha256

CLOCK_STANDS_SECONDS = 0.1
"""A clock that tells fractions of a second may stand still for less than that: Python's for 16 ms on Windows."""
LEAST_STEP_SECONDS = 0.015
"""One that goes on by less does not do so."""
_FRACTION = re.compile(rb"[0-9]{1,20}\.[0-9]{1,20}")
LONGEST = 256
"""Bytes of what is compared with the next: of what is longer a digest is kept, for as long as its session lasts."""
_OF_GREETING = ("40", "3")
"""What a client posts before it has said anything: that it connects, that it is there."""


class _Clock(Enum):
    """What is known of it: it has stood still between two polls, or takes steps too small for that."""

    UNKNOWN = 0
    COARSE = 1
    FINE = 2


class Marks:
    """Those of one session."""

    __slots__ = ("_asked", "_asked_at", "_clock", "_first", "_has_spoken", "_is_varied")

    def __init__(self) -> None:
        self._asked = b""  # the query of the last poll
        self._asked_at = 0.0  # when it came first
        self._first = b""  # of the handshake
        self._is_varied = False
        self._clock = _Clock.UNKNOWN
        self._has_spoken = False

    def greet(self, query: bytes) -> None:
        """The handshake has come."""
        self._first = _mark_of(query)

    def note_said(self, packets: Iterable[str]) -> None:
        """The client has posted these."""
        if not self._has_spoken:
            self._has_spoken = not all(packet.startswith(_OF_GREETING) for packet in packets)

    def come_again(self, query: bytes) -> bool:
        """Whether the poll with this query is the one before once more. To be asked once for each."""
        asked = _short(query)
        if asked == self._asked:
            return self._is_once_more(_mark_of(query))
        if b"." in query and self._clock is not _Clock.FINE:  # else it shows no fraction
            self._look_at_clock(_mark_of(self._asked) or self._first, _mark_of(query))
        self._is_varied = self._asked != b""
        self._asked, self._asked_at = asked, time.monotonic()
        return False

    def _is_once_more(self, mark: bytes) -> bool:
        if not mark or mark.isdigit() or (_FRACTION.fullmatch(mark) and self._stands_still()):
            return False
        return self._is_varied or mark != self._first

    def _stands_still(self) -> bool:
        """Whether the clock has not gone on since the last poll.

        Nobody can tell that from a poll that comes again at once, so it is believed where nothing would be lost by it:
        while the client has not said anything yet but who it is. From then on it is believed of a clock that did so
        before, unless two polls have shown that it takes small steps.
        """
        is_late = time.monotonic() - self._asked_at > CLOCK_STANDS_SECONDS
        if is_late or self._clock is _Clock.FINE or (self._has_spoken and self._clock is not _Clock.COARSE):
            return False
        self._clock = _Clock.COARSE
        return True

    def _look_at_clock(self, before: bytes, mark: bytes) -> None:
        if _FRACTION.fullmatch(before) and _FRACTION.fullmatch(mark):
            if 0.0 < float(mark) - float(before) < LEAST_STEP_SECONDS:
                self._clock = _Clock.FINE


def _mark_of(query: bytes) -> bytes:
    """The `t` of a query; empty without one."""
    _, _, rest = (b"&" + query).partition(b"&t=")
    return _short(rest.partition(b"&")[0])


def _short(text: bytes) -> bytes:
    return text if len(text) <= LONGEST else sha256(text).digest()
