"""The rights watch: whoever may no longer open the content that they are subscribed to is put out within a minute.

The authority's answers are believed for a while; those about what is being shown to somebody are renewed before, so
that a storm of questions finds them fresh. Where it says no, to whichever node and for whatever reason, the
subscription ends at once. While it is silent, what it said before holds for a while; after that nobody knows, and
nothing is delivered. Members who are removed from a discussion are put out by the feed. Where the configuration names
circles of people who may comment, whoever has come into one or has left is told by `topic.rights`, as soon.

One task, `run`, owned by the composition root; at most `AT_ONCE` questions at a time.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

from collab_server.domain.people import Identity
from collab_server.domain.topics import content_topic
from collab_server.errors import ClientError, Unavailable
from collab_server.ports import FRESH_SECONDS, ContentAnswer, Gate
from collab_server.services.commenting import Commenting
from collab_server.services.hub import Hub, Listener
from collab_server.services.live.audience import Audience
from collab_server.services.live.subscriptions import Subscriptions

ROUND_SECONDS = 5.0
RENEWED_AFTER_SECONDS = (36.0, 44.0)
"""Where an answer counts for `FRESH_SECONDS`, else in proportion: late, for each costs a call, but with the time of a
round and a call left. When is left to chance, or all who came together would be asked about together until they leave.
"""
AT_ONCE = 16

log = logging.getLogger(__name__)


class RightsWatch:
    """Asks `gate` again and again for those in `hub`; `chance(least, most)`
    spreads when."""

    def __init__(
        self,
        hub: Hub,
        gate: Gate,
        subscriptions: Subscriptions,
        commenting: Commenting,
        audience: Audience,
        chance: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._hub = hub
        self._gate = gate
        self._subscriptions = subscriptions
        self._commenting = commenting
        self._audience = audience
        self._chance = chance
        least, most = RENEWED_AFTER_SECONDS
        longer = gate.fresh_seconds / FRESH_SECONDS
        self._renewed_after_seconds = (least * longer, most * longer)
        gate.on_refused(self._close)

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await asyncio.sleep(ROUND_SECONDS * self._chance(0.8, 1.2))
            await self.renew()

    async def renew(self) -> None:
        """One round: ask about whatever was not asked about for long."""
        due: dict[tuple[str, str], Identity] = {}
        for listener in self._hub.listeners.values():
            for name in listener.topics:
                if name.startswith("content:"):
                    age_seconds = self._gate.content_age_seconds(listener.who.user.id, *name.split(":")[1:])
                    if age_seconds is None or age_seconds > self._chance(*self._renewed_after_seconds):
                        due[listener.who.user.id, name] = listener.who
        turn = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._check(turn, who, name) for (_, name), who in due.items()))
        if not self._commenting.is_for_all:
            await self._renew_commenting(turn)

    async def _renew_commenting(self, turn: asyncio.Semaphore) -> None:
        """Whoever may comment now, or no more, where they are subscribed: a question for each project, kept as others
        are."""
        asked: dict[tuple[str, str], list[tuple[Listener, str]]] = {}
        for listener in self._hub.listeners.values():
            for name in listener.topics:
                if name.startswith("content:"):
                    asked.setdefault((listener.who.user.id, name.split(":")[1]), []).append((listener, name))
        await asyncio.gather(
            *(self._check_commenting(turn, project_id, places) for (_, project_id), places in asked.items())
        )

    async def _check_commenting(
        self, turn: asyncio.Semaphore, project_id: str, places: Sequence[tuple[Listener, str]]
    ) -> None:
        async with turn:
            try:
                role = await self._commenting.role(places[0][0].who, project_id)
            except ClientError:
                return  # nobody knows: what was known before goes on
            except Exception:
                log.exception("who may comment was not checked")
                return
        for listener, name in places:
            standing = listener.topics.get(name)
            if standing is not None and standing.role != role:
                self._audience.stand(listener, name, replace(standing, role=role))

    async def _check(self, turn: asyncio.Semaphore, who: Identity, name: str) -> None:
        """Ask Library again; where it says no, `_close` is called."""
        _, project_id, object_id = name.split(":")
        async with turn:
            is_known = self._gate.content_age_seconds(who.user.id, project_id, object_id) is not None
            try:
                if self._gate.is_silent and not is_known:
                    raise Unavailable
                await self._gate.may_open(
                    who, project_id, object_id, at_most_seconds_old=self._renewed_after_seconds[0]
                )
            except Unavailable:
                if not is_known:
                    self._end(who.user.id, name, "nobody could say for too long")
            except ClientError:
                pass  # the session is over, and its end is on the way
            except Exception:
                log.exception("a right was not checked")

    def _close(self, answer: ContentAnswer) -> None:
        topic = content_topic(answer.project_id, answer.object_id)
        self._end(answer.user_id, topic.name, "refused")

    def _end(self, user_id: str, topic: str, why: str) -> None:
        if closed := self._subscriptions.close(user_id, topic, "rights lost"):
            facts = {"user": user_id, "topic": topic, "why": why, "subscriptions": closed}
            log.info("a right was lost", extra=facts)
