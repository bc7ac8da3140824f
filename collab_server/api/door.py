"""The HTTP door: REST calls under `/api`, each a command of the one table.

A call is answered by the same services as over Socket.IO, and every refusal is `{code, message, ticketId, …}`. What
is no JSON, too large or not known is refused before anything is asked of anybody. Runs nothing of its own.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from functools import partial
from typing import Any
from urllib.parse import unquote_to_bytes

from cachetools import TTLCache
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from collab_server.api.answers import Answer, OpenRequests
from collab_server.api.cors import Cors
from collab_server.api.documents import DocumentFiles, documents_router
from collab_server.api.front import add_front
from collab_server.api.headers import SafeHeaders
from collab_server.api.options import Options
from collab_server.api.pages import ClientFiles
from collab_server.api.spanned import Spanned
from collab_server.api.traced import Traced
from collab_server.api.waiting import answer_in_time, take_seconds
from collab_server.contract.catalogue import ROUTES
from collab_server.contract.openapi import openapi
from collab_server.contract.rows import Route
from collab_server.domain.jsontext import dumps, shown_name
from collab_server.domain.people import Identity
from collab_server.errors import (
    ClientError,
    Invalid,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    UnknownCommand,
)
from collab_server.services.commands.executor import Write
from collab_server.services.commands.gate import CommandGate, Passage
from collab_server.services.commands.once import request_of
from collab_server.services.commands.table import TABLE, Entry
from collab_server.services.live.waiting import Waiting
from collab_server.services.origins import Origins
from collab_server.services.sign_in import Authenticator, Credentials, SignInOver
from collab_server.status import Counters, Status
from collab_server.telemetry.journal import Journal, Whose, person, stranger
from collab_server.telemetry.spans import Spans

_INTEGER = re.compile(r"-?[0-9]{1,100}")
REFUSAL_SECONDS = 0.1
"""So long it takes to refuse a call to those who have made too many: nobody keeps a node busy with being refused."""
DOOR = "rest"
NONE_OF_ITS_OWN = TelemetryConfig(tracing=False, metrics=False, logs=False, auto_configure=False)
"""FastAPI tells a collector whatever stands in a query, as what somebody looks for, and in an exception."""
LEAVING = "session.end"
ARRIVAL_SECONDS = 3600.0
MOST_ARRIVED = 20_000
_METHODS = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]


class RestDoor:
    """Answers REST calls."""

    def __init__(
        self,
        *,
        gate: CommandGate,
        authenticator: Authenticator,
        counters: Counters,
        journal: Journal,
        waiting: Waiting,
        max_body_bytes: int,
        open_requests: OpenRequests,
    ) -> None:
        self._gate = gate
        self._authenticator = authenticator
        self._counters = counters
        self._journal = journal
        self._waiting = waiting
        self._max_body_bytes = max_body_bytes
        self._open = open_requests
        self._arrived: TTLCache[tuple[str, str | None], bool] = TTLCache(MOST_ARRIVED, ARRIVAL_SECONDS)

    def build(
        self,
        *,
        origins: Origins,
        operations: APIRouter,
        status: Status,
        has_docs: bool,
        has_page: bool,
        spans: Spans | None = None,
    ) -> ASGIApp:
        """The application with `/api`, its OpenAPI document and the operators' pages, and where they are wanted with
        `/docs`, and at `/` the page to try it with, else where all that is. `status` is the node's."""
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, telemetry=NONE_OF_ITS_OWN)
        app.openapi = openapi  # type: ignore[method-assign]
        app.include_router(documents_router(has_page=has_docs, has_sign_in=has_page))
        if has_docs:
            app.mount("/docs-static", DocumentFiles(), name="docs-static")
        app.include_router(operations)
        # Those without names in their paths come first: `/topics/summaries` is no topic.
        for path in sorted({route.path for route in ROUTES}, key=lambda path: ("{" in path, path)):
            routes = [route for route in ROUTES if route.path == path]
            for route in routes:
                self._add(app, route)
            _refuse(app, path, 405, {"Allow": ", ".join(route.method for route in routes)})
        _refuse(app, "/{path:path}", 404)
        app.mount("/clients", ClientFiles(), name="clients")
        add_front(app, has_page=has_page, has_docs=has_docs)
        app.add_exception_handler(Exception, self._on_bug)
        app.add_exception_handler(HTTPException, self._on_http_error)
        whole: ASGIApp = SafeHeaders(Cors(Options(app, status), origins, self._journal))
        return Traced(whole if spans is None else Spanned(whole, spans))

    def _add(self, app: FastAPI, route: Route) -> None:
        entry = TABLE[route.command]
        types = route.row.field_types

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, route, entry, types)

        app.add_api_route(
            f"/api{route.path}",
            endpoint,
            methods=[route.method],
            name=route.command,
            include_in_schema=False,
        )

    async def _answer(self, request: Request, route: Route, entry: Entry, types: dict[str, Any]) -> Response:
        self._counters.rest_calls_received += 1
        try:
            who = await self.identify(request, is_leaving=entry.name == LEAVING)
        except SignInOver as error:
            return await self._leave_again(request, error, route, entry, types)
        except Exception as error:
            return self._turned_away(error, request, route)
        self._counters.signed_in(DOOR)
        self._note_arrival(who, request)
        try:
            end = self._open.begin(who.user.id)
        except RateLimited as error:
            refused = self._gate.refused(who.user.id, entry.name, error)
            return await self._refusal(refused, route, who.user.id)
        try:
            answer = await self._carry_out(request, who, route, entry, types)
        except BaseException as error:
            end()
            if not isinstance(error, Exception):
                raise
            return await self._refusal(error, route, who.user.id)
        return Answer(answer, route.call.status, end)

    async def _carry_out(
        self, request: Request, who: Identity, route: Route, entry: Entry, types: dict[str, Any]
    ) -> str:
        user_id = who.user.id
        payload, seconds = await self._admitted(request, user_id, route, entry, types)
        ask, admit = partial(self._ask, who, entry, payload), partial(self._gate.admit, user_id)
        if not seconds:
            return await ask()
        return await answer_in_time(ask, admit, self._waiting, user_id, payload, seconds, request.receive)

    async def _ask(self, who: Identity, entry: Entry, payload: dict[str, Any]) -> str:
        user_id, gate = who.user.id, self._gate
        if gate.is_quiet(user_id):
            return await gate.answer(who, gate.read(user_id, entry.name, payload))
        async with gate.in_turn(user_id, entry.name):
            return await gate.answer(who, gate.read(user_id, entry.name, payload))

    async def _admitted(
        self, request: Request, user_id: str, route: Route, entry: Entry, types: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        """The payload of a call, which is let in, and for how many seconds it may wait."""
        try:
            self._gate.admit(user_id)
            payload = await self._payload(request, user_id, route, entry, types)
            return payload, take_seconds(payload) if route.call.may_wait else 0
        except Exception as error:
            self._gate.refuse(user_id, entry.name, error)

    async def _leave_again(
        self, request: Request, over: SignInOver, route: Route, entry: Entry, types: dict[str, Any]
    ) -> Response:
        """Whoever ends their sign-in once more, for no answer came, is answered as they were."""
        if entry.name != LEAVING:
            return self._turned_away(over, request, route)
        try:
            payload, _ = await self._admitted(request, over.whose, route, entry, types)
            passage = self._gate.read(over.whose, entry.name, payload)
            await self._gate.see_through(passage, _check_request(passage))
        except Exception as error:
            return await self._refusal(error, route, over.whose)
        return Response("{}", route.call.status, media_type="application/json")

    def _turned_away(self, error: Exception, request: Request, route: Route) -> Response:
        """Who is asking is not known, or may not come in any more."""
        facts = {"command": route.command, "door": DOOR}
        heard = self._journal.error(error, _stranger(request), "a sign-in was refused", **facts)
        self._counters.signed_in(DOOR, heard.code)
        return _refusal(heard)

    async def _refusal(self, error: Exception, route: Route, user_id: str) -> Response:
        if isinstance(error, RateLimited):
            await asyncio.sleep(self._gate.refusal_seconds(user_id, REFUSAL_SECONDS))
        if not (isinstance(error, ClientError) and error.is_told):  # by the gate
            error = self._journal.error(error, person(user_id), command=route.command, door=DOOR)
        return _refusal(error)

    def _note_arrival(self, who: Identity, request: Request) -> None:
        """A line for somebody who calls from somewhere, once in `ARRIVAL_SECONDS`: each call proves itself anew."""
        address = _address_of(request)
        key = (who.user.id, address)
        if key not in self._arrived:
            self._arrived[key] = True
            self._journal.line("signed in", person(who.user.id), door=DOOR, address=address)

    async def identify(self, request: Request, *, is_leaving: bool = False) -> Identity:
        """Who is asking; whether to end their sign-in.

        Raises `Unauthenticated`, or `Unavailable` when Library does not answer.
        """
        headers = request.headers
        authorizations = [value.partition(" ") for value in headers.getlist("authorization")]
        bearers = [bearer.strip() for scheme, _, bearer in authorizations if scheme.lower() == "bearer"]
        identity_tokens = headers.getlist("x-mstr-identitytoken")
        auth_tokens = headers.getlist("x-mstr-authtoken")
        # Two of one name as well: who stands between may go by the other one.
        if len(identity_tokens) + len(auth_tokens) + len(bearers) != 1:
            raise Unauthenticated(
                "expected one of the headers X-MSTR-IdentityToken, X-MSTR-AuthToken and Authorization: Bearer"
            )
        credentials = Credentials(
            identity_token=next(iter(identity_tokens), None),
            auth_token=next(iter(auth_tokens), None),
            bearer=next(iter(bearers), None),
            cookie_header="; ".join(headers.getlist("cookie")),
            address=_address_of(request),
        )
        return await self._authenticator.identify(credentials, is_leaving=is_leaving)

    async def _payload(
        self, request: Request, user_id: str, route: Route, entry: Entry, types: dict[str, Any]
    ) -> dict[str, Any]:
        payload = await self._body(request, user_id, is_expected=route.has_body)
        if payload and not route.has_body:
            raise Invalid(
                "is not known here: fields go into the query", field=shown_name(next(iter(payload)))
            )
        for name, text in _query(request):
            if route.has_body:
                raise Invalid("is not known here: fields go into the body", field=shown_name(name))
            if name in payload:
                raise Invalid("is given twice", field=shown_name(name))
            payload[name] = _from_query(name, text, types)
        for name, text in request.path_params.items():
            if name in payload:
                raise Invalid("is in the path already", field=name)
            payload[name] = text
        if (header := request.headers.get("idempotency-key")) is not None and isinstance(entry, Write):
            key = _utf8(header.encode("latin-1"), "header Idempotency-Key", "requestId")
            if payload.get("requestId", key) != key:
                raise Invalid("differs from the header Idempotency-Key", field="requestId")
            payload["requestId"] = key
        return payload

    async def _body(self, request: Request, user_id: str, *, is_expected: bool) -> dict[str, Any]:
        body = bytearray()
        try:
            async for chunk in request.stream():
                body += chunk
                if len(body) > self._max_body_bytes:
                    raise TooLarge(f"expected a body of at most {self._max_body_bytes} bytes")
        except ClientDisconnect:
            raise Invalid("the body ended early") from None  # nobody is there to hear it, and it is no bug
        if not body and not is_expected:
            return {}
        self._gate.charge_for(user_id, len(body))
        try:
            text = body.decode("utf-8-sig")
            self._gate.check_text(text)
            payload = json.loads(text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise Invalid("expected a JSON object as body") from None
        if not isinstance(payload, dict):
            raise Invalid("expected a JSON object as body")
        return payload

    async def _on_bug(self, request: Request, error: Exception) -> Response:
        heard = self._journal.error(error, _stranger(request), command="unknown", door=DOOR)
        self._counters.refused(DOOR, heard.code)
        return _refusal(heard)

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if request.url.path.startswith("/api"):
            self._counters.rest_calls_received += 1
        heard: ClientError
        if error.status_code == 404:
            heard = NotFound()
            heard.message = "there is no such call"
        else:
            kind = UnknownCommand if error.status_code == 405 else Invalid
            heard = kind(f"{request.method} is not known here")
        self._counters.refused(DOOR, heard.code)
        self._journal.error(heard, _stranger(request), command="unknown", door=DOOR)
        wire = dumps(heard.as_wire())
        return Response(wire, error.status_code, headers=error.headers, media_type="application/json")


def _refuse(app: FastAPI, path: str, status: int, headers: dict[str, str] | None = None) -> None:
    """Answer every call on a path that no route before took, which the pages at `/` would do otherwise."""

    async def endpoint(request: Request) -> Response:
        raise HTTPException(status, headers=headers)

    app.add_route(f"/api{path}", endpoint, methods=_METHODS, include_in_schema=False)


async def _check_request(passage: Passage) -> None:
    request_of(passage.user_id, passage.entry.name, passage.command)


def _refusal(heard: ClientError) -> Response:
    headers = {}
    if heard.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(heard.retry_after)))
    return Response(dumps(heard.as_wire()), heard.http_status, headers=headers, media_type="application/json")


def _stranger(request: Request) -> Whose:
    return stranger(_address_of(request))


def _address_of(request: Request) -> str | None:
    return request.client.host if request.client is not None else None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _query(request: Request) -> list[tuple[str, str]]:
    _utf8(unquote_to_bytes(request.scope["query_string"]), "query")
    return request.query_params.multi_items()


def _utf8(raw: bytes, what: str, field: str | None = None) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Invalid(f"expected UTF-8 in the {what}", field=field) from None


def _from_query(name: str, text: str, types: dict[str, Any]) -> Any:
    """A query parameter as the type its field has; what does not fit is left to be refused by the parser."""
    wanted = types.get(name)
    if wanted is int:
        return int(text) if _INTEGER.fullmatch(text) else text
    if wanted is bool:
        return {"true": True, "false": False}.get(text, text)
    return text
