"""Resume tokens: user, session and sign-in, sealed with a key that is kept in Postgres. Asks nobody.

Any node opens them, one of the version before too; what it adds, that one drops.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from collab_server.domain.chance import of_base64url
from collab_server.domain.cookies import Cookie
from collab_server.domain.jsontext import dumps
from collab_server.domain.keys import KeyRing
from collab_server.domain.people import AuthoritySession, User
from collab_server.domain.sign_ins import ID_BYTES, Begun
from collab_server.errors import Paused, Unauthenticated
from collab_server.ports import MOST_SESSION_SECONDS
from collab_server.services.sign_in.proofs import Proof
from collab_server.services.sign_in.sealer import Opener, Sealer

MOST_RESUME_CHARACTERS = 32_768
MOST_SEALED_BYTES = 6_000
"""Of cookies no more are sealed than leave a resume token below 8 KB, which is what many servers take as a header."""
SEAL_VERSION = 1
FERNET_BEGINS = "gAAAAA"  # its version and the leading zeros of its time stamp, until the year 2106


class ResumeTokens:
    """See the module. Raises `Paused` before there is a key."""

    def __init__(self) -> None:
        self._sealer: Sealer | None = None
        self._openers: tuple[Opener, ...] = ()

    def use_keys(self, keys: KeyRing) -> None:
        """Seal with the ring's key from now on. Tokens that none of its keys opens are not accepted any more."""
        self._openers = tuple(map(Opener, keys.in_order))
        self._sealer = Sealer(keys.sealing)

    def require_key(self) -> Sealer:
        """Raises `Paused` before there is one."""
        if self._sealer is None:
            raise Paused("the database, which keeps the key of resume tokens, has not been reached yet")
        return self._sealer

    def seal(self, proof: Proof, cookies: Sequence[Cookie]) -> str:
        """A token that proves it, with as many of the session's cookies as fit, the youngest first."""
        return self.require_key().seal(_to_bytes(proof, cookies))

    def open(self, token: str, now: datetime) -> tuple[Proof, list[Cookie]]:
        """What was sealed. Raises `Unauthenticated` for what is no token of ours. `now` is the time for all nodes."""
        sealed = of_base64url(token, is_filled=True) if len(token) <= MOST_RESUME_CHARACTERS else None
        if sealed is None:
            raise Unauthenticated("this resume token is not one of ours")
        self.require_key()
        try:
            return _from_bytes(self._opened(sealed), now)
        except (ValueError, TypeError, KeyError, OverflowError, OSError):
            raise Unauthenticated("this resume token is not one of ours") from None

    def _opened(self, sealed: bytes) -> bytes:
        """Raises `ValueError` for what none of the keys has sealed."""
        for opener in self._openers[:-1]:
            with contextlib.suppress(ValueError):
                return opener.open(sealed)
        return self._openers[-1].open(sealed)


def _to_bytes(proof: Proof, cookies: Sequence[Cookie]) -> bytes:
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
    if not cookies:
        return _dumped(sealed)
    room = MOST_SEALED_BYTES - len(_dumped(sealed)) - (len(_dumped({"cookies": []})) - 1)
    rows: list[list[Any]] = []
    for cookie in reversed(cookies):  # the youngest first
        row = [cookie.name, cookie.value, cookie.path, cookie.expires_at]
        size = len(_dumped(row)) + 1
        if size <= room:
            room -= size
            rows.insert(0, row)
    return _dumped({**sealed, "cookies": rows} if rows else sealed)


def _dumped(value: Any) -> bytes:
    return dumps(value).encode()


def begun_before(session: AuthoritySession, at: datetime) -> Begun:
    """The sign-in of a token of the version before, which knows of none: all of one session are one."""
    parts = [session.auth_token, session.cookie, session.is_delegated]
    return Begun(hashlib.sha256(_dumped(parts)).digest()[:ID_BYTES], at)


def _from_bytes(data: bytes, now: datetime) -> tuple[Proof, list[Cookie]]:
    """Raises `ValueError`, `TypeError`, `KeyError`, `OverflowError` or `OSError` for what `_to_bytes` has not made."""
    sealed: dict[str, Any] = json.loads(data)
    if sealed["v"] != SEAL_VERSION:
        raise ValueError("sealed by another version")
    session = AuthoritySession(*sealed["session"])
    said_at = datetime.fromtimestamp(sealed["issuedAt"], UTC)
    if "begun" in sealed:
        id, at, as_of, token_mark, *_ = sealed["begun"]
        begun = Begun(
            bytes.fromhex(id), datetime.fromtimestamp(at, UTC), int(as_of), bytes.fromhex(token_mark)
        )
    else:
        begun = begun_before(session, min(said_at, now))
    timeout_seconds = min(float(sealed["timeout"]), MOST_SESSION_SECONDS)
    proof = Proof(User(*sealed["user"]), session, timeout_seconds, said_at, begun)
    if not (begun.id and proof.runs_out_at):
        raise ValueError("no sign-in")
    cookies = [
        Cookie(
            str(name), str(value), None if path is None else str(path), None if end is None else float(end)
        )
        for name, value, path, end, *_ in sealed.get("cookies", ())
    ]
    return proof, cookies
