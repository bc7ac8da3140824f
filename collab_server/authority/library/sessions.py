"""Signing in at Library, and the sessions there that people use: `SignsIn` by delegated and by shared sessions.

- *one delegated session per user and node*. A second identity token of the same user is exchanged too, for that is
  what proves it; the surplus session is then logged out in the background and the first one is used. Where the node
  has several workers, the person's keeper says which one that is (`keepers`);
- *every call of a session reaches the Library that made it*: with the cookies that its side has set (`cookies`), also
  behind a balancer that keeps sessions together by a cookie of its own;
- *sessions in use are kept alive* and so checked (`upkeep`); what is known of each is in `known`.

Belongs to one event loop. Every method that asks raises `Unavailable` within 3 s where there is no answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Refused, SessionGone
from collab_server.authority.library.cookies import Cookies, Jar
from collab_server.authority.library.delegated import Delegated, not_accepted, who_is
from collab_server.authority.library.known import KnownSessions
from collab_server.authority.library.replies import is_sendable_token
from collab_server.authority.library.turns import Turns
from collab_server.authority.library.upkeep import LogOuts, Upkeep
from collab_server.domain.cookies import Cookie, is_sendable_cookie
from collab_server.domain.flights import Flights
from collab_server.domain.people import AuthoritySession
from collab_server.errors import Unavailable
from collab_server.ports import NOBODY, Ended, Origin, SessionUse, SignedIn

__all__ = ["Sessions"]

MOST_AUTH_TOKEN_CHARACTERS = (
    3072  # with 4 KB of cookies still a head that any server takes; Library's have some 30
)
LEARN_SECONDS = 60.0
"""How long it is believed that answers to POST set no other cookies than were seen."""


class Sessions:
    """See the module."""

    def __init__(
        self,
        known: KnownSessions,
        turns: Turns,
        upkeep: Upkeep,
        log_outs: LogOuts,
        cookies: Cookies,
        delegated: Delegated,
    ) -> None:
        self._known = known
        self._turns = turns
        self._upkeep = upkeep
        self._log_outs = log_outs
        self._cookies = cookies
        self._delegated = delegated
        self._flights = Flights()
        self._learnt_at: float | None = None

    async def stop(self) -> None:
        """Keep nothing alive any more; finish the log-outs, within 3 s."""
        await self._upkeep.stop()
        await self._flights.stop()
        self._delegated.log_out_unsealed()
        await self._log_outs.stop()

    @property
    def is_silent(self) -> bool:
        """Whether the last question got no answer at all."""
        return self._turns.is_silent

    # --- signing in

    async def sign_in_with_identity_token(self, token: str, *, origin: Origin = NOBODY) -> SignedIn:
        """Exchange an identity token. Raises `Unauthenticated` when Library does not accept it.

        Of those who wait, each `origin` is served in turn.
        """
        if not is_sendable_token(token):
            raise not_accepted()
        async with self._turns.take(*self._turns.of(origin), whom=origin.address) as api:
            try:
                mine = await api.delegate(token)
            except Refused:
                raise not_accepted() from None
            try:
                new = await who_is(api, mine)
            except SessionGone:
                raise not_accepted() from None
            except BaseException:
                self._log_outs.later(mine)
                raise
            return await self._delegated.one_per_user(api, new)

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
            raise not_accepted()
        session = AuthoritySession(token, cookie, is_delegated=False)
        async with self._turns.take(*self._turns.of(origin), whom=origin.address) as api:
            if self._learnt_at is None and self._cookies.has_others(cookie_header):
                # Not only once it is refused: it may find its member by chance, and the next call another one.
                await self._learn_names(api)
            jar = self._cookies.of(session) or Jar(self._cookies.pick(cookie_header))
            try:
                signed_in = await who_is(api, session, jar)
            except SessionGone:
                shown = Jar(self._cookies.pick(cookie_header))
                is_long_ago = self._learnt_at is None or self._known.clock() - self._learnt_at > LEARN_SECONDS
                if is_long_ago and jar.has_the_values_of(shown) and self._cookies.has_others(cookie_header):
                    await self._learn_names(api)
                    shown = Jar(self._cookies.pick(cookie_header))
                try:
                    if jar.has_the_values_of(shown):
                        raise
                    signed_in = await who_is(api, session, jar := shown)
                except SessionGone:
                    self._known.end(session, "session_ended")
                    raise not_accepted() from None
            self._cookies.put(session, jar)
        self._known.confirm(session, signed_in.timeout_seconds)
        return signed_in

    async def _learn_names(self, api: LibraryApi) -> None:
        """Find out whether answers to POST set cookies that no other answer does; one call for all who ask."""

        async def ask() -> None:
            await api.provoke()
            self._learnt_at = self._known.clock()

        with contextlib.suppress(Unavailable):
            await self._flights.join("names of cookies", ask)

    def cookies_that_count(self, cookie_header: str) -> tuple[str, ...]:
        """Those of a browser's cookies, as text, that would go to Library beside `JSESSIONID`."""
        return tuple(f"{cookie.name}={cookie.value}" for cookie in self._cookies.pick(cookie_header))

    async def confirm(self, session: AuthoritySession) -> SignedIn:
        """Ask whose session it is, and so use it. Raises `Unauthenticated` when it is over."""
        self._known.refuse_ended(session)
        async with self._turns.take(self._turns.live) as api:
            try:
                signed_in = await who_is(api, session)
            except SessionGone:
                self._known.end(session, "session_ended")
                raise not_accepted() from None
        self._known.confirm(session, signed_in.timeout_seconds)
        return signed_in

    # --- what is known of sessions

    def adopt(
        self,
        session: AuthoritySession,
        timeout_seconds: float,
        age_seconds: float,
        cookies: Iterable[Cookie] = (),
    ) -> None:
        """Take on a session that a node, any one, had confirmed `age_seconds` ago, with the cookies it kept."""
        self._known.adopt(session, timeout_seconds, age_seconds, cookies)

    def cookies(self, session: AuthoritySession) -> list[Cookie]:
        """What has to go along with the session to another node, beside its `JSESSIONID`; the oldest first."""
        return self._cookies.kept(session)

    def mark_sealed(self, session: AuthoritySession) -> None:
        """Say that a resume token was made of the session: from now on it is not ours alone to log out."""
        self._known.mark_sealed(session)

    def age_seconds(self, session: AuthoritySession) -> float | None:
        """How long ago Library confirmed the session, as far as this node knows; None if it does not."""
        known = self._known.find(session)
        return None if known is None else self._known.clock() - known.confirmed_at

    def timeout_seconds(self, session: AuthoritySession) -> float | None:
        """After how long without a use Library ends the session; None if this node does not know it."""
        known = self._known.find(session)
        return None if known is None else known.timeout_seconds

    def is_ended(self, session: AuthoritySession) -> bool:
        """Whether the session is known to be over."""
        return self._known.why_ended(session) is not None

    def attach(
        self, session: AuthoritySession, remaining_seconds: float, on_ended: Callable[[Ended], None]
    ) -> SessionUse:
        """See `SignsIn`."""
        return self._upkeep.attach(session, remaining_seconds, on_ended)
