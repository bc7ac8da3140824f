"""The sessions that this node has met, and those that it knows to be over.

Token and cookie together are the session: a token that came with another's cookie says nothing about it. Those in use
are kept whatever comes; of the others the latest. Only what was a session is remembered as ended, for guesses would
fill the memory. That Library has ended one is told to the other nodes by a digest of it, from which nobody learns it;
what they tell is remembered also where the session is not known here yet.

Belongs to one event loop; nothing runs here, and nothing is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from cachetools import LRUCache, TTLCache

from collab_server.authority.library.cookies import Cookies
from collab_server.domain.cookies import Cookie
from collab_server.domain.people import AuthoritySession
from collab_server.errors import Unauthenticated
from collab_server.ports import MOST_SESSION_SECONDS, Ended, SessionUse

__all__ = ["Known", "KnownSessions", "tell_ended"]

log = logging.getLogger(__name__)

MOST_SESSIONS = 50_000


@dataclass(slots=True)
class Known:
    """A session that this node has met. `confirmed_at` is monotonic: its last use that Library accepted."""

    session: AuthoritySession
    timeout_seconds: float
    confirmed_at: float
    digest: bytes
    is_sealed: bool = False
    told_at: float = float("-inf")
    """The use that the other workers of the node were told of last, and with which cookies."""
    told_cookies: list[Cookie] = field(default_factory=list)
    uses: set[SessionUse] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None

    @property
    def runs_out_at(self) -> float:
        return self.confirmed_at + self.timeout_seconds


@dataclass(frozen=True, slots=True)
class _End:
    """Why a session is over, and when this was known here."""

    why: Ended
    at: float


class KnownSessions:
    """See the module. `told(digest)` is called for every session that is known here and that Library has ended."""

    def __init__(
        self, cookies: Cookies, *, told: Callable[[bytes], None], clock: Callable[[], float]
    ) -> None:
        self.clock = clock
        self.in_use: dict[AuthoritySession, Known] = {}
        self._cookies = cookies
        self._told = told
        self._used: list[Callable[[Known], None]] = []
        self._recent: LRUCache[AuthoritySession, Known] = LRUCache(MOST_SESSIONS)
        self._ended: TTLCache[AuthoritySession, _End] = TTLCache(MOST_SESSIONS, MOST_SESSION_SECONDS, clock)
        self._in_use_by_digest: dict[bytes, AuthoritySession] = {}
        self._recent_by_digest: LRUCache[bytes, AuthoritySession] = LRUCache(MOST_SESSIONS)
        self._ended_elsewhere: TTLCache[bytes, float] = TTLCache(MOST_SESSIONS, MOST_SESSION_SECONDS, clock)

    def mark_sealed(self, session: AuthoritySession) -> None:
        """Others may be using it: it is not ours alone to log out."""
        known = self.find(session)
        if known is not None:
            known.is_sealed = True

    def on_use(self, callback: Callable[[Known], None]) -> None:
        """Let `callback(known)` know whenever Library has accepted a session here."""
        self._used.append(callback)

    def find(self, session: AuthoritySession) -> Known | None:
        return self.in_use.get(session) or self._recent.get(session)

    def meet(self, session: AuthoritySession, timeout_seconds: float, age_seconds: float) -> Known:
        """Know a session that was not known."""
        timeout_seconds = min(timeout_seconds, MOST_SESSION_SECONDS)
        known = Known(session, timeout_seconds, self.clock() - age_seconds, _digest(session))
        self._recent[session] = known
        self._recent_by_digest[known.digest] = session
        return known

    def confirm(self, session: AuthoritySession, timeout_seconds: float) -> None:
        """Library has just accepted it."""
        known = self.find(session)
        if known is None:
            self._revive(session, self.clock())
            known = self.meet(session, timeout_seconds, 0.0)
        else:
            known.timeout_seconds = min(timeout_seconds, MOST_SESSION_SECONDS)
        self._note_use(known)

    def used(self, session: AuthoritySession) -> None:
        """Library has answered a question that was asked with it, or was told that it is used."""
        known = self.find(session)
        if known is not None:
            self._note_use(known)

    def _note_use(self, known: Known) -> None:
        known.confirmed_at = self.clock()
        for callback in self._used:
            callback(known)

    def hear_used(self, digest: bytes, at: float) -> AuthoritySession | None:
        """Another worker of the node has used the session with this digest, at this time of the same clock.

        The session, if it is known here and was not used later.
        """
        session = self._in_use_by_digest.get(digest) or self._recent_by_digest.get(digest)
        known = None if session is None else self.find(session)
        if known is None or at <= known.confirmed_at:
            return None
        known.confirmed_at = min(at, self.clock())
        return session

    def adopt(
        self, session: AuthoritySession, timeout_seconds: float, age_seconds: float, cookies: Iterable[Cookie]
    ) -> None:
        """Take on a session that a node, any one, had confirmed `age_seconds` ago, with the cookies it kept."""
        self._cookies.adopt(session, cookies)
        if self.find(session) is None and session not in self._ended:
            known = self.meet(session, timeout_seconds, max(age_seconds, 0.0))
            known.is_sealed = True
            if known.digest in self._ended_elsewhere:
                self._forget(known, "session_ended")

    def hear_confirmed(
        self,
        session: AuthoritySession,
        timeout_seconds: float,
        confirmed_at: float,
        cookies: Iterable[Cookie],
    ) -> None:
        """The same of another worker of the node, at this time of the same clock: it is over no more if it was so
        before, for it is the worker where somebody signs in anew that Library tells so."""
        if self.find(session) is None:
            self._revive(session, confirmed_at)
        self.adopt(session, timeout_seconds, self.clock() - confirmed_at, cookies)

    def _revive(self, session: AuthoritySession, confirmed_at: float) -> None:
        """Library has accepted it, whatever it said before."""
        end = self._ended.get(session)
        if end is not None and end.at <= confirmed_at:
            self._ended.pop(session, None)
        if self._ended_elsewhere:
            digest = _digest(session)
            if self._ended_elsewhere.get(digest, math.inf) <= confirmed_at:
                self._ended_elsewhere.pop(digest, None)

    def take_up(self, known: Known) -> None:
        """It is in use."""
        self.in_use[known.session] = self._recent[known.session] = known
        self._in_use_by_digest[known.digest] = known.session
        self._cookies.pin(known.session)

    def leave(self, known: Known) -> None:
        """It is in use no more."""
        del self.in_use[known.session]
        self._in_use_by_digest.pop(known.digest, None)
        self._cookies.unpin(known.session)

    def why_ended(self, session: AuthoritySession) -> Ended | None:
        """Why it is known to be over; None where it is not."""
        if session not in self._ended:  # nearly always; to get what is not there costs five times as much
            return None
        end = self._ended.get(session)
        return None if end is None else end.why

    def refuse_ended(self, session: AuthoritySession) -> None:
        """Raises `Unauthenticated` for one that is known to be over."""
        if session in self._ended:
            raise session_over()

    def end(self, session: AuthoritySession, why: Ended) -> None:
        """It is over: all who use it are told, and where Library has ended it, so are the other nodes."""
        known = self.find(session)
        if known is None:
            return
        self._forget(known, why)
        if why == "session_ended":
            self._told(known.digest)

    def hear_ended(self, digest: bytes) -> None:
        """Another node was told by Library that the session with this digest is over."""
        session = self._in_use_by_digest.get(digest) or self._recent_by_digest.get(digest)
        known = None if session is None else self.find(session)
        if known is None:
            self._ended_elsewhere[digest] = self.clock()
        else:
            self._forget(known, "session_ended")

    def _forget(self, known: Known, why: Ended) -> None:
        session = known.session
        self.in_use.pop(session, None)
        self._in_use_by_digest.pop(known.digest, None)
        self._recent_by_digest.pop(known.digest, None)
        self._recent.pop(session, None)
        self._cookies.forget(session)
        self._ended[session] = _End(why, self.clock())
        if known.timer is not None:
            known.timer.cancel()
        uses, known.uses = known.uses, set()
        for use in uses:
            tell_ended(use, why)


def _digest(session: AuthoritySession) -> bytes:
    """By what nodes tell each other of a session; nobody learns it from that."""
    parts = [session.auth_token, session.cookie, session.is_delegated]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def tell_ended(use: SessionUse, why: Ended) -> None:
    """Tell one who uses a session that it is over. Never raises."""
    try:
        use.on_ended(why)
    except Exception:
        log.exception("what had to follow the end of a session failed")


def session_over() -> Unauthenticated:
    return Unauthenticated("your Library session is over: sign in again")
