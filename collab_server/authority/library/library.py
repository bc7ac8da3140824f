"""Library as the services see it: who somebody is, what they may open, and sessions that are watched.

The parts, downwards: `sessions` (`SignsIn`) over `upkeep` and `known`; `questions` (`Gate` and `Directory`) over
`answers`; both ask in `turns`, through `api`, `calls` and `replies`; `cookies` and `health` go along with every call.
What one node is told of rights and ended sessions it passes on to the others (`rights`). On a node of several workers
one asks for a person (`keepers`, `keeper`).

It all runs on one event loop. In the background there are calls in flight, one timer per session in use, a look after
Library, and log-outs; `stop()` ends them within 3 s and lets nothing be asked any more.
"""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from urllib.parse import urlsplit

from collab_server.authority.library.answers import Answers
from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Observe
from collab_server.authority.library.cookies import Cookies
from collab_server.authority.library.delegated import Delegated
from collab_server.authority.library.health import Health
from collab_server.authority.library.keeper import Keeper
from collab_server.authority.library.keepers import Keepers
from collab_server.authority.library.known import KnownSessions
from collab_server.authority.library.questions import Questions
from collab_server.authority.library.rights import SharedRights
from collab_server.authority.library.sessions import Sessions
from collab_server.authority.library.turns import Lookout, Turns
from collab_server.authority.library.upkeep import LogOuts, Upkeep
from collab_server.domain.hints import Kind
from collab_server.ports import FRESH_SECONDS, Authority, AuthoritySetup, Siblings

__all__ = ["Library", "Timing", "open_library"]

MOST_KEPT_BYTES = 64 << 20
MOST_KEPT_OF_ONE_BYTES = 2 << 20


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things last, in seconds. Tests shorten them; nothing else should."""

    check: float = (
        51.0  # with 3 s for the call below the promised 60 s, and later than what is on screens is renewed
    )
    fresh: float = FRESH_SECONDS
    rights: float = FRESH_SECONDS  # `fresh` as others are told, who ask again before
    refusal: float = 5.0
    memory: float = 15 * 60.0
    patience: float = 0.25  # what a question that can be answered from memory waits for a silent Library
    look: float = 5.0  # between two looks at whether Library has to be asked how it is
    idle: float = 30.0


class Library:
    """See the module."""

    def __init__(
        self,
        base_url: str | None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        observe: Observe = lambda call, outcome, seconds: None,
        ended: Callable[[bytes], None] = lambda digest: None,
        siblings: Siblings | None = None,
    ) -> None:
        """`base_url` is `authorizationServerUrl`; None: every question is `Unavailable`.

        `observe(call, outcome, seconds)` is told of every call of Library, `ended(digest)` of every session that is
        known here and of which Library says that it is over: for the other nodes' `hear_ended`. `siblings` are the
        other workers of the node, if it has some.
        """
        timing = timing or Timing()
        cookies = Cookies(base_url)
        self.health = Health(has_address=base_url is not None)
        self._api = None
        if base_url is not None:
            self._api = LibraryApi(
                base_url, ssl_context=ssl_context, cookies=cookies, health=self.health, observe=observe
            )
        turns = Turns(self._api, self.health, where=urlsplit(base_url or "").netloc)
        self.waiting = turns.waiting
        self._lookout = Lookout(
            turns, look_seconds=timing.look, idle_seconds=timing.idle, chance=random.uniform
        )
        self._known = KnownSessions(cookies, told=ended, clock=clock)
        keepers = None if siblings is None else Keepers(siblings, self._known, cookies)
        if keepers is not None:
            self._known.on_use(keepers.tell_use)
        upkeep = Upkeep(self._known, turns, check_seconds=timing.check, chance=random.uniform)
        log_outs = LogOuts(turns, cookies)
        delegated = Delegated(self._known, turns, log_outs, cookies, keepers)
        self.sessions = Sessions(self._known, turns, upkeep, log_outs, cookies, delegated)
        answers = Answers(
            fresh_seconds=timing.fresh,
            refusal_seconds=timing.refusal,
            memory_seconds=timing.memory,
            most_bytes=MOST_KEPT_BYTES,
            share_bytes=MOST_KEPT_OF_ONE_BYTES,
            clock=clock,
        )
        self.questions = Questions(
            turns,
            self._known,
            answers,
            patience_seconds=timing.patience,
            fresh_seconds=timing.rights,
            keepers=keepers,
        )
        if siblings is not None and keepers is not None:
            Keeper(siblings, keepers, self._known, cookies, self.questions, delegated)

    def as_authority(self) -> Authority:
        """What the services are given of it."""
        return Authority("Library", self.sessions, self.questions, self.questions, life=self)

    @property
    def problem(self) -> str | None:
        """What is wrong, in words for the administrator; None while all is well."""
        return self.health.problem

    @property
    def latency_seconds(self) -> float | None:
        """How long its last answer took."""
        return self.health.latency_seconds

    def hear_ended(self, _node: str, digest: bytes) -> None:
        """Another node was told by Library that the session with this digest is over."""
        self._known.hear_ended(digest)

    async def start(self) -> None:
        """Make ready. Waits for nothing: Library may be away."""
        if self._api is not None:
            await self._api.start()
        self._lookout.start()

    async def stop(self) -> None:
        """Stop watching, finish the log-outs (3 s in all), close the connections."""
        await self._lookout.stop()
        await self.questions.stop()
        await self.sessions.stop()
        if self._api is not None:
            await self._api.stop()


def open_library(setup: AuthoritySetup) -> Authority:
    """The authority of the kind `library`: what nodes are told of rights and of ended sessions they tell each other."""
    bus = setup.bus
    usual = Timing()
    longer = setup.fresh_seconds / FRESH_SECONDS
    library = Library(
        setup.url,
        ssl_context=setup.tls,
        timing=replace(
            usual, rights=setup.fresh_seconds, fresh=usual.fresh * longer, check=usual.check * longer
        ),
        observe=setup.observe,
        ended=partial(bus.publish, Kind.SESSION_ENDED),
        siblings=setup.siblings,
    )
    bus.listen(Kind.SESSION_ENDED, library.hear_ended)
    SharedRights(library.questions, bus, most_age_seconds=setup.fresh_seconds)
    return library.as_authority()
