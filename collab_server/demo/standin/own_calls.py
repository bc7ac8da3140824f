"""What the stand-in answers and Library does not have."""

from __future__ import annotations

import secrets
from collections import Counter

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from collab_server.demo.standin.data import Group, Person
from collab_server.demo.standin.members import Member
from collab_server.demo.standin.refusals import Refusal, not_found
from collab_server.demo.standin.requests import body_of, read
from collab_server.demo.standin.shapes import listed_group, shown

__all__ = ["OwnCalls"]


class OwnCalls:
    """One method per call; they are about all members together, but what asks by a session."""

    def __init__(self, member: Member) -> None:
        self._member = member

    def routes(self) -> list[BaseRoute]:
        """What is under `/standin`, and a page that says what this is."""
        return [
            Route("/standin/people", self.people),
            Route("/standin/people", self.person, methods=["POST"]),
            Route("/standin/people/{login}", self.end_account, methods=["DELETE"]),
            Route("/standin/groups", self.group, methods=["POST"]),
            Route("/standin/dashboards", self.dashboards),
            Route("/standin/sessions", self.sessions),
            Route("/standin/calls", self.calls),
            Route("/standin/access", self.access, methods=["POST"]),
            Route("/standin/privileges", self.privileges, methods=["POST"]),
            Route("/standin/end-sessions", self.end_sessions, methods=["POST"]),
            Route("/", self.front_page),
        ]

    async def people(self, request: Request) -> Response:
        return JSONResponse(
            [{"login": person.login} | shown(person) for person in self._member.people.values()]
        )

    async def dashboards(self, request: Request) -> Response:
        person = self._member.session(request).person
        return JSONResponse(
            [
                {
                    "projectId": project.id,
                    "projectName": project.name,
                    "id": item.id,
                    "name": item.name,
                    "type": item.type,
                }
                for project in self._member.data.projects
                for item in project.objects
                if self._member.may_open(person, item)
            ]
        )

    async def sessions(self, request: Request) -> Response:
        alive = Counter(
            session.person.login
            for member in self._member.peers
            for session in list(member.sessions.values())
            if member.is_alive(session)
        )
        return JSONResponse({"open": alive.total(), "byPerson": alive})

    async def calls(self, request: Request) -> Response:
        return JSONResponse(self._member.calls)

    async def access(self, request: Request) -> Response:
        body = await body_of(request)
        object_id, open_to = str(body.get("objectId")).upper(), body.get("openTo")
        if object_id not in self._member.open_to:
            raise not_found()
        if open_to is not None and not (
            isinstance(open_to, list) and set(open_to) <= set(self._member.people)
        ):
            raise Refusal(400, "ERR005", "openTo must be null or a list of logins.")
        self._member.open_to[object_id] = None if open_to is None else tuple(open_to)
        return Response(status_code=204)

    async def privileges(self, request: Request) -> Response:
        body = await body_of(request)
        held = body.get("privileges")
        if body.get("person") not in self._member.people or not isinstance(held, dict):
            raise Refusal(400, "ERR005", "person must be a login, privileges an object.")
        self._member.privileges[body["person"]] = {
            id: None if projects is None else tuple(projects) for id, projects in held.items()
        }
        return Response(status_code=204)

    async def end_sessions(self, request: Request) -> Response:
        self._member.end_sessions(str((await body_of(request)).get("person")))
        return Response(status_code=204)

    async def person(self, request: Request) -> Response:
        body = await body_of(request)
        earlier = self._member.people.get(str(body.get("login")))
        id = secrets.token_hex(16).upper() if earlier is None else earlier.id
        person = read(Person, {**body, "id": id})
        self._member.people[person.login] = person
        for session in self._member.sessions_of(person.login):
            session.person = person
        return JSONResponse({"login": person.login} | shown(person))

    async def end_account(self, request: Request) -> Response:
        login = request.path_params["login"]
        if self._member.people.pop(login, None) is None:
            raise not_found()
        self._member.end_sessions(login)
        return Response(status_code=204)

    async def group(self, request: Request) -> Response:
        group = read(Group, await body_of(request))
        self._member.groups[group.id] = group
        return JSONResponse(listed_group(group))

    async def front_page(self, request: Request) -> Response:
        people = ", ".join(self._member.people)
        return HTMLResponse(
            "<!doctype html><title>Stand-in Library</title><h1>Stand-in Library</h1>"
            "<p>A stand-in for MicroStrategy Library, <strong>not for production</strong>."
            f"<p>Its REST API is under <code>/api</code>. Who can sign in (password = name): {people}."
        )
