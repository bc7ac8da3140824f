"""The keeper of a person: answers what the other workers of the node bring (`keepers`), and hears what they tell.

Whoever is asked answers by itself, keeper or not, so no question goes in circles. Nothing runs here.
"""

from __future__ import annotations

import json
import math
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

from collab_server.authority.library.cookies import Cookies, Jar
from collab_server.authority.library.delegated import Delegated
from collab_server.authority.library.keepers import Keepers, Shown, as_json, refusal_of, shown_by
from collab_server.authority.library.known import KnownSessions
from collab_server.authority.library.questions import Questions
from collab_server.domain.cookies import Cookie
from collab_server.domain.people import Identity, User
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import Siblings, SignedIn

__all__ = ["Keeper"]

NEVER = datetime.max.replace(tzinfo=UTC)


class Keeper:
    """See the module."""

    def __init__(
        self,
        siblings: Siblings,
        keepers: Keepers,
        known: KnownSessions,
        cookies: Cookies,
        questions: Questions,
        delegated: Delegated,
    ) -> None:
        self._keepers = keepers
        self._known = known
        self._cookies = cookies
        self._questions = questions
        self._delegated = delegated
        siblings.listen(self.answer, self.hear)

    async def answer(self, question: bytes) -> bytes:
        """What `Keepers` understands."""
        asked = json.loads(question)
        try:
            if "sessionOf" in asked:
                told = self._recall(asked["sessionOf"])
            else:
                told = await (self._settle(asked) if "user" in asked else self._ask(asked))
        except (Unauthenticated, Unavailable) as error:
            told = refusal_of(error)
        return json.dumps(told, separators=(",", ":")).encode()

    async def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        shown = self._take_up(asked["session"])
        who = Identity(User(asked["of"], "", ""), shown.session, False, NEVER)
        at_most = math.inf if asked["atMost"] is None else asked["atMost"]
        told = await self._questions.answer(who, tuple(asked["question"]), at_most)
        value = as_json(asked["question"][0], told.value)
        return {"value": value, "saidAt": self._known.clock() - told.age_seconds}

    async def _settle(self, asked: dict[str, Any]) -> dict[str, Any]:
        shown = self._take_up(asked["session"])
        earlier = asked["earlier"] and self._take_up(asked["earlier"]).session
        new = SignedIn(User(*asked["user"]), shown.session, shown.timeout_seconds)
        settled = await self._delegated.settle(new, earlier)
        return {"user": astuple(settled.user), "session": self._keepers.row_of(settled.session)}

    def _recall(self, user_id: str) -> dict[str, Any]:
        session = self._delegated.session_of(user_id)
        return {"session": None if session is None else self._keepers.row_of(session)}

    def _take_up(self, row: list[Any]) -> Shown:
        shown = shown_by(row)
        self._known.hear_confirmed(shown.session, shown.timeout_seconds, shown.confirmed_at, shown.cookies)
        return shown

    def hear(self, word: bytes) -> None:
        """Another worker has used a session, and has these cookies of it now; or it has begun one."""
        told = json.loads(word)
        if "begun" in told:
            self._delegated.hear_begun(told["begun"], self._take_up(told["session"]).session)
            return
        session = self._known.hear_used(bytes.fromhex(told["used"]), told["at"])
        if session is not None and told["cookies"]:
            self._cookies.put(session, Jar(Cookie(*cookie) for cookie in told["cookies"]))
