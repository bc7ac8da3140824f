"""What a member of the stand-in knows: people, groups, rights, and its sessions."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from collab_server.demo.standin.data import Content, LibraryData, Person
from collab_server.demo.standin.refusals import Refusal, session_gone
from collab_server.demo.standin.requests import cookie_header
from collab_server.domain.cookies import SESSION_COOKIE, find_cookie

__all__ = ["Member", "Session"]

MOST_SESSIONS = 20_000


@dataclass(slots=True)
class Session:
    """Of one who has signed in."""

    person: Person
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    cookie: str = field(default_factory=lambda: secrets.token_hex(16).upper())
    last_used: float = field(default_factory=time.monotonic)


class Member:
    """One of Library's servers. It shares with the `first` one all but its sessions."""

    def __init__(
        self,
        data: LibraryData,
        session_timeout_seconds: float,
        identity_token_seconds: float,
        first: Member | None = None,
    ) -> None:
        self.data = data
        self.session_timeout_seconds = session_timeout_seconds
        self.identity_token_seconds = identity_token_seconds
        self.sessions: dict[str, Session] = {}
        self.peers: list[Member]
        if first is None:
            self.people = {person.login: person for person in data.people}
            self.groups = {group.id: group for group in data.groups}
            self.open_to = {item.id: item.openTo for project in data.projects for item in project.objects}
            self.privileges = {person.login: person.privileges for person in data.people}
            self.calls: Counter[str] = Counter()
            self._key = secrets.token_bytes(32)
            self.peers = []
        else:
            self.people, self.groups = first.people, first.groups
            self.open_to, self.calls, self._key = first.open_to, first.calls, first._key
            self.privileges = first.privileges
            self.peers = first.peers
        self.peers.append(self)

    def session(self, request: Request) -> Session:
        """The session of the request, used now. A cookie may be missing, but must not be another's.

        Raises `Refusal`.
        """
        session = self.sessions.get(request.headers.get("x-mstr-authtoken", ""))
        if session is None or not self.is_alive(session):
            raise session_gone()
        cookie = find_cookie(cookie_header(request.scope), SESSION_COOKIE)
        if cookie is not None and cookie != session.cookie:
            raise session_gone()
        session.last_used = time.monotonic()
        return session

    def is_alive(self, session: Session) -> bool:
        """Whether it has been used lately; one that has not is forgotten."""
        if time.monotonic() - session.last_used <= self.session_timeout_seconds:
            return True
        self.sessions.pop(session.token, None)
        return False

    def open_session(self, person: Person) -> Response:
        """The answer to whoever has signed in."""
        while len(self.sessions) >= MOST_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        session = Session(person)
        self.sessions[session.token] = session
        response = Response(status_code=204, headers={"X-MSTR-AuthToken": session.token})
        # Library's own cookie is for its context path; with `/` the server beside it gets the cookie as well.
        response.set_cookie(SESSION_COOKIE, session.cookie, path="/", httponly=True, samesite="lax")
        return response

    def new_identity_token(self, person: Person) -> str:
        """A token that says who it is to every member, for `identity_token_seconds`."""
        ends_at = time.monotonic() + self.identity_token_seconds
        claims = json.dumps([person.login, ends_at, secrets.token_hex(8)])
        encoded = base64.urlsafe_b64encode(claims.encode())
        return f"{encoded.decode()}.{self._signature(encoded)}"

    def identity(self, token: str) -> Person:
        """Whose identity token it is. Raises `Refusal`."""
        claims, _, signature = token.partition(".")
        if hmac.compare_digest(
            self._signature(claims.encode(errors="replace")).encode(), signature.encode(errors="replace")
        ):
            login, ends_at, _ = json.loads(base64.urlsafe_b64decode(claims))
            if ends_at > time.monotonic() and login in self.people:
                return self.people[login]
        raise Refusal(401, "ERR003", "The identity token is not valid, or has expired.")

    def may_open(self, person: Person, content: Content) -> bool:
        """Whether it is open to everybody, or to this person."""
        open_to = self.open_to[content.id]
        return open_to is None or person.login in open_to

    def groups_with(self, member: str) -> list[dict[str, Any]]:
        """The groups, as Library lists memberships, in which there is this login or the group of this id."""
        return [
            {"id": group.id, "name": group.name}
            for group in self.groups.values()
            if member in group.members or member in group.groups
        ]

    def sessions_of(self, login: str) -> list[Session]:
        """Their sessions, on all members."""
        return [s for member in self.peers for s in member.sessions.values() if s.person.login == login]

    def end_sessions(self, login: str) -> None:
        """End what `sessions_of` has."""
        for session in self.sessions_of(login):
            for member in self.peers:
                member.sessions.pop(session.token, None)

    def _signature(self, claims: bytes) -> str:
        return hmac.digest(self._key, claims, hashlib.sha256).hex()
