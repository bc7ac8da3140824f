"""The way out of all sessions.

What it promises
    Nothing here waits, or raises for a client that is gone. What is sent to one client arrives in the order of the
    calls.
How
    Everything comes as a ready websocket frame, made once, and is appended to the `out` list of each session it is
    for. At the end of the loop's turn each session that got something hands its list to its carrier, in one write: no
    task, queue or timer per connection or per delivery.

    What is for a roster is kept once, as a round. A session has what it gets in this turn in one place: in the one
    round that it takes part in, or in its `out`, to which the round's frames move as soon as there is anything else for
    it, whatever comes later of that round behind them. So there is still no rule of order to keep, and one write for
    each. A round is written right to the descriptors of its sessions: of those whose transports have nothing waiting,
    which they say by another `generation`. Whatever one does not take, its transport gets.
"""

from __future__ import annotations

import asyncio
import logging
import os
from array import array
from collections.abc import Iterable, Mapping
from itertools import repeat

from collab_server.realtime.engine.roster import Roster, Round, Ways
from collab_server.realtime.engine.session import Session

FEW = 6
"""On a roster with fewer each is told by itself."""


class Sending:
    """See the module. `sessions`, by their ids, are those that there are at any time."""

    __slots__ = ("_generation", "_is_flush_due", "_logger", "_rounds", "_sessions", "_touched", "_waiting")

    def __init__(self, sessions: Mapping[str, Session], logger: logging.Logger) -> None:
        self._sessions = sessions
        self._logger = logger
        self._touched: list[Session] = []  # got something in this loop turn
        self._rounds: list[Round] = []  # begun in this loop turn …
        self._waiting: dict[str, Round] = {}  # … and who takes part in which
        self._generation = 0
        self._is_flush_due = False

    def roster(self) -> Roster:
        """A new one, with nobody on it."""
        return Roster(self)

    def reroute(self) -> None:
        """Some session has another carrier, or its carrier another descriptor."""
        self._generation += 1

    def send(self, session: Session, ready: bytes) -> None:
        """Send one ready frame."""
        if self._waiting:
            self.settle(session)
        if not session.out:
            self._touched.append(session)
        session.out.append(ready)
        if not self._is_flush_due:
            self._flush_soon()

    def send_soon(self, session: Session) -> None:
        """Send at the end of the turn what was put into `out` before others could send to the session."""
        self._touched.append(session)
        self._flush_soon()

    def send_to(self, eio_sids: Iterable[str], ready: list[bytes]) -> None:
        """Send the same ready frames to many."""
        if isinstance(eio_sids, Roster) and (eio_sids.round is not None or len(eio_sids.ids) >= FEW):
            self._send_round(eio_sids, ready)
            return
        sessions, touched, waiting = self._sessions, self._touched, self._waiting
        for eio_sid in eio_sids:
            session = sessions.get(eio_sid)
            if session is not None:
                if waiting:
                    self.settle(session)
                if not session.out:
                    touched.append(session)
                session.out += ready
        self._flush_soon()

    def settle(self, session: Session) -> None:
        """Have in `out` what the session gets in this turn, for it is about to get something else, or is taken out."""
        round = self._waiting.pop(session.sid, None)
        if round is not None:
            round.apart[session.sid] = session
            self._put_out(session, round.frames)

    def _put_out(self, session: Session, ready: list[bytes]) -> None:
        if not session.out:
            self._touched.append(session)
        session.out += ready

    # --- rounds

    def _send_round(self, roster: Roster, ready: list[bytes]) -> None:
        round = roster.round
        if round is None:
            round = self._begin_round(roster)
        round.frames += ready
        for session in round.apart.values():
            # It may have come to this roster in this turn, and take part in another round.
            self.settle(session)
            self._put_out(session, ready)
        self._flush_soon()

    def _begin_round(self, roster: Roster) -> Round:
        round = roster.round = Round(roster)
        self._rounds.append(round)
        ids, sessions, waiting, apart = roster.ids, self._sessions, self._waiting, round.apart
        if len(self._touched) < len(ids):
            apart.update((session.sid, session) for session in self._touched if session.sid in ids)
        else:
            found = ((eio_sid, sessions.get(eio_sid)) for eio_sid in ids)
            apart.update((eio_sid, session) for eio_sid, session in found if session and session.out)
        for eio_sid in ids.keys() & waiting.keys() if waiting else ():
            if (other := sessions.get(eio_sid)) is not None:
                self.settle(other)
                apart[eio_sid] = other
        waiting.update(dict.fromkeys(ids, round))
        for eio_sid in apart:
            del waiting[eio_sid]
        return round

    def admit(self, round: Round, eio_sid: str) -> None:
        """Somebody has come to a roster: nothing of the round so far is for them."""
        session = self._sessions.get(eio_sid)
        if session is not None:
            self.settle(session)
            round.apart[eio_sid] = session

    def dismiss(self, round: Round, eio_sid: str) -> None:
        """Somebody has left a roster: what the round has so far is for them, and no more."""
        if self._waiting.get(eio_sid) is round:
            session = self._sessions.get(eio_sid)
            if session is not None:
                self.settle(session)
            else:
                del self._waiting[eio_sid]
        round.apart.pop(eio_sid, None)

    # --- the end of the loop's turn

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One write for each session that got something."""
        self._is_flush_due = False
        touched, self._touched = self._touched, []
        rounds, self._rounds, self._waiting = self._rounds, [], {}
        for round in rounds:
            round.roster.round = None
        for session in touched:
            ready, session.out = session.out, []
            if ready:
                self._write(session, ready)
        for round in rounds:
            self._write_round(round)

    def _write(self, session: Session, ready: list[bytes]) -> None:
        try:
            has_room = session.carrier.write(ready)
        except Exception:  # the others get theirs
            self._logger.exception("%s: cannot be written to", session.sid)
            has_room = False
        if not has_room:
            try:
                session.owner.overflow(session)
            except Exception:
                self._logger.exception("%s: cannot be put out", session.sid)

    def _write_round(self, round: Round) -> None:
        ways, apart, sessions = self._ways_to(round.roster), round.apart, self._sessions
        direct, descriptors = ways.direct, ways.descriptors
        if apart:
            direct = [eio_sid for eio_sid in direct if eio_sid not in apart]
            both = zip(ways.direct, descriptors, strict=True)
            descriptors = array("i", [descriptor for eio_sid, descriptor in both if eio_sid not in apart])
        data = round.frames[0] if len(round.frames) == 1 else b"".join(round.frames)
        written = _write_to_all(descriptors, data)
        if written.count(len(data)) != len(written):
            for eio_sid, so_far in zip(direct, written, strict=True):
                if so_far < len(data) and (session := sessions.get(eio_sid)) is not None:
                    self._write(session, [data[so_far:]])
        for eio_sid in ways.others:
            if eio_sid not in apart and (session := sessions.get(eio_sid)) is not None:
                self._write(session, round.frames)

    def _ways_to(self, roster: Roster) -> Ways:
        ways = roster.ways
        if ways is None or ways.generation != self._generation:
            ways = roster.ways = Ways(self._generation, [], array("i"), [])
            for eio_sid in roster.ids:
                descriptor = self._descriptor_of(eio_sid)
                if descriptor < 0:
                    ways.others.append(eio_sid)
                else:
                    ways.direct.append(eio_sid)
                    ways.descriptors.append(descriptor)
        return ways

    def _descriptor_of(self, eio_sid: str) -> int:
        session = self._sessions.get(eio_sid)
        if session is None:
            return -1
        try:
            return session.carrier.descriptor()
        except Exception:  # the others get theirs
            self._logger.exception("%s: has no descriptor", eio_sid)
            return -1


def _write_to_all(descriptors: array[int], data: bytes) -> list[int]:
    """Write the same to all of these; how many bytes each has taken."""
    written: list[int] = []
    left = iter(descriptors)
    while True:
        try:
            written.extend(map(os.write, left, repeat(data)))
        except OSError:  # this one takes nothing now, or never again: its transport will find out
            written.append(0)
        else:
            return written
