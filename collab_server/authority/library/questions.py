"""Who may open what, and who is there: Library as the asking user sees it. `Gate` and `Directory`.

*One call in flight per question*, at most `MOST_CALLS_PER_USER` at a time per user; answers are kept for 60 s, refusals
for 5 s. *Library may fall silent*: what somebody was allowed to open stays allowed for 15 minutes more; what was not
asked before is `Unavailable`. Every method that asks may raise that, within 3 s. *One asks for all workers of a node*:
the person's keeper (`keepers`), which is asked first where that is another worker.

Belongs to one event loop. In the background there are calls in flight; `stop` ends them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeGuard, cast

from collab_server.authority.library.answers import Answers, Kept
from collab_server.authority.library.asking import FIRST_TYPE, Question, put
from collab_server.authority.library.calls import DEADLINE_SECONDS, Refused, SessionGone
from collab_server.authority.library.keepers import Keepers, Told
from collab_server.authority.library.known import KnownSessions, session_over
from collab_server.authority.library.turns import Turns
from collab_server.authority.library.words import silent
from collab_server.domain.commenting import Circle
from collab_server.domain.contents import ContentInfo
from collab_server.domain.flights import Flights
from collab_server.domain.ids import library_id
from collab_server.domain.people import Identity, Recipient, User
from collab_server.errors import TooLarge, Unauthenticated, Unavailable
from collab_server.ports import ContentAnswer, Silent

__all__ = ["Questions"]

MOST_GROUP_MEMBERS = 1000
RECIPIENTS_SECONDS = 5.0
"""How long people who were looked for are kept: one types on, and nobody asks the same again."""
LEAST_SECONDS = 0.5
"""So long Library is asked at the least once a keeper has given no sign."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question of somebody's: what is asked, and how old an answer may be. `at_most_seconds_old`: see `Gate`."""

    who: Identity
    question: Question
    at_most_seconds_old: float = math.inf

    @property
    def key(self) -> Question:
        """By which its answer is kept."""
        return (self.who.user.id, *self.question)

    @property
    def is_live(self) -> bool:
        """Whether it is about what is being shown to them."""
        return self.at_most_seconds_old < math.inf

    @property
    def only_seconds(self) -> float | None:
        """How long its answer is kept, if not as long as others."""
        return RECIPIENTS_SECONDS if self.question[0] == "recipients" else None


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
        keepers: Keepers | None = None,
    ) -> None:
        self.fresh_seconds = fresh_seconds
        self._keepers = keepers
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
        kept = self._answers.get((who.user.id, "content", project_id, object_id))
        if kept is not None and kept.is_fresh and kept.age_seconds <= at_most_seconds_old:
            self._known.refuse_ended(who.session)
            return cast(
                "ContentInfo | None", kept.value
            )  # as with nearly every command: nothing else is made for it
        question = ("content", project_id, object_id)
        return cast("ContentInfo | None", await self._ask(_Asked(who, question, at_most_seconds_old)))

    async def is_in_one(self, who: Identity, project_id: str, circles: Sequence[Circle]) -> bool:
        """See `Gate`. Groups count with those that are in them, however deep; what Library does not tell the user of
        themselves they do not have."""
        return bool(await self._ask(_Asked(who, ("circles", project_id, *map(str, circles)))))

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
        return cast("User | None", await self._ask(_Asked(who, ("user", user_id))))

    async def group_members(
        self, who: Identity, group_id: str, most: int = MOST_GROUP_MEMBERS
    ) -> tuple[User, ...] | None:
        """The users in a group and in the groups in it, each once; where they are more than `most`, not all of them.

        None when there is no such group; `TooLarge` for one of more than `MOST_GROUPS` groups; `Unavailable` also where
        the asker lacks the privilege to know.
        """

        answer: tuple[User, ...] | str | None = await self._ask(_Asked(who, ("members", group_id, most)))
        if isinstance(answer, str):  # kept like any other, so that it costs no more calls than a member does
            raise TooLarge(answer)
        return answer

    async def group_name(self, who: Identity, group_id: str) -> str | None:
        """What Library calls a group; None where it does not say, or not to the asker."""
        return cast("str | None", await self._ask(_Asked(who, ("group", group_id))))

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
        found = await self._ask(_Asked(who, ("recipients", search, offset, limit)))
        return tuple(one for one in found or () if kind is None or one.kind == kind)

    # --- asking

    async def answer(self, who: Identity, question: Question, at_most_seconds_old: float = math.inf) -> Told:
        """For another worker of the node: what is known here, or what Library says now. Raises as other questions."""
        asked = _Asked(who, question, at_most_seconds_old)
        value = await self._ask(asked, is_for_sibling=True)
        kept = self._answers.get(asked.key)  # another node may have been told something later
        return Told(value, 0.0) if kept is None else Told(kept.value, kept.age_seconds)

    async def _ask(self, asked: _Asked, *, is_for_sibling: bool = False) -> Any:
        """An answer, asked as the user: a kept one, that of a call in flight, or a new one.

        Raises `Busy` when too many other questions wait.
        """
        who, key = asked.who, asked.key
        while True:
            self._known.refuse_ended(who.session)
            kept = self._answers.get(key)
            if _is_enough(kept, asked):
                return kept.value
            try:
                # A silent Library is asked again at each question, but who can be answered from memory waits no longer
                # than that; the call goes on without them.
                async with asyncio.timeout(
                    self._patience_seconds if kept is not None and self._turns.is_silent else None
                ):
                    if self._keepers is None or is_for_sibling:
                        return await self._of_library(asked)
                    learn = partial(self._learn, asked, self._keepers)
                    return await self._flights.join(("of the keeper", asked.is_live, *key), learn)
            except SessionGone as gone:
                # The call in flight may have been made with another session of the same user, and that one is over:
                # then ask with our own.
                if gone.session == who.session:
                    raise session_over() from None
            except (Silent, TimeoutError):
                remembered = self._answers.get(key)
                if remembered is None or remembered.value is None:
                    raise silent() from None
                return remembered.value

    async def _learn(self, asked: _Asked, keepers: Keepers) -> Any:
        """From the person's keeper, or from Library where that is nobody else, or says nothing."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            told = await keepers.ask(asked.who, asked.question, asked.at_most_seconds_old)
        except Unauthenticated:
            self._known.end(asked.who.session, "session_ended")
            raise SessionGone(asked.who.session) from None
        except Silent:
            self._turns.heard_silent()
            raise
        if told is None:
            kept = self._answers.get(asked.key)
            if _is_enough(kept, asked):  # asked for another worker, and answered just now
                return kept.value
            left = DEADLINE_SECONDS - (loop.time() - began)
            return await self._of_library(asked, max(left, LEAST_SECONDS))
        self._answers.keep(
            asked.key, told.value, age_seconds=told.age_seconds, only_seconds=asked.only_seconds
        )
        if told.value is not None and told.age_seconds >= self.fresh_seconds:
            self._turns.heard_silent()  # it is what the keeper remembers
        elif told.age_seconds <= loop.time() - began:
            self._turns.is_silent = False  # it has just been said
        kept = self._answers.get(asked.key)
        value = told.value if kept is None else kept.value  # what was heard meanwhile may be later
        if value is None and asked.question[0] == "content":
            _, project_id, object_id = map(str, asked.question)
            _tell(self._refused, ContentAnswer(asked.who.user.id, project_id, object_id, None))
        return value

    async def _of_library(self, asked: _Asked, seconds: float = DEADLINE_SECONDS) -> Any:
        call = partial(self._call, asked, seconds)
        return await self._flights.join((asked.is_live, *asked.key), call)

    async def _call(self, asked: _Asked, seconds: float) -> Any:
        who = asked.who
        line = self._turns.live if asked.is_live else self._turns.questions
        try:
            async with self._turns.take(line, whom=who.user.id, seconds=seconds) as api:
                answer = await put(api, who.session, who.user.id, asked.question)
                if asked.question[0] == "content":
                    self._heard_content(asked, answer)
        except SessionGone:
            self._known.end(who.session, "session_ended")
            raise
        except Refused:
            raise Unavailable("Library does not tell you: a privilege is missing") from None
        self._known.used(who.session)
        self._answers.keep(asked.key, answer, only_seconds=asked.only_seconds)
        return answer

    def _heard_content(self, asked: _Asked, content: ContentInfo | None) -> None:
        """Library has said whether they may open it."""
        user_id, (_, project_id, object_id) = asked.who.user.id, map(str, asked.question)
        if not asked.is_live and (content is None or content.type != FIRST_TYPE):
            self._turns.pace.count(user_id)  # it was a call more
        answer = ContentAnswer(user_id, project_id, object_id, content)
        _tell(self._answered, answer)
        if content is None:
            _tell(self._refused, answer)


def _is_enough(kept: Kept | None, asked: _Asked) -> TypeGuard[Kept]:
    """Whether what is kept need not be asked again."""
    return kept is not None and kept.is_fresh and kept.age_seconds <= asked.at_most_seconds_old


def _tell(callbacks: list[Callable[[ContentAnswer], None]], answer: ContentAnswer) -> None:
    for callback in callbacks:
        callback(answer)
