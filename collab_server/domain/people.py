"""People: who somebody is, and the Library session behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from collab_server.domain.sign_ins import NOT_BEGUN, Begun
from collab_server.domain.wire import WIRE, AtMost, Cursor, Prose, Text, Whole


@dataclass(frozen=True, slots=True)
class User:
    """A person as their authority knows them; Library's `id` is 32 hex digits in upper case."""

    id: str
    name: str
    initials: str

    def as_wire(self) -> dict[str, str]:
        return {"id": self.id, "name": self.name, "initials": self.initials}


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody, or a group, that can be mentioned or invited."""

    kind: Literal["user", "group"]
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AuthoritySession:
    """A session at the authority. The secrets are kept out of `repr`, and so out of every log.

    All of it is opaque but to that authority. Library's: `cookie` is the value of `JSESSIONID`; what else its side sets
    is kept beside the session, for it changes while the session stays the same. `is_delegated` says that we opened the
    session ourselves (`POST /auth/delegate`); only such a session is ours to log out.
    """

    auth_token: str = field(repr=False)
    cookie: str | None = field(default=None, repr=False)
    is_delegated: bool = True


@dataclass(frozen=True, slots=True)
class Identity:
    """The verified user behind a client or a request, called `who` where it is passed on.

    `begun` is the sign-in that it is of; `expires_at` is when its session at the authority runs out unused, or that is
    over.
    """

    user: User
    session: AuthoritySession
    is_administrator: bool
    expires_at: datetime
    begun: Begun = NOT_BEGUN


@dataclass(frozen=True, slots=True)
class Person:
    """A user or a group of Library, as a command names it."""

    __pydantic_config__: ClassVar[Any] = WIRE

    kind: Literal["user", "group"]
    id: Text


People = Annotated[list[Person], AtMost("discussionMembers")]
"""Whom a command is about."""


@dataclass(frozen=True, slots=True)
class AboutMe:
    """Who the asker is."""

    __pydantic_config__: ClassVar[Any] = WIRE


@dataclass(frozen=True, slots=True)
class FindRecipients:
    """Users and groups by name, as Library shows them to the asker."""

    __pydantic_config__: ClassVar[Any] = WIRE
    search: Prose
    kind: Literal["user", "group"] | None = None
    cursor: Cursor | None = None
    limit: Whole = 50
