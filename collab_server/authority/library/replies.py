"""What an HTTP answer says: whether it is Library's at all, and what is in it.

What Library says is checked before it is believed: an answer that makes no sense is never a right. Only Library's own
word refuses a token or ends a session; the page of a load balancer, a redirect, a path where there is no Library are a
`Fault`, in words for the administrator. Of an error's text nothing is passed on: it may quote a token. Pure.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import httpx2

from collab_server.authority.library.health import Fault, Outcome, without_secrets
from collab_server.domain.contents import ContentInfo
from collab_server.domain.cookies import SESSION_COOKIE, is_sendable_cookie
from collab_server.domain.ids import library_id
from collab_server.domain.letters import clear_name, whole_span
from collab_server.domain.people import AuthoritySession, Recipient, User
from collab_server.errors import Invalid

MOST_ERROR_BYTES = 65_536
MOST_TOKEN_CHARACTERS = 8192
NAME_CHARACTERS = 255
INITIALS_CHARACTERS = 8
MOST_SESSION_SECONDS = 86_400.0  # longer a session is never believed to live unused
DEFAULT_SESSION_SECONDS = 1200  # for a Library that does not say
USER_GROUP = 8705  # Library's subtype of a user group; a user has 8704

PROBED = "/auth/identityToken"

_CODE_OF_OURS = re.compile(r"[a-z_]+")
"""A node of this server answers where authorizationServerUrl leads to one."""
_TOKEN = re.compile(r"[!-~]+")  # what may go into a header: printable ASCII


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """Whose session it is, and after how many seconds without a call Library ends it."""

    user: User
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class PrivilegeInfo:
    """Where somebody holds a privilege: everywhere, or in these projects."""

    everywhere: bool
    projects: frozenset[str]


NO_PRIVILEGE = PrivilegeInfo(False, frozenset())


class Senseless(Exception):
    """It may be Library's, but is not what this call answers."""


def is_sendable_token(token: str) -> bool:
    """Whether `token` can be a token of Library at all, and so may go into a header or a body."""
    return len(token) <= MOST_TOKEN_CHARACTERS and _TOKEN.fullmatch(token) is not None


def fault_in(response: httpx2.Response, template: str, base_url: str) -> Fault | None:
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
    return (
        isinstance(code, str)
        and (code.startswith("ERR") or "ticketId" in body)
        and _CODE_OF_OURS.fullmatch(code) is None
    )


def outcome_of(response: httpx2.Response, *, is_in_session: bool) -> Outcome:
    """How Library itself answered."""
    if response.status_code < 300:
        return "ok"
    return "gone" if response.status_code == 401 and is_in_session else "refused"


# --- believing an answer only when it makes sense


def session_of(response: httpx2.Response, *, is_delegated: bool) -> AuthoritySession:
    token = response.headers.get("X-MSTR-AuthToken", "")
    if not is_sendable_token(token):
        raise Senseless
    cookie = None
    for header in response.headers.get_list("Set-Cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        if name.strip() == SESSION_COOKIE:
            cookie = value.strip()
    if cookie is not None and not is_sendable_cookie(cookie):
        raise Senseless
    return AuthoritySession(token, cookie, is_delegated)


def nothing(_response: httpx2.Response) -> None:
    """Of some answers only that they are good counts."""


def identity_token(response: httpx2.Response) -> str:
    token: str = response.headers.get("X-MSTR-IdentityToken", "")
    if not is_sendable_token(token):
        raise Senseless
    return token


def session_info(response: httpx2.Response) -> SessionInfo:
    answer = _object(response)
    timeout = answer.get("timeout")
    is_said = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
    seconds = min(timeout, MOST_SESSION_SECONDS) if is_said and timeout else DEFAULT_SESSION_SECONDS
    return SessionInfo(_user(answer), float(seconds))


def privilege(response: httpx2.Response) -> PrivilegeInfo:
    answer = _object(response)
    projects = answer.get("projects")
    held = [
        _id(project)
        for project in (projects if isinstance(projects, list) else [])
        if isinstance(project, dict) and project.get("isAllowed") is True
    ]
    return PrivilegeInfo(answer.get("isUserLevelAllowed") is True, frozenset(held))


def memberships(response: httpx2.Response) -> tuple[str, ...]:
    groups = _object(response).get("memberships")
    return tuple(
        _id(group) for group in (groups if isinstance(groups, list) else []) if isinstance(group, dict)
    )


def users(response: httpx2.Response) -> tuple[User, ...]:
    return tuple(_user(item) for item in _list(response))


def named(response: httpx2.Response) -> str:
    return _name(_object(response))


@dataclass(frozen=True, slots=True)
class Members:
    """What is in a group, or a page of it: users, and the ids of groups."""

    users: tuple[User, ...]
    groups: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        return len(self.users) + len(self.groups)


def members(response: httpx2.Response) -> Members:
    items = _list(response)
    return Members(
        tuple(_user(item) for item in items if not _is_group(item)),
        tuple(_id(item) for item in items if _is_group(item)),
    )


def recipients(response: httpx2.Response) -> tuple[Recipient, ...]:
    return tuple(
        Recipient("group" if _is_group(item) else "user", _id(item), _name(item)) for item in _list(response)
    )


def _json(response: httpx2.Response) -> Any:
    try:
        return json.loads(response.content)
    except (ValueError, RecursionError):
        raise Senseless from None


def _object(response: httpx2.Response) -> dict[str, Any]:
    answer = _json(response)
    if not isinstance(answer, dict):
        raise Senseless
    return answer


def _list(response: httpx2.Response) -> list[dict[str, Any]]:
    """The items of a list, bare or as the one list inside an object: Library's calls do it either way."""
    answer = _json(response)
    if isinstance(answer, dict):
        answer = next((value for value in answer.values() if isinstance(value, list)), [])
    if not isinstance(answer, list) or not all(isinstance(item, dict) for item in answer):
        raise Senseless
    return answer


def _id(item: dict[str, Any]) -> str:
    value = item.get("id")
    try:
        return library_id(value if isinstance(value, str) else "", "id")
    except Invalid:
        raise Senseless from None


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
    own = "".join(word[slice(*whole_span(word, 0, 1))] for word in (words[0], *words[1:][-1:]))
    initials = clear_name(_storable(said), INITIALS_CHARACTERS) if isinstance(said, str) else ""
    return User(_id(item), name, initials or own.upper())


def user(response: httpx2.Response) -> User:
    return _user(_object(response))


def content(response: httpx2.Response, wanted: str, type: int) -> ContentInfo:
    """The object that was asked for, and no other."""
    answer = _object(response)
    if _id(answer) != wanted:
        raise Senseless
    return ContentInfo(wanted, _name(answer), type)


def _is_group(item: dict[str, Any]) -> bool:
    return item.get("isGroup") is True or item.get("subtype") == USER_GROUP or item.get("type") == "group"
