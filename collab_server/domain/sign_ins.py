"""Sign-ins: what begins when somebody shows a token of Library, and what its end is known by.

A sign-in has an id, which all connections and resume tokens that come of it share. It ends by `session.end`, when its
time is over, when its Library session ends, or when an operator ends all of a person's (`ends.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from collab_server.domain.wire import WIRE, Token

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Begun:
    """The sign-in that somebody's identity is of.

    `id` is empty where none was begun: a request that shows a token of Library. `at` is when it began, by the
    database's clock; `as_of` the latest end that was known then (see `End.at`); `token_mark` that of the identity token
    it began with, if it did with one.
    """

    id: bytes = field(default=b"", repr=False)
    at: datetime = EARLIEST
    as_of: int = 0
    token_mark: bytes = field(default=b"", repr=False)


NOT_BEGUN = Begun()


@dataclass(frozen=True, slots=True)
class RefreshSession:
    """Go on with a fresh token of the same user, without a new connection."""

    __pydantic_config__: ClassVar[Any] = WIRE
    identity_token: Token | None = None
    auth_token: Token | None = None
