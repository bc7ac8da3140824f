"""On a node of several workers one of them asks Library for a person, their keeper: what the others bring to it.

- *Questions* of what one does not know, with the session to ask with: so a person has one set of answers on the node,
  what several workers ask at a time is asked once, and the pace of one's questions is that of the node.
- *New sessions*, of which one is the person's: so there is one on the node, as there was one on each worker.

And whoever has used a session tells all others, with the cookies that it has now: so one of them keeps it alive. What
session is a person's is told to all, too: whoever is the keeper after one that has ended knows it, and one that knows
of none, for it has just been started, asks who was the keeper before.

A keeper that gives no sign is done without (`ports.Siblings`): the worker asks Library itself. What is told says when
Library said it, by the clock that all processes of a machine share, so nothing is believed longer for having been under
way, nor for one of the two having stood still. All of it holds secrets, and stays between the processes of a node.

Nothing runs here. The other side is `keeper`.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from dataclasses import astuple, dataclass, field
from functools import cache, partial
from typing import Any, TypeVar

from pydantic import TypeAdapter

from collab_server.authority.library.asking import Question
from collab_server.authority.library.cookies import Cookies
from collab_server.authority.library.known import Known, KnownSessions, session_over
from collab_server.authority.library.replies import DEFAULT_SESSION_SECONDS
from collab_server.authority.library.words import busy, silent
from collab_server.domain.contents import ContentInfo
from collab_server.domain.cookies import Cookie
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import Busy, Siblings, SignedIn, Silent

__all__ = ["ANSWERS", "Keepers", "Shown", "Told", "Unheard", "as_json", "refusal_of", "shown_by"]

T = TypeVar("T")

TOLD_AGAIN_SECONDS = 5.0
"""How soon it is told again that a session was used; at once, where its cookies have changed."""
ANSWERS: dict[str, Any] = {
    "content": ContentInfo | None,
    "circles": bool,
    "user": User | None,
    "members": tuple[User, ...] | str | None,
    "group": str | None,
    "recipients": tuple[Recipient, ...],
}
"""What there is to ask, by its first word, and what the answer is."""


class Unheard(Exception):
    """The keeper may have heard what it was asked, and done as it should: nobody knows."""


@dataclass(frozen=True, slots=True)
class Told:
    """What Library said, and how long ago."""

    value: Any
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Shown:
    """A session as one worker shows it to another: what is kept of it beside itself."""

    session: AuthoritySession
    timeout_seconds: float
    confirmed_at: float
    cookies: tuple[Cookie, ...] = field(repr=False)


class Keepers:
    """See the module."""

    def __init__(self, siblings: Siblings, known: KnownSessions, cookies: Cookies) -> None:
        self._siblings = siblings
        self._known = known
        self._cookies = cookies

    async def ask(self, who: Identity, question: Question, at_most_seconds_old: float) -> Told | None:
        """What the person's keeper knows or learns; None: ask yourself.

        Raises as `Questions` does: `Unauthenticated` when the session is over, `Silent`, `Busy`, `Unavailable`.
        """
        self._known.refuse_ended(who.session)  # also by what was heard since it was begun to ask
        asked = {
            "of": who.user.id,
            "session": self.row_of(who.session),
            "question": question,
            "atMost": None if at_most_seconds_old == math.inf else at_most_seconds_old,
        }
        read = partial(self._told, _codec(str(question[0])))
        with contextlib.suppress(Unheard):
            return await self._ask(who.user.id, asked, read)
        return None

    def _told(self, codec: TypeAdapter[Any], told: dict[str, Any]) -> Told:
        return Told(codec.validate_python(told["value"]), max(0.0, self._known.clock() - told["saidAt"]))

    async def settle(self, new: SignedIn, earlier: AuthoritySession | None) -> tuple[SignedIn, Shown] | None:
        """Which session is the person's on this node, `new` or one that was so before; None: settle it yourself.

        `earlier` is the one that this worker knows of. Raises `Silent`, `Busy` or `Unavailable`, and then it is none;
        or `Unheard`, and then `new` may be the person's.
        """
        asked = {
            "of": new.user.id,
            "user": astuple(new.user),
            "session": self.row_of(new.session, new.timeout_seconds),
            "earlier": None if earlier is None else self.row_of(earlier),
        }
        return await self._ask(new.user.id, asked, _settled)

    async def recall(self, user_id: str) -> Shown | None:
        """The user's session on this node, for a keeper that knows of none, as one that has just been started."""
        with contextlib.suppress(Unheard):
            return await self._ask(user_id, {"sessionOf": user_id}, _recalled, is_another=True)
        return None

    async def _ask(
        self,
        user_id: str,
        asked: dict[str, Any],
        read: Callable[[dict[str, Any]], T | None],
        *,
        is_another: bool = False,
    ) -> T | None:
        """What `read` makes of the answer; None without a keeper to ask. Raises `Unheard`, also where the answer is not
        understood: the other may be of another version."""
        question = json.dumps(asked, separators=(",", ":")).encode()
        answer = await self._siblings.ask(user_id, question, is_another=is_another)
        if answer is None:
            return None
        try:
            told = json.loads(answer)
            refused = told.get("refused")
            refusal = None if refused is None else _REFUSALS[refused](told["why"])
            found = read(told) if refusal is None else None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Unheard from None
        if refusal is not None:
            raise refusal
        return found

    def tell_use(self, known: Known) -> None:
        """Library has just accepted this session."""
        cookies = self._cookies.kept(known.session)
        if known.told_cookies == cookies and known.confirmed_at - known.told_at < TOLD_AGAIN_SECONDS:
            return
        known.told_at, known.told_cookies = known.confirmed_at, cookies
        rows = [astuple(cookie) for cookie in cookies]
        self._tell({"used": known.digest.hex(), "at": known.confirmed_at, "cookies": rows})

    def tell_begun(self, user_id: str, session: AuthoritySession) -> None:
        """This session is the user's on this node: for whoever keeps them after this worker."""
        self._tell({"begun": user_id, "session": self.row_of(session)})

    def _tell(self, word: dict[str, Any]) -> None:
        self._siblings.tell(json.dumps(word, separators=(",", ":")).encode())

    def row_of(
        self, session: AuthoritySession, timeout_seconds: float = DEFAULT_SESSION_SECONDS
    ) -> list[Any]:
        """A session as it is shown to another worker, for `shown_by`."""
        known = self._known.find(session)
        confirmed_at = self._known.clock()
        if known is not None:
            timeout_seconds, confirmed_at = known.timeout_seconds, known.confirmed_at
        cookies = [astuple(cookie) for cookie in self._cookies.kept(session)]
        return [astuple(session), timeout_seconds, confirmed_at, cookies]


def _settled(told: dict[str, Any]) -> tuple[SignedIn, Shown]:
    shown = shown_by(told["session"])
    return SignedIn(User(*told["user"]), shown.session, shown.timeout_seconds), shown


def _recalled(told: dict[str, Any]) -> Shown | None:
    return None if told["session"] is None else shown_by(told["session"])


def shown_by(row: list[Any]) -> Shown:
    """What `Keepers.row_of` wrote."""
    session, timeout_seconds, confirmed_at, cookies = row
    return Shown(
        AuthoritySession(*session),
        timeout_seconds,
        confirmed_at,
        tuple(Cookie(*cookie) for cookie in cookies),
    )


_REFUSALS: dict[str, Callable[[str], Unauthenticated | Unavailable]] = {
    "over": lambda _: session_over(),
    "silent": lambda _: silent(),
    "busy": lambda _: busy(),
    "unavailable": Unavailable,
}


def refusal_of(error: Unauthenticated | Unavailable) -> dict[str, str]:
    """As the keeper answers what it cannot answer."""
    match error:
        case Unauthenticated():
            kind = "over"
        case Silent():
            kind = "silent"
        case Busy():
            kind = "busy"
        case _:
            kind = "unavailable"
    return {"refused": kind, "why": error.message}


@cache
def _codec(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(ANSWERS[kind])


def as_json(kind: str, value: Any) -> Any:
    """An answer to a question of this kind, as it is written."""
    return _codec(kind).dump_python(value, mode="json")
