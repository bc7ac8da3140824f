"""Token → Identity, for both doors.

Whoever comes shows one of three tokens: an identity token of Library (exchanged for a session of our own), an auth
token of Library (used as it is, with the cookie that came along), or a resume token of ours. A resume token seals
user and Library session with a key that is kept in Postgres: any node accepts it without asking Library for as long
as the session can live by itself, so that clients can come back after a short-lived identity token has run out, and a
storm of them does not reach Library. What is sealed proves who it was, never what they may do: whether somebody is
an administrator is computed afresh.

Promises: the same token goes to Library at most once in 60 s (5 s when it was refused), and a token that cannot be
one never does; whom Library had confirmed is still known while Library is silent, until their session runs out;
nobody new is let in meanwhile. Nothing runs in the background but what `library` runs. Nothing here logs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from cachetools import LRUCache, TTLCache
from cryptography.fernet import Fernet, InvalidToken

from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.errors import ClientError, Paused, Unauthenticated, Unavailable
from collab_server.library.answers import Flights
from collab_server.library.client import Silent, is_sendable_token
from collab_server.library.sessions import Attachment, Ended, Library, SignedIn

__all__ = ["Attachment", "Authenticator", "Credentials", "Ended", "SignIn"]

FRESH_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
PATIENCE_SECONDS = 0.25  # what somebody who is known waits for a silent Library
MOST_PROOFS = 20_000
MOST_RESUME_CHARACTERS = 32_768
SEAL_VERSION = 1
FERNET_BEGINS = "gAAAAA"  # its version and the leading zeros of its time stamp, until the year 2106


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody showed. The first of resume, identity and auth token that is there counts.

    `bearer` may be any of the three. `cookie` is the value of `JSESSIONID`; it belongs to an auth token.
    """

    identity_token: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    resume_token: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignIn:
    """Who it is, and what they can come back with until `expires_at`."""

    identity: Identity
    resume_token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class _Proof:
    """A session, whose it is, and when Library last said so."""

    user: User
    session: LibrarySession
    timeout_seconds: float
    said_at: datetime

    @property
    def runs_out_at(self) -> datetime:
        return self.said_at + timedelta(seconds=self.timeout_seconds)


_Kind = Literal["identity", "auth"]


class Authenticator:
    """See the module. Raises `Unauthenticated`, `Unavailable` (Library is silent), `Paused` (no key yet)."""

    def __init__(
        self,
        library: Library,
        *,
        administrators: Collection[str] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`administrators` are user ids, in either case."""
        self._library = library
        self._administrators = frozenset(user_id.upper() for user_id in administrators)
        self._now = now
        self._fernet: Fernet | None = None
        self._flights = Flights()
        self._proofs: LRUCache[bytes, _Proof] = LRUCache(MOST_PROOFS)
        self._fresh: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, FRESH_SECONDS)
        self._refused: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, REFUSAL_SECONDS)

    def use_key(self, key: bytes) -> None:
        """Seal with this key of 32 bytes from now on. Tokens sealed with another one are not accepted any more."""
        if len(key) != 32:
            raise ValueError("the key must have 32 bytes")
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    async def sign_in(self, credentials: Credentials) -> SignIn:
        """For a socket: who it is, with a token to come back with. `Paused` before there is a key."""
        self._sealer()
        return self._sealed(await self._prove(credentials))

    async def identify(self, credentials: Credentials) -> Identity:
        """For a request: who it is."""
        return self._identity(await self._prove(credentials))

    def renew(self, identity: Identity) -> SignIn | None:
        """A younger resume token for somebody whose session has been kept alive meanwhile; asks nothing.

        None when the session is over or this node does not know it.
        """
        session = identity.session
        timeout_seconds = self._library.timeout_seconds(session)
        if timeout_seconds is None or self._library.is_ended(session):
            return None
        proof = _Proof(identity.user, session, timeout_seconds, datetime.min.replace(tzinfo=UTC))
        return self._sealed(self._as_last_used(proof))

    def attach(self, identity: Identity, on_ended: Callable[[Ended], None]) -> Attachment:
        """Keep the identity's Library session alive until `detach()`, or until it ends: then `on_ended(reason)`.

        `on_ended` is called at most once, from the event loop, never from within this call.
        """
        remaining = (identity.expires_at - self._now()).total_seconds()
        return self._library.attach(identity.session, remaining, on_ended)

    # --- proving

    async def _prove(self, shown: Credentials) -> _Proof:
        if shown.resume_token is not None:
            return await self._resume(shown.resume_token)
        if shown.identity_token is not None:
            return await self._ask("identity", shown.identity_token, None)
        if shown.auth_token is not None:
            return await self._ask("auth", shown.auth_token, shown.cookie)
        if shown.bearer is None:
            raise Unauthenticated("a token is needed")
        if shown.bearer.startswith(FERNET_BEGINS):
            return await self._resume(shown.bearer)
        return await self._ask_either(shown.bearer, shown.cookie)

    async def _ask_either(self, token: str, cookie: str | None) -> _Proof:
        """A bearer token: as an identity token, then as an auth token; first as what it is known to be."""
        if _digest("auth", token, cookie) in self._proofs:
            return await self._ask("auth", token, cookie)
        try:
            return await self._ask("identity", token, None)
        except Unauthenticated:
            return await self._ask("auth", token, cookie)

    async def _ask(self, kind: _Kind, token: str, cookie: str | None) -> _Proof:
        """What Library says about one of its own tokens, now or at most 60 s ago."""
        if not is_sendable_token(token):
            raise _not_accepted()
        digest = _digest(kind, token, cookie)
        if digest in self._refused:
            raise _not_accepted()
        known = self._proofs.get(digest)
        if known is not None and self._library.is_ended(known.session):
            known = None
        if known is not None and digest in self._fresh:
            return known
        is_hopeless = known is not None and self._library.is_silent
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_hopeless else None):
                return await self._flights.join(digest, partial(self._exchange, kind, token, cookie, digest))
        except (Silent, TimeoutError):
            if known is None or self._library.is_ended(known.session):
                raise Unavailable from None
            known = self._as_last_used(known)
            if known.runs_out_at <= self._now():
                raise Unavailable from None
            return known

    async def _exchange(self, kind: _Kind, token: str, cookie: str | None, digest: bytes) -> _Proof:
        try:
            if kind == "identity":
                signed_in = await self._library.sign_in_with_identity_token(token)
            else:
                signed_in = await self._library.sign_in_with_auth_token(token, cookie)
        except Unauthenticated:
            self._refused[digest] = True
            self._proofs.pop(digest, None)
            raise
        proof = self._proof(signed_in)
        self._proofs[digest] = proof
        self._fresh[digest] = True
        return proof

    def _proof(self, signed_in: SignedIn) -> _Proof:
        return _Proof(signed_in.user, signed_in.session, signed_in.timeout_seconds, self._now())

    def _as_last_used(self, proof: _Proof) -> _Proof:
        """The proof as of the session's last use that this node knows of."""
        age_seconds = self._library.age_seconds(proof.session)
        if age_seconds is None:
            return proof
        return replace(proof, said_at=max(proof.said_at, self._now() - timedelta(seconds=age_seconds)))

    def _identity(self, proof: _Proof) -> Identity:
        is_administrator = proof.user.id in self._administrators
        return Identity(proof.user, proof.session, is_administrator, proof.runs_out_at)

    # --- resume tokens

    def _sealer(self) -> Fernet:
        if self._fernet is None:
            raise Paused("the database, which keeps the key of resume tokens, has not been reached yet")
        return self._fernet

    def _sealed(self, proof: _Proof) -> SignIn:
        token = self._sealer().encrypt(_to_bytes(proof)).decode("ascii")
        self._library.mark_sealed(proof.session)
        return SignIn(self._identity(proof), token, proof.runs_out_at)

    async def _resume(self, token: str) -> _Proof:
        """What is sealed in a token of ours; Library is asked only when the session may have run out meanwhile."""
        if len(token) > MOST_RESUME_CHARACTERS:
            raise Unauthenticated("this resume token is not one of ours")
        try:
            proof = _from_bytes(self._sealer().decrypt(token))
        except (InvalidToken, ValueError, TypeError, KeyError):
            raise Unauthenticated("this resume token is not one of ours") from None
        session = proof.session
        if self._library.is_ended(session):
            raise Unauthenticated("your Library session is over: sign in again")
        sealed_age = (self._now() - proof.said_at).total_seconds()
        self._library.adopt(session, proof.timeout_seconds, sealed_age)
        proof = self._as_last_used(proof)
        # Another node's clock may be ahead of ours: an age below zero is still an age.
        if abs((self._now() - proof.said_at).total_seconds()) <= proof.timeout_seconds:
            return proof
        confirmed = await self._flights.join(session, partial(self._library.confirm, session))
        if confirmed.user.id != proof.user.id:
            raise _not_accepted()
        return self._proof(confirmed)


def _digest(kind: _Kind, token: str, cookie: str | None) -> bytes:
    """What a token is remembered by: not the token. The parts are kept apart by their lengths."""
    parts = [kind, token, "" if cookie is None else "=" + cookie]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _to_bytes(proof: _Proof) -> bytes:
    session, user = proof.session, proof.user
    sealed = {
        "v": SEAL_VERSION,
        "user": [user.id, user.name, user.initials],
        "session": [session.auth_token, session.cookie, session.is_delegated],
        "issuedAt": proof.said_at.timestamp(),
        "timeout": proof.timeout_seconds,
    }
    return json.dumps(sealed, separators=(",", ":"), ensure_ascii=False).encode()


def _from_bytes(data: bytes) -> _Proof:
    """Raises `ValueError`, `TypeError` or `KeyError` for what `_to_bytes` has not made."""
    sealed: dict[str, Any] = json.loads(data)
    if sealed["v"] != SEAL_VERSION:
        raise ValueError("sealed by another version")
    return _Proof(
        User(*sealed["user"]),
        LibrarySession(*sealed["session"]),
        float(sealed["timeout"]),
        datetime.fromtimestamp(sealed["issuedAt"], UTC),
    )


def _not_accepted() -> ClientError:
    return Unauthenticated("Library does not accept this token")
