"""What was left to be said to a client that polls when its session ended: its next poll gets that.

A command that ends its connection is answered before. On a websocket the answer goes out in front of the close frame;
where nobody is polling just then, it would be lost with the session, and the client, which has heard nothing, would
come back and send the command again.
"""

from __future__ import annotations

from dataclasses import dataclass

from collab_server.realtime.engine.answers import TEXT, Answers
from collab_server.realtime.engine.bonds import Bonds
from collab_server.realtime.engine.lanes import Lane
from collab_server.realtime.engine.polling import PACKETS_PER_POLL, payload_of
from collab_server.realtime.engine.requests import query_of
from collab_server.realtime.engine.session import Exchange, Session

KEPT_SECONDS = 3.0
MOST_SESSIONS = 256
MOST_BYTES = 16_384
"""Of one session. Whoever has more waiting is behind anyway, and hears nothing."""


@dataclass(frozen=True, slots=True)
class _Left:
    session: Session
    frames: list[bytes]


class LastWords:
    """See the module. `bonds` say who is the client of a session."""

    __slots__ = ("_answers", "_bonds", "_kept", "_lane")

    def __init__(self, bonds: Bonds, answers: Answers) -> None:
        self._bonds = bonds
        self._answers = answers
        self._kept: dict[str, _Left] = {}
        self._lane: Lane[str] = Lane(KEPT_SECONDS, lambda sid, _: self._forget(sid))

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, session: Session, frames: list[bytes]) -> None:
        """These were left. Nothing is kept for strangers."""
        if not frames or not session.is_trusted or sum(map(len, frames)) > MOST_BYTES:
            return
        if len(self._kept) >= MOST_SESSIONS:
            oldest = next(iter(self._kept))
            self._lane.stop(oldest)
            self._forget(oldest)
        self._kept[session.sid] = _Left(session, frames)
        self._lane.start(session.sid)

    def tell(self, exchange: Exchange) -> bool:
        """Answer a poll of a session that has ended; False where there is nothing left for it, or it is none."""
        scope = exchange.scope
        left = self._kept.get(query_of(scope).get("sid", "")) if self._kept else None
        if left is None or scope["method"] != "GET" or not self._bonds.is_kept(left.session, scope):
            return False
        now, later = left.frames[:PACKETS_PER_POLL], left.frames[PACKETS_PER_POLL:]
        if later:
            self._kept[left.session.sid] = _Left(left.session, later)
        else:
            self._lane.stop(left.session.sid)
            self._forget(left.session.sid)
        self._answers.respond(exchange, 200, TEXT, payload_of(*now))
        return True

    def _forget(self, sid: str) -> None:
        del self._kept[sid]

    def close(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._lane.close()
