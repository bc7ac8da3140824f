"""A stand-in for MicroStrategy Library's REST API. NOT FOR PRODUCTION: every password is the login.

It is for people who try the server without Library, and for tests. It answers the calls that the server makes
of Library, under `/api` and under `/MicroStrategyLibrary/api`, for the people, groups and projects of a data
file. What Library does not have is kept apart, under `/standin` (and `/MicroStrategyLibrary/standin`):

    GET  /standin/people       who can sign in
    GET  /standin/dashboards   what the asking session may open
    GET  /standin/sessions     {"open": n, "byPerson": {login: n}}
    GET  /standin/calls        {"GET /sessions/userInfo": n, ...}
    POST /standin/access       {"objectId", "openTo": [login] | null}: who may open an object from now on
    POST /standin/privileges   {"person": login, "privileges": {id: [projectId] | null}}: what they hold; null: anywhere
    POST /standin/end-sessions {"person": login}: end all their sessions, as an administrator of Library would
    POST /standin/people       {"login", "fullName", "initials"}: somebody new, or what somebody is called from now on
    DELETE /standin/people/{login}  their account ends, and their sessions with it
    POST /standin/groups       {"id", "name", "members": [login], "groups": [id]}: a group, or what is in it from now on

Pages of `localhost` and `127.0.0.1`, on any port, may call all of it and read the tokens: for whoever develops one.

Promises: a session ends after `session_timeout_seconds` without a call, an identity token after
`identity_token_seconds`; a token sent with another session's JSESSIONID is refused. Everything is in memory
and touched by one event loop only; nothing runs in the background, and stopping needs nothing.

Balanced, it is what the product's help recommends: several members behind a load balancer, which keeps a session
with its member by a cookie of its own and renews that on every answer. Members do not share their sessions; a
request without the cookie goes to the next member in turn, which most likely does not know the session. An identity
token is signed and good on every member. What is under `/standin` is about all of them together.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import itertools
import json
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab_server.config import problems_of
from collab_server.domain.cookies import SESSION_COOKIE, find_cookie

__all__ = ["LibraryData", "create_members", "create_standin", "load_data", "serve_standin"]

BASES = ("/MicroStrategyLibrary", "")
ROUTE_COOKIE = "LIBRARYROUTE"
MOST_SESSIONS = 20_000
BUILT_IN = Path(__file__).with_name("library.json")
PAGES = r"https?://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?"
"""Origins of pages that somebody develops on this machine."""
TOKENS = ("X-MSTR-AuthToken", "X-MSTR-IdentityToken")
USER, GROUP = 8704, 8705  # Library's subtypes of its object type 34

LibraryId = Field(pattern=r"^[0-9A-F]{32}$")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Person(_Model):
    """Somebody who can sign in. The password is the login."""

    login: str
    id: str = LibraryId
    fullName: str
    initials: str
    privileges: dict[str, tuple[str, ...] | None] = {}
    """By their ids: in which projects; None is in all."""


class Group(_Model):
    """A user group; `members` are logins, `groups` the ids of groups in it, whether there are such or not any more."""

    id: str = LibraryId
    name: str
    members: tuple[str, ...]
    groups: tuple[str, ...] = ()


class Content(_Model):
    """An object: type 55 a dashboard, 3 a report. `openTo` lists logins; absent means everybody."""

    id: str = LibraryId
    name: str
    type: int
    openTo: tuple[str, ...] | None = None


class Project(_Model):
    """A project and what is in it."""

    id: str = LibraryId
    name: str
    objects: tuple[Content, ...]


class LibraryData(_Model):
    """The data file."""

    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    projects: tuple[Project, ...]

    @model_validator(mode="after")
    def _logins_exist(self) -> Self:
        named = {login for group in self.groups for login in group.members}
        named |= {
            login for project in self.projects for item in project.objects for login in item.openTo or ()
        }
        unknown = named - {person.login for person in self.people}
        if unknown:
            raise ValueError(f"nobody among the people has the login {', '.join(sorted(unknown))}")
        return self


def load_data(path: Path | None = None) -> LibraryData:
    """The data of the file at `path`, by default the one in the package.

    Raises `OSError`, or `ValueError` with a line for each thing that is wrong in it.
    """
    text = (path or BUILT_IN).read_text(encoding="utf-8")
    try:
        return LibraryData.model_validate_json(text)
    except ValidationError as error:
        raise ValueError("\n".join(str(problem) for problem in problems_of(error))) from None


@dataclass(slots=True)
class _Session:
    person: Person
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    cookie: str = field(default_factory=lambda: secrets.token_hex(16).upper())
    last_used: float = field(default_factory=time.monotonic)


class _Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def _session_gone() -> _Refusal:
    return _Refusal(401, "ERR009", "The user's session has expired, please reauthenticate.")


def _not_found() -> _Refusal:
    return _Refusal(404, "ERR004", "The object was not found, or you do not have access to it.")


class _StandIn:
    """The state, and one method per call. A member of several shares with the `first` one all but its sessions."""

    def __init__(
        self,
        data: LibraryData,
        session_timeout_seconds: float,
        identity_token_seconds: float,
        first: _StandIn | None = None,
    ) -> None:
        self.data = data
        self.session_timeout_seconds = session_timeout_seconds
        self.identity_token_seconds = identity_token_seconds
        self.sessions: dict[str, _Session] = {}
        self.peers: list[_StandIn]
        if first is None:
            self.people = {person.login: person for person in data.people}
            self.groups = {group.id: group for group in data.groups}
            self.open_to = {item.id: item.openTo for project in data.projects for item in project.objects}
            self.privileges = {person.login: person.privileges for person in data.people}
            self.calls: Counter[str] = Counter()
            self._key = secrets.token_bytes(32)
            self.peers = []
        else:
            self.people, self.groups = first.people, first.groups
            self.open_to, self.calls, self._key = first.open_to, first.calls, first._key
            self.privileges = first.privileges
            self.peers = first.peers
        self.peers.append(self)

    # --- sessions

    def session(self, request: Request) -> _Session:
        """The session of the request, used now. A cookie may be missing, but must not be another's."""
        session = self.sessions.get(request.headers.get("x-mstr-authtoken", ""))
        if session is None or not self._is_alive(session):
            raise _session_gone()
        cookie = find_cookie(_cookie_header(request.scope), SESSION_COOKIE)
        if cookie is not None and cookie != session.cookie:
            raise _session_gone()
        session.last_used = time.monotonic()
        return session

    def _is_alive(self, session: _Session) -> bool:
        if time.monotonic() - session.last_used <= self.session_timeout_seconds:
            return True
        self.sessions.pop(session.token, None)
        return False

    def _open_session(self, person: Person) -> Response:
        while len(self.sessions) >= MOST_SESSIONS:
            self.sessions.pop(next(iter(self.sessions)))
        session = _Session(person)
        self.sessions[session.token] = session
        response = Response(status_code=204, headers={"X-MSTR-AuthToken": session.token})
        # Library's own cookie is for its context path; with `/` the server beside it gets the cookie as well.
        response.set_cookie(SESSION_COOKIE, session.cookie, path="/", httponly=True, samesite="lax")
        return response

    def _signature(self, claims: bytes) -> str:
        return hmac.digest(self._key, claims, hashlib.sha256).hex()

    def _identity(self, token: str) -> Person:
        claims, _, signature = token.partition(".")
        if hmac.compare_digest(
            self._signature(claims.encode(errors="replace")).encode(), signature.encode(errors="replace")
        ):
            login, ends_at, _ = json.loads(base64.urlsafe_b64decode(claims))
            if ends_at > time.monotonic() and login in self.people:
                return self.people[login]
        raise _Refusal(401, "ERR003", "The identity token is not valid, or has expired.")

    async def login(self, request: Request) -> Response:
        body = await _body(request)
        person = self.people.get(str(body.get("username")))
        if person is None or body.get("password") != person.login:
            raise _Refusal(401, "ERR003", "Login failure: wrong user name or password.")
        return self._open_session(person)

    async def logout(self, request: Request) -> Response:
        self.sessions.pop(self.session(request).token)
        return Response(status_code=204)

    async def make_identity_token(self, request: Request) -> Response:
        session = self.session(request)
        ends_at = time.monotonic() + self.identity_token_seconds
        claims = json.dumps([session.person.login, ends_at, secrets.token_hex(8)])
        encoded = base64.urlsafe_b64encode(claims.encode())
        token = f"{encoded.decode()}.{self._signature(encoded)}"
        return Response(status_code=201, headers={"X-MSTR-IdentityToken": token})

    async def check_identity_token(self, request: Request) -> Response:
        self._identity(request.headers.get("x-mstr-identitytoken", ""))
        return Response(status_code=200)

    async def delegate(self, request: Request) -> Response:
        body = await _body(request)
        if body.get("loginMode") != -1:
            raise _Refusal(400, "ERR005", "loginMode must be -1.")
        return self._open_session(self._identity(str(body.get("identityToken"))))

    async def get_session(self, request: Request) -> Response:
        person = self.session(request).person
        return JSONResponse(
            _shown(person)
            | {"locale": 1033, "displayLocale": 1033, "timeout": int(self.session_timeout_seconds)}
        )

    async def keep_session(self, request: Request) -> Response:
        self.session(request)
        return Response(status_code=204)

    async def user_info(self, request: Request) -> Response:
        return JSONResponse(_shown(self.session(request).person) | {"metadataUser": True})

    # --- contents

    def _may_open(self, person: Person, content: Content) -> bool:
        open_to = self.open_to[content.id]
        return open_to is None or person.login in open_to

    async def get_object(self, request: Request) -> Response:
        session = self.session(request)
        project_id = request.headers.get("x-mstr-projectid")
        if project_id is None:
            raise _Refusal(400, "ERR001", "The header X-MSTR-ProjectID is missing.")
        wanted = request.path_params["id"].upper(), request.query_params.get("type")
        for project in self.data.projects:
            for item in project.objects if project.id == project_id.upper() else ():
                if (item.id, str(item.type)) == wanted and self._may_open(session.person, item):
                    return JSONResponse(
                        {"id": item.id, "name": item.name, "type": item.type, "acg": 255, "extType": 0}
                    )
        raise _not_found()

    async def get_projects(self, request: Request) -> Response:
        self.session(request)
        return JSONResponse(
            [
                {"id": project.id, "name": project.name, "alias": "", "status": 0}
                for project in self.data.projects
            ]
        )

    # --- people

    async def recipients(self, request: Request) -> Response:
        self.session(request)
        pattern = request.query_params.get("searchPattern", "CONTAINS_ANY_WORD")
        term = request.query_params.get("searchTerm", "").casefold()
        fits = _PATTERNS.get(pattern)
        if fits is None:
            raise _Refusal(400, "ERR005", "There is no such searchPattern.")
        found: list[dict[str, Any]] = [
            {"id": person.id, "name": person.fullName, "type": 34, "subtype": USER, "isGroup": False}
            for person in self.people.values()
            if fits(person.fullName.casefold(), term) or fits(person.login.casefold(), term)
        ]
        found += [_listed_group(group) for group in self.groups.values() if fits(group.name.casefold(), term)]
        return JSONResponse({"recipients": _page(request, found), "totalItems": len(found)})

    async def users(self, request: Request) -> Response:
        self.session(request)
        begins = request.query_params.get("nameBegins", "").casefold()
        found = [
            _listed(person)
            for person in self.people.values()
            if person.fullName.casefold().startswith(begins)
        ]
        return JSONResponse(_page(request, found))

    async def user(self, request: Request) -> Response:
        self.session(request)
        id = request.path_params["id"].upper()
        person = next((person for person in self.people.values() if person.id == id), None)
        if person is None:
            raise _not_found()
        return JSONResponse(_listed(person) | {"memberships": self._groups_with(person.login)})

    def _groups_with(self, member: str) -> list[dict[str, Any]]:
        return [
            {"id": group.id, "name": group.name}
            for group in self.groups.values()
            if member in group.members or member in group.groups
        ]

    async def group(self, request: Request) -> Response:
        self.session(request)
        group = self.groups.get(request.path_params["id"].upper())
        if group is None:
            raise _not_found()
        return JSONResponse(_listed_group(group) | {"memberships": self._groups_with(group.id)})

    async def members(self, request: Request) -> Response:
        self.session(request)
        group = self.groups.get(request.path_params["id"].upper())
        if group is None:
            raise _not_found()
        found = [_listed(self.people[login]) for login in group.members if login in self.people]
        found += [
            _listed_group(self.groups.get(id) or Group(id=id, name=id, members=())) for id in group.groups
        ]
        return JSONResponse(_page(request, found))

    async def privilege(self, request: Request) -> Response:
        person, id = self.session(request).person, request.path_params["id"]
        held = self.privileges.get(person.login, {})
        projects = held.get(id, ())
        return JSONResponse(
            {
                "id": id,
                "name": f"Privilege {id}",
                "isUserLevelAllowed": projects is None,
                "projects": [
                    {
                        "id": project.id,
                        "name": project.name,
                        "isAllowed": projects is None or project.id in projects,
                    }
                    for project in self.data.projects
                ],
            }
        )

    # --- what Library does not have

    async def standin_people(self, request: Request) -> Response:
        return JSONResponse([{"login": person.login} | _shown(person) for person in self.people.values()])

    async def standin_dashboards(self, request: Request) -> Response:
        person = self.session(request).person
        return JSONResponse(
            [
                {
                    "projectId": project.id,
                    "projectName": project.name,
                    "id": item.id,
                    "name": item.name,
                    "type": item.type,
                }
                for project in self.data.projects
                for item in project.objects
                if self._may_open(person, item)
            ]
        )

    async def standin_sessions(self, request: Request) -> Response:
        alive = Counter(
            session.person.login
            for member in self.peers
            for session in list(member.sessions.values())
            if member._is_alive(session)
        )
        return JSONResponse({"open": alive.total(), "byPerson": alive})

    async def standin_calls(self, request: Request) -> Response:
        return JSONResponse(self.calls)

    async def standin_access(self, request: Request) -> Response:
        body = await _body(request)
        object_id, open_to = str(body.get("objectId")).upper(), body.get("openTo")
        if object_id not in self.open_to:
            raise _not_found()
        if open_to is not None and not (isinstance(open_to, list) and set(open_to) <= set(self.people)):
            raise _Refusal(400, "ERR005", "openTo must be null or a list of logins.")
        self.open_to[object_id] = None if open_to is None else tuple(open_to)
        return Response(status_code=204)

    async def standin_privileges(self, request: Request) -> Response:
        body = await _body(request)
        held = body.get("privileges")
        if body.get("person") not in self.people or not isinstance(held, dict):
            raise _Refusal(400, "ERR005", "person must be a login, privileges an object.")
        self.privileges[body["person"]] = {
            id: None if projects is None else tuple(projects) for id, projects in held.items()
        }
        return Response(status_code=204)

    async def standin_end_sessions(self, request: Request) -> Response:
        self._end_sessions(str((await _body(request)).get("person")))
        return Response(status_code=204)

    async def standin_person(self, request: Request) -> Response:
        body = await _body(request)
        earlier = self.people.get(str(body.get("login")))
        id = secrets.token_hex(16).upper() if earlier is None else earlier.id
        person = _read(Person, {**body, "id": id})
        self.people[person.login] = person
        for session in self._sessions_of(person.login):
            session.person = person
        return JSONResponse({"login": person.login} | _shown(person))

    async def standin_end_account(self, request: Request) -> Response:
        login = request.path_params["login"]
        if self.people.pop(login, None) is None:
            raise _not_found()
        self._end_sessions(login)
        return Response(status_code=204)

    async def standin_group(self, request: Request) -> Response:
        group = _read(Group, await _body(request))
        self.groups[group.id] = group
        return JSONResponse(_listed_group(group))

    def _sessions_of(self, login: str) -> list[_Session]:
        return [s for member in self.peers for s in member.sessions.values() if s.person.login == login]

    def _end_sessions(self, login: str) -> None:
        for session in self._sessions_of(login):
            for member in self.peers:
                member.sessions.pop(session.token, None)

    async def front_page(self, request: Request) -> Response:
        people = ", ".join(self.people)
        return HTMLResponse(
            "<!doctype html><title>Stand-in Library</title><h1>Stand-in Library</h1>"
            "<p>A stand-in for MicroStrategy Library, <strong>not for production</strong>."
            f"<p>Its REST API is under <code>/api</code>. Who can sign in (password = name): {people}."
        )

    # --- routes

    def routes(self) -> list[BaseRoute]:
        table: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
            ("POST", "/auth/login", self.login),
            ("POST", "/auth/logout", self.logout),
            ("POST", "/auth/identityToken", self.make_identity_token),
            ("GET", "/auth/identityToken", self.check_identity_token),
            ("POST", "/auth/delegate", self.delegate),
            ("GET", "/sessions", self.get_session),
            ("PUT", "/sessions", self.keep_session),
            ("GET", "/sessions/userInfo", self.user_info),
            ("GET", "/sessions/privileges/{id}", self.privilege),
            ("GET", "/objects/{id}", self.get_object),
            ("GET", "/projects", self.get_projects),
            ("GET", "/collaboration/recipients", self.recipients),
            ("GET", "/users", self.users),
            ("GET", "/users/{id}", self.user),
            ("GET", "/usergroups/{id}", self.group),
            ("GET", "/usergroups/{id}/members", self.members),
        ]
        extras: list[BaseRoute] = [
            Route("/standin/people", self.standin_people),
            Route("/standin/people", self.standin_person, methods=["POST"]),
            Route("/standin/people/{login}", self.standin_end_account, methods=["DELETE"]),
            Route("/standin/groups", self.standin_group, methods=["POST"]),
            Route("/standin/dashboards", self.standin_dashboards),
            Route("/standin/sessions", self.standin_sessions),
            Route("/standin/calls", self.standin_calls),
            Route("/standin/access", self.standin_access, methods=["POST"]),
            Route("/standin/privileges", self.standin_privileges, methods=["POST"]),
            Route("/standin/end-sessions", self.standin_end_sessions, methods=["POST"]),
            Route("/", self.front_page),
        ]
        api = [
            Route(path, self._counted(method, path, answer), methods=[method])
            for method, path, answer in table
        ]
        return [Mount(base, routes=[Mount("/api", routes=api), *extras]) for base in BASES]

    def _counted(
        self, method: str, path: str, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def counted(request: Request) -> Response:
            self.calls[f"{method} {path}"] += 1
            return await answer(request)

        return counted


class _Balancer:
    """In front of several members: sends each request to the one that its cookie names."""

    def __init__(self, members: Sequence[ASGIApp]) -> None:
        self._members = members
        self._turns = itertools.cycle(range(len(members)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        number, _, _ = (find_cookie(_cookie_header(scope), ROUTE_COOKIE) or "").partition(".")
        member = int(number) if number in map(str, range(len(self._members))) else next(self._turns)

        async def send_renewed(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{ROUTE_COOKIE}={member}.{secrets.token_hex(8)}; Path=/; HttpOnly; SameSite=Lax"
                MutableHeaders(scope=message).append("Set-Cookie", cookie)
            await send(message)

        await self._members[member](scope, receive, send_renewed)


def _cookie_header(scope: Scope) -> str:
    return "; ".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie")


def _shown(person: Person) -> dict[str, Any]:
    return {"id": person.id, "fullName": person.fullName, "initials": person.initials}


def _listed_group(group: Group) -> dict[str, Any]:
    return {"id": group.id, "name": group.name, "type": 34, "subtype": GROUP, "isGroup": True}


def _listed(person: Person) -> dict[str, Any]:
    return _shown(person) | {
        "name": person.fullName,
        "username": person.login,
        "abbreviation": person.login,
        "enabled": True,
        "type": 34,
        "subtype": USER,
    }


_PATTERNS: dict[str, Callable[[str, str], bool]] = {
    "CONTAINS_ANY_WORD": lambda name, term: any(word in name for word in term.split() or [""]),
    "CONTAINS": lambda name, term: term in name,
    "BEGINS_WITH": lambda name, term: name.startswith(term),
    "ENDS_WITH": lambda name, term: name.endswith(term),
    "EXACTLY": lambda name, term: name == term,
}


def _page(request: Request, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        offset = int(request.query_params.get("offset", "0"))
        limit = int(request.query_params.get("limit", "-1"))
    except ValueError:
        raise _Refusal(400, "ERR005", "offset and limit must be numbers.") from None
    offset = max(offset, 0)
    return found[offset:] if limit < 0 else found[offset : offset + limit]


M = TypeVar("M", bound=_Model)


def _read(model: type[M], body: dict[str, Any]) -> M:
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise _Refusal(400, "ERR005", str(error)) from None


async def _body(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, ClientDisconnect):
        body = None
    if not isinstance(body, dict):
        raise _Refusal(400, "ERR005", "The body must be a JSON object.")
    return body


async def _refuse(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, _Refusal)
    ticket_id = secrets.token_hex(16)
    return JSONResponse(
        {"code": refusal.code, "message": refusal.message, "ticketId": ticket_id}, status_code=refusal.status
    )


def create_standin(
    data: LibraryData | None = None,
    *,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
    balanced: int | None = None,
) -> ASGIApp:
    """The stand-in as an ASGI app. Without `data` it has that of the package. Not for production.

    `balanced`: so many members behind a balancer, see the module.
    """
    members = create_members(
        balanced or 1,
        data,
        session_timeout_seconds=session_timeout_seconds,
        identity_token_seconds=identity_token_seconds,
    )
    return CORSMiddleware(
        members[0] if balanced is None else _Balancer(members),
        allow_origin_regex=PAGES,
        allow_credentials=True,
        allow_methods=("*",),
        allow_headers=("*",),
        expose_headers=TOKENS,
    )


def create_members(
    number: int,
    data: LibraryData | None = None,
    *,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
) -> list[ASGIApp]:
    """Stand-ins to be put behind a load balancer, all on one event loop: see the module."""
    members: list[_StandIn] = []
    for _ in range(number):
        first = members[0] if members else None
        members.append(_StandIn(data or load_data(), session_timeout_seconds, identity_token_seconds, first))
    return [Starlette(routes=member.routes(), exception_handlers={_Refusal: _refuse}) for member in members]


def serve_standin(
    host: str = "127.0.0.1",
    port: int = 3080,
    *,
    data: LibraryData | None = None,
    session_timeout_seconds: float = 1800,
    identity_token_seconds: float = 60,
    balanced: int | None = None,
) -> None:
    """Serve the stand-in in the foreground until SIGINT or SIGTERM.

    Raises `SystemExit(3)`, with a line on stderr, if the port is taken.
    """
    import uvicorn

    app = create_standin(
        data,
        session_timeout_seconds=session_timeout_seconds,
        identity_token_seconds=identity_token_seconds,
        balanced=balanced,
    )
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
