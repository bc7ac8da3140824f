"""Names: what people are called today, kept whenever their authority has said it of somebody who signs in.

What it promises: whatever is read afterwards shows that name, within moments, on all nodes. Who is called as before
costs one read a minute at most. Nobody waits for it to be stored; while the database is away it waits here, of
`MOST_WAITING` people at most, and of others it is learnt at their next sign-in.

One task, `run`, owned by the composition root.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice

from cachetools import TTLCache
from typing_extensions import override

from collab_server.domain.cookies import Cookie
from collab_server.domain.jsontext import now_ms
from collab_server.domain.people import AuthoritySession, User
from collab_server.errors import ClientError
from collab_server.ports import NOBODY, Ended, Origin, SessionUse, SignedIn, SignsIn
from collab_server.storage import people
from collab_server.storage.database import Database
from collab_server.storage.people import Met

__all__ = ["Names"]

log = logging.getLogger(__name__)

MOST_WAITING = 20_000
MOST_RECENT = 50_000
RECENT_SECONDS = 60.0
AT_ONCE = 500
AGAIN_SECONDS = 2.0
COMPLAINT_SECONDS = 60.0


class Names:
    """Those whom this node hears of."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._waiting: dict[str, Met] = {}
        self._recent: TTLCache[str, User] = TTLCache(MOST_RECENT, RECENT_SECONDS)
        self._wake = asyncio.Event()
        self._complaint_at = 0.0

    def heard_by(self, sessions: SignsIn) -> SignsIn:
        """The same way to sign in, of which this hears what people are called."""
        return _Heard(sessions, self)

    def hear(self, user: User) -> None:
        """The authority has just said that somebody is called so. Never waits, never raises."""
        if self._recent.get(user.id) == user or len(self._waiting) >= MOST_WAITING:
            return
        self._waiting[user.id] = Met(user, now_ms())
        self._wake.set()

    async def run(self) -> None:
        """Keep what was heard, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while some := tuple(islice(self._waiting.values(), AT_ONCE)):
                try:
                    await self._store(some)
                except ClientError:
                    await asyncio.sleep(AGAIN_SECONDS)  # the database is away
                    continue
                for met in some:
                    self._recent[met.user.id] = met.user
                    if self._waiting[met.user.id] is met:
                        del self._waiting[met.user.id]

    async def _store(self, some: Sequence[Met]) -> None:
        """Keep them; a name that cannot be kept, whatever an authority may have said, keeps no other from it.

        Raises `ClientError` when the database is away.
        """
        try:
            await self._database.run(partial(people.store, met=some))
        except ClientError:
            raise
        except Exception as error:
            if len(some) > 1:
                for one in some:
                    await self._store((one,))
            else:
                self._complain(some[0].user, error)

    def _complain(self, user: User, error: Exception) -> None:
        """A line of one: what keeps this name from being stored may keep everybody's, again and again."""
        now = self._clock()
        if now >= self._complaint_at:
            self._complaint_at = now + COMPLAINT_SECONDS
            log.error("what somebody is called was not kept", exc_info=error, extra={"user": user.id})


class _Heard(SignsIn):
    """`SignsIn` as it was, and whom it confirms is heard of."""

    def __init__(self, sessions: SignsIn, names: Names) -> None:
        self._sessions = sessions
        self._names = names

    def _hear(self, signed_in: SignedIn) -> SignedIn:
        self._names.hear(signed_in.user)
        return signed_in

    @property
    @override
    def is_silent(self) -> bool:
        return self._sessions.is_silent

    @override
    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        return self._hear(await self._sessions.sign_in_with_identity_token(token, origin=origin))

    @override
    async def sign_in_with_auth_token(
        self, token: str, cookie: str | None, cookie_header: str = "", *, origin: Origin = NOBODY
    ) -> SignedIn:
        signed_in = await self._sessions.sign_in_with_auth_token(token, cookie, cookie_header, origin=origin)
        return self._hear(signed_in)

    @override
    async def confirm(self, session: AuthoritySession) -> SignedIn:
        return self._hear(await self._sessions.confirm(session))

    @override
    def cookies_that_count(self, cookie_header: str) -> tuple[str, ...]:
        return self._sessions.cookies_that_count(cookie_header)

    @override
    def adopt(
        self,
        session: AuthoritySession,
        timeout_seconds: float,
        age_seconds: float,
        cookies: Iterable[Cookie] = (),
    ) -> None:
        self._sessions.adopt(session, timeout_seconds, age_seconds, cookies)

    @override
    def cookies(self, session: AuthoritySession) -> Sequence[Cookie]:
        return self._sessions.cookies(session)

    @override
    def mark_sealed(self, session: AuthoritySession) -> None:
        self._sessions.mark_sealed(session)

    @override
    def age_seconds(self, session: AuthoritySession) -> float | None:
        return self._sessions.age_seconds(session)

    @override
    def timeout_seconds(self, session: AuthoritySession) -> float | None:
        return self._sessions.timeout_seconds(session)

    @override
    def is_ended(self, session: AuthoritySession) -> bool:
        return self._sessions.is_ended(session)

    @override
    def attach(
        self, session: AuthoritySession, remaining_seconds: float, on_ended: Callable[[Ended], None]
    ) -> SessionUse:
        return self._sessions.attach(session, remaining_seconds, on_ended)
