"""Token → Identity, for both doors.

Whoever comes shows one of three tokens: an identity token of Library (exchanged for a session of our own), an auth
token of Library (used as it is, with Library's cookies that came along), or a resume token of ours. A resume token
seals user and Library session, with its cookies, with a key that is kept in Postgres: any node accepts it without
asking Library for as long as the session can live by itself, so that clients can come back after a short-lived
identity token has run out, and a storm of them does not reach Library. What is sealed proves who it was, never what
they may do: whether somebody is an administrator is computed afresh.

Promises: the same token goes to Library at most once in 60 s (5 s when it was refused), and a token that cannot be
one never does; whom Library had confirmed is still known while Library is silent, until their session runs out;
nobody new is let in meanwhile. Nothing runs in the background but what `library` runs. Nothing here logs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from cachetools import LRUCache, TTLCache
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from collab_server.domain.addresses import network_of
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.errors import ClientError, Paused, Unauthenticated, Unavailable
from collab_server.library.answers import Flights
from collab_server.library.client import Silent, is_sendable_token
from collab_server.library.cookies import SESSION_COOKIE, Cookie, find_cookie, without_cookie
from collab_server.library.lines import Busy
from collab_server.library.sessions import NOBODY, Attachment, Ended, Library, Origin, SignedIn

__all__ = ["Attachment", "Authenticator", "Credentials", "Ended", "SignIn"]

FRESH_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
PATIENCE_SECONDS = 0.25  # what somebody who is known waits for a silent Library
MOST_PROOFS = 20_000
MOST_RESUME_CHARACTERS = 32_768
MOST_SEALED_BYTES = 6_000
"""Of cookies no more are sealed than leave a resume token below 8 KB, which is what many servers take as a header."""
SEAL_VERSION = 1
FERNET_BEGINS = "gAAAAA"  # its version and the leading zeros of its time stamp, until the year 2106


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody showed. The first of resume, identity and auth token that is there counts.

    `bearer` may be any of the three. `cookie_header` is the Cookie header that came along; what belongs to an auth
    token is taken from it. `cookie` is the value of `JSESSIONID` where that is known otherwise. `are_cookies_old` says
    that they came before the token, as with a socket that is open: `JSESSIONID` may be that of an earlier session, and
    where it is not accepted the auth token is tried without. `address` is where they come from, if that is known.
    """

    identity_token: str | None = field(default=None, repr=False)
    auth_token: str | None = field(default=None, repr=False)
    resume_token: str | None = field(default=None, repr=False)
    bearer: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    cookie_header: str = field(default="", repr=False)
    are_cookies_old: bool = False
    address: str | None = None

    @property
    def session_cookie(self) -> str | None:
        """The value of `JSESSIONID`, if it was shown."""
        return self.cookie if self.cookie is not None else find_cookie(self.cookie_header, SESSION_COOKIE)


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


class Failures(Protocol):
    """What each address may do wrong only so often."""

    def wait_seconds(self, address: str) -> float:
        """After how many seconds this address may do it again; 0 if it may now."""

    def spend(self, address: str) -> None:
        """Note that it was done once."""


class Authenticator:
    """See the module. Raises `Unauthenticated`, `Unavailable` (Library is silent), `Paused` (no key yet)."""

    def __init__(
        self,
        library: Library,
        *,
        administrators: Collection[str] = (),
        failures: Failures | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`administrators` are user ids, in either case. `failures` counts tokens that were not accepted, per address:
        from one that has shown too many, tokens that are not known are asked about by and by."""
        self._library = library
        self._administrators = frozenset(user_id.upper() for user_id in administrators)
        self._failures = failures
        self._now = now
        self._fernet: MultiFernet | None = None
        self._flights = Flights()
        self._proofs: LRUCache[bytes, _Proof] = LRUCache(MOST_PROOFS)
        self._fresh: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, FRESH_SECONDS)
        self._refused: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, REFUSAL_SECONDS)

    def use_keys(self, keys: KeyRing) -> None:
        """Seal with the ring's key from now on. Tokens that none of its keys opens are not accepted any more."""
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys.in_order])

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
            return await self._ask("identity", shown.identity_token, address=shown.address)
        if shown.auth_token is not None:
            return await self._ask_with_cookies(shown.auth_token, shown)
        if shown.bearer is None:
            raise Unauthenticated("a token is needed")
        if shown.bearer.startswith(FERNET_BEGINS):
            return await self._resume(shown.bearer)
        return await self._ask_either(shown.bearer, shown)

    async def _ask_with_cookies(self, token: str, shown: Credentials) -> _Proof:
        cookie = shown.session_cookie
        try:
            return await self._ask("auth", token, cookie, shown.cookie_header, shown.address)
        except Unauthenticated:
            if cookie is None or not shown.are_cookies_old:
                raise
            others = without_cookie(shown.cookie_header, SESSION_COOKIE)
            return await self._ask("auth", token, None, others, shown.address)

    async def _ask_either(self, token: str, shown: Credentials) -> _Proof:
        """A bearer token: as an identity token, then as an auth token; first as what it is known to be."""
        as_auth = partial(self._ask, "auth", token, shown.session_cookie, shown.cookie_header, shown.address)
        if _digest("auth", token, shown.session_cookie) in self._proofs:
            return await as_auth()
        try:
            return await self._ask("identity", token, address=shown.address)
        except Unauthenticated:
            return await as_auth()

    async def _ask(
        self,
        kind: _Kind,
        token: str,
        cookie: str | None = None,
        cookie_header: str = "",
        address: str | None = None,
    ) -> _Proof:
        """What Library says about one of its own tokens, now or at most 60 s ago."""
        if not is_sendable_token(token):
            raise _not_accepted()
        # Token and JSESSIONID prove somebody, whatever else comes with them: balancers renew their cookies all the
        # time. A refusal, and a call in flight, count for just what was shown.
        digest = _digest(kind, token, cookie)
        attempt = _digest(kind, token, cookie, *self._library.library_cookies(cookie_header))
        if attempt in self._refused:
            raise _not_accepted()
        known = self._proofs.get(digest)
        if known is not None and self._library.is_ended(known.session):
            known = None
        if known is not None and digest in self._fresh:
            return known
        is_hopeless = known is not None and self._library.is_silent
        exchange = partial(self._exchange, kind, token, cookie, cookie_header, address, digest, attempt)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if is_hopeless else None):
                return await self._flights.join(attempt, exchange)
        except (Silent, Busy, TimeoutError) as error:
            if known is None and isinstance(error, Busy):
                raise
            if known is None or self._library.is_ended(known.session):
                raise Unavailable from None
            known = self._as_last_used(known)
            if known.runs_out_at <= self._now():
                raise Unavailable from None
            return known

    async def _exchange(
        self,
        kind: _Kind,
        token: str,
        cookie: str | None,
        cookie_header: str,
        address: str | None,
        digest: bytes,
        attempt: bytes,
    ) -> _Proof:
        origin = self._origin(address)
        try:
            if kind == "identity":
                signed_in = await self._library.sign_in_with_identity_token(token, origin=origin)
            else:
                signed_in = await self._library.sign_in_with_auth_token(
                    token, cookie, cookie_header, origin=origin
                )
        except Unauthenticated:
            if self._failures is not None and address is not None:
                self._failures.spend(address)
            self._refused[attempt] = True
            self._proofs.pop(digest, None)
            raise
        proof = self._proof(signed_in)
        self._proofs[digest] = proof
        self._fresh[digest] = True
        return proof

    def _origin(self, address: str | None) -> Origin:
        if address is None:
            return NOBODY
        is_distrusted = self._failures is not None and self._failures.wait_seconds(address) > 0
        return Origin(network_of(address), is_distrusted)

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

    def _sealer(self) -> MultiFernet:
        if self._fernet is None:
            raise Paused("the database, which keeps the key of resume tokens, has not been reached yet")
        return self._fernet

    def _sealed(self, proof: _Proof) -> SignIn:
        sealed = _to_bytes(proof, self._library.cookies(proof.session))
        token = self._sealer().encrypt(sealed).decode("ascii")
        self._library.mark_sealed(proof.session)
        return SignIn(self._identity(proof), token, proof.runs_out_at)

    async def _resume(self, token: str) -> _Proof:
        """What is sealed in a token of ours; Library is asked only when the session may have run out meanwhile."""
        if len(token) > MOST_RESUME_CHARACTERS:
            raise Unauthenticated("this resume token is not one of ours")
        try:
            proof, cookies = _from_bytes(self._sealer().decrypt(token))
        except (InvalidToken, ValueError, TypeError, KeyError):
            raise Unauthenticated("this resume token is not one of ours") from None
        session = proof.session
        if self._library.is_ended(session):
            raise Unauthenticated("your Library session is over: sign in again")
        sealed_age = (self._now() - proof.said_at).total_seconds()
        self._library.adopt(session, proof.timeout_seconds, sealed_age, cookies)
        proof = self._as_last_used(proof)
        # Another node's clock may be ahead of ours: an age below zero is still an age.
        if abs((self._now() - proof.said_at).total_seconds()) <= proof.timeout_seconds:
            return proof
        confirmed = await self._flights.join(session, partial(self._library.confirm, session))
        if confirmed.user.id != proof.user.id:
            raise _not_accepted()
        return self._proof(confirmed)


def _digest(kind: _Kind, token: str, cookie: str | None, *more: str) -> bytes:
    """What a token is remembered by: not the token. The parts are kept apart by their lengths."""
    parts = [kind, token, "" if cookie is None else "=" + cookie, *more]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _to_bytes(proof: _Proof, cookies: Sequence[Cookie]) -> bytes:
    """What is sealed. The version before reads it too, and drops the `cookies`, of which it knows nothing."""
    session, user = proof.session, proof.user
    sealed: dict[str, Any] = {
        "v": SEAL_VERSION,
        "user": [user.id, user.name, user.initials],
        "session": [session.auth_token, session.cookie, session.is_delegated],
        "issuedAt": proof.said_at.timestamp(),
        "timeout": proof.timeout_seconds,
    }
    room = MOST_SEALED_BYTES - len(_dumped(sealed)) - len(',"cookies":[]')
    rows: list[list[Any]] = []
    for cookie in reversed(cookies):  # the youngest first
        row = [cookie.name, cookie.value, cookie.path, cookie.expires_at]
        size = len(_dumped(row)) + 1
        if size <= room:
            room -= size
            rows.insert(0, row)
    return _dumped({**sealed, "cookies": rows} if rows else sealed)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _from_bytes(data: bytes) -> tuple[_Proof, list[Cookie]]:
    """Raises `ValueError`, `TypeError` or `KeyError` for what `_to_bytes` has not made."""
    sealed: dict[str, Any] = json.loads(data)
    if sealed["v"] != SEAL_VERSION:
        raise ValueError("sealed by another version")
    proof = _Proof(
        User(*sealed["user"]),
        LibrarySession(*sealed["session"]),
        float(sealed["timeout"]),
        datetime.fromtimestamp(sealed["issuedAt"], UTC),
    )
    cookies = [
        Cookie(
            str(name), str(value), None if path is None else str(path), None if end is None else float(end)
        )
        for name, value, path, end, *_ in sealed.get("cookies", ())
    ]
    return proof, cookies


def _not_accepted() -> ClientError:
    return Unauthenticated("Library does not accept this token")
