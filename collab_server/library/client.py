"""Library's REST API, one method per call: a typed answer, or one of three refusals.

This is the boundary to `authorizationServerUrl` and the only importer of the HTTP client. A session's token and its
own cookies (`cookies`) are sent explicitly with each call, and what an answer sets is kept for that session: the HTTP
client has no cookie jar, for a shared one would send ann's cookie with bob's call.

Promises: a call answers, or raises, within `DEADLINE_SECONDS`, whether Library is away, slow or frozen;
what Library says is checked before it is believed, and an answer that makes no sense is `Unavailable`,
never a right. Any number of calls may run at once, on at most `MOST_CONNECTIONS` connections. `stop()`
closes those.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Literal

import httpx2

from collab_server.domain.ids import library_id
from collab_server.domain.people import LibrarySession, User
from collab_server.errors import Invalid, Unavailable
from collab_server.library.cookies import SESSION_COOKIE, Cookies, Jar, is_sendable_cookie

__all__ = [
    "DEADLINE_SECONDS",
    "Client",
    "ContentInfo",
    "Recipient",
    "Refused",
    "SessionGone",
    "SessionInfo",
    "Silent",
    "is_sendable_token",
    "trust",
]

DEADLINE_SECONDS = 2.8  # a sign-in must be refused within 3 s; the rest is for our own work
MOST_CONNECTIONS = 64
MOST_ANSWER_BYTES = 2_000_000
MOST_TOKEN_CHARACTERS = 8192
DEFAULT_SESSION_SECONDS = 1200  # for a Library that does not say

_TOKEN = re.compile(r"[!-~]+")  # what may go into a header: printable ASCII

USER_GROUP = 8705  # Library's subtype of a user group; a user has 8704


@dataclass(frozen=True, slots=True)
class ContentInfo:
    """An object that somebody may open. `type` is 55 (dashboard or document) or 3 (report)."""

    id: str
    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """Somebody, or a group, that can be mentioned or invited. `id` is 32 hex digits in upper case."""

    kind: Literal["user", "group"]
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Whose session it is, and after how many seconds without a call Library ends it."""

    user: User
    timeout_seconds: float


class Silent(Unavailable):
    """Library did not answer at all: away, frozen or too slow."""


class SessionGone(Exception):
    """Library does not know the session any more."""

    def __init__(self, session: LibrarySession) -> None:
        super().__init__("Library does not know the session any more")
        self.session = session


class Refused(Exception):
    """Library refused: a bad token, or a privilege that is missing. `status` is that of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Library refused with status {status}")
        self.status = status


def is_sendable_token(token: str) -> bool:
    """Whether `token` can be a token of Library at all, and so may go into a header or a body."""
    return len(token) <= MOST_TOKEN_CHARACTERS and _TOKEN.fullmatch(token) is not None


def trust(certificates: Iterable[Path]) -> ssl.SSLContext:
    """The TLS context that trusts the machine's own root certificates and those PEM files (`trustedCerts`).

    Raises `OSError` (`ssl.SSLError` is one) where a file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(cafile=certificate)
    return context


class Client:
    """One method per call of Library's REST API.

    Every method may raise `Silent` (no answer) or `Unavailable` (none that makes sense). Those that take a
    session may raise `SessionGone`, and `Refused` where the user lacks a privilege. Ids are 32 hex digits,
    else `Invalid`.
    """

    def __init__(
        self, base_url: str, *, ssl_context: ssl.SSLContext | None = None, cookies: Cookies | None = None
    ) -> None:
        """`base_url` ends in `/api`. Without `ssl_context` the machine's root certificates are trusted.

        `cookies`: where those of the sessions are kept.
        """
        self._base_url = base_url.rstrip("/")
        self.cookies = cookies or Cookies(base_url)
        self._ssl_context = ssl_context
        self._http: httpx2.AsyncClient | None = None

    async def start(self) -> None:
        """Make ready. Opens no connection yet."""
        # Below WARNING these two log whole headers and addresses: tokens, and what people search for.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._http = httpx2.AsyncClient(
            verify=self._ssl_context or ssl.create_default_context(),
            # A jar that takes nothing and gives nothing.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            timeout=DEADLINE_SECONDS,
            # Shorter than servers keep an idle connection, so that few calls meet one that is being closed.
            limits=httpx2.Limits(
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=MOST_CONNECTIONS // 2,
                keepalive_expiry=4.0,
            ),
            follow_redirects=False,
            # Neither a proxy nor a certificate file of the environment may come between us and Library.
            trust_env=False,
            headers={"Accept": "application/json"},
        )

    async def stop(self) -> None:
        """Close the connections; calls that still run end with `Unavailable`."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    # --- signing in and out

    async def login(self, username: str, password: str) -> LibrarySession:
        """`POST /auth/login`. Raises `Refused` for a wrong password."""
        body = {"username": username, "password": password, "loginMode": 1}
        return self._new_session(await self._call("POST", "/auth/login", body=body), is_delegated=False)

    async def delegate(self, identity_token: str) -> LibrarySession:
        """`POST /auth/delegate`: a session of our own for the user who was given that token.

        Raises `Refused` when the token is not valid, or not any more.
        """
        body = {"loginMode": -1, "identityToken": identity_token}
        return self._new_session(await self._call("POST", "/auth/delegate", body=body), is_delegated=True)

    def _new_session(self, response: httpx2.Response, *, is_delegated: bool) -> LibrarySession:
        session = _session_of(response, is_delegated=is_delegated)
        if set_cookies := response.headers.get_list("Set-Cookie"):
            jar = Jar()
            self.cookies.hear(set_cookies, jar, is_librarys=True)
            self.cookies.put(session, jar)
        return session

    async def logout(self, session: LibrarySession) -> None:
        """`POST /auth/logout`. Only for a delegated session: see `Library`."""
        await self._call("POST", "/auth/logout", session)

    async def make_identity_token(self, session: LibrarySession) -> str:
        """`POST /auth/identityToken`: a short-lived token that lets another application act for the user."""
        token = (await self._call("POST", "/auth/identityToken", session)).headers.get(
            "X-MSTR-IdentityToken", ""
        )
        if not is_sendable_token(token):
            raise _senseless()
        return token

    async def is_identity_token(self, identity_token: str) -> bool:
        """`GET /auth/identityToken`: whether the token is valid now."""
        try:
            await self._call("GET", "/auth/identityToken", headers={"X-MSTR-IdentityToken": identity_token})
        except Refused:
            return False
        return True

    async def session_info(self, session: LibrarySession, jar: Jar | None = None) -> SessionInfo:
        """`GET /sessions`. `jar`: cookies to be tried with the session instead of its own."""
        answer = _object(await self._call("GET", "/sessions", session, jar=jar))
        timeout = answer.get("timeout")
        is_said = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
        return SessionInfo(_user(answer), float(timeout) if is_said and timeout else DEFAULT_SESSION_SECONDS)

    async def user_info(self, session: LibrarySession, jar: Jar | None = None) -> User:
        """`GET /sessions/userInfo`: whose session it is. `jar` as above."""
        return _user(_object(await self._call("GET", "/sessions/userInfo", session, jar=jar)))

    async def keep_alive(self, session: LibrarySession) -> None:
        """`PUT /sessions`: counts as a use of the session."""
        await self._call("PUT", "/sessions", session)

    # --- contents and people, asked as the user

    async def content(
        self, session: LibrarySession, project_id: str, object_id: str, type_: Literal[55, 3]
    ) -> ContentInfo | None:
        """`GET /objects/{id}?type=`: the object, or None when it is not there or the user may not open it."""
        wanted = library_id(object_id, "objectId")
        headers = {"X-MSTR-ProjectID": library_id(project_id, "projectId")}
        try:
            response = await self._call(
                "GET", f"/objects/{wanted}", session, query={"type": type_}, headers=headers
            )
        except Refused:
            return None
        answer = _object(response)
        if _id(answer) != wanted:
            raise _senseless()
        return ContentInfo(wanted, _name(answer), type_)

    async def user(self, session: LibrarySession, user_id: str) -> User | None:
        """`GET /users/{id}`, None when there is no such user."""
        try:
            response = await self._call("GET", f"/users/{library_id(user_id, 'userId')}", session)
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise
        return _user(_object(response))

    async def users(
        self, session: LibrarySession, name_begins: str, offset: int, limit: int
    ) -> tuple[User, ...]:
        """`GET /users`: those whose name begins so."""
        query = {"nameBegins": name_begins, "offset": offset, "limit": limit}
        return tuple(_user(item) for item in _list(await self._call("GET", "/users", session, query=query)))

    async def group_members(
        self, session: LibrarySession, group_id: str, offset: int, limit: int
    ) -> tuple[User, ...] | None:
        """`GET /usergroups/{id}/members`: its users (not the groups in it), None without such a group."""
        path = f"/usergroups/{library_id(group_id, 'groupId')}/members"
        try:
            response = await self._call("GET", path, session, query={"offset": offset, "limit": limit})
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise
        return tuple(_user(item) for item in _list(response) if not _is_group(item))

    async def recipients(
        self, session: LibrarySession, search: str, offset: int, limit: int
    ) -> tuple[Recipient, ...]:
        """`GET /collaboration/recipients`: users and groups whose name contains `search`."""
        query: dict[str, str | int] = {
            "searchTerm": search,
            "searchPattern": "CONTAINS",
            "offset": offset,
            "limit": limit,
            "enabledStatus": "ENABLED_ONLY",
        }
        response = await self._call("GET", "/collaboration/recipients", session, query=query)
        return tuple(
            Recipient("group" if _is_group(item) else "user", _id(item), _name(item))
            for item in _list(response)
        )

    # --- the one way out

    async def _call(
        self,
        method: Literal["GET", "POST", "PUT"],
        path: str,
        session: LibrarySession | None = None,
        *,
        jar: Jar | None = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> httpx2.Response:
        """A good answer, read whole. Nothing of an error's text is passed on: it may quote a token."""
        sent = dict(headers or {})
        if session is not None:
            sent["X-MSTR-AuthToken"] = session.auth_token
            if (cookies := self.cookies.header(session, path, jar)) is not None:
                sent["Cookie"] = cookies
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                response = await self._send(method, path, query, sent, body)
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            httpx2.StreamError,
            OSError,
        ):  # TimeoutError is an OSError
            raise Silent from None
        status = response.status_code
        if set_cookies := response.headers.get_list("Set-Cookie"):
            self._hear(set_cookies, status, session, jar)
        if 200 <= status < 300:
            return response
        if status == 401 and session is not None:
            raise SessionGone(session)
        if status in (400, 401, 403, 404):
            raise Refused(status)
        if status in (502, 503, 504):  # a load balancer that does not reach Library
            raise Silent
        raise _senseless()

    def _hear(
        self, set_cookies: list[str], status: int, session: LibrarySession | None, jar: Jar | None
    ) -> None:
        """What an answer sets is the session's, unless it says that there is no such session: see `_new_session` too.

        Such an answer may come from a member that does not know it, with a cookie that leads there.
        """
        if session is None or status == 401:
            jar = None
        elif jar is None:
            jar = self.cookies.of(session) or Jar()
            self.cookies.hear(set_cookies, jar, is_librarys=200 <= status < 300)
            self.cookies.put(session, jar)
            return
        self.cookies.hear(set_cookies, jar, is_librarys=200 <= status < 300)

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None,
        headers: dict[str, str],
        body: dict[str, Any] | None,
    ) -> httpx2.Response:
        http = self._http
        if http is None:
            raise Silent
        request = http.build_request(
            method, self._base_url + path, params=query, headers=headers, json=body, timeout=DEADLINE_SECONDS
        )
        try:
            return await _read_whole(http, request)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # Most likely an idle connection that Library closed as we took it. Every call may be made
            # twice: a session too many lapses by itself.
            if http.is_closed:
                raise
            return await _read_whole(http, request)


async def _read_whole(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    response = await http.send(request, stream=True)
    try:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MOST_ANSWER_BYTES:
                raise _senseless()
    finally:
        await response.aclose()
    return httpx2.Response(
        response.status_code,
        # What is kept is decoded already.
        headers=[(k, v) for k, v in response.headers.multi_items() if k.lower() != "content-encoding"],
        content=bytes(content),
    )


# --- believing an answer only when it makes sense


def _senseless() -> Unavailable:
    return Unavailable("Library's answer makes no sense")


def _is_absence(refusal: Refused) -> bool:
    """Whether it says that the object is not there; a missing privilege says nothing about the object."""
    return refusal.status in (400, 404)


def _session_of(response: httpx2.Response, *, is_delegated: bool) -> LibrarySession:
    token = response.headers.get("X-MSTR-AuthToken", "")
    if not is_sendable_token(token):
        raise _senseless()
    cookie = None
    for header in response.headers.get_list("Set-Cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        if name.strip() == SESSION_COOKIE:
            cookie = value.strip()
    if cookie is not None and not is_sendable_cookie(cookie):
        raise _senseless()
    return LibrarySession(token, cookie, is_delegated)


def _json(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise _senseless() from None


def _object(response: httpx2.Response) -> dict[str, Any]:
    answer = _json(response)
    if not isinstance(answer, dict):
        raise _senseless()
    return answer


def _list(response: httpx2.Response) -> list[dict[str, Any]]:
    """The items of a list, bare or as the one list inside an object: Library's calls do it either way."""
    answer = _json(response)
    if isinstance(answer, dict):
        answer = next((value for value in answer.values() if isinstance(value, list)), [])
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise _senseless()
    return answer


def _id(item: dict[str, Any]) -> str:
    value = item.get("id")
    try:
        return library_id(value if isinstance(value, str) else "", "id")
    except Invalid:
        raise _senseless() from None


def _name(item: dict[str, Any]) -> str:
    for key in ("fullName", "name", "username"):
        value = item.get(key)
        if isinstance(value, str) and (name := _storable(value)):
            return name
    return _id(item)


def _storable(text: str) -> str:
    """`text` without what neither PostgreSQL nor UTF-8 can take: U+0000 and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8").strip()


def _user(item: dict[str, Any]) -> User:
    name, said = _name(item), item.get("initials")
    words = name.split()
    own = words[0][:1] + (words[-1][:1] if len(words) > 1 else "")
    return User(_id(item), name, (_storable(said) if isinstance(said, str) else "") or own.upper())


def _is_group(item: dict[str, Any]) -> bool:
    return item.get("isGroup") is True or item.get("subtype") == USER_GROUP or item.get("type") == "group"
