"""Who may open what, and who is there: Library as the asking user sees it. `Gate` and `Directory`.

*One call in flight per question*, at most `MOST_CALLS_PER_USER` at a time per user; answers are kept for 60 s, refusals
for 5 s. *Library may fall silent*: what somebody was allowed to open stays allowed for 15 minutes more; what was not
asked before is `Unavailable`. Every method that asks may raise that, within 3 s.

Belongs to one event loop. In the background there are calls in flight; `stop` ends them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, cast

from collab_server.authority.library.answers import Answers
from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Refused, SessionGone
from collab_server.authority.library.known import KnownSessions, session_over
from collab_server.authority.library.turns import Turns
from collab_server.authority.library.words import silent
from collab_server.domain.commenting import Circle
from collab_server.domain.contents import ContentInfo
from collab_server.domain.flights import Flights
from collab_server.domain.ids import library_id
from collab_server.domain.people import AuthoritySession, Identity, Recipient, User
from collab_server.errors import TooLarge, Unavailable
from collab_server.ports import ContentAnswer, Silent

__all__ = ["Questions"]

T = TypeVar("T")

MOST_GROUP_MEMBERS = 1000
MOST_GROUPS_OF_ONE = 100
"""Of a user who is in more groups than so many, those beyond are not looked into for the groups that they are in."""
RECIPIENTS_SECONDS = 5.0
"""How long people who were looked for are kept: one types on, and nobody asks the same again."""
MOST_GROUPS = 100
"""A group that is mentioned or invited may be made of so many, itself counted: each is a call of its own."""
PAGE = 200


class Questions:
    """See the module. `patience_seconds`: how long a question that memory can answer waits for a silent Library.
    `fresh_seconds`: see `Gate`."""

    def __init__(
        self,
        turns: Turns,
        known: KnownSessions,
        answers: Answers,
        *,
        patience_seconds: float,
        fresh_seconds: float,
    ) -> None:
        self.fresh_seconds = fresh_seconds
        self._turns = turns
        self._known = known
        self._answers = answers
        self._patience_seconds = patience_seconds
        self._flights = Flights()
        self._answered: list[Callable[[ContentAnswer], None]] = []
        self._refused: list[Callable[[ContentAnswer], None]] = []

    async def stop(self) -> None:
        """End the calls in flight."""
        await self._flights.stop()

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer at all."""
        return self._turns.is_silent

    def on_answer(self, callback: Callable[[ContentAnswer], None]) -> None:
        """Let `callback(answer)` know of everything that Library says to this node of who may open what."""
        self._answered.append(callback)

    def on_refused(self, callback: Callable[[ContentAnswer], None]) -> None:
        """See `Gate`."""
        self._refused.append(callback)

    # --- who may

    def read_id(self, value: str, field: str) -> str:
        """See `Gate`: 32 hex digits, in either case."""
        return library_id(value, field)

    async def may_open(
        self, who: Identity, project_id: str, object_id: str, *, at_most_seconds_old: float = math.inf
    ) -> ContentInfo | None:
        """The object, if the user may open it; None when they may not, or it does not exist.

        Ids are 32 hex digits in upper case. An answer older than `at_most_seconds_old` is asked for again while it is
        still fresh; who says so asks about what is being shown to the user. Raises `Unauthenticated` when the user's
        session is over.
        """
        is_live = at_most_seconds_old < math.inf

        async def ask(api: LibraryApi, session: AuthoritySession) -> ContentInfo | None:
            content = await api.content(session, project_id, object_id, 55)
            if content is None:
                content = await api.content(session, project_id, object_id, 3)
                if not is_live:
                    self._turns.pace.count(who.user.id)
            answer = ContentAnswer(who.user.id, project_id, object_id, content)
            _tell(self._answered, answer)
            if content is None:
                _tell(self._refused, answer)
            return content

        question = ("content", project_id, object_id)
        return await self._ask(who, question, ask, at_most_seconds_old=at_most_seconds_old)

    async def is_in_one(self, who: Identity, project_id: str, circles: Sequence[Circle]) -> bool:
        """See `Gate`. Groups count with those that are in them, however deep; what Library does not tell the user of
        themselves they do not have."""
        groups = frozenset(circle.id for circle in circles if circle.kind == "group")
        privileges = [circle.id for circle in circles if circle.kind == "privilege"]

        async def ask(api: LibraryApi, session: AuthoritySession) -> bool:
            for privilege in privileges:
                held = await api.privilege(session, privilege)
                if held.everywhere or project_id in held.projects:
                    return True
            return bool(groups) and await _is_in_group(api, session, who.user.id, groups)

        question = ("circles", project_id, *map(str, circles))
        return bool(await self._ask(who, question, ask))

    def hear(self, answer: ContentAnswer) -> None:
        """Believe what another node was told, for as long as that one would."""
        question = (answer.user_id, "content", answer.project_id, answer.object_id)
        self._answers.keep(question, answer.content, age_seconds=answer.age_seconds)
        if answer.content is None and self._remembers_refusal(question):
            _tell(self._refused, answer)

    def _remembers_refusal(self, question: tuple[str, ...]) -> bool:
        kept = self._answers.get(question)
        return kept is not None and kept.value is None

    def content_age_seconds(self, user_id: str, project_id: str, object_id: str) -> float | None:
        """How long ago it was said that the user may open the object; None where nothing says so any more."""
        kept = self._answers.get((user_id, "content", project_id, object_id))
        return kept.age_seconds if kept is not None and kept.value is not None else None

    def content_answers(self, most: int) -> list[ContentAnswer]:
        """What is known and fresh of who may open what, at most so many."""
        fresh = [entry for entry in self._answers.fresh() if entry[0][1] == "content"]
        return [
            ContentAnswer(user_id, project_id, object_id, content, age_seconds)
            for (user_id, _, project_id, object_id), content, age_seconds in fresh[-most:]
        ]

    def last_answer(self, who: Identity, project_id: str, object_id: str) -> ContentInfo | None:
        """The object, if `may_open` said yes at most 60 s ago. Asks nothing; None says nothing."""
        kept = self._answers.get((who.user.id, "content", project_id, object_id))
        return cast("ContentInfo | None", kept.value) if kept is not None and kept.is_fresh else None

    # --- who is there

    async def user(self, who: Identity, user_id: str) -> User | None:
        """The user with that id, as the asker sees them; None when there is none."""
        return await self._ask(who, ("user", user_id), lambda api, session: api.user(session, user_id))

    async def group_members(
        self, who: Identity, group_id: str, most: int = MOST_GROUP_MEMBERS
    ) -> tuple[User, ...] | None:
        """The users in a group and in the groups in it, each once; where they are more than `most`, not all of them.

        None when there is no such group; `TooLarge` for one of more than `MOST_GROUPS` groups; `Unavailable` also where
        the asker lacks the privilege to know.
        """

        async def ask(api: LibraryApi, session: AuthoritySession) -> tuple[User, ...] | str | None:
            found: dict[str, User] = {}
            groups = [group_id]  # grows while it is gone through; whatever is in it already makes no circle
            for id in groups:
                for offset in range(0, most + 1, PAGE):
                    page = await api.group_members(session, id, offset, PAGE)
                    if page is None:
                        if id == group_id:
                            return None
                        break  # it has gone meanwhile
                    found.update((user.id, user) for user in page.users)
                    groups += [group for group in dict.fromkeys(page.groups) if group not in groups]
                    if len(groups) > MOST_GROUPS:
                        return f"expected a group of at most {MOST_GROUPS} groups"
                    if page.number < PAGE:
                        break
                if len(found) > most:
                    break
            return tuple(found.values())

        answer: tuple[User, ...] | str | None = await self._ask(who, ("members", group_id), ask)
        if isinstance(answer, str):  # kept like any other, so that it costs no more calls than a member does
            raise TooLarge(answer)
        return answer

    async def group_name(self, who: Identity, group_id: str) -> str | None:
        """What Library calls a group; None where it does not say, or not to the asker."""

        async def ask(api: LibraryApi, session: AuthoritySession) -> str | None:
            try:
                return await api.group_name(session, group_id)
            except Refused:
                return None

        return await self._ask(who, ("group", group_id), ask)

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
        question = ("recipients", search, offset, limit)
        found = await self._ask(
            who,
            question,
            lambda api, session: api.recipients(session, search, offset, limit),
            only_seconds=RECIPIENTS_SECONDS,
        )
        return tuple(one for one in found or () if kind is None or one.kind == kind)

    # --- asking

    async def _ask(
        self,
        who: Identity,
        question: tuple[str | int, ...],
        ask: Callable[[LibraryApi, AuthoritySession], Coroutine[Any, Any, T | None]],
        *,
        at_most_seconds_old: float = math.inf,
        only_seconds: float | None = None,
    ) -> T | None:
        """An answer to `question`, asked as the user: a kept one, that of a call in flight, or a new one.

        A new one is kept `only_seconds`, if given. Raises `Busy` when too many other questions wait.
        """
        is_live = at_most_seconds_old < math.inf
        key = (who.user.id, *question)
        while True:
            self._known.refuse_ended(who.session)
            kept = self._answers.get(key)
            if kept is not None and kept.is_fresh and kept.age_seconds <= at_most_seconds_old:
                return cast("T | None", kept.value)
            try:
                # A silent Library is asked again at each question, but who can be answered from memory waits no longer
                # than that; the call goes on without them.
                async with asyncio.timeout(
                    self._patience_seconds if kept is not None and self._turns.is_silent else None
                ):
                    call = partial(self._call, who, key, ask, only_seconds, is_live=is_live)
                    return await self._flights.join((is_live, *key), call)
            except SessionGone as gone:
                # The call in flight may have been made with another session of the same user, and that one is over:
                # then ask with our own.
                if gone.session == who.session:
                    raise session_over() from None
            except (Silent, TimeoutError):
                remembered = self._answers.get(key)
                if remembered is None or remembered.value is None:
                    raise silent() from None
                return cast("T | None", remembered.value)

    async def _call(
        self,
        who: Identity,
        key: tuple[str | int, ...],
        ask: Callable[[LibraryApi, AuthoritySession], Coroutine[Any, Any, T | None]],
        only_seconds: float | None,
        *,
        is_live: bool,
    ) -> T | None:
        line = self._turns.live if is_live else self._turns.questions
        try:
            async with self._turns.take(line, whom=who.user.id) as api:
                answer = await ask(api, who.session)
        except SessionGone:
            self._known.end(who.session, "session_ended")
            raise
        except Refused:
            raise Unavailable("Library does not tell you: a privilege is missing") from None
        self._known.used(who.session)
        self._answers.keep(key, answer, only_seconds=only_seconds)
        return answer


async def _is_in_group(
    api: LibraryApi, session: AuthoritySession, user_id: str, groups: frozenset[str]
) -> bool:
    """Whether the user is in one of the groups, or in a group that is. Upwards from the user, each group once."""
    left = [*await api.groups_of_user(session, user_id)]
    seen: set[str] = set()
    while left:
        if not groups.isdisjoint(left):
            return True
        seen.update(left)
        if len(seen) > MOST_GROUPS_OF_ONE:
            break
        above = [group for one in left for group in await api.groups_of_group(session, one)]
        left = [group for group in dict.fromkeys(above) if group not in seen]
    return False


def _tell(callbacks: list[Callable[[ContentAnswer], None]], answer: ContentAnswer) -> None:
    for callback in callbacks:
        callback(answer)
