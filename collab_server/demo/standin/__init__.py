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

from collab_server.demo.standin.app import app_of, create_members, create_standin, serve_standin
from collab_server.demo.standin.data import Content, Group, LibraryData, Person, Project, load_data
from collab_server.demo.standin.members import Member, Session

__all__ = [
    "Content",
    "Group",
    "LibraryData",
    "Member",
    "Person",
    "Project",
    "Session",
    "app_of",
    "create_members",
    "create_standin",
    "load_data",
    "serve_standin",
]
