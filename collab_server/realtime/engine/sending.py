"""The way out of all sessions.

What it promises
    Nothing here waits, or raises for a client that is gone. What is sent to one client arrives in the order of the
    calls.
How
    Everything comes as a ready websocket frame, made once, and is appended to the `out` list of each session it is
    for. At the end of the loop's turn each session that got something hands its list to its carrier, in one write: no
    task, queue or timer per connection or per delivery, and no rule of order to keep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from collab_server.realtime.engine.session import Session


class Sending:
    """See the module. `sessions`, by their ids, are those that there are at any time."""

    __slots__ = ("_is_flush_due", "_logger", "_sessions", "_touched")

    def __init__(self, sessions: Mapping[str, Session], logger: logging.Logger) -> None:
        self._sessions = sessions
        self._logger = logger
        self._touched: list[Session] = []  # got something in this loop turn
        self._is_flush_due = False

    def send(self, session: Session, ready: bytes) -> None:
        """Send one ready frame."""
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
        """Send the same ready frames to many: this is all that a delivery costs before the one write."""
        sessions, touched = self._sessions, self._touched
        for eio_sid in eio_sids:
            session = sessions.get(eio_sid)
            if session is not None:
                if not session.out:
                    touched.append(session)
                session.out += ready
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """The end of the loop's turn: one write for each session that got something."""
        self._is_flush_due = False
        touched, self._touched = self._touched, []
        for session in touched:
            ready, session.out = session.out, []
            try:
                has_room = not ready or session.carrier.write(ready)
            except Exception:  # the others get theirs
                self._logger.exception("%s: cannot be written to", session.sid)
                has_room = False
            if not has_room:
                session.owner.overflow(session)
