"""Token → Identity, for both doors.

Whoever comes shows one of three tokens: an identity token of Library (exchanged for a session of our own), an auth
token of Library (used as it is, with Library's cookies that came along), or a resume token of ours. A resume token
seals user and Library session, with its cookies, with a key that is kept in Postgres: any node accepts it without
asking Library for as long as the session can live by itself, so that clients can come back after a short-lived
identity token has run out, and a storm of them does not reach Library. What is sealed proves who it was, never what
they may do: whether somebody is an administrator is computed afresh.

Whoever comes to stay begins a *sign-in*. Its id and its beginning are sealed too, and both go on in each younger token.
It is over when it was ended (`KnownEnds`), when its time is over, when its Library session is.

Promises: what is over opens at neither door; Library is asked, at the latest 60 s after it last was, about a session
that requests are made with. The same token goes to Library at most once in 60 s (5 s when it was refused), and a token
that cannot be one never does; whom Library had confirmed is still known while Library is silent, until their session
runs out; nobody new is let in meanwhile. Nothing runs in the background but what `library` runs. Nothing here logs.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from cachetools import LRUCache, TTLCache
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from collab_server.authority.library.answers import Flights
from collab_server.authority.library.client import MOST_SESSION_SECONDS, Silent, is_sendable_token
from collab_server.authority.library.cookies import SESSION_COOKIE, Cookie, find_cookie, without_cookie
from collab_server.authority.library.lines import Busy
from collab_server.authority.library.sessions import NOBODY, Attachment, Ended, Library, Origin, SignedIn
from collab_server.domain.addresses import network_of
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.domain.sign_ins import ID_BYTES, Begun, mark_of, marks_of
from collab_server.errors import ClientError, Paused, Unauthenticated, Unavailable

__all__ = ["Attachment", "Authenticator", "Credentials", "Ended", "KnownEnds", "SignIn", "SignInOver"]

FRESH_SECONDS = 60.0
REFUSAL_SECONDS = 5.0
ASKED_SECONDS = 60.0
ARRIVALS_ASKED_AT_ONCE = 8
ARRIVAL_SECONDS = 1.0
"""So many of those who come back to stay, after more than `ASKED_SECONDS`, are asked about at a time, and wait so long
for the answer. The others of a crowd come in: their sessions are looked after from then on."""
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
    begun: Begun

    @property
    def runs_out_at(self) -> datetime:
        return self.said_at + timedelta(seconds=self.timeout_seconds)


_Kind = Literal["identity", "auth"]


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
        ends: KnownEnds | None = None,
        session_hours: float = 12.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        chance: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """`administrators` are user ids, in either case. `failures` counts tokens that were not accepted, per address:
        from one that has shown too many, tokens that are not known are asked about by and by. A sign-in lasts
        `session_hours` at most. `chance` makes random bytes."""
        self._library = library
        self._administrators = frozenset(user_id.upper() for user_id in administrators)
        self._failures = failures
        self._now = now
        self._ends: KnownEnds = _NoEnds(now) if ends is None else ends
        self._lifetime = timedelta(hours=session_hours)
        self._chance = chance
        self._fernet: MultiFernet | None = None
        self._flights = Flights()
        self._arrivals = 0
        self._proofs: LRUCache[bytes, _Proof] = LRUCache(MOST_PROOFS)
        self._fresh: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, FRESH_SECONDS)
        self._refused: TTLCache[bytes, bool] = TTLCache(MOST_PROOFS, REFUSAL_SECONDS)

    def use_keys(self, keys: KeyRing) -> None:
        """Seal with the ring's key from now on. Tokens that none of its keys opens are not accepted any more."""
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys.in_order])

    async def sign_in(self, credentials: Credentials) -> SignIn:
        """For a socket: who it is, with a token to come back with. `Paused` before there is a key."""
        self._sealer()
        proof = await self._prove(credentials)
        if not proof.begun.id:
            begun = replace(proof.begun, id=self._chance(ID_BYTES), at=self._ends.now())
            proof = replace(proof, begun=begun)
        elif self._arrivals < ARRIVALS_ASKED_AT_ONCE and not self._library.is_silent:
            self._arrivals += 1
            try:
                proof = await self._asked_lately(proof, ARRIVAL_SECONDS)
            finally:
                self._arrivals -= 1
        self._refuse_over(proof)
        return self._sealed(proof)

    async def identify(self, credentials: Credentials, *, is_leaving: bool = False) -> Identity:
        """For a request: who it is. Whoever `is_leaving` can do so while Library is silent.

        Raises `SignInOver` for what has opened once.
        """
        proof = await self._prove(credentials, is_leaving=is_leaving)
        if not is_leaving:
            proof = await self._asked_lately(proof)
        self._refuse_over(proof)
        return self._identity(proof)

    def renew(self, identity: Identity) -> SignIn | None:
        """A younger resume token for somebody whose session has been kept alive meanwhile; asks nothing.

        None when the session is over or this node does not know it.
        """
        session = identity.session
        timeout_seconds = self._library.timeout_seconds(session)
        if timeout_seconds is None or self._library.is_ended(session):
            return None
        begun = identity.begun if identity.begun.id else _begun_before(session, self._ends.now())
        proof = _Proof(identity.user, session, timeout_seconds, datetime.min.replace(tzinfo=UTC), begun)
        return self._sealed(self._as_last_used(proof))

    def why_over(self, who: Identity) -> Ended | None:
        """Why the sign-in of a connection is over, None while it is not; asks nothing."""
        if self._was_ended(who.user, who.session, who.begun):
            return "session_ended"
        return "session_expired" if self.seconds_left(who) <= 0 else None

    def seconds_left(self, who: Identity) -> float:
        """How long the sign-in may last at most."""
        return (who.begun.at + self._lifetime - self._ends.now()).total_seconds()

    def attach(self, identity: Identity, on_ended: Callable[[Ended], None]) -> Attachment:
        """Keep the identity's Library session alive until `detach()`, or until it ends: then `on_ended(reason)`.

        `on_ended` is called at most once, from the event loop, never from within this call.
        """
        remaining = (identity.expires_at - self._now()).total_seconds()
        return self._library.attach(identity.session, remaining, on_ended)

    # --- proving

    async def _prove(self, shown: Credentials, *, is_leaving: bool = False) -> _Proof:
        if shown.resume_token is not None:
            return await self._resume(shown.resume_token, is_leaving=is_leaving)
        if shown.identity_token is not None:
            return await self._ask("identity", shown.identity_token, address=shown.address)
        if shown.auth_token is not None:
            return await self._ask_with_cookies(shown.auth_token, shown)
        if shown.bearer is None:
            raise Unauthenticated("a token is needed")
        if shown.bearer.startswith(FERNET_BEGINS):
            return await self._resume(shown.bearer, is_leaving=is_leaving)
        self._refuse_ended_token("identity", shown.bearer)
        self._refuse_ended_token("auth", shown.bearer)
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
        self._refuse_ended_token(kind, token)
        # Token and JSESSIONID prove somebody, whatever else comes with them: balancers renew their cookies all the
        # time. A refusal, and a call in flight, count for just what was shown.
        digest = _digest(kind, token, cookie)
        attempt = _digest(kind, token, cookie, *self._library.library_cookies(cookie_header))
        if attempt in self._refused:
            raise _not_accepted()
        known = self._proofs.get(digest)
        if known is not None and (self._library.is_ended(known.session) or self._is_outdated(known)):
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
        as_of = self._ends.latest  # before it is asked: what is ended meanwhile counts
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
        mark = mark_of("identity token", token) if kind == "identity" else b""
        proof = self._proof(signed_in, Begun(as_of=as_of, token_mark=mark))
        self._proofs[digest] = proof
        self._fresh[digest] = True
        return proof

    def _origin(self, address: str | None) -> Origin:
        if address is None:
            return NOBODY
        is_distrusted = self._failures is not None and self._failures.wait_seconds(address) > 0
        return Origin(network_of(address), is_distrusted)

    def _proof(self, signed_in: SignedIn, begun: Begun) -> _Proof:
        return _Proof(signed_in.user, signed_in.session, signed_in.timeout_seconds, self._now(), begun)

    def _as_last_used(self, proof: _Proof) -> _Proof:
        """The proof as of the session's last use that this node knows of."""
        age_seconds = self._library.age_seconds(proof.session)
        if age_seconds is None:
            return proof
        return replace(proof, said_at=max(proof.said_at, self._now() - timedelta(seconds=age_seconds)))

    def _identity(self, proof: _Proof) -> Identity:
        is_administrator = proof.user.id in self._administrators
        return Identity(
            proof.user, proof.session, is_administrator, self._expires_at(proof), begun=proof.begun
        )

    def _expires_at(self, proof: _Proof) -> datetime:
        if not proof.begun.id:
            return proof.runs_out_at
        return min(proof.runs_out_at, self._now() + (proof.begun.at + self._lifetime - self._ends.now()))

    # --- what is over

    def _refuse_over(self, proof: _Proof) -> None:
        """Raises `SignInOver` for what was ended, or has lasted too long."""
        if self._was_ended(proof.user, proof.session, proof.begun):
            raise SignInOver("you have signed out: sign in again", whose=proof.user.id)
        if proof.begun.id and proof.begun.at + self._lifetime <= self._ends.now():
            raise SignInOver("this sign-in has lasted as long as it may: sign in again", whose=proof.user.id)

    def _was_ended(self, user: User, session: LibrarySession, begun: Begun) -> bool:
        if not self._ends.latest:
            return False
        if begun.id and self._ends.ended_at(mark_of("person", user.id)) > begun.as_of:
            return True
        own = None if session.is_delegated else session.auth_token
        return any(self._ends.ended_at(mark) for mark in marks_of(begun, own))

    def _is_outdated(self, known: _Proof) -> bool:
        """Whether all that the person had begun was ended since Library said who it is."""
        return self._ends.ended_at(mark_of("person", known.user.id)) > known.begun.as_of

    def _refuse_ended_token(self, kind: _Kind, token: str) -> None:
        if not self._ends.latest or not is_sendable_token(token):
            return
        mark = mark_of("identity token" if kind == "identity" else "auth token", token)
        if self._ends.ended_at(mark):
            words = "you have signed out with this token: get another one from Library"
            raise SignInOver(words, whose=mark.hex())

    # --- resume tokens

    def _sealer(self) -> MultiFernet:
        if self._fernet is None:
            raise Paused("the database, which keeps the key of resume tokens, has not been reached yet")
        return self._fernet

    def _sealed(self, proof: _Proof) -> SignIn:
        sealed = _to_bytes(proof, self._library.cookies(proof.session))
        token = self._sealer().encrypt(sealed).decode("ascii")
        self._library.mark_sealed(proof.session)
        identity = self._identity(proof)
        return SignIn(identity, token, identity.expires_at)

    async def _resume(self, token: str, *, is_leaving: bool) -> _Proof:
        """What is sealed in a token of ours; Library is asked only when the session may have run out meanwhile."""
        if len(token) > MOST_RESUME_CHARACTERS or not _is_as_written(token):
            raise Unauthenticated("this resume token is not one of ours")
        try:
            proof, cookies = _from_bytes(self._sealer().decrypt(token), self._ends.now())
        except (InvalidToken, ValueError, TypeError, KeyError, OverflowError, OSError):
            raise Unauthenticated("this resume token is not one of ours") from None
        self._refuse_over(proof)
        session = proof.session
        sealed_age = (self._now() - proof.said_at).total_seconds()
        self._library.adopt(session, proof.timeout_seconds, sealed_age, cookies)
        if self._library.is_ended(session):
            raise _session_over(proof)
        proof = self._as_last_used(proof)
        # Another node's clock may be ahead of ours: an age below zero is still an age.
        if is_leaving or abs((self._now() - proof.said_at).total_seconds()) <= proof.timeout_seconds:
            return proof
        return await self._confirmed(proof)

    async def _confirmed(self, proof: _Proof) -> _Proof:
        """What Library says now of the session, asked once for all who want to know."""
        session = proof.session
        confirmed = await self._flights.join(session, partial(self._library.confirm, session))
        if confirmed.user.id != proof.user.id:
            raise _not_accepted()
        return self._proof(confirmed, proof.begun)

    async def _asked_lately(self, proof: _Proof, patience_seconds: float | None = None) -> _Proof:
        """The proof of a resume token, confirmed where Library was asked too long ago.

        Connections have their sessions looked after; requests and arrivals come by themselves. While Library is silent,
        the session goes on until it runs out.
        """
        age_seconds = self._library.age_seconds(proof.session)
        if not proof.begun.id or (age_seconds is not None and age_seconds <= ASKED_SECONDS):
            return proof
        try:
            async with asyncio.timeout(PATIENCE_SECONDS if self._library.is_silent else patience_seconds):
                return await self._confirmed(proof)
        except (Unavailable, TimeoutError):
            if self._library.is_ended(proof.session):
                raise _session_over(proof) from None
            return proof


def _digest(kind: _Kind, token: str, cookie: str | None, *more: str) -> bytes:
    """What a token is remembered by: not the token. The parts are kept apart by their lengths."""
    parts = [kind, token, "" if cookie is None else "=" + cookie, *more]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _to_bytes(proof: _Proof, cookies: Sequence[Cookie]) -> bytes:
    """What is sealed. The version before reads it too, and drops `begun` and `cookies`, of which it knows nothing."""
    session, user, begun = proof.session, proof.user, proof.begun
    sealed: dict[str, Any] = {
        "v": SEAL_VERSION,
        "user": [user.id, user.name, user.initials],
        "session": [session.auth_token, session.cookie, session.is_delegated],
        "issuedAt": proof.said_at.timestamp(),
        "timeout": proof.timeout_seconds,
        "begun": [begun.id.hex(), begun.at.timestamp(), begun.as_of, begun.token_mark.hex()],
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


def _begun_before(session: LibrarySession, at: datetime) -> Begun:
    """The sign-in of a token of the version before, which knows of none: all of one session are one."""
    parts = [session.auth_token, session.cookie, session.is_delegated]
    return Begun(hashlib.sha256(_dumped(parts)).digest()[:ID_BYTES], at)


def _from_bytes(data: bytes, now: datetime) -> tuple[_Proof, list[Cookie]]:
    """Raises `ValueError`, `TypeError`, `KeyError`, `OverflowError` or `OSError` for what `_to_bytes` has not made."""
    sealed: dict[str, Any] = json.loads(data)
    if sealed["v"] != SEAL_VERSION:
        raise ValueError("sealed by another version")
    session = LibrarySession(*sealed["session"])
    said_at = datetime.fromtimestamp(sealed["issuedAt"], UTC)
    if "begun" in sealed:
        id, at, as_of, token_mark, *_ = sealed["begun"]
        begun = Begun(
            bytes.fromhex(id), datetime.fromtimestamp(at, UTC), int(as_of), bytes.fromhex(token_mark)
        )
    else:
        begun = _begun_before(session, min(said_at, now))
    timeout_seconds = min(float(sealed["timeout"]), MOST_SESSION_SECONDS)
    proof = _Proof(User(*sealed["user"]), session, timeout_seconds, said_at, begun)
    if not (begun.id and proof.runs_out_at):
        raise ValueError("no sign-in")
    cookies = [
        Cookie(
            str(name), str(value), None if path is None else str(path), None if end is None else float(end)
        )
        for name, value, path, end, *_ in sealed.get("cookies", ())
    ]
    return proof, cookies


def _session_over(proof: _Proof) -> SignInOver:
    return SignInOver("your Library session is over: sign in again", whose=proof.user.id)


def _is_as_written(token: str) -> bool:
    """Whether this is how we write a token. Fernet reads over what is no base64, and over all that follows its end:
    one token would have many spellings, and whatever is kept about one of them would not hold for the others.
    """
    try:
        return base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)).decode() == token
    except ValueError:
        return False


def _not_accepted() -> ClientError:
    return Unauthenticated("Library does not accept this token")
