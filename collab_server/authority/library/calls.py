"""The one way out to Library: a call goes, and its answer is understood, or is one of three refusals.

This is the boundary to `authorizationServerUrl` and the only importer of the HTTP client. A session's token and its
own cookies (`cookies`) are sent explicitly with each call, and what an answer sets is kept for that session: the HTTP
client has no cookie jar, for a shared one would send ann's cookie with bob's call.

Promises: a call answers, or raises, within `DEADLINE_SECONDS`, whether Library is away, slow or frozen. What is no
answer of Library's own is `Silent`, and a fault that `health` tells the administrator of; one that makes no sense is
`Unavailable`. Any number of calls may run at once, on at most `MOST_CONNECTIONS` connections. `stop()` closes those.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2

from collab_server import lookups
from collab_server.authority.library.cookies import Cookies, Jar
from collab_server.authority.library.health import Fault, Health, Outcome, fault_of_connection
from collab_server.authority.library.replies import Senseless, fault_in, outcome_of
from collab_server.authority.library.words import silent
from collab_server.domain.people import AuthoritySession
from collab_server.errors import Unavailable

__all__ = ["DEADLINE_SECONDS", "Call", "Calls", "Observe", "Refused", "SessionGone", "slow", "trust"]

T = TypeVar("T")

Observe = Callable[[str, Outcome, float], None]
"""`observe(call, outcome, seconds)` is told of every call, which is named by method and path, ids left out."""

DEADLINE_SECONDS = 2.8  # a sign-in must be refused within 3 s; the rest is for our own work
CONNECT_SECONDS = 2.0  # shorter than a call, so that it is told apart
CALL_SECONDS = 2.6  # for a single one to be given up first, with its reason
MOST_CONNECTIONS = 64
MOST_ANSWER_BYTES = 2_000_000

WITH_WORDS = frozenset({"GET /users", "GET /collaboration/recipients"})
"""Calls that carry words of a user, at which a firewall may take offence."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API. `{id}` in the path stands for `id`; the call is counted under the path as it stands here.

    `jar`: cookies to be tried with the session instead of its own.
    """

    method: Literal["GET", "POST", "PUT"]
    template: str
    session: AuthoritySession | None = None
    id: str = ""
    jar: Jar | None = None
    query: dict[str, Any] | None = None
    headers: dict[str, str] | None = None
    body: dict[str, Any] | None = None

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    @property
    def path(self) -> str:
        return self.template.replace("{id}", self.id)


class SessionGone(Exception):
    """Library does not know the session any more."""

    def __init__(self, session: AuthoritySession) -> None:
        super().__init__("Library does not know the session any more")
        self.session = session


class Refused(Exception):
    """Library refused: a bad token, or a privilege that is missing. `status` is that of the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"Library refused with status {status}")
        self.status = status


def trust(certificates: Iterable[Path]) -> ssl.SSLContext:
    """The TLS context that trusts the machine's own root certificates and those PEM files (`trustedCerts`).

    Raises `OSError` (`ssl.SSLError` is one) where a file cannot be read or holds no certificate.
    """
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(cafile=certificate)
    return context


def _context_for(url: str) -> ssl.SSLContext:
    """The machine's own root certificates; none, which trusts nobody and takes no memory, where TLS is not spoken."""
    return trust(()) if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Calls:
    """See the module. Every call may raise `Silent` or `Unavailable`; with a session `SessionGone`, and `Refused`."""

    def __init__(
        self,
        base_url: str,
        *,
        cookies: Cookies,
        health: Health,
        ssl_context: ssl.SSLContext | None = None,
        observe: Observe = lambda call, outcome, seconds: None,
    ) -> None:
        """`base_url` ends in `/api`. Without `ssl_context` the machine's root certificates are trusted.

        `cookies`: where those of the sessions are kept. `health` is told how each call went, and so is `observe`.
        """
        self._base_url = base_url.rstrip("/")
        self._where = urlsplit(self._base_url).netloc
        self._cookies = cookies
        self._health = health
        self._observe = observe
        self._ssl_context = ssl_context
        self._http: httpx2.AsyncClient | None = None

    async def start(self) -> None:
        """Make ready. Opens no connection yet."""
        # Below WARNING these two log whole headers and addresses: tokens, and what people search for.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._http = httpx2.AsyncClient(
            verify=self._ssl_context or _context_for(self._base_url),
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

    async def make(self, call: Call, understand: Callable[[httpx2.Response], T]) -> T:
        """What `understand` makes of a good answer; it may raise `Senseless`."""
        session, headers = call.session, dict(call.headers or {})
        if session is not None:
            headers["X-MSTR-AuthToken"] = session.auth_token
            if (cookies := self._cookies.header(session, call.path, call.jar)) is not None:
                headers["Cookie"] = cookies
        began = time.monotonic()
        outcome: Outcome = "cancelled"
        try:
            response = await self._send(call, headers)
            fault = fault_in(response, call.template, self._base_url)
            if fault is None:
                outcome = outcome_of(response, is_in_session=session is not None)
            if set_cookies := response.headers.get_list("Set-Cookie"):
                self._hear(set_cookies, call, is_gone=outcome == "gone", is_librarys=fault is None)
            if fault is not None:
                raise _Faulty(fault)
            if outcome == "gone" and session is not None:
                raise SessionGone(session)
            if outcome == "refused":
                raise Refused(response.status_code)
            understood = understand(response)
        except Senseless:
            words = f"the answer of {call.name} makes no sense: is authorizationServerUrl that of Library's REST API?"
            outcome = "senseless"
            self._note(call, Fault("senseless", words))
            raise Unavailable("Library's answer makes no sense") from None
        except _Faulty as faulty:
            outcome = faulty.fault.outcome
            self._note(call, faulty.fault)
            raise silent() from None
        except (Refused, SessionGone):
            self._health.answered(call.name, time.monotonic() - began)
            raise
        else:
            self._health.answered(call.name, time.monotonic() - began)
            return understood
        finally:
            self._observe(call.name, outcome, time.monotonic() - began)

    def _note(self, call: Call, fault: Fault) -> None:
        """Let a fault count, unless it may be that of the one object, or of the words, that somebody asked for."""
        if (
            fault.is_general
            or ("{id}" not in call.template and call.name not in WITH_WORDS)
            or fault.outcome == "redirect"
        ):
            self._health.failed(call.name, fault)

    def _hear(self, set_cookies: list[str], call: Call, *, is_gone: bool, is_librarys: bool) -> None:
        """What an answer sets is the session's, unless it says that there is no such session (and see `LibraryApi`).

        Such an answer may come from a member that does not know it, with a cookie that leads there.
        """
        if call.session is None or is_gone:
            self._cookies.hear(set_cookies, None, is_librarys=is_librarys)
            return
        kept = call.jar or self._cookies.of(call.session) or Jar()
        self._cookies.hear(set_cookies, kept, is_librarys=is_librarys)
        if call.jar is None:
            self._cookies.put(call.session, kept)

    async def _send(self, call: Call, headers: dict[str, str]) -> httpx2.Response:
        """The answer, read whole. Raises `_Faulty` where there is none."""
        http = self._http
        if http is None:
            raise _Faulty(Fault("unreachable", "this node is stopping", is_general=True))
        try:
            async with asyncio.timeout(CALL_SECONDS):  # for all of it, however slowly it trickles in
                request = http.build_request(
                    call.method,
                    self._base_url + call.path,
                    params=call.query,
                    headers=headers,
                    json=call.body,
                    extensions={"trace": _find_first},
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


async def _find_first(event: str, about: dict[str, Any]) -> None:
    """Find the host before a connection to it is opened, with all others who want one: each would take a thread for it,
    and where DNS says nothing no other host would be found by this node."""
    if event != "connection.connect_tcp.started":
        return
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await lookups.find(about["host"])
    except TimeoutError as error:
        raise httpx2.ConnectTimeout("the name was not found in time") from error


async def _read_whole(http: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    try:
        response = await http.send(request, stream=True)
    except AttributeError as error:
        # anyio asks a connection for its addresses, and one that broke in the moment it was opened has none.
        raise httpx2.ReadError(str(error), request=request) from error
    try:
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MOST_ANSWER_BYTES:
                raise Senseless
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


class _Faulty(Exception):
    """There was no answer of Library's own."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.words)
        self.fault = fault


class _BrokenOff(httpx2.TransportError):
    """Of an answer only the head could be read."""
