"""What the doors ask of signing in: begin a sign-in, know a request, go on with one, say why one is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collab_server.domain.chance import chance
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import Identity
from collab_server.domain.sign_ins import ID_BYTES, Begun
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import FRESH_SECONDS, Authority, Ended, SessionUse
from collab_server.services.sign_in.credentials import Credentials
from collab_server.services.sign_in.exchange import PATIENCE_SECONDS, Exchange, Failures
from collab_server.services.sign_in.kinds import ByAuthToken, ByBearer, ByIdentityToken, ByResumeToken, Way
from collab_server.services.sign_in.lifetimes import KnownEnds, Lifetimes
from collab_server.services.sign_in.proofs import Proof
from collab_server.services.sign_in.resume_tokens import ResumeTokens, begun_before

ASKED_SECONDS = FRESH_SECONDS
ARRIVALS_ASKED_AT_ONCE = 8
ARRIVAL_SECONDS = 1.0
"""So many of those who come back to stay, after more than `ASKED_SECONDS`, are asked about at a time, and wait so long
for the answer. The others of a crowd come in: their sessions are looked after from then on."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who it is, and what they can come back with until `expires_at`."""

    identity: Identity
    resume_token: str = field(repr=False)
    expires_at: datetime


class Authenticator:
    """See the package. Raises `Unauthenticated`, `Unavailable` (the authority is silent), `Paused` (no key yet)."""

    def __init__(
        self,
        authority: Authority,
        *,
        administrators: Collection[str] = (),
        failures: Failures | None = None,
        ends: KnownEnds | None = None,
        session_hours: float = 12.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[int], bytes] = chance,
    ) -> None:
        """`administrators` are user ids. `failures`: see `Exchange`. A sign-in lasts `session_hours` at
        most. `chance` makes random bytes."""
        self._sessions = sessions = authority.sessions
        self._administrators = frozenset(administrators)
        self._chance = chance
        self._lifetimes = Lifetimes(
            ends, authority_name=authority.dependency, session_hours=session_hours, now=now
        )
        self._tokens = ResumeTokens()
        self._exchange = exchange = Exchange(sessions, self._lifetimes, failures, authority.dependency)
        by_resume_token = ByResumeToken(self._tokens, sessions, self._lifetimes, exchange)
        self._ways: tuple[Way, ...] = (
            by_resume_token,
            ByIdentityToken(exchange),
            ByAuthToken(exchange),
            ByBearer(by_resume_token, exchange, self._lifetimes),
        )
        self._arrivals = 0
        self._asked_seconds = ASKED_SECONDS * authority.gate.fresh_seconds / FRESH_SECONDS

    def use_keys(self, keys: KeyRing) -> None:
        """Seal with the ring's key from now on. Tokens that none of its keys opens are not accepted any more."""
        self._tokens.use_keys(keys)

    def use_administrators(self, administrators: Collection[str]) -> None:
        """These user ids may administer, from the next sign-in or request on."""
        self._administrators = frozenset(administrators)

    async def sign_in(self, credentials: Credentials) -> SignIn:
        """For a socket: who it is, with a token to come back with. `Paused` before there is a key."""
        self._tokens.require_key()
        proof = await self._prove(credentials)
        if self._may_be_asked_about(proof):
            self._arrivals += 1
            try:
                proof = await self._asked_lately(proof, ARRIVAL_SECONDS)
            finally:
                self._arrivals -= 1
        return self._begun(proof)

    def sign_in_at_once(self, credentials: Credentials) -> SignIn | None:
        """The same where nobody has to be asked; None where somebody has. `Paused` before there is a key."""
        self._tokens.require_key()
        proof = self._way_of(credentials).prove_at_once(credentials)
        if proof is None or (self._may_be_asked_about(proof) and not self._was_asked_lately(proof)):
            return None
        return self._begun(proof)

    def _may_be_asked_about(self, proof: Proof) -> bool:
        """Whether somebody who comes back waits for what the authority says now."""
        is_back = bool(proof.begun.id)
        return is_back and self._arrivals < ARRIVALS_ASKED_AT_ONCE and not self._sessions.is_silent

    def _begun(self, proof: Proof) -> SignIn:
        """The sign-in that was proved, or one that begins now."""
        now = self._lifetimes.ends.now()
        if not proof.begun.id:
            before = proof.begun
            begun = Begun(self._chance(ID_BYTES), now, before.as_of, before.token_mark)
            proof = Proof(proof.user, proof.session, proof.timeout_seconds, proof.said_at, begun)
        self._lifetimes.refuse_over(proof, now)
        return self._sealed(proof, now)

    async def identify(self, credentials: Credentials, *, is_leaving: bool = False) -> Identity:
        """For a request: who it is. Whoever `is_leaving` can do so while the authority is silent.

        Raises `SignInOver` for what has opened once.
        """
        proof = await self._prove(credentials, is_leaving=is_leaving)
        if not is_leaving:
            proof = await self._asked_lately(proof)
        self._lifetimes.refuse_over(proof)
        return self._identity(proof)

    def renew(self, identity: Identity) -> SignIn | None:
        """A younger resume token for somebody whose session has been kept alive meanwhile; asks nothing.

        None when the session is over or this node does not know it.
        """
        session = identity.session
        timeout_seconds = self._sessions.timeout_seconds(session)
        if timeout_seconds is None or self._sessions.is_ended(session):
            return None
        begun = identity.begun if identity.begun.id else begun_before(session, self._lifetimes.ends.now())
        proof = Proof(identity.user, session, timeout_seconds, datetime.min.replace(tzinfo=UTC), begun)
        return self._sealed(proof.as_last_used(self._sessions, self._lifetimes.now()))

    def why_over(self, who: Identity) -> Ended | None:
        """Why the sign-in of a connection is over, None while it is not; asks nothing."""
        if self._lifetimes.was_ended(who.user, who.session, who.begun):
            return "session_ended"
        return "session_expired" if self.seconds_left(who) <= 0 else None

    def seconds_left(self, who: Identity) -> float:
        """How long the sign-in may last at most."""
        return self._lifetimes.seconds_left(who)

    def attach(self, identity: Identity, on_ended: Callable[[Ended], None]) -> SessionUse:
        """Keep the identity's session alive until `detach()`, or until it ends: then `on_ended(reason)`.

        `on_ended` is called at most once, from the event loop, never from within this call.
        """
        remaining = (identity.expires_at - self._lifetimes.now()).total_seconds()
        return self._sessions.attach(identity.session, remaining, on_ended)

    async def _prove(self, shown: Credentials, *, is_leaving: bool = False) -> Proof:
        return await self._way_of(shown).prove(shown, is_leaving=is_leaving)

    def _way_of(self, shown: Credentials) -> Way:
        """The first whose kind was shown."""
        for way in self._ways:
            if way.is_shown(shown):
                return way
        raise Unauthenticated("a token is needed")

    async def _asked_lately(self, proof: Proof, patience_seconds: float | None = None) -> Proof:
        """The proof of a resume token, confirmed where the authority was asked too long ago.

        Connections have their sessions looked after; requests and arrivals come by themselves. While the authority is
        silent, the session goes on until it runs out.
        """
        if self._was_asked_lately(proof):
            return proof
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if self._sessions.is_silent else patience_seconds):
                return await self._exchange.confirm(proof)
        except (Unavailable, TimeoutError):
            if self._sessions.is_ended(proof.session):
                raise self._lifetimes.session_over(proof) from None
            return proof

    def _was_asked_lately(self, proof: Proof) -> bool:
        age_seconds = self._sessions.age_seconds(proof.session)
        return not proof.begun.id or (age_seconds is not None and age_seconds <= self._asked_seconds)

    def _sealed(self, proof: Proof, as_of: datetime | None = None) -> SignIn:
        token = self._tokens.seal(proof, self._sessions.cookies(proof.session))
        self._sessions.mark_sealed(proof.session)
        identity = self._identity(proof, as_of)
        return SignIn(identity, token, identity.expires_at)

    def _identity(self, proof: Proof, as_of: datetime | None = None) -> Identity:
        return Identity(
            proof.user,
            proof.session,
            proof.user.id in self._administrators,
            self._lifetimes.expires_at(proof, as_of),
            begun=proof.begun,
        )
