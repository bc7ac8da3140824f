"""Who signs in, who may, who is there."""

from __future__ import annotations

import math
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from collab_server.domain.commenting import Circle
from collab_server.domain.contents import ContentInfo
from collab_server.domain.cookies import Cookie
from collab_server.domain.ids import opaque_id
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports.bus import Bus
from collab_server.ports.life import AlwaysThere, Life
from collab_server.ports.siblings import Siblings

__all__ = [
    "FRESH_SECONDS",
    "MOST_CALLS_PER_USER",
    "MOST_SESSION_SECONDS",
    "NOBODY",
    "Authority",
    "AuthoritySetup",
    "Busy",
    "ContentAnswer",
    "Directory",
    "Ended",
    "Gate",
    "Origin",
    "SessionUse",
    "SignedIn",
    "SignsIn",
    "Silent",
]

FRESH_SECONDS = 60.0
"""So long an answer of an authority counts, unless the configuration says otherwise (`rightsSeconds`)."""
MOST_SESSION_SECONDS = 86_400.0
"""Longer a session of an authority is never believed to live unused."""
MOST_CALLS_PER_USER = 16
"""How many questions at a time are asked of an authority for one and the same person; more are no use."""

Ended = Literal["session_ended", "session_expired"]
"""Why a session is over: its authority ended it, or it ran out while that was silent."""


class Silent(Unavailable):
    """The authority did not answer: away, frozen or too slow, or something else answers in its place."""


class Busy(Unavailable):
    """Too many questions of ours wait for the authority. It may be well, and was not asked."""

    def __init__(self, message: str = "too many questions wait for whoever signs people in just now") -> None:
        super().__init__(message, retry_after=1)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody whom the authority has just confirmed; unused for `timeout_seconds`, the session ends."""

    user: User
    session: AuthoritySession
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a token comes from; `is_distrusted` if too many came from there that were not accepted."""

    address: str
    is_distrusted: bool = False


NOBODY = Origin("")


@dataclass(frozen=True, slots=True)
class ContentAnswer:
    """What the authority said `age_seconds` ago about an object: `content` if the user may open it, else None."""

    user_id: str
    project_id: str
    object_id: str
    content: ContentInfo | None
    age_seconds: float = 0.0


class SessionUse:
    """Somebody's use of a session. While there is one, the session is kept alive and watched."""

    __slots__ = ("_detach", "on_ended")

    def __init__(self, on_ended: Callable[[Ended], None], detach: Callable[[SessionUse], None]) -> None:
        self.on_ended = on_ended
        self._detach = detach

    def detach(self) -> None:
        """End the use. May be called more than once; `on_ended` is not called after it."""
        self._detach(self)


class SignsIn(Protocol):
    """Who signs in: tokens of an authority, and the sessions there that they stand for.

    A *session* is whatever the authority knows somebody by afterwards, an `AuthoritySession` in form: its texts are the
    authority's own and secret. It is sealed into resume tokens, so that any node can take it up (`adopt`), one that
    has just started too. Everything asked of the authority answers or raises within 3 s: `Silent` when it does not
    answer, `Busy` when it is our own crowd that keeps it from it.

    Whoever inherits from this writes `sign_in_with_identity_token` alone: sessions that live as long as the
    sign-in, and that nobody ends before.
    """

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer at all."""
        return False

    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        """Whose token it is. Raises `Unauthenticated` when it is not accepted.

        `token` is printable ASCII, 8192 characters at the most. Of those who wait, each `origin` is served in turn.
        """
        ...

    async def sign_in_with_auth_token(
        self, token: str, cookie: str | None, cookie_header: str = "", *, origin: Origin = NOBODY
    ) -> SignedIn:
        """Use somebody's own session at the authority, as their browser has it: token and cookies.

        Raises `Unauthenticated` when it is not accepted.
        """
        raise Unauthenticated("this token is not accepted")

    def cookies_that_count(self, cookie_header: str) -> tuple[str, ...]:
        """Those of a browser's cookies, as text, that count for `sign_in_with_auth_token`."""
        return ()

    async def confirm(self, session: AuthoritySession) -> SignedIn:
        """Ask whose session it is, and so use it. Raises `Unauthenticated` when it is over."""
        raise Unauthenticated("this session is over: sign in again")

    def adopt(
        self,
        session: AuthoritySession,
        timeout_seconds: float,
        age_seconds: float,
        cookies: Iterable[Cookie] = (),
    ) -> None:
        """Take on a session that a node, any one, had confirmed `age_seconds` ago, with the cookies it kept."""
        return

    def cookies(self, session: AuthoritySession) -> Sequence[Cookie]:
        """What has to go along with the session to another node; the oldest first."""
        return ()

    def mark_sealed(self, session: AuthoritySession) -> None:
        """A resume token was made of the session: from now on it is not this node's alone to end."""
        return

    def age_seconds(self, session: AuthoritySession) -> float | None:
        """How long ago the authority confirmed the session, as far as this node knows; None if it does not."""
        return 0.0

    def timeout_seconds(self, session: AuthoritySession) -> float | None:
        """After how long without a use the session ends; None if this node does not know it."""
        return MOST_SESSION_SECONDS

    def is_ended(self, session: AuthoritySession) -> bool:
        """Whether the session is known to be over."""
        return False

    def attach(
        self, session: AuthoritySession, remaining_seconds: float, on_ended: Callable[[Ended], None]
    ) -> SessionUse:
        """Keep the session alive, and watch it, until `detach()`.

        `remaining_seconds`: how long it lives by itself, used where this node does not know the session. `on_ended` is
        called at most once, from the event loop, never from within this call.
        """
        return SessionUse(on_ended, lambda use: None)


class Gate(Protocol):
    """Who may: what a person may open, as the authority says when it is asked as that person.

    Everything asked answers or raises within 3 s: `Silent` or `Busy` (see `SignsIn`), `Unauthenticated` when the
    person's session is over. Whoever inherits from this writes `may_open` alone.
    """

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer at all."""
        return False

    @property
    def fresh_seconds(self) -> float:
        """For how long an answer counts; what is in use is asked about again before."""
        return FRESH_SECONDS

    def read_id(self, value: str, field: str) -> str:
        """The id of a person, a group, a project or an object that somebody has written, as the authority writes it.

        What it writes is 1 to 64 letters, digits and `._~@+-`, and equal only where it means the same. Asks nothing.
        Raises `Invalid` (naming `field`) for what can be no id.
        """
        return opaque_id(value, field)

    async def may_open(
        self, who: Identity, project_id: str, object_id: str, *, at_most_seconds_old: float = math.inf
    ) -> ContentInfo | None:
        """The object, if the user may open it; None when they may not, or it does not exist.

        An answer older than `at_most_seconds_old` is asked for again while it is still fresh; whoever says so asks
        about what is being shown to the user. No answer is ever older than `fresh_seconds`, but while the
        authority is silent.
        """
        ...

    async def is_in_one(self, who: Identity, project_id: str, circles: Sequence[Circle]) -> bool:
        """Whether the user is in one of these groups, or holds one of these privileges in that project.

        Asked only where the configuration names circles of people who may comment. Who is in none may look; so nobody
        may comment by circles that an authority does not know.
        """
        return False

    def content_age_seconds(self, user_id: str, project_id: str, object_id: str) -> float | None:
        """How long ago it was said that the user may open the object; None where nothing says so any more."""
        return None

    def last_answer(self, who: Identity, project_id: str, object_id: str) -> ContentInfo | None:
        """The object, if the last answer of `may_open` was yes and is fresh. Asks nothing; None says nothing."""
        return None

    def on_refused(self, callback: Callable[[ContentAnswer], None]) -> None:
        """Let `callback(answer)` know at once of every refusal, on this node or another. Called before the start."""
        return


class Directory(Protocol):
    """Who is there: people and groups, as the one who asks sees them. Waits and raises as `Gate`.

    Whoever inherits from this has a directory in which nobody is found.
    """

    async def user(self, who: Identity, user_id: str) -> User | None:
        """The user with that id; None when there is none."""
        return None

    async def group_members(self, who: Identity, group_id: str, most: int = 1000) -> tuple[User, ...] | None:
        """The users in a group and in the groups in it, each once; where they are more than `most`, not all of them.

        None when there is no such group; `TooLarge` where it is made of too many groups to look through;
        `Unavailable` also where the asker lacks the privilege to know.
        """
        return None

    async def group_name(self, who: Identity, group_id: str) -> str | None:
        """What a group is called; None where that is not said, or not to the asker."""
        return None

    async def recipients(
        self,
        who: Identity,
        search: str,
        *,
        kind: Literal["user", "group"] | None = None,
        offset: int = 0,
        limit: int = 50,
    ) -> tuple[Recipient, ...]:
        """Users and groups (or one `kind` of them, out of each page) whose name contains `search`."""
        return ()


@dataclass(frozen=True, slots=True)
class AuthoritySetup:
    """What a node gives to the maker of its authority: what the configuration says, and ways to the others.

    `options` are what `authorization` holds beside `kind`, and may hold secrets; `url` is `authorizationServerUrl`;
    `tls` trusts the machine's root certificates and `trustedCerts`. `observe(call, outcome, seconds)` counts a call in
    `/metrics`: of both names there are only a few. `bus` reaches the other nodes. `fresh_seconds` is `rightsSeconds`:
    nobody should be asked much more often. `siblings` are the other workers of the node, if it has some.
    A maker raises `ValueError`, in words for an administrator and without a secret, for options that it cannot use.
    """

    bus: Bus
    options: Mapping[str, Any] = field(repr=False)
    url: str | None
    tls: ssl.SSLContext
    observe: Callable[[str, str, float], None]
    fresh_seconds: float = FRESH_SECONDS
    siblings: Siblings | None = None


@dataclass(frozen=True, slots=True)
class Authority:
    """Who knows people and their rights; one and the same object may be all of it.

    `dependency` is how `/status` calls it, and what clients are told, as `Library`.
    """

    dependency: str
    sessions: SignsIn
    gate: Gate
    directory: Directory
    life: Life = field(default_factory=AlwaysThere)
