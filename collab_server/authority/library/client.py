"""Library's REST API, one method per call: a typed answer, or one of three refusals.

This is the boundary to `authorizationServerUrl` and the only importer of the HTTP client. A session's token and its
own cookies (`cookies`) are sent explicitly with each call, and what an answer sets is kept for that session: the HTTP
client has no cookie jar, for a shared one would send ann's cookie with bob's call.

Promises: a call answers, or raises, within `DEADLINE_SECONDS`, whether Library is away, slow or frozen;
what Library says is checked before it is believed, and an answer that makes no sense is `Unavailable`,
never a right. Only Library's own word refuses a token or ends a session: the page of a load balancer, a
redirect, a path where there is no Library are `Silent`, and a fault that `health` tells the administrator
of. Any number of calls may run at once, on at most `MOST_CONNECTIONS` connections. `stop()` closes those.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2

from collab_server.authority.library.cookies import SESSION_COOKIE, Cookies, Jar, is_sendable_cookie
from collab_server.authority.library.health import (
    Fault,
    Health,
    Outcome,
    fault_of_connection,
    without_secrets,
)
from collab_server.domain.ids import library_id
from collab_server.domain.letters import clear_name
from collab_server.domain.people import LibrarySession, User
from collab_server.errors import Invalid, Unavailable

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

T = TypeVar("T")

DEADLINE_SECONDS = 2.8  # a sign-in must be refused within 3 s; the rest is for our own work
CONNECT_SECONDS = 2.0  # shorter than a call, so that it is told apart
CALL_SECONDS = 2.6  # for a single one to be given up first, with its reason
MOST_CONNECTIONS = 64
MOST_ANSWER_BYTES = 2_000_000
MOST_ERROR_BYTES = 65_536
MOST_TOKEN_CHARACTERS = 8192
NAME_CHARACTERS = 255
INITIALS_CHARACTERS = 8
MOST_SESSION_SECONDS = 86_400.0  # longer a session is never believed to live unused
DEFAULT_SESSION_SECONDS = 1200  # for a Library that does not say

_TOKEN = re.compile(r"[!-~]+")  # what may go into a header: printable ASCII

PROBED = "/auth/identityToken"
WITH_WORDS = frozenset({"GET /users", "GET /collaboration/recipients"})
"""Calls that carry words of a user, at which a firewall may take offence."""

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
    """Library did not answer: away, frozen or too slow, or something else answers in its place."""


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
        self,
        base_url: str,
        *,
        ssl_context: ssl.SSLContext | None = None,
        cookies: Cookies | None = None,
        health: Health | None = None,
        observe: Callable[[str, Outcome, float], None] = lambda call, outcome, seconds: None,
    ) -> None:
        """`base_url` ends in `/api`. Without `ssl_context` the machine's root certificates are trusted.

        `cookies`: where those of the sessions are kept. `health` is told how each call went, and so is
        `observe(call, outcome, seconds)`; a call is named by method and path, ids left out.
        """
        self._base_url = base_url.rstrip("/")
        self._where = urlsplit(self._base_url).netloc
        self.cookies = cookies or Cookies(base_url)
        self._health = health or Health(has_address=True)
        self._observe = observe
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
            timeout=httpx2.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
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
        return await self._call("POST", "/auth/login", self._session(is_delegated=False), body=body)

    async def delegate(self, identity_token: str) -> LibrarySession:
        """`POST /auth/delegate`: a session of our own for the user who was given that token.

        Raises `Refused` when the token is not valid, or not any more.
        """
        body = {"loginMode": -1, "identityToken": identity_token}
        return await self._call("POST", "/auth/delegate", self._session(is_delegated=True), body=body)

    def _session(self, *, is_delegated: bool) -> Callable[[httpx2.Response], LibrarySession]:
        def understand(response: httpx2.Response) -> LibrarySession:
            session = _session_of(response, is_delegated=is_delegated)
            if set_cookies := response.headers.get_list("Set-Cookie"):
                jar = Jar()
                self.cookies.hear(set_cookies, jar, is_librarys=True)
                self.cookies.put(session, jar)
            return session

        return understand

    async def logout(self, session: LibrarySession) -> None:
        """`POST /auth/logout`. Only for a delegated session: see `Library`."""
        await self._call("POST", "/auth/logout", _nothing, session)

    async def make_identity_token(self, session: LibrarySession) -> str:
        """`POST /auth/identityToken`: a short-lived token that lets another application act for the user."""
        return await self._call("POST", "/auth/identityToken", _identity_token, session)

    async def is_identity_token(self, identity_token: str) -> bool:
        """`GET /auth/identityToken`: whether the token is valid now."""
        headers = {"X-MSTR-IdentityToken": identity_token}
        try:
            await self._call("GET", "/auth/identityToken", _nothing, headers=headers)
        except Refused:
            return False
        return True

    async def probe(self) -> None:
        """`GET /auth/identityToken` without a token: whether it is Library that answers, however it refuses."""
        with contextlib.suppress(Refused):
            await self._call("GET", PROBED, _nothing)

    async def provoke(self) -> None:
        """`POST /auth/identityToken` without a token, which Library refuses: for the cookies of the answer.

        There are balancers that set theirs on answers to POST alone.
        """
        with contextlib.suppress(Refused):
            await self._call("POST", PROBED, _nothing)

    async def session_info(self, session: LibrarySession, jar: Jar | None = None) -> SessionInfo:
        """`GET /sessions`. `jar`: cookies to be tried with the session instead of its own."""
        return await self._call("GET", "/sessions", _session_info, session, jar=jar)

    async def user_info(self, session: LibrarySession, jar: Jar | None = None) -> User:
        """`GET /sessions/userInfo`: whose session it is. `jar` as above."""
        return await self._call(
            "GET", "/sessions/userInfo", lambda response: _user(_object(response)), session, jar=jar
        )

    async def keep_alive(self, session: LibrarySession) -> None:
        """`PUT /sessions`: counts as a use of the session."""
        await self._call("PUT", "/sessions", _nothing, session)

    # --- contents and people, asked as the user

    async def content(
        self, session: LibrarySession, project_id: str, object_id: str, type_: Literal[55, 3]
    ) -> ContentInfo | None:
        """`GET /objects/{id}?type=`: the object, or None when it is not there or the user may not open it."""
        wanted = library_id(object_id, "objectId")
        headers = {"X-MSTR-ProjectID": library_id(project_id, "projectId")}

        def understand(response: httpx2.Response) -> ContentInfo:
            answer = _object(response)
            if _id(answer) != wanted:
                raise _Senseless
            return ContentInfo(wanted, _name(answer), type_)

        try:
            return await self._call(
                "GET", "/objects/{id}", understand, session, id=wanted, query={"type": type_}, headers=headers
            )
        except Refused:
            return None

    async def user(self, session: LibrarySession, user_id: str) -> User | None:
        """`GET /users/{id}`, None when there is no such user."""
        wanted = library_id(user_id, "userId")
        try:
            return await self._call(
                "GET", "/users/{id}", lambda response: _user(_object(response)), session, id=wanted
            )
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

    async def users(
        self, session: LibrarySession, name_begins: str, offset: int, limit: int
    ) -> tuple[User, ...]:
        """`GET /users`: those whose name begins so."""
        query = {"nameBegins": name_begins, "offset": offset, "limit": limit}
        return await self._call("GET", "/users", _users, session, query=query)

    async def group_members(
        self, session: LibrarySession, group_id: str, offset: int, limit: int
    ) -> tuple[User, ...] | None:
        """`GET /usergroups/{id}/members`: its users (not the groups in it), None without such a group."""
        wanted = library_id(group_id, "groupId")
        query = {"offset": offset, "limit": limit}
        try:
            return await self._call(
                "GET", "/usergroups/{id}/members", _members, session, id=wanted, query=query
            )
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

    async def group_name(self, session: LibrarySession, group_id: str) -> str | None:
        """`GET /usergroups/{id}`: what the group is called, None without such a group."""
        wanted = library_id(group_id, "groupId")
        try:
            return await self._call("GET", "/usergroups/{id}", _named, session, id=wanted)
        except Refused as refusal:
            if _is_absence(refusal):
                return None
            raise

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
        return await self._call("GET", "/collaboration/recipients", _recipients, session, query=query)

    # --- the one way out

    async def _call(
        self,
        method: Literal["GET", "POST", "PUT"],
        template: str,
        understand: Callable[[httpx2.Response], T],
        session: LibrarySession | None = None,
        *,
        id: str = "",
        jar: Jar | None = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> T:
        """What `understand` makes of a good answer. Of an error's text nothing is passed on: it may quote a token.

        `{id}` in the path is replaced by `id`; the call is counted under the template.
        """
        call, path = f"{method} {template}", template.replace("{id}", id)
        sent = dict(headers or {})
        if session is not None:
            sent["X-MSTR-AuthToken"] = session.auth_token
            if (cookies := self.cookies.header(session, path, jar)) is not None:
                sent["Cookie"] = cookies
        began = time.monotonic()
        outcome: Outcome = "cancelled"
        try:
            response = await self._send(method, path, query, sent, body)
            fault = _fault_in(response, template, self._base_url)
            if fault is None:
                outcome = _outcome(response, is_in_session=session is not None)
            if set_cookies := response.headers.get_list("Set-Cookie"):
                self._hear(set_cookies, session, jar, is_gone=outcome == "gone", is_librarys=fault is None)
            if fault is not None:
                raise _Faulty(fault)
            if outcome == "gone" and session is not None:
                raise SessionGone(session)
            if outcome == "refused":
                raise Refused(response.status_code)
            understood = understand(response)
        except _Senseless:
            words = (
                f"the answer of {call} makes no sense: is authorizationServerUrl that of Library's REST API?"
            )
            outcome = "senseless"
            self._note(call, Fault("senseless", words))
            raise Unavailable("Library's answer makes no sense") from None
        except _Faulty as faulty:
            outcome = faulty.fault.outcome
            self._note(call, faulty.fault)
            raise Silent from None
        except (Refused, SessionGone):
            self._health.answered(call, time.monotonic() - began)
            raise
        else:
            self._health.answered(call, time.monotonic() - began)
            return understood
        finally:
            self._observe(call, outcome, time.monotonic() - began)

    def _note(self, call: str, fault: Fault) -> None:
        """Let a fault count, unless it may be that of the one object, or of the words, that somebody asked for."""
        if fault.is_general or ("{id}" not in call and call not in WITH_WORDS) or fault.outcome == "redirect":
            self._health.failed(call, fault)

    def _hear(
        self,
        set_cookies: list[str],
        session: LibrarySession | None,
        jar: Jar | None,
        *,
        is_gone: bool,
        is_librarys: bool,
    ) -> None:
        """What an answer sets is the session's, unless it says that there is no such session: see `_session` too.

        Such an answer may come from a member that does not know it, with a cookie that leads there.
        """
        if session is None or is_gone:
            self.cookies.hear(set_cookies, None, is_librarys=is_librarys)
            return
        kept = jar or self.cookies.of(session) or Jar()
        self.cookies.hear(set_cookies, kept, is_librarys=is_librarys)
        if jar is None:
            self.cookies.put(session, kept)

    async def _send(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None,
        headers: dict[str, str],
        body: dict[str, Any] | None,
    ) -> httpx2.Response:
        """The answer, read whole. Raises `_Faulty` where there is none."""
        http = self._http
        if http is None:
            raise _Faulty(Fault("unreachable", "this node is stopping", is_general=True))
        try:
            async with asyncio.timeout(CALL_SECONDS):  # for all of it, however slowly it trickles in
                request = http.build_request(
                    method, self._base_url + path, params=query, headers=headers, json=body
                )
                try:
                    return await _read_whole(http, request)
                except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, _BrokenOff):
                    # Most likely an idle connection that Library closed as we took it. Every call may be made
                    # twice: a session too many lapses by itself.
                    if http.is_closed:
                        raise
                    return await _read_whole(http, request)
        except httpx2.PoolTimeout:
            words = f"all {MOST_CONNECTIONS} connections to Library are busy"
            raise _Faulty(Fault("busy", words, is_general=True)) from None
        except httpx2.ConnectTimeout:
            words = (
                f"no connection to {self._where} within {CONNECT_SECONDS:g} s:"
                " does a firewall swallow it, or is DNS away?"
            )
            raise _Faulty(Fault("unreachable", words, is_general=True)) from None
        except (httpx2.TimeoutException, TimeoutError):
            raise _Faulty(slow(self._where)) from None
        except _BrokenOff:
            words = (
                f"the answers of {self._where} break off or cannot be decoded: see what stands before Library"
            )
            raise _Faulty(Fault("senseless", words, is_general=True)) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
            raise _Faulty(fault_of_connection(error, self._where)) from None


def slow(where: str) -> Fault:
    """Library took too long."""
    words = f"no answer from {where} within {DEADLINE_SECONDS:g} s: is Library overloaded?"
    return Fault("slow", words, is_general=True)


async def _read_whole(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    response = await http.send(request, stream=True)
    try:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MOST_ANSWER_BYTES:
                raise _Senseless
    except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.DecodingError) as error:
        raise _BrokenOff(str(error)) from error
    finally:
        await response.aclose()
    return httpx2.Response(
        response.status_code,
        # As bytes: whoever answers may use any. And what is kept is decoded already.
        headers=[(k, v) for k, v in response.headers.raw if k.lower() != b"content-encoding"],
        content=bytes(content),
    )


# --- whether it is Library that answers


class _Faulty(Exception):
    """There was no answer of Library's own."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


class _BrokenOff(httpx2.TransportError):
    """Of an answer only the head could be read."""


class _Senseless(Exception):
    """It may be Library's, but is not what this call answers."""


def _fault_in(response: httpx2.Response, template: str, base_url: str) -> Fault | None:
    """Why this is no answer of Library itself; None when it is one.

    Library refuses in JSON, `{code, message, ticketId}`. What says 401, 403 or 404 without that is a web server, a load
    balancer, a gateway: it says nothing about a token, a session or an object.
    """
    status, url = response.status_code, base_url + template
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()[:60]
    is_page = bool(response.content) and kind in ("text/html", "application/xhtml+xml")
    if 200 <= status < 300:
        if not is_page:
            return None
        words = f"{status} with {kind} instead of JSON at {url}: check authorizationServerUrl"
        return Fault("page", words)
    if status < 400:
        target = without_secrets(url, response.headers.get("Location", ""))
        words = (
            f"{status} to {target}: authorizationServerUrl has to lead to Library's REST API itself,"
            " not to a login page or another address"
        )
        return Fault("redirect", words)
    is_said_by_library = not is_page and _is_error_of_library(response)
    if is_said_by_library and template == PROBED:
        return None
    if status >= 500:
        if status in (502, 503, 504) and not is_said_by_library:
            words = f"{status} at {base_url}: the load balancer or proxy before Library does not reach it"
            return Fault("error", words, is_general=True)
        return Fault("error", f"{status} at {url}: see the log of Library, or of what stands before it")
    if status == 404 and not (is_said_by_library and "{id}" in template):
        return Fault("wrong_path", f"404 at {url}: check authorizationServerUrl")
    if is_said_by_library and status in (400, 401, 403, 404):
        return None
    words = f"{status} at {url}, and not from Library: what stands before it refuses this node's calls"
    return Fault("page", words)


def _is_error_of_library(response: httpx2.Response) -> bool:
    try:
        body = json.loads(response.content[:MOST_ERROR_BYTES])
    except (ValueError, RecursionError):
        return False
    code = body.get("code") if isinstance(body, dict) else None
    return isinstance(code, str) and (code.startswith("ERR") or "ticketId" in body)


def _outcome(response: httpx2.Response, *, is_in_session: bool) -> Outcome:
    """How Library itself answered."""
    if response.status_code < 300:
        return "ok"
    return "gone" if response.status_code == 401 and is_in_session else "refused"


# --- believing an answer only when it makes sense


def _is_absence(refusal: Refused) -> bool:
    """Whether it says that the object is not there; a missing privilege says nothing about the object."""
    return refusal.status in (400, 404)


def _session_of(response: httpx2.Response, *, is_delegated: bool) -> LibrarySession:
    token = response.headers.get("X-MSTR-AuthToken", "")
    if not is_sendable_token(token):
        raise _Senseless
    cookie = None
    for header in response.headers.get_list("Set-Cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        if name.strip() == SESSION_COOKIE:
            cookie = value.strip()
    if cookie is not None and not is_sendable_cookie(cookie):
        raise _Senseless
    return LibrarySession(token, cookie, is_delegated)


def _nothing(_response: httpx2.Response) -> None:
    """Of some answers only that they are good counts."""


def _identity_token(response: httpx2.Response) -> str:
    token: str = response.headers.get("X-MSTR-IdentityToken", "")
    if not is_sendable_token(token):
        raise _Senseless
    return token


def _session_info(response: httpx2.Response) -> SessionInfo:
    answer = _object(response)
    timeout = answer.get("timeout")
    is_said = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
    seconds = min(timeout, MOST_SESSION_SECONDS) if is_said and timeout else DEFAULT_SESSION_SECONDS
    return SessionInfo(_user(answer), float(seconds))


def _users(response: httpx2.Response) -> tuple[User, ...]:
    return tuple(_user(item) for item in _list(response))


def _named(response: httpx2.Response) -> str:
    return _name(_object(response))


def _members(response: httpx2.Response) -> tuple[User, ...]:
    return tuple(_user(item) for item in _list(response) if not _is_group(item))


def _recipients(response: httpx2.Response) -> tuple[Recipient, ...]:
    return tuple(
        Recipient("group" if _is_group(item) else "user", _id(item), _name(item)) for item in _list(response)
    )


def _json(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise _Senseless from None


def _object(response: httpx2.Response) -> dict[str, Any]:
    answer = _json(response)
    if not isinstance(answer, dict):
        raise _Senseless
    return answer


def _list(response: httpx2.Response) -> list[dict[str, Any]]:
    """The items of a list, bare or as the one list inside an object: Library's calls do it either way."""
    answer = _json(response)
    if isinstance(answer, dict):
        answer = next((value for value in answer.values() if isinstance(value, list)), [])
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise _Senseless
    return answer


def _id(item: dict[str, Any]) -> str:
    value = item.get("id")
    try:
        return library_id(value if isinstance(value, str) else "", "id")
    except Invalid:
        raise _Senseless from None


def _name(item: dict[str, Any]) -> str:
    for key in ("fullName", "name", "username"):
        value = item.get(key)
        if isinstance(value, str) and (name := clear_name(_storable(value), NAME_CHARACTERS)):
            return name
    return _id(item)


def _storable(text: str) -> str:
    """`text` without what UTF-8 cannot take: lone surrogates."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _user(item: dict[str, Any]) -> User:
    name, said = _name(item), item.get("initials")
    words = name.split()
    own = words[0][:1] + (words[-1][:1] if len(words) > 1 else "")
    initials = clear_name(_storable(said), INITIALS_CHARACTERS) if isinstance(said, str) else ""
    return User(_id(item), name, initials or own.upper())


def _is_group(item: dict[str, Any]) -> bool:
    return item.get("isGroup") is True or item.get("subtype") == USER_GROUP or item.get("type") == "group"
