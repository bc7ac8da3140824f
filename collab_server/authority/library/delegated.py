"""The sessions at Library that we have begun for people: one for each, whatever tokens they sign in by.

On a node of several workers the person's keeper says which one that is, and the others do as it says (`keepers`).

Belongs to one event loop; nothing runs here.
"""

from __future__ import annotations

from cachetools import LRUCache

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.calls import Refused, SessionGone
from collab_server.authority.library.cookies import Cookies, Jar
from collab_server.authority.library.keepers import Keepers, Unheard
from collab_server.authority.library.known import KnownSessions
from collab_server.authority.library.turns import Turns
from collab_server.authority.library.upkeep import LogOuts
from collab_server.domain.people import AuthoritySession
from collab_server.errors import Unauthenticated, Unavailable
from collab_server.ports import SignedIn

__all__ = ["Delegated", "not_accepted", "who_is"]

MOST_DELEGATED = 20_000


class Delegated:
    """See the module. `keepers` reach the other workers of the node, if it has some."""

    def __init__(
        self,
        known: KnownSessions,
        turns: Turns,
        log_outs: LogOuts,
        cookies: Cookies,
        keepers: Keepers | None = None,
    ) -> None:
        self._known = known
        self._turns = turns
        self._log_outs = log_outs
        self._cookies = cookies
        self._keepers = keepers
        self._sessions: LRUCache[str, AuthoritySession] = LRUCache(MOST_DELEGATED)  # by user id

    def log_out_unsealed(self) -> None:
        """End those that nobody else may be using, in the background; none where the node has other workers."""
        if self._keepers is not None:
            return
        for session in self._sessions.values():
            delegated = self._known.find(session)
            if delegated is not None and not delegated.is_sealed:
                self._log_outs.later(session)

    async def one_per_user(self, api: LibraryApi, new: SignedIn) -> SignedIn:
        """With the user's one delegated session on this node: an earlier one that still lives, else the new one.

        What is not used of the two is logged out; but not where the keeper may have taken it for the person's, and
        nobody knows.
        """
        try:
            settled = await self._settle_by_keeper(new)
            is_ours = True
        except Unheard:
            settled, is_ours = None, False
        except Unavailable:
            self._log_outs.later(new.session)
            raise
        if settled is None:
            try:
                await self._recall(new.user.id)
                settled = await self._living(api, new) or self._begin(new)
            except BaseException:
                if is_ours:
                    self._log_outs.later(new.session)
                raise
        if is_ours and settled.session != new.session:
            self._log_outs.later(new.session)
        return settled

    async def _settle_by_keeper(self, new: SignedIn) -> SignedIn | None:
        """Which of the two the keeper says; None without one. Raises as `Keepers.settle` does."""
        if self._keepers is None:
            return None
        told = await self._keepers.settle(new, self.session_of(new.user.id))
        if told is None:
            return None
        settled, shown = told
        self._cookies.adopt(shown.session, shown.cookies)
        self._take(settled)
        return settled

    async def settle(self, new: SignedIn, earlier: AuthoritySession | None) -> SignedIn:
        """`one_per_user` for a sign-in at another worker of the node, which knows of this `earlier` session.

        Nothing is logged out: the other worker does so when it has heard.
        """
        if earlier is not None:
            self.hear_begun(new.user.id, earlier)
        await self._recall(new.user.id)
        if self._sessions.get(new.user.id, new.session) == new.session:
            return self._begin(new)
        async with self._turns.take(self._turns.questions, whom=new.user.id) as api:
            return await self._living(api, new) or self._begin(new)

    async def _recall(self, user_id: str) -> None:
        """Learn of a session that others of the node know of, where this worker knows of none."""
        if self._keepers is not None and user_id not in self._sessions:
            shown = await self._keepers.recall(user_id)
            if shown is not None:
                self._known.hear_confirmed(
                    shown.session, shown.timeout_seconds, shown.confirmed_at, shown.cookies
                )
                self.hear_begun(user_id, shown.session)

    def session_of(self, user_id: str) -> AuthoritySession | None:
        """The user's session on this node, as far as this worker knows, and knows it not to be over."""
        session = self._sessions.get(user_id)
        return None if session is None or self._known.why_ended(session) is not None else session

    async def _living(self, api: LibraryApi, new: SignedIn) -> SignedIn | None:
        """The user's earlier session, if there is one that still lives."""
        user_id = new.user.id
        while (earlier := self._sessions.get(user_id)) is not None and earlier != new.session:
            try:
                if self._known.why_ended(earlier) is not None:
                    raise SessionGone(earlier)
                signed_in = await who_is(api, earlier)
            except SessionGone:
                self._known.end(earlier, "session_ended")
                if self._sessions.get(user_id) == earlier:
                    del self._sessions[user_id]
                continue
            self._known.confirm(earlier, signed_in.timeout_seconds)
            return signed_in
        return None

    def _begin(self, new: SignedIn) -> SignedIn:
        """This session is the user's on this node.

        Nothing is awaited since the last look at the one before, so two sign-ins at once agree on one session.
        """
        self._take(new)
        if self._keepers is not None:
            self._known.mark_sealed(new.session)  # other workers use it, and may have made tokens of it
            self._keepers.tell_begun(new.user.id, new.session)
        return new

    def _take(self, new: SignedIn) -> None:
        self._sessions[new.user.id] = new.session
        self._known.confirm(new.session, new.timeout_seconds)

    def hear_begun(self, user_id: str, session: AuthoritySession) -> None:
        """Another worker of the node has begun this session: it is the user's, unless there is one that lives."""
        if self.session_of(user_id) is None:
            self._sessions[user_id] = session


async def who_is(api: LibraryApi, session: AuthoritySession, jar: Jar | None = None) -> SignedIn:
    try:
        user = await api.user_info(session, jar)
        info = await api.session_info(session, jar)
    except Refused:
        raise SessionGone(session) from None
    if info.user.id != user.id:
        raise Unavailable("Library's answer makes no sense")
    return SignedIn(user, session, info.timeout_seconds)


def not_accepted() -> Unauthenticated:
    return Unauthenticated("Library does not accept this token")
