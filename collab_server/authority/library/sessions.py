"""Library as the services see it: who somebody is, what they may open, and sessions that are watched.

What it adds to the bare calls of `client`:

- *one call in flight per question*, at most `MOST_CALLS_PER_USER` at a time per user; answers are kept for
  60 s, refusals for 5 s;
- *three lines* (`lines`): sign-ins, in turns by where they come from; questions about sessions in use and about what is
  being shown to somebody; all others, in turns by who asks. None can keep another waiting. That a line is full is
  `Busy`, and is never taken for Library's silence;
- *one delegated session per user and node*. A second identity token of the same user is exchanged too, for
  that is what proves it; the surplus session is then logged out in the background and the first one is
  used;
- *sessions in use are kept alive* and so checked, each on a schedule of its own with chance in it, often
  enough that an ended one is noticed within 60 s; all clients of a session share that one check;
- *Library may fall silent*: no session ends before its time for that, and what somebody was allowed to open
  stays allowed for 15 minutes more; what was not asked before is `Unavailable`;
- *that Library has ended a session is told* to the other nodes (`ended`, `hear_ended`), by a digest of it;
- *every call of a session reaches the Library that made it*: with the cookies that its side has set (`cookies`), also
  behind a balancer that keeps sessions together by a cookie of its own;
- *its state is known* (`health`): a question that needs no session is asked at the start, every 5 s while something is
  wrong, and when nothing else has been asked for 30 s.

Which sessions are logged out: only delegated ones, and of those only the surplus and, at the end, those
that no resume token was made of. A resume token seals its session, so any other node may be using it: such
a session is left to lapse by Library's own time-out. An auth token is somebody's browser session, and is
never logged out.

It all runs on one event loop. In the background there are calls in flight, one timer per session in use,
that question, and log-outs; `stop()` ends them within 3 s and lets nothing be asked any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import math
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeVar, cast
from urllib.parse import urlsplit

from cachetools import LRUCache, TTLCache

from collab_server.authority.library.answers import Answers, Flights
from collab_server.authority.library.client import (
    DEADLINE_SECONDS,
    DEFAULT_SESSION_SECONDS,
    MOST_SESSION_SECONDS,
    Client,
    ContentInfo,
    Recipient,
    Refused,
    SessionGone,
    Silent,
    is_sendable_token,
    slow,
)
from collab_server.authority.library.cookies import Cookie, Cookies, Jar, is_sendable_cookie
from collab_server.authority.library.health import Health, Outcome
from collab_server.authority.library.lines import Busy, Line
from collab_server.domain.people import Identity, LibrarySession, User
from collab_server.errors import Unauthenticated, Unavailable

__all__ = ["NOBODY", "Attachment", "ContentAnswer", "Ended", "Library", "Origin", "SignedIn", "Timing"]

log = logging.getLogger(__name__)

T = TypeVar("T")

Ended = Literal["session_ended", "session_expired"]
"""Why a session is over: Library ended it, or it ran out while Library was silent."""

MOST_CALLS_PER_USER = 16
MOST_LOGOUTS_AT_ONCE = 4
MOST_LOGOUTS_WAITING = 1000
MOST_CHECKS_AT_ONCE = 16
MOST_GROUP_MEMBERS = 1000
MOST_AUTH_TOKEN_CHARACTERS = (
    3072  # with 4 KB of cookies still a head that any server takes; Library's have some 30
)
SIGN_INS_AT_ONCE, LIVE_AT_ONCE, QUESTIONS_AT_ONCE = 8, 20, 32
"""How many calls of each kind go on at once; with the log-outs, all connections that there are. Those about sessions in
use, and about what is being shown to somebody, are live: nothing that anybody asks for can keep them waiting."""
DISTRUSTED_AT_ONCE = 2
"""How many of the sign-ins at once may come from where too many tokens came from that were not accepted."""
WAIT_SECONDS = 1.3
"""How long a call waits for its turn, of the time that it has: what is left tells silence from our own crowd."""
MOST_KEPT_BYTES = 64 << 20
MOST_KEPT_OF_ONE_BYTES = 2 << 20
RECIPIENTS_SECONDS = 5.0
"""How long people who were looked for are kept: one types on, and nobody asks the same again."""
LEARN_SECONDS = 60.0
"""How long it is believed that answers to POST set no other cookies than were seen."""
SOONEST_CHECK = 0.6  # of the time between two checks, by chance
STOP_SECONDS = 3.0
PAGE = 200


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things last, in seconds. Tests shorten them; nothing else should."""

    check: float = 45.0  # with 3 s for the call and a second try, below the promised 60 s
    fresh: float = 60.0
    refusal: float = 5.0
    memory: float = 15 * 60.0
    patience: float = 0.25  # what a question that can be answered from memory waits for a silent Library
    look: float = 5.0  # between two looks at whether Library has to be asked how it is
    idle: float = 30.0


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Somebody whom Library has just confirmed; unused for `timeout_seconds`, the session ends."""

    user: User
    session: LibrarySession
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a token comes from; `is_distrusted` if too many came from there that were not accepted."""

    address: str
    is_distrusted: bool = False


NOBODY = Origin("")


@dataclass(slots=True)
class _Known:
    """A session that this node has met. `confirmed_at` is monotonic: its last use that Library accepted."""

    session: LibrarySession
    timeout_seconds: float
    confirmed_at: float
    digest: bytes
    is_sealed: bool = False
    attachments: set[Attachment] = field(default_factory=set)
    timer: asyncio.TimerHandle | None = None

    @property
    def runs_out_at(self) -> float:
        return self.confirmed_at + self.timeout_seconds


@dataclass(frozen=True, slots=True)
class ContentAnswer:
    """What Library said `age_seconds` ago about an object: `content` if the user may open it, else None."""

    user_id: str
    project_id: str
    object_id: str
    content: ContentInfo | None
    age_seconds: float = 0.0


class Attachment:
    """Somebody's use of a session. While one is attached, the session is kept alive and watched."""

    __slots__ = ("_detach", "on_ended")

    def __init__(self, on_ended: Callable[[Ended], None], detach: Callable[[Attachment], None]) -> None:
        self.on_ended = on_ended
        self._detach = detach

    def detach(self) -> None:
        """End the use. May be called more than once; `on_ended` is not called after it."""
        self._detach(self)


class Library:
    """See the module. Every method that asks may raise `Unavailable`, within 3 s."""

    def __init__(
        self,
        base_url: str | None,
        *,
        ssl_context: ssl.SSLContext | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[float, float], float] = random.uniform,
        observe: Callable[[str, Outcome, float], None] = lambda call, outcome, seconds: None,
        ended: Callable[[bytes], None] = lambda digest: None,
    ) -> None:
        """`base_url` is `authorizationServerUrl`; None: every question is `Unavailable`.

        `observe(call, outcome, seconds)` is told of every call of Library, `ended(digest)` of every session that is
        known here and of which Library says that it is over: for the other nodes' `hear_ended`.
        """
        self._cookies = Cookies(base_url)
        self.health = Health(has_address=base_url is not None)
        self._client = None
        if base_url is not None:
            self._client = Client(
                base_url, ssl_context=ssl_context, cookies=self._cookies, health=self.health, observe=observe
            )
        self._where = urlsplit(base_url or "").netloc
        self._look: asyncio.Task[None] | None = None
        self._suspicion = asyncio.Event()
        self._is_known_to_be_wrong = False
        self._timing = timing or Timing()
        self._clock = clock
        self._chance = chance
        self._flights = Flights()
        self._answers = Answers(
            fresh_seconds=self._timing.fresh,
            refusal_seconds=self._timing.refusal,
            memory_seconds=self._timing.memory,
            most_bytes=MOST_KEPT_BYTES,
            share_bytes=MOST_KEPT_OF_ONE_BYTES,
            clock=clock,
        )
        self.on_content_answer: Callable[[ContentAnswer], None] = lambda answer: None
        self.on_content_refused: Callable[[ContentAnswer], None] = lambda answer: None
        self._sign_ins, self._distrusted = Line(SIGN_INS_AT_ONCE), Line(DISTRUSTED_AT_ONCE)
        self._live = Line(LIVE_AT_ONCE)
        self._questions = Line(QUESTIONS_AT_ONCE, each_at_once=MOST_CALLS_PER_USER)
        self._is_silent = False
        self._learnt_at: float | None = None
        # Token and cookie together are the session: a token that came with another's cookie says nothing about it.
        self._in_use: dict[LibrarySession, _Known] = {}
        self._known: LRUCache[LibrarySession, _Known] = LRUCache(50_000)  # those not in use may be forgotten
        self._ended: TTLCache[LibrarySession, Ended] = TTLCache(50_000, MOST_SESSION_SECONDS, clock)
        self._tell_ended = ended
        self._in_use_by_digest: dict[bytes, LibrarySession] = {}
        self._known_by_digest: LRUCache[bytes, LibrarySession] = LRUCache(50_000)
        self._ended_elsewhere: TTLCache[bytes, bool] = TTLCache(50_000, MOST_SESSION_SECONDS, clock)
        self._delegated: LRUCache[str, LibrarySession] = LRUCache(20_000)  # by user id
        self._background: set[asyncio.Task[None]] = set()
        self._logouts: set[asyncio.Task[None]] = set()
        self._logout_turn = asyncio.Semaphore(MOST_LOGOUTS_AT_ONCE)
        self._check_turn = asyncio.Semaphore(MOST_CHECKS_AT_ONCE)
        self._is_stopping = False

    async def start(self) -> None:
        """Make ready. Waits for nothing: Library may be away."""
        if self._client is not None:
            await self._client.start()
        self._look = asyncio.create_task(self._look_after())

    async def _look_after(self) -> None:
        """Find out how Library is when nobody else does, for ever; at once when the first call has gone wrong.

        That tells apart what is wrong with Library from what is wrong with one call, and so when it is over.
        """
        while True:
            self._is_known_to_be_wrong = True  # what goes wrong meanwhile is looked at already
            self._suspicion.clear()
            try:
                if self.health.problem is not None or self.health.silent_seconds > self._timing.idle:
                    with contextlib.suppress(Unavailable):
                        async with self._answer_in_time(self._live) as client:
                            await client.probe()
                self.health.look()
            except Exception:
                log.exception("looking after Library failed")
            self._is_known_to_be_wrong = self.health.problem is not None
            pause = self._chance(0.8, 1.2) * self._timing.look
            await asyncio.sleep(pause / 10)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._suspicion.wait()

    def _suspect(self) -> None:
        if not self._is_known_to_be_wrong:
            self._suspicion.set()

    async def stop(self) -> None:
        """Stop watching, finish the log-outs (3 s in all), close the connections."""
        self._is_stopping = True
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        for known in self._in_use.values():
            if known.timer is not None:
                known.timer.cancel()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._flights.stop()
        for session in self._delegated.values():
            delegated = self._known.get(session)
            if delegated is not None and not delegated.is_sealed:
                self._log_out_later(session)
        if self._logouts:
            _, late = await asyncio.wait(self._logouts, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._client is not None:
            await self._client.stop()

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer at all."""
        return self._is_silent

    # --- signing in

    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        """Exchange an identity token. Raises `Unauthenticated` when Library does not accept it.

        Of those who wait, each `origin` is served in turn.
        """
        if not is_sendable_token(token):
            raise _not_accepted()
        async with self._answer_in_time(*self._lines_of(origin), whom=origin.address) as client:
            try:
                mine = await client.delegate(token)
            except Refused:
                raise _not_accepted() from None
            try:
                return await self._one_per_user(client, await self._who_is(client, mine))
            except SessionGone:
                raise _not_accepted() from None
            except BaseException:
                self._log_out_later(mine)
                raise

    async def sign_in_with_auth_token(
        self, token: str, cookie: str | None, cookie_header: str = "", *, origin: Origin = NOBODY
    ) -> SignedIn:
        """Use somebody's own session. Raises `Unauthenticated` when Library does not accept it.

        `cookie` is the value of `JSESSIONID`. Of the rest of a browser's `cookie_header` Library gets what it has
        itself set, or what stands before it: a session that is known here goes on with the cookies that are kept for
        it, and the browser's are tried where it is refused with those. So are they where the refusal has taught which
        ones count, as happens to a node that has heard nothing from Library yet, or only answers without any.
        """
        can_be_sent = is_sendable_token(token) and len(token) <= MOST_AUTH_TOKEN_CHARACTERS
        if not can_be_sent or not (cookie is None or is_sendable_cookie(cookie)):
            raise _not_accepted()
        session = LibrarySession(token, cookie, is_delegated=False)
        async with self._answer_in_time(*self._lines_of(origin), whom=origin.address) as client:
            if self._learnt_at is None and self._cookies.has_others(cookie_header):
                # Not only once it is refused: it may find its member by chance, and the next call another one.
                await self._learn_names(client)
            jar = self._cookies.of(session) or Jar(self._cookies.pick(cookie_header))
            try:
                signed_in = await self._who_is(client, session, jar)
            except SessionGone:
                shown = Jar(self._cookies.pick(cookie_header))
                is_long_ago = self._learnt_at is None or self._clock() - self._learnt_at > LEARN_SECONDS
                if is_long_ago and jar.has_the_values_of(shown) and self._cookies.has_others(cookie_header):
                    await self._learn_names(client)
                    shown = Jar(self._cookies.pick(cookie_header))
                try:
                    if jar.has_the_values_of(shown):
                        raise
                    signed_in = await self._who_is(client, session, jar := shown)
                except SessionGone:
                    self._end(session, "session_ended")
                    raise _not_accepted() from None
            self._cookies.put(session, jar)
        self._confirm(session, signed_in.timeout_seconds)
        return signed_in

    async def _learn_names(self, client: Client) -> None:
        """Find out whether answers to POST set cookies that no other answer does; one call for all who ask."""

        async def ask() -> None:
            await client.provoke()
            self._learnt_at = self._clock()

        with contextlib.suppress(Unavailable):
            await self._flights.join("names of cookies", ask)

    def library_cookies(self, cookie_header: str) -> tuple[str, ...]:
        """Those of a browser's cookies, as text, that would go to Library beside `JSESSIONID`."""
        return tuple(f"{cookie.name}={cookie.value}" for cookie in self._cookies.pick(cookie_header))

    def _lines_of(self, origin: Origin) -> list[Line]:
        return [self._distrusted, self._sign_ins] if origin.is_distrusted else [self._sign_ins]

    async def confirm(self, session: LibrarySession) -> SignedIn:
        """Ask whose session it is, and so use it. Raises `Unauthenticated` when it is over."""
        self._refuse_ended(session)
        async with self._answer_in_time(self._live) as client:
            try:
                signed_in = await self._who_is(client, session)
            except SessionGone:
                self._end(session, "session_ended")
                raise _not_accepted() from None
        self._confirm(session, signed_in.timeout_seconds)
        return signed_in

    async def _who_is(self, client: Client, session: LibrarySession, jar: Jar | None = None) -> SignedIn:
        try:
            user = await client.user_info(session, jar)
            info = await client.session_info(session, jar)
        except Refused:
            raise SessionGone(session) from None
        if info.user.id != user.id:
            raise Unavailable("Library's answer makes no sense")
        return SignedIn(user, session, info.timeout_seconds)

    async def _one_per_user(self, client: Client, new: SignedIn) -> SignedIn:
        """The user's one delegated session on this node: an earlier one that still lives, else the new one."""
        user_id = new.user.id
        while (earlier := self._delegated.get(user_id)) is not None and earlier != new.session:
            try:
                if self.is_ended(earlier):
                    raise SessionGone(earlier)
                signed_in = await self._who_is(client, earlier)
            except SessionGone:
                self._end(earlier, "session_ended")
                if self._delegated.get(user_id) == earlier:
                    del self._delegated[user_id]
                continue
            self._confirm(earlier, signed_in.timeout_seconds)
            self._log_out_later(new.session)
            return signed_in
        # Nothing is awaited since the look, so two sign-ins at once agree on one session.
        self._delegated[user_id] = new.session
        self._confirm(new.session, new.timeout_seconds)
        return new

    def adopt(
        self,
        session: LibrarySession,
        timeout_seconds: float,
        age_seconds: float,
        cookies: Iterable[Cookie] = (),
    ) -> None:
        """Take on a session that a node, any one, had confirmed `age_seconds` ago, with the cookies it kept."""
        self._cookies.adopt(session, cookies)
        if self._find(session) is None and not self.is_ended(session):
            known = self._meet(session, timeout_seconds, max(age_seconds, 0.0))
            known.is_sealed = True
            if known.digest in self._ended_elsewhere:
                self._forget_ended(known, "session_ended")

    def hear_ended(self, digest: bytes) -> None:
        """Another node was told by Library that the session with this digest is over."""
        session = self._in_use_by_digest.get(digest) or self._known_by_digest.get(digest)
        known = None if session is None else self._find(session)
        if known is None:
            self._ended_elsewhere[digest] = True
        else:
            self._forget_ended(known, "session_ended")

    def _meet(self, session: LibrarySession, timeout_seconds: float, age_seconds: float) -> _Known:
        """Know a session that was not known."""
        known = _Known(
            session,
            min(timeout_seconds, MOST_SESSION_SECONDS),
            self._clock() - age_seconds,
            _digest(session),
        )
        self._known[session] = known
        self._known_by_digest[known.digest] = session
        return known

    def cookies(self, session: LibrarySession) -> list[Cookie]:
        """What has to go along with the session to another node, beside its `JSESSIONID`; the oldest first."""
        return self._cookies.kept(session)

    def mark_sealed(self, session: LibrarySession) -> None:
        """Say that a resume token was made of the session: from now on it is not ours alone to log out."""
        known = self._find(session)
        if known is not None:
            known.is_sealed = True

    def age_seconds(self, session: LibrarySession) -> float | None:
        """How long ago Library confirmed the session, as far as this node knows; None if it does not."""
        known = self._find(session)
        return None if known is None else self._clock() - known.confirmed_at

    def timeout_seconds(self, session: LibrarySession) -> float | None:
        """After how long without a use Library ends the session; None if this node does not know it."""
        known = self._find(session)
        return None if known is None else known.timeout_seconds

    def is_ended(self, session: LibrarySession) -> bool:
        """Whether the session is known to be over."""
        return session in self._ended

    # --- sessions in use

    def attach(
        self, session: LibrarySession, remaining_seconds: float, on_ended: Callable[[Ended], None]
    ) -> Attachment:
        """Keep the session alive, and watch it, until `detach()`.

        `remaining_seconds`: how long it lives by itself, used where this node does not know the session. `on_ended` is
        called at most once, from the event loop, never from within this call.
        """
        attachment = Attachment(on_ended, partial(self._detach, session))
        ended = self._ended.get(session)
        if ended is not None:
            asyncio.get_running_loop().call_soon(_tell, attachment, ended)
            return attachment
        known = self._find(session)
        if known is None:
            lives = max(remaining_seconds, 0.0)
            age = max(DEFAULT_SESSION_SECONDS - lives, 0.0)
            known = self._meet(session, max(DEFAULT_SESSION_SECONDS, lives), age)
        self._in_use[session] = self._known[session] = known
        self._in_use_by_digest[known.digest] = session
        self._cookies.pin(session)
        known.attachments.add(attachment)
        if known.timer is None:
            self._check_later(known)
        return attachment

    def _detach(self, session: LibrarySession, attachment: Attachment) -> None:
        known = self._in_use.get(session)
        if known is None:
            return
        known.attachments.discard(attachment)
        if not known.attachments:
            del self._in_use[session]
            self._in_use_by_digest.pop(known.digest, None)
            self._cookies.unpin(session)
            if known.timer is not None:
                known.timer.cancel()
                known.timer = None

    def _check_later(self, known: _Known, *, soon: bool = False) -> None:
        """Set the session's timer: never later than is promised, nor than the session would run out."""
        every = min(self._timing.check, known.timeout_seconds / 3)
        delay = self._chance(SOONEST_CHECK, 1.0) * every * (0.2 if soon else 1.0)
        left = known.runs_out_at - self._clock()
        delay = min(delay, max(left / 2, 0.1)) if left > 0 else min(delay, 0.1)
        if known.timer is not None:
            known.timer.cancel()  # of who took it up while it was being checked
        known.timer = asyncio.get_running_loop().call_later(delay, self._start_check, known)

    def _start_check(self, known: _Known) -> None:
        if self._is_stopping:
            return
        every = min(self._timing.check, known.timeout_seconds / 3)
        age = self._clock() - known.confirmed_at
        if age < SOONEST_CHECK * every:  # Library was asked something else meanwhile, which is as good
            delay = self._chance(SOONEST_CHECK, 1.0) * every - age
            known.timer = asyncio.get_running_loop().call_later(delay, self._start_check, known)
            return
        self._in_background(self._check(known), self._background)

    async def _check(self, known: _Known) -> None:
        was_silent = False
        try:
            async with self._check_turn, self._answer_in_time(self._live) as client:
                await client.keep_alive(known.session)
        except SessionGone:
            self._end(known.session, "session_ended")
            return
        except Refused:
            pass  # no answer to the question: it says neither that the session lives nor that it is over
        except Unavailable:
            was_silent = True
        else:
            known.confirmed_at = self._clock()
        if known.runs_out_at <= self._clock():
            self._end(known.session, "session_expired")
        elif known.attachments and not self._is_stopping:
            self._check_later(known, soon=was_silent)

    def _end(self, session: LibrarySession, why: Ended) -> None:
        known = self._find(session)
        if known is None:
            return  # only what was a session is remembered as ended: guesses would fill the memory
        self._forget_ended(known, why)
        if why == "session_ended":
            self._tell_ended(known.digest)

    def _forget_ended(self, known: _Known, why: Ended) -> None:
        session = known.session
        self._in_use.pop(session, None)
        self._in_use_by_digest.pop(known.digest, None)
        self._known_by_digest.pop(known.digest, None)
        self._known.pop(session, None)
        self._cookies.forget(session)
        self._ended[session] = why
        if known.timer is not None:
            known.timer.cancel()
        attachments, known.attachments = known.attachments, set()
        for attachment in attachments:
            _tell(attachment, why)

    def _confirm(self, session: LibrarySession, timeout_seconds: float) -> None:
        known = self._find(session)
        if known is None:
            self._ended.pop(session, None)
            known = self._meet(session, timeout_seconds, 0.0)
            self._ended_elsewhere.pop(known.digest, None)
        else:
            known.timeout_seconds = min(timeout_seconds, MOST_SESSION_SECONDS)
            known.confirmed_at = self._clock()

    def _find(self, session: LibrarySession) -> _Known | None:
        return self._in_use.get(session) or self._known.get(session)

    def _refuse_ended(self, session: LibrarySession) -> None:
        if self.is_ended(session):
            raise _session_over()

    def _log_out_later(self, session: LibrarySession) -> None:
        """Log a delegated session out in the background; where too many wait already, it lapses by itself."""
        if session.is_delegated and len(self._logouts) < MOST_LOGOUTS_WAITING:
            self._in_background(self._log_out(session), self._logouts)

    async def _log_out(self, session: LibrarySession) -> None:
        if self._client is None:
            return
        async with self._logout_turn:
            try:
                await self._client.logout(session)
            except (Unavailable, Refused, SessionGone):
                log.debug("a surplus session was not logged out; Library will end it")
        self._cookies.forget(session)

    def _in_background(self, work: Coroutine[Any, Any, None], where: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(work)
        where.add(task)
        task.add_done_callback(partial(_finished, where))

    # --- what the services ask

    async def may_open(
        self, who: Identity, project_id: str, object_id: str, *, at_most_seconds_old: float = math.inf
    ) -> ContentInfo | None:
        """The object, if the user may open it; None when they may not, or it does not exist.

        Ids are 32 hex digits in upper case. An answer older than `at_most_seconds_old` is asked for again while it is
        still fresh; who says so asks about what is being shown to the user. Raises `Unauthenticated` when the user's
        session is over.
        """

        async def ask(client: Client, session: LibrarySession) -> ContentInfo | None:
            content = await client.content(session, project_id, object_id, 55)
            content = content or await client.content(session, project_id, object_id, 3)
            answer = ContentAnswer(who.user.id, project_id, object_id, content)
            self.on_content_answer(answer)
            if content is None:
                self.on_content_refused(answer)
            return content

        question = ("content", project_id, object_id)
        return await self._ask(who, question, ask, at_most_seconds_old=at_most_seconds_old)

    def hear(self, answer: ContentAnswer) -> None:
        """Believe what another node was told, for as long as that one would."""
        question = (answer.user_id, "content", answer.project_id, answer.object_id)
        self._answers.keep(question, answer.content, age_seconds=answer.age_seconds)
        if answer.content is None and self._remembers_refusal(question):
            self.on_content_refused(answer)

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

    async def user(self, who: Identity, user_id: str) -> User | None:
        """The user with that id, as the asker sees them; None when there is none."""
        return await self._ask(who, ("user", user_id), lambda client, session: client.user(session, user_id))

    async def users(
        self, who: Identity, name_begins: str, *, offset: int = 0, limit: int = PAGE
    ) -> tuple[User, ...]:
        """The users whose name begins so, as the asker sees them."""
        question = ("users", name_begins, offset, limit)
        found = await self._ask(
            who, question, lambda c, session: c.users(session, name_begins, offset, limit)
        )
        return found or ()

    async def group_members(
        self, who: Identity, group_id: str, most: int = MOST_GROUP_MEMBERS
    ) -> tuple[User, ...] | None:
        """The users in a group, without those of groups in it; where they are more than `most`, not all of them.

        None when there is no such group; `Unavailable` also where the asker lacks the privilege to know.
        """

        async def ask(client: Client, session: LibrarySession) -> tuple[User, ...] | None:
            members: list[User] = []
            for offset in range(0, most + 1, PAGE):
                page = await client.group_members(session, group_id, offset, PAGE)
                if page is None:
                    return None
                members += page
                if len(page) < PAGE:
                    break
            return tuple(members)

        return await self._ask(who, ("members", group_id), ask)

    async def group_name(self, who: Identity, group_id: str) -> str | None:
        """What Library calls a group; None where it does not say, or not to the asker."""

        async def ask(client: Client, session: LibrarySession) -> str | None:
            try:
                return await client.group_name(session, group_id)
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
            lambda c, session: c.recipients(session, search, offset, limit),
            only_seconds=RECIPIENTS_SECONDS,
        )
        return tuple(one for one in found or () if kind is None or one.kind == kind)

    async def _ask(
        self,
        who: Identity,
        question: tuple[str | int, ...],
        ask: Callable[[Client, LibrarySession], Coroutine[Any, Any, T | None]],
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
            self._refuse_ended(who.session)
            kept = self._answers.get(key)
            if kept is not None and kept.is_fresh and kept.age_seconds <= at_most_seconds_old:
                return cast("T | None", kept.value)
            try:
                # A silent Library is asked again at each question, but who can be answered from memory waits no longer
                # than that; the call goes on without them.
                async with asyncio.timeout(
                    self._timing.patience if kept is not None and self._is_silent else None
                ):
                    call = partial(self._call, who, key, ask, only_seconds, is_live=is_live)
                    return await self._flights.join((is_live, *key), call)
            except SessionGone as gone:
                # The call in flight may have been made with another session of the same user, and that one is over:
                # then ask with our own.
                if gone.session == who.session:
                    raise _session_over() from None
            except (Silent, TimeoutError):
                remembered = self._answers.get(key)
                if remembered is None or remembered.value is None:
                    raise Silent from None
                return cast("T | None", remembered.value)

    async def _call(
        self,
        who: Identity,
        key: tuple[str | int, ...],
        ask: Callable[[Client, LibrarySession], Coroutine[Any, Any, T | None]],
        only_seconds: float | None,
        *,
        is_live: bool,
    ) -> T | None:
        line = self._live if is_live else self._questions
        try:
            async with self._answer_in_time(line, whom=who.user.id) as client:
                answer = await ask(client, who.session)
        except SessionGone:
            self._end(who.session, "session_ended")
            raise
        except Refused:
            raise Unavailable("Library does not tell you: a privilege is missing") from None
        known = self._find(who.session)
        if known is not None:
            known.confirmed_at = self._clock()
        self._answers.keep(key, answer, only_seconds=only_seconds)
        return answer

    @asynccontextmanager
    async def _answer_in_time(self, *lines: Line, whom: str = "") -> AsyncIterator[Client]:
        """Bound the work inside to 3 s, and note whether Library is silent.

        Raises `Silent` when time is up, and `Busy` when the work had not begun after `WAIT_SECONDS`.
        """
        if self._client is None:
            raise Unavailable("no Library is configured (authorizationServerUrl)")
        has_begun = False
        try:
            async with asyncio.timeout(DEADLINE_SECONDS), AsyncExitStack() as turn:
                async with asyncio.timeout(WAIT_SECONDS):
                    for line in lines:
                        await turn.enter_async_context(line.turn(whom))
                has_begun = True
                yield self._client
        except TimeoutError:
            if not has_begun:
                raise Busy from None
            self._is_silent = True
            self.health.failed("several calls", slow(self._where))
            self._suspect()
            raise Silent from None
        except Silent:
            self._is_silent = True
            self._suspect()
            raise
        except (Refused, SessionGone):
            self._is_silent = False
            raise
        else:
            self._is_silent = False


def _digest(session: LibrarySession) -> bytes:
    """By what nodes tell each other of a session; nobody learns it from that."""
    parts = [session.auth_token, session.cookie, session.is_delegated]
    return hashlib.sha256(json.dumps(parts).encode()).digest()


def _tell(attachment: Attachment, why: Ended) -> None:
    try:
        attachment.on_ended(why)
    except Exception:
        log.exception("what had to follow the end of a session failed")


def _finished(where: set[asyncio.Task[None]], task: asyncio.Task[None]) -> None:
    where.discard(task)
    if not task.cancelled() and (failure := task.exception()) is not None:
        log.error("a background call to Library failed", exc_info=failure)


def _not_accepted() -> Unauthenticated:
    return Unauthenticated("Library does not accept this token")


def _session_over() -> Unauthenticated:
    return Unauthenticated("your Library session is over: sign in again")
