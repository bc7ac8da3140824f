"""A proof: whose a session is, and since when that is known; what is shown is remembered by digests of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from collab_server.domain.people import AuthoritySession, User
from collab_server.domain.sign_ins import Begun
from collab_server.errors import Unauthenticated
from collab_server.ports import SignsIn

Kind = Literal["identity", "auth"]
"""Of the tokens that the authority makes."""

MOST_TOKEN_CHARACTERS = 8192
_TOKEN = re.compile(r"[!-~]+")  # what may go into a header: printable ASCII


@dataclass(frozen=True, slots=True)
class Proof:
    """A session, whose it is, and when the authority last said so."""

    user: User
    session: AuthoritySession
    timeout_seconds: float
    said_at: datetime
    begun: Begun

    @property
    def runs_out_at(self) -> datetime:
        return self.said_at + timedelta(seconds=self.timeout_seconds)

    def as_last_used(self, sessions: SignsIn, now: datetime) -> Proof:
        """The proof as of the session's last use that this node knows of."""
        age_seconds = sessions.age_seconds(self.session)
        if age_seconds is None:
            return self
        said_at = max(self.said_at, now - timedelta(seconds=age_seconds))
        return Proof(self.user, self.session, self.timeout_seconds, said_at, self.begun)


def is_token(text: str) -> bool:
    """Whether `text` can be a token of an authority at all, and so may go into a header or a body."""
    return len(text) <= MOST_TOKEN_CHARACTERS and _TOKEN.fullmatch(text) is not None


def digest_of(kind: Kind, token: str, cookie: str | None, *more: str) -> bytes:
    """What a token is remembered by: not the token. The parts are kept apart by their lengths."""
    shown = "" if cookie is None else f"={cookie}"
    spelled = f"{len(kind)}:{kind}{len(token)}:{token}{len(shown)}:{shown}"
    if more:
        spelled += "".join([f"{len(part)}:{part}" for part in more])
    return hashlib.sha256(spelled.encode("utf-8", "surrogatepass")).digest()


def not_accepted(authority_name: str) -> Unauthenticated:
    return Unauthenticated(f"{authority_name} does not accept this token")
