"""What is over: ended before its time, or as old as it may get. Asks nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from collab_server.domain.ends import mark_of, marks_of
from collab_server.domain.people import AuthoritySession, Identity, User
from collab_server.domain.sign_ins import Begun
from collab_server.errors import Unauthenticated
from collab_server.services.sign_in.proofs import Kind, Proof, is_token


class SignInOver(Unauthenticated):
    """What was shown did open, and does so no more: to end it once more changes nothing.

    `whose` tells those apart who show such.
    """

    def __init__(self, message: str, *, whose: str) -> None:
        super().__init__(message)
        self.whose = whose


class KnownEnds(Protocol):
    """What was ended before its time, as far as this node knows."""

    latest: int
    """When the latest of it was ended; times are microseconds of the database's clock."""

    def now(self) -> datetime:
        """What time it is for all nodes."""

    def ended_at(self, mark: bytes) -> int:
        """When what bears the mark was ended; 0 if it was not."""


class _NoEnds:
    """Of an authenticator by itself: nothing was ended, and its clock is the only one."""

    latest = 0

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.now = now

    def ended_at(self, mark: bytes) -> int:
        return 0


class Lifetimes:
    """Judges sign-ins by `ends` and by how long one may last at most."""

    def __init__(
        self,
        ends: KnownEnds | None,
        *,
        authority_name: str,
        session_hours: float,
        now: Callable[[], datetime],
    ) -> None:
        """`ends` None: nothing was ended. `now` is this node's clock; `ends` has one that holds for all nodes."""
        self._authority_name = authority_name
        self.ends: KnownEnds = _NoEnds(now) if ends is None else ends
        self.now = now
        self._longest = timedelta(hours=session_hours)

    def left(self, begun: Begun, as_of: datetime | None = None) -> timedelta:
        """How long the sign-in may last at most, from now on or from a time that all nodes agree on."""
        return begun.at + self._longest - (as_of or self.ends.now())

    def seconds_left(self, who: Identity) -> float:
        """How long the sign-in of a connection may last at most."""
        return self.left(who.begun).total_seconds()

    def expires_at(self, proof: Proof, as_of: datetime | None = None) -> datetime:
        """When the session runs out unused, or its sign-in is over. `as_of`: see `left`."""
        if not proof.begun.id:
            return proof.runs_out_at
        return min(proof.runs_out_at, self.now() + self.left(proof.begun, as_of))

    def refuse_over(self, proof: Proof, as_of: datetime | None = None) -> None:
        """Raises `SignInOver` for what was ended, or has lasted too long. `as_of`: see `left`."""
        if self.was_ended(proof.user, proof.session, proof.begun):
            raise SignInOver("you have signed out: sign in again", whose=proof.user.id)
        if proof.begun.id and self.left(proof.begun, as_of) <= timedelta(0):
            raise SignInOver("this sign-in has lasted as long as it may: sign in again", whose=proof.user.id)

    def was_ended(self, user: User, session: AuthoritySession, begun: Begun) -> bool:
        if not self.ends.latest:
            return False
        if begun.id and self.ends.ended_at(mark_of("person", user.id)) > begun.as_of:
            return True
        own = None if session.is_delegated else session.auth_token
        return any(self.ends.ended_at(mark) for mark in marks_of(begun, own))

    def is_outdated(self, known: Proof) -> bool:
        """Whether all that the person had begun was ended since the authority said who it is."""
        if not self.ends.latest:
            return False
        return self.ends.ended_at(mark_of("person", known.user.id)) > known.begun.as_of

    def refuse_ended_token(self, kind: Kind, token: str) -> None:
        if not self.ends.latest or not is_token(token):
            return
        mark = mark_of("identity token" if kind == "identity" else "auth token", token)
        if self.ends.ended_at(mark):
            words = f"you have signed out with this token: get another one from {self._authority_name}"
            raise SignInOver(words, whose=mark.hex())

    def session_over(self, proof: Proof) -> SignInOver:
        """What to raise where the session at the authority is over."""
        return SignInOver(f"your {self._authority_name} session is over: sign in again", whose=proof.user.id)
