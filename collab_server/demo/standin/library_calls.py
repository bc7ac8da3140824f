"""The calls of Library that the stand-in answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from collab_server.demo.standin.data import Group
from collab_server.demo.standin.members import Member
from collab_server.demo.standin.refusals import Refusal, not_found
from collab_server.demo.standin.requests import body_of, page_of
from collab_server.demo.standin.shapes import listed, listed_group, listed_recipient, shown

__all__ = ["LibraryCalls"]

Call = Callable[[Request], Awaitable[Response]]

_PATTERNS: dict[str, Callable[[str, str], bool]] = {
    "CONTAINS_ANY_WORD": lambda name, term: any(word in name for word in term.split() or [""]),
    "CONTAINS": lambda name, term: term in name,
    "BEGINS_WITH": lambda name, term: name.startswith(term),
    "ENDS_WITH": lambda name, term: name.endswith(term),
    "EXACTLY": lambda name, term: name == term,
}


class LibraryCalls:
    """One method per call, counted in the member's `calls`."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def routes(self) -> list[BaseRoute]:
        """Relative to where Library's API is."""
        table: list[tuple[str, str, Call]] = [
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
        return [
            Route(path, self._counted(method, path, call), methods=[method]) for method, path, call in table
        ]

    def _counted(self, method: str, path: str, call: Call) -> Call:
        async def counted(request: Request) -> Response:
            self._member.calls[f"{method} {path}"] += 1
            return await call(request)

        return counted

    async def login(self, request: Request) -> Response:
        body = await body_of(request)
        person = self._member.people.get(str(body.get("username")))
        if person is None or body.get("password") != person.login:
            raise Refusal(401, "ERR003", "Login failure: wrong user name or password.")
        return self._member.open_session(person)

    async def logout(self, request: Request) -> Response:
        self._member.sessions.pop(self._member.session(request).token)
        return Response(status_code=204)

    async def make_identity_token(self, request: Request) -> Response:
        token = self._member.new_identity_token(self._member.session(request).person)
        return Response(status_code=201, headers={"X-MSTR-IdentityToken": token})

    async def check_identity_token(self, request: Request) -> Response:
        self._member.identity(request.headers.get("x-mstr-identitytoken", ""))
        return Response(status_code=200)

    async def delegate(self, request: Request) -> Response:
        body = await body_of(request)
        if body.get("loginMode") != -1:
            raise Refusal(400, "ERR005", "loginMode must be -1.")
        return self._member.open_session(self._member.identity(str(body.get("identityToken"))))

    async def get_session(self, request: Request) -> Response:
        person = self._member.session(request).person
        return JSONResponse(
            shown(person)
            | {"locale": 1033, "displayLocale": 1033, "timeout": int(self._member.session_timeout_seconds)}
        )

    async def keep_session(self, request: Request) -> Response:
        self._member.session(request)
        return Response(status_code=204)

    async def user_info(self, request: Request) -> Response:
        return JSONResponse(shown(self._member.session(request).person) | {"metadataUser": True})

    async def get_object(self, request: Request) -> Response:
        session = self._member.session(request)
        project_id = request.headers.get("x-mstr-projectid")
        if project_id is None:
            raise Refusal(400, "ERR001", "The header X-MSTR-ProjectID is missing.")
        wanted = request.path_params["id"].upper(), request.query_params.get("type")
        for project in self._member.data.projects:
            for item in project.objects if project.id == project_id.upper() else ():
                if (item.id, str(item.type)) == wanted and self._member.may_open(session.person, item):
                    return JSONResponse(
                        {"id": item.id, "name": item.name, "type": item.type, "acg": 255, "extType": 0}
                    )
        raise not_found()

    async def get_projects(self, request: Request) -> Response:
        self._member.session(request)
        return JSONResponse(
            [
                {"id": project.id, "name": project.name, "alias": "", "status": 0}
                for project in self._member.data.projects
            ]
        )

    async def recipients(self, request: Request) -> Response:
        self._member.session(request)
        pattern = request.query_params.get("searchPattern", "CONTAINS_ANY_WORD")
        term = request.query_params.get("searchTerm", "").casefold()
        fits = _PATTERNS.get(pattern)
        if fits is None:
            raise Refusal(400, "ERR005", "There is no such searchPattern.")
        found: list[dict[str, Any]] = [
            listed_recipient(person)
            for person in self._member.people.values()
            if fits(person.fullName.casefold(), term) or fits(person.login.casefold(), term)
        ]
        found += [
            listed_group(group) for group in self._member.groups.values() if fits(group.name.casefold(), term)
        ]
        return JSONResponse({"recipients": page_of(request, found), "totalItems": len(found)})

    async def users(self, request: Request) -> Response:
        self._member.session(request)
        begins = request.query_params.get("nameBegins", "").casefold()
        found = [
            listed(person)
            for person in self._member.people.values()
            if person.fullName.casefold().startswith(begins)
        ]
        return JSONResponse(page_of(request, found))

    async def user(self, request: Request) -> Response:
        self._member.session(request)
        id = request.path_params["id"].upper()
        person = next((person for person in self._member.people.values() if person.id == id), None)
        if person is None:
            raise not_found()
        return JSONResponse(listed(person) | {"memberships": self._member.groups_with(person.login)})

    async def group(self, request: Request) -> Response:
        self._member.session(request)
        group = self._member.groups.get(request.path_params["id"].upper())
        if group is None:
            raise not_found()
        return JSONResponse(listed_group(group) | {"memberships": self._member.groups_with(group.id)})

    async def members(self, request: Request) -> Response:
        self._member.session(request)
        group = self._member.groups.get(request.path_params["id"].upper())
        if group is None:
            raise not_found()
        found = [
            listed(self._member.people[login]) for login in group.members if login in self._member.people
        ]
        found += [
            listed_group(self._member.groups.get(id) or Group(id=id, name=id, members=()))
            for id in group.groups
        ]
        return JSONResponse(page_of(request, found))

    async def privilege(self, request: Request) -> Response:
        person, id = self._member.session(request).person, request.path_params["id"]
        held = self._member.privileges.get(person.login, {})
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
                    for project in self._member.data.projects
                ],
            }
        )
