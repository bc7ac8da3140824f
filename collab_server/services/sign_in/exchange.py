"""What the authority says about tokens and sessions of its own, asked no more often than needed.

The same token goes there at most once in 60 s, 5 s when it was refused; everybody who shows it meanwhile waits for one
call. Whom it had confirmed is still known while it is silent, until their session runs out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from cachetools import LRUCache, TTLCache

from collab_server.domain.addresses import network_of
from collab_server.domain.ends import mark_of
from collab_server.domain.flights import Flights
from collab_server.domain.sign_ins import Begun
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import NOBODY, Busy, Origin, SignedIn, SignsIn, Silent
from collab_server.services.sign_in.lifetimes import Lifetimes
from collab_server.services.sign_in.proofs import Kind, Proof, digest_of, is_token, not_accepted

FRESH_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
PATIENCE_SECONDS = 0.25  # what somebody who is known waits for a silent authority
MOST_PROOFS = 20_000


class Failures(Protocol):
    """What each address may do wrong only so often."""

    def wait_seconds(self, address: str) -> float:
        """After how many seconds this address may do it again; 0 if it may now."""

    def spend(self, address: str) -> None:
        """Note that it was done once."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the authority, with the cookies that came along (`cookie` is the value of `JSESSIONID`)."""

    kind: Kind
    text: str = field(repr=False)
    cookie: str | None = field(default=None, repr=False)
    cookie_header: str = field(default="", repr=False)
    address: str | None = None

    @property
    def digest(self) -> bytes:
        """By what it is remembered. Token and JSESSIONID prove somebody, whatever else comes with them: balancers renew
        their cookies all the time.
        """
        return digest_of(self.kind, self.text, self.cookie)


class Exchange:
    """See the module. `failures` counts tokens that were not accepted, per address: from one that has shown too many,
    tokens that are not known are asked about by and by.
    """

    def __init__(
        self, sessions: SignsIn, lifetimes: Lifetimes, failures: Failures | None, authority_name: str
    ) -> None:
        self._sessions = sessions
        self._lifetimes = lifetimes
        self._failures = failures
        self._authority_name = authority_name
        self._flights = Flights()
        self._proofs: LRUCache[bytes, Proof] = LRUCache(MOST_PROOFS)
        self._fresh: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, FRESH_SECONDS)
        self._refused: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, REFUSAL_SECONDS)

    def knows(self, token: Token) -> bool:
        """Whether it has proved somebody lately."""
        return token.digest in self._proofs

    def prove_at_once(self, token: Token) -> Proof | None:
        """Whose token it is, where the authority said so at most 60 s ago; None where it has to be asked.

        Raises `Unauthenticated` for what it has just refused.
        """
        known, is_fresh, _ = self._look_for(token)
        return known if is_fresh else None

    async def prove(self, token: Token) -> Proof:
        """Whose token it is: what the authority says now, or said at most 60 s ago."""
        known, is_fresh, attempt = self._look_for(token)
        if known is not None and is_fresh:
            return known
        is_hopeless = known is not None and self._sessions.is_silent
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_hopeless else None):
                return await self._flights.join(attempt, partial(self._ask, token, attempt))
        except (Silent, Busy, TimeoutError) as error:
            if known is None and isinstance(error, Busy):
                raise
            if known is None or self._sessions.is_ended(known.session):
                raise self._silence() from None
            now = self._lifetimes.now()
            known = known.as_last_used(self._sessions, now)
            if known.runs_out_at <= now:
                raise self._silence() from None
            return known

    def _look_for(self, token: Token) -> tuple[Proof | None, bool, bytes]:
        """What is known of a token, whether that is fresh, and by what an attempt with just what was shown is known: a
        refusal, or a call in flight. Raises `Unauthenticated` for what was just refused, or can be no token."""
        if not is_token(token.text):
            raise not_accepted(self._authority_name)
        self._lifetimes.refuse_ended_token(token.kind, token.text)
        digest = token.digest
        more = self._sessions.cookies_that_count(token.cookie_header) if token.cookie_header else ()
        attempt = digest_of(token.kind, token.text, token.cookie, *more) if more else digest
        if attempt in self._refused:
            raise not_accepted(self._authority_name)
        known = self._proofs.get(digest)
        if known is None or self._sessions.is_ended(known.session) or self._lifetimes.is_outdated(known):
            return None, False, attempt
        return known, digest in self._fresh, attempt

    async def _ask(self, token: Token, attempt: bytes) -> Proof:
        origin = self._origin(token.address)
        as_of = self._lifetimes.ends.latest  # before it is asked: what is ended meanwhile counts
        is_identity = token.kind == "identity"
        try:
            if is_identity:
                signed_in = await self._sessions.sign_in_with_identity_token(token.text, origin=origin)
            else:
                signed_in = await self._sessions.sign_in_with_auth_token(
                    token.text, token.cookie, token.cookie_header, origin=origin
                )
        except Unauthenticated:
            if self._failures is not None and token.address is not None:
                self._failures.spend(token.address)
            self._refused[attempt] = True
            self._proofs.pop(token.digest, None)
            raise
        mark = mark_of("identity token", token.text) if is_identity else b""
        proof = self._proof(signed_in, Begun(as_of=as_of, token_mark=mark))
        self._proofs[token.digest] = proof
        self._fresh[token.digest] = True
        return proof

    async def confirm(self, proof: Proof) -> Proof:
        """What the authority says now of a session, asked once for all who want to know."""
        session = proof.session
        confirmed = await self._flights.join(session, partial(self._sessions.confirm, session))
        if confirmed.user.id != proof.user.id:
            raise not_accepted(self._authority_name)
        return self._proof(confirmed, proof.begun)

    def _proof(self, signed_in: SignedIn, begun: Begun) -> Proof:
        return Proof(
            signed_in.user, signed_in.session, signed_in.timeout_seconds, self._lifetimes.now(), begun
        )

    def _silence(self) -> Unavailable:
        return Unavailable(f"{self._authority_name} does not answer")

    def _origin(self, address: str | None) -> Origin:
        if address is None:
            return NOBODY
        is_distrusted = self._failures is not None and self._failures.wait_seconds(address) > 0
        return Origin(network_of(address), is_distrusted)
