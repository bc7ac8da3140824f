"""Library's REST API, one method per call: a typed answer, or one of three refusals (`calls`)."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import Literal

import httpx2

from collab_server.authority.library import replies
from collab_server.authority.library.calls import Call, Calls, Observe, Refused
from collab_server.authority.library.cookies import Cookies, Jar
from collab_server.authority.library.health import Health
from collab_server.authority.library.replies import (
    NO_PRIVILEGE,
    PROBED,
    Members,
    PrivilegeInfo,
    SessionInfo,
)
from collab_server.domain.contents import ContentInfo
from collab_server.domain.ids import library_id
from collab_server.domain.people import AuthoritySession, Recipient, User

__all__ = ["LibraryApi"]


class LibraryApi:
    """One method per call of Library's REST API.

    Every method may raise `Silent` (no answer) or `Unavailable` (none that makes sense). Those that take a
    session may raise `SessionGone`, and `Refused` where the user lacks a privilege. Ids are 32 hex digits,
    else `Invalid`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        cookies: Cookies | None = None,
        health: Health | None = None,
        observe: Observe = lambda call, outcome, seconds: None,
    ) -> None:
        """`cookies`: where those of the sessions are kept. For the others see `Calls`."""
        self.cookies = cookies or Cookies(base_url)
        self._calls = Calls(
            base_url,
            cookies=self.cookies,
            health=health or Health(has_address=True),
            ssl_context=ssl_context,
            observe=observe,
        )

    async def start(self) -> None:
        """Make ready. Opens no connection yet."""
        await self._calls.start()

    async def stop(self) -> None:
        """Close the connections; calls that still run end with `Unavailable`."""
        await self._calls.stop()

    # --- signing in and out

    async def login(self, username: str, password: str) -> AuthoritySession:
        """`POST /auth/login`. Raises `Refused` for a wrong password."""
        body = {"username": username, "password": password, "loginMode": 1}
        return await self._calls.make(
            Call("POST", "/auth/login", body=body), self._session(is_delegated=False)
        )

    async def delegate(self, identity_token: str) -> AuthoritySession:
        """`POST /auth/delegate`: a session of our own for the user who was given that token.

        Raises `Refused` when the token is not valid, or not any more.
        """
        body = {"loginMode": -1, "identityToken": identity_token}
        return await self._calls.make(
            Call("POST", "/auth/delegate", body=body), self._session(is_delegated=True)
        )

    def _session(self, *, is_delegated: bool) -> Callable[[httpx2.Response], AuthoritySession]:
        def understand(response: httpx2.Response) -> AuthoritySession:
            session = replies.session_of(response, is_delegated=is_delegated)
            if set_cookies := response.headers.get_list("Set-Cookie"):
                jar = Jar()
                self.cookies.hear(set_cookies, jar, is_librarys=True)
                self.cookies.put(session, jar)
            return session

        return understand

    async def logout(self, session: AuthoritySession) -> None:
        """`POST /auth/logout`. Only for a delegated session: see `Library`."""
        await self._calls.make(Call("POST", "/auth/logout", session), replies.nothing)

    async def make_identity_token(self, session: AuthoritySession) -> str:
        """`POST /auth/identityToken`: a short-lived token that lets another application act for the user."""
        return await self._calls.make(Call("POST", "/auth/identityToken", session), replies.identity_token)

    async def is_identity_token(self, identity_token: str) -> bool:
        """`GET /auth/identityToken`: whether the token is valid now."""
        headers = {"X-MSTR-IdentityToken": identity_token}
        try:
            await self._calls.make(Call("GET", "/auth/identityToken", headers=headers), replies.nothing)
        except Refused:
            return False
        return True

    async def probe(self) -> None:
        """`GET /auth/identityToken` without a token: whether it is Library that answers, however it refuses."""
        with contextlib.suppress(Refused):
            await self._calls.make(Call("GET", PROBED), replies.nothing)

    async def provoke(self) -> None:
        """`POST /auth/identityToken` without a token, which Library refuses: for the cookies of the answer.

        There are balancers that set theirs on answers to POST alone.
        """
        with contextlib.suppress(Refused):
            await self._calls.make(Call("POST", PROBED), replies.nothing)

    async def session_info(self, session: AuthoritySession, jar: Jar | None = None) -> SessionInfo:
        """`GET /sessions`. `jar`: cookies to be tried with the session instead of its own."""
        return await self._calls.make(Call("GET", "/sessions", session, jar=jar), replies.session_info)

    async def user_info(self, session: AuthoritySession, jar: Jar | None = None) -> User:
        """`GET /sessions/userInfo`: whose session it is. `jar` as above."""
        return await self._calls.make(Call("GET", "/sessions/userInfo", session, jar=jar), replies.user)

    async def keep_alive(self, session: AuthoritySession) -> None:
        """`PUT /sessions`: counts as a use of the session."""
        await self._calls.make(Call("PUT", "/sessions", session), replies.nothing)

    # --- contents and people, asked as the user

    async def content(
        self, session: AuthoritySession, project_id: str, object_id: str, type_: Literal[55, 3]
    ) -> ContentInfo | None:
        """`GET /objects/{id}?type=`: the object, or None when it is not there or the user may not open it."""
        wanted = library_id(object_id, "objectId")
        headers = {"X-MSTR-ProjectID": library_id(project_id, "projectId")}

        call = Call("GET", "/objects/{id}", session, id=wanted, query={"type": type_}, headers=headers)
        try:
            return await self._calls.make(call, lambda response: replies.content(response, wanted, type_))
        except Refused:
            return None

    async def user(self, session: AuthoritySession, user_id: str) -> User | None:
        """`GET /users/{id}`, None when there is no such user."""
        wanted = library_id(user_id, "userId")
        try:
            return await self._calls.make(Call("GET", "/users/{id}", session, id=wanted), replies.user)
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

    async def users(
        self, session: AuthoritySession, name_begins: str, offset: int, limit: int
    ) -> tuple[User, ...]:
        """`GET /users`: those whose name begins so."""
        query = {"nameBegins": name_begins, "offset": offset, "limit": limit}
        return await self._calls.make(Call("GET", "/users", session, query=query), replies.users)

    async def group_members(
        self, session: AuthoritySession, group_id: str, offset: int, limit: int
    ) -> Members | None:
        """`GET /usergroups/{id}/members`: the users and groups in it, None without such a group."""
        wanted = library_id(group_id, "groupId")
        query = {"offset": offset, "limit": limit}
        try:
            return await self._calls.make(
                Call("GET", "/usergroups/{id}/members", session, id=wanted, query=query), replies.members
            )
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

    async def group_name(self, session: AuthoritySession, group_id: str) -> str | None:
        """`GET /usergroups/{id}`: what the group is called, None without such a group."""
        wanted = library_id(group_id, "groupId")
        try:
            return await self._calls.make(Call("GET", "/usergroups/{id}", session, id=wanted), replies.named)
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

    async def privilege(self, session: AuthoritySession, privilege_id: str) -> PrivilegeInfo:
        """`GET /sessions/privileges/{id}`: where the user holds that privilege; nowhere if Library does not know it."""
        call = Call("GET", "/sessions/privileges/{id}", session, id=privilege_id)
        try:
            return await self._calls.make(call, replies.privilege)
        except Refused:
            return NO_PRIVILEGE

    async def groups_of_user(self, session: AuthoritySession, user_id: str) -> tuple[str, ...]:
        """`GET /users/{id}`: the ids of the groups that the user is in; none where Library does not tell."""
        return await self._groups_in(Call("GET", "/users/{id}", session, id=library_id(user_id, "userId")))

    async def groups_of_group(self, session: AuthoritySession, group_id: str) -> tuple[str, ...]:
        """`GET /usergroups/{id}`: the ids of the groups that the group is in; none where Library does not tell."""
        return await self._groups_in(
            Call("GET", "/usergroups/{id}", session, id=library_id(group_id, "groupId"))
        )

    async def _groups_in(self, call: Call) -> tuple[str, ...]:
        try:
            return await self._calls.make(call, replies.memberships)
        except Refused:
            return ()

    async def recipients(
        self, session: AuthoritySession, search: str, offset: int, limit: int
    ) -> tuple[Recipient, ...]:
        """`GET /collaboration/recipients`: users and groups whose name contains `search`."""
        query: dict[str, str | int] = {
            "searchTerm": search,
            "searchPattern": "CONTAINS",
            "offset": offset,
            "limit": limit,
            "enabledStatus": "ENABLED_ONLY",
        }
        return await self._calls.make(
            Call("GET", "/collaboration/recipients", session, query=query), replies.recipients
        )


def _is_absence(refusal: Refused) -> bool:
    """Whether it says that the object is not there; a missing privilege says nothing about the object."""
    return refusal.status in (400, 404)
