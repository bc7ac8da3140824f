"""What has to happen to sessions after a while: the heartbeat, and how long anybody may take.

One lane for each duration (`lanes.py`), so one timer serves all sessions. Whose time is up is told to the session's
owner, which decides.
"""

from __future__ import annotations

from collab_server.realtime.engine import frames
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.last_words import LastWords
from collab_server.realtime.engine.polling import Polling
from collab_server.realtime.engine.sending import Sending
from collab_server.realtime.engine.session import CLOSE, NOOP, REASON, Carrier, Session

UPGRADE_SECONDS = 10.0  # from a websocket's handshake to the upgrade by it
STALLED_SECONDS = 30.0  # for a poll to come for one answer that is more than may wait
FAREWELL_SECONDS = 3.0  # for a client to answer a websocket's close frame

_PING = frames.frame(frames.TEXT, b"2")


class Deadlines:
    """See the module. `ping_interval` and `ping_timeout` are in seconds; pings go out by `sending`. `last_words` are of
    sessions that have ended."""

    def __init__(
        self, sending: Sending, last_words: LastWords, ping_interval: float, ping_timeout: float
    ) -> None:
        self._sending = sending
        self.last_words = last_words
        self._pings: Lane[Session] = Lane(ping_interval, self._ping)
        self._pongs: Lane[Session] = Lane(ping_timeout, self._miss_pong)
        self._upgrades: Lane[Session] = Lane(UPGRADE_SECONDS, self._miss_upgrade)
        self.stalls: Lane[Session] = Lane(STALLED_SECONDS, self._miss_poll)
        self.farewells: Lane[Carrier] = Lane(FAREWELL_SECONDS, self._miss_farewell)

    def begin_heartbeat(self, session: Session) -> None:
        """Ping this client from now on."""
        self._pings.start(session)

    def take_pong(self, session: Session) -> None:
        """The client has answered."""
        if self._pongs.stop(session):
            self._pings.start(session)

    def end_heartbeat(self, session: Session) -> None:
        """Ping no more."""
        self._pings.stop(session)
        self._pongs.stop(session)

    def is_overdue(self, session: Session) -> bool:
        """Whether a session's time is up, though its turn may not have come."""
        return self._pongs.is_overdue(session)

    def judge(self, session: Session) -> None:
        """End a session whose time is up, though its turn may not have come."""
        if self._pongs.is_overdue(session):
            self._miss_pong(session, 0.0)

    def await_upgrade(self, session: Session) -> None:
        """A websocket may take so long to become the session's carrier."""
        self._upgrades.start(session)

    def end_upgrade(self, session: Session) -> None:
        """It has become the carrier, or never will."""
        self._upgrades.stop(session)

    def close(self) -> None:
        """Forget everybody."""
        self._pings.close()
        self._pongs.close()
        self._upgrades.close()
        self.stalls.close()
        self.farewells.close()
        self.last_words.close()

    def _ping(self, session: Session, due: float) -> None:
        self._sending.send(session, _PING)
        self._pongs.start(session, since=due)

    def _miss_pong(self, session: Session, due: float) -> None:
        # Its pong may lie behind messages that we do not take; those of a client that sends too many end it.
        if session.inbox.is_paused and not session.allowance.seconds_to_wait():
            self._pongs.start(session)
        else:
            session.owner.end(session, REASON.PING_TIMEOUT, farewell=NOOP)

    def _miss_upgrade(self, session: Session, due: float) -> None:
        if session.upgrading is not None:
            session.upgrading.close(CLOSE)
            session.owner.end_upgrade(session)

    def _miss_poll(self, session: Session, due: float) -> None:
        if isinstance(session.carrier, Polling) and session.carrier.holds_too_much:
            session.owner.overflow(session)

    def _miss_farewell(self, carrier: Carrier, due: float) -> None:
        carrier.abort()
