"""One class for each kind of credential. They are tried in order; the first whose kind was shown decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from collab_server.domain.cookies import SESSION_COOKIE, without_cookie
from collab_server.errors import Unauthenticated
from collab_server.ports import SignsIn
from collab_server.services.sign_in.credentials import Credentials
from collab_server.services.sign_in.exchange import Exchange, Token
from collab_server.services.sign_in.lifetimes import Lifetimes
from collab_server.services.sign_in.proofs import Proof
from collab_server.services.sign_in.resume_tokens import FERNET_BEGINS, ResumeTokens


class Way(Protocol):
    """How one kind of credential proves somebody."""

    def is_shown(self, shown: Credentials) -> bool:
        """Whether there is one of this kind."""

    async def prove(self, shown: Credentials, *, is_leaving: bool) -> Proof:
        """Whose it is, of what was shown.

        Whoever `is_leaving` needs no session that lives. Raises `Unauthenticated`, `Unavailable` or `Paused`.
        """

    def prove_at_once(self, shown: Credentials) -> Proof | None:
        """The same where nobody has to be asked; None where somebody has. Raises `Unauthenticated` or `Paused`."""


class ByResumeToken:
    """What is sealed in a token of ours; the authority is asked only when the session may have run out meanwhile."""

    def __init__(
        self, tokens: ResumeTokens, sessions: SignsIn, lifetimes: Lifetimes, exchange: Exchange
    ) -> None:
        self._tokens = tokens
        self._sessions = sessions
        self._lifetimes = lifetimes
        self._exchange = exchange

    def is_shown(self, shown: Credentials) -> bool:
        """See `Way`."""
        return shown.resume_token is not None

    async def prove(self, shown: Credentials, *, is_leaving: bool) -> Proof:
        """See `Way`."""
        proof = self._opened(shown.resume_token)
        return proof if is_leaving or self._lives(proof) else await self._exchange.confirm(proof)

    def prove_at_once(self, shown: Credentials) -> Proof | None:
        """See `Way`."""
        proof = self._opened(shown.resume_token)
        return proof if self._lives(proof) else None

    def _opened(self, token: str | None) -> Proof:
        assert token is not None
        lifetimes, sessions = self._lifetimes, self._sessions
        proof, cookies = self._tokens.open(token, lifetimes.ends.now())
        lifetimes.refuse_over(proof)
        sealed_age = (lifetimes.now() - proof.said_at).total_seconds()
        sessions.adopt(proof.session, proof.timeout_seconds, sealed_age, cookies)
        if sessions.is_ended(proof.session):
            raise lifetimes.session_over(proof)
        return proof.as_last_used(sessions, lifetimes.now())

    def _lives(self, proof: Proof) -> bool:
        """Whether the session has not run out by itself, as far as is known here."""
        # Another node's clock may be ahead of ours: an age below zero is still an age.
        return abs((self._lifetimes.now() - proof.said_at).total_seconds()) <= proof.timeout_seconds


class ByIdentityToken:
    """A short-lived token that the authority makes for others to act with."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def is_shown(self, shown: Credentials) -> bool:
        """See `Way`."""
        return shown.identity_token is not None

    async def prove(self, shown: Credentials, *, is_leaving: bool) -> Proof:
        """See `Way`."""
        return await self._exchange.prove(identity_token_of(shown, shown.identity_token))

    def prove_at_once(self, shown: Credentials) -> Proof | None:
        """See `Way`."""
        return self._exchange.prove_at_once(identity_token_of(shown, shown.identity_token))


class ByAuthToken:
    """The token of somebody's own session, with the cookies of their browser."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def is_shown(self, shown: Credentials) -> bool:
        """See `Way`."""
        return shown.auth_token is not None

    async def prove(self, shown: Credentials, *, is_leaving: bool) -> Proof:
        """See `Way`."""
        token = auth_token_of(shown, shown.auth_token)
        try:
            return await self._exchange.prove(token)
        except Unauthenticated:
            if token.cookie is None or not shown.are_cookies_old:
                raise
            others = without_cookie(shown.cookie_header, SESSION_COOKIE)
            return await self._exchange.prove(replace(token, cookie=None, cookie_header=others))

    def prove_at_once(self, shown: Credentials) -> Proof | None:
        """See `Way`."""
        if shown.are_cookies_old:
            return None  # it may have to be tried twice
        return self._exchange.prove_at_once(auth_token_of(shown, shown.auth_token))


class ByBearer:
    """Any of the three: ours by how it begins; else first as what it is known to be, an identity token before an auth
    token where nothing is known.
    """

    def __init__(self, by_resume_token: ByResumeToken, exchange: Exchange, lifetimes: Lifetimes) -> None:
        self._by_resume_token = by_resume_token
        self._exchange = exchange
        self._lifetimes = lifetimes

    def is_shown(self, shown: Credentials) -> bool:
        """See `Way`."""
        return shown.bearer is not None

    async def prove(self, shown: Credentials, *, is_leaving: bool) -> Proof:
        """See `Way`."""
        text = shown.bearer
        assert text is not None
        if text.startswith(FERNET_BEGINS):
            return await self._by_resume_token.prove(Credentials(resume_token=text), is_leaving=is_leaving)
        self._lifetimes.refuse_ended_token("identity", text)
        self._lifetimes.refuse_ended_token("auth", text)
        as_auth = auth_token_of(shown, text)
        if self._exchange.knows(as_auth):
            return await self._exchange.prove(as_auth)
        try:
            return await self._exchange.prove(identity_token_of(shown, text))
        except Unauthenticated:
            return await self._exchange.prove(as_auth)

    def prove_at_once(self, shown: Credentials) -> Proof | None:
        """See `Way`: requests show these, and they wait as they are."""
        return None


def identity_token_of(shown: Credentials, text: str | None) -> Token:
    """`text` as an identity token."""
    assert text is not None
    return Token("identity", text, address=shown.address)


def auth_token_of(shown: Credentials, text: str | None) -> Token:
    """`text` as an auth token, with what else was shown."""
    assert text is not None
    return Token("auth", text, shown.session_cookie, shown.cookie_header, shown.address)
