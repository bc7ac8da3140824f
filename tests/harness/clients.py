"""Clients as users have them: a person at the stand-in Library, a Socket.IO client, a REST client.

Everything here belongs to the event loop it was made in and is closed by `close`.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import aiohttp
import engineio
import socketio
import yarl

from tests.harness.waiting import Stopwatch, until

TIMEOUT_SECONDS = 20
MORE_SECONDS = 0.05

Transport = Literal["websocket", "polling"]


class Failed(Exception):
    """A command or a call was refused: `code` and the whole error object of the wire."""

    def __init__(self, error: Mapping[str, Any], status: int | None = None) -> None:
        super().__init__(f"{error.get('code')}: {error.get('message')} ({dict(error)})")
        self.code: str | None = error.get("code")
        self.error = dict(error)
        self.status = status


class Refused(Exception):
    """The connection was refused: `code` is the message of the CONNECT_ERROR, `error` its data."""

    def __init__(self, detail: Any) -> None:
        super().__init__(repr(detail))
        shown = detail if isinstance(detail, dict) else {"message": str(detail)}
        self.code: str = shown.get("message", "")
        self.error: Any = shown.get("data")


def new_session(*, keeps_cookies: bool = True, tls: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """An HTTP session with a deadline; for hosts named by number too, whose cookies are otherwise dropped.

    `tls` is what `https` is spoken by.
    """
    jar = aiohttp.CookieJar(unsafe=True) if keeps_cookies else aiohttp.DummyCookieJar()
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    connector = None if tls is None else aiohttp.TCPConnector(ssl=tls)
    return aiohttp.ClientSession(cookie_jar=jar, timeout=timeout, connector=connector)


@dataclass(slots=True)
class LibraryUser:
    """Somebody signed in at the stand-in Library. `url` is its REST base (`…/api`).

    `cookie` is the value of `JSESSIONID`, `cookie_header` everything their browser would send.
    """

    url: str
    login: str
    auth_token: str
    cookie: str
    cookie_header: str
    id: str
    name: str
    initials: str

    @classmethod
    async def sign_in(cls, url: str, login: str, *, earlier: Self | None = None) -> Self:
        """Sign in; the password is the login. `earlier`: in the browser of this earlier session of theirs."""
        async with new_session() as http:
            if earlier is not None:
                http.cookie_jar.update_cookies(dict(earlier.cookies), yarl.URL(url))
            body = {"username": login, "password": login, "loginMode": 1}
            async with http.post(f"{url}/auth/login", json=body) as answer:
                assert answer.status == 204, f"{login} cannot sign in: {answer.status} {await answer.text()}"
                token, cookie = answer.headers["X-MSTR-AuthToken"], answer.cookies["JSESSIONID"].value
            async with http.get(f"{url}/sessions/userInfo", headers={"X-MSTR-AuthToken": token}) as answer:
                who = await answer.json()
            shown = "; ".join(f"{one.key}={one.value}" for one in http.cookie_jar)
        return cls(url, login, token, cookie, shown, who["id"], who["fullName"], who["initials"])

    @property
    def cookies(self) -> list[tuple[str, str]]:
        """The same as pairs of name and value."""
        return [
            (name, value) for name, _, value in (c.partition("=") for c in self.cookie_header.split("; "))
        ]

    async def identity_token(self) -> str:
        """A new identity token."""
        async with (
            new_session(keeps_cookies=False) as http,
            http.post(f"{self.url}/auth/identityToken", headers=self._headers()) as answer,
        ):
            assert answer.status == 201, f"no identity token: {answer.status} {await answer.text()}"
            return answer.headers["X-MSTR-IdentityToken"]

    async def sign_out(self) -> None:
        """End the session at Library."""
        async with (
            new_session(keeps_cookies=False) as http,
            http.post(f"{self.url}/auth/logout", headers=self._headers()) as answer,
        ):
            assert answer.status == 204

    def _headers(self) -> dict[str, str]:
        return {"X-MSTR-AuthToken": self.auth_token, "Cookie": self.cookie_header}


@dataclass(frozen=True, slots=True)
class Event:
    """What the server sent: its Socket.IO name, its one argument, when it came (`time.monotonic`)."""

    name: str
    data: Any
    received_at: float

    @property
    def topic(self) -> str | None:
        """The topic it belongs to, if it has one."""
        return self.data.get("topic") if isinstance(self.data, dict) else None

    @property
    def seq(self) -> int | None:
        """Its place in the topic's log; signals have none."""
        return self.data.get("seq") if isinstance(self.data, dict) else None


class _Patient(engineio.AsyncClient):  # type: ignore[misc]
    """The official client, which gives up by itself if it has not read the server's ping within 5 s of when it was due:
    this process may be further behind on a busy machine. That nodes ping in time is for tests that look at frames."""

    _ping_timeout: float | None = None

    @property
    def ping_timeout(self) -> float | None:
        return self._ping_timeout

    @ping_timeout.setter
    def ping_timeout(self, seconds: float | None) -> None:
        self._ping_timeout = None if seconds is None else 3 * seconds


class _Socket(socketio.AsyncClient):  # type: ignore[misc]
    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return _Patient


@dataclass(slots=True, eq=False)
class Client:
    """One Socket.IO connection of the official Python client.

    `events` holds everything received, oldest first, `server.hello` too; `closed_because` is set when it is
    cut.
    """

    sio: socketio.AsyncClient
    http: aiohttp.ClientSession
    events: list[Event] = field(default_factory=list)
    closed_because: str | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        identity_token: str | None = None,
        auth_token: str | None = None,
        resume_token: str | None = None,
        auth: Any = None,
        transport: Transport = "websocket",
        upgrades: bool = False,
        headers: Mapping[str, str] | None = None,
        timeout: float = TIMEOUT_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect to a node (`http://host:port`) and wait for `server.hello`. Raises `Refused`.

        `auth` replaces the auth object as a whole; the client does not reconnect by itself. It `upgrades` to a
        websocket where asked to. `tls` is what `https` is spoken by.
        """
        given = {"identityToken": identity_token, "authToken": auth_token, "resumeToken": resume_token}
        connector = None if tls is None else aiohttp.TCPConnector(ssl=tls)
        http = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), connector=connector)
        sio = _Socket(reconnection=False, handle_sigint=False, http_session=http)
        client = cls(sio, http)
        refusals: list[Any] = []
        sio.on("*", client._note)
        sio.on("connect_error", refusals.append)
        sio.on("disconnect", client._note_end)
        try:
            async with asyncio.timeout(timeout):
                await sio.connect(
                    url,
                    auth=auth if auth is not None else {k: v for k, v in given.items() if v is not None},
                    transports=[transport, "websocket"] if upgrades else [transport],
                    headers=dict(headers or {}),
                    wait_timeout=timeout,
                )
                await client.wait_for("server.hello", timeout=timeout)
        except (socketio.exceptions.ConnectionError, TimeoutError) as error:
            await client.close()
            raise Refused(refusals[0] if refusals else str(error)) from error
        except BaseException:
            await client.close()
            raise
        return client

    @property
    def is_connected(self) -> bool:
        """Whether the connection is open."""
        return self.closed_because is None and bool(self.sio.connected)

    @property
    def hello(self) -> dict[str, Any]:
        """The data of `server.hello`."""
        return next(event.data for event in self.events if event.name == "server.hello")

    async def ask(self, command: str, payload: Any = None, *, timeout: float = TIMEOUT_SECONDS) -> Any:
        """The acknowledgement as it came: `{ok:true, data}` or `{ok:false, error}`. Raises `TimeoutError`."""
        # Not `sio.call`: its asyncio.wait_for swallows, up to Python 3.11, a cancellation that meets the answer, and
        # whoever asks in a loop then asks for ever.
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def note(*reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply[0] if len(reply) == 1 else reply)

        await self.sio.emit(command, {} if payload is None else payload, callback=note)
        async with asyncio.timeout(timeout):
            return await answer

    async def call(self, command: str, payload: Any = None, *, timeout: float = TIMEOUT_SECONDS) -> Any:
        """The `data` of the answer. Raises `Failed`."""
        answer = await self.ask(command, payload, timeout=timeout)
        assert isinstance(answer, dict), f"{command} was acknowledged with {answer!r}"
        if answer.get("ok") is not True:
            raise Failed(answer["error"])
        return answer["data"]

    def events_of(self, topic: str) -> list[Event]:
        """The logged events of one topic, in the order of arrival."""
        return [event for event in self.events if event.topic == topic and event.seq is not None]

    async def wait_for(
        self, wanted: str | Callable[[Event], Any], *, timeout: float = 10, skip: int = 0
    ) -> Event:
        """The first event, among those that came and those to come, with that name or for which it is true.

        The first `skip` events of `events` are not looked at. Fails the test after `timeout` seconds.
        """
        fits = (lambda event: event.name == wanted) if isinstance(wanted, str) else wanted
        watch, deadline = Stopwatch(), time.monotonic() + timeout
        while True:
            self._arrived.clear()
            while skip < len(self.events):
                if fits(self.events[skip]):
                    return self.events[skip]
                skip += 1
            try:
                async with asyncio.timeout(max(MORE_SECONDS, deadline - time.monotonic())):
                    await self._arrived.wait()
            except TimeoutError:
                if watch.seconds <= timeout:
                    continue  # others had the processors
                names = [event.name for event in self.events]
                raise AssertionError(
                    f"no {wanted if isinstance(wanted, str) else 'such event'} within {timeout:g} s; "
                    f"there were {names[-50:]}, closed: {self.closed_because}"
                ) from None

    async def wait_for_seq(self, topic: str, seq: int, *, timeout: float = 10) -> Event:
        """The event of `topic` with this `seq`."""
        return await self.wait_for(lambda event: event.topic == topic and event.seq == seq, timeout=timeout)

    async def wait_until_closed(self, timeout: float = 10) -> str:
        """Why the connection was cut, once it is."""
        reason: str = await until(lambda: self.closed_because, timeout, "the connection is cut")
        return reason

    async def close(self) -> None:
        """Leave in order; may be called twice."""
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await self.sio.disconnect()
                await self.sio.eio.disconnect(abort=True)
        except TimeoutError:
            pass
        finally:
            if self.sio.eio.ws is not None:  # which it leaves as it is where the server was silent
                self.sio.eio.ws._response.close()
            await self.http.close()

    async def cut(self) -> None:
        """Break the TCP connection without a word, as a lost network does."""
        socket = self.sio.eio.ws
        if socket is not None:
            transport = socket._response.connection.transport
            transport.abort()
        await self.wait_until_closed()
        await self.http.close()

    def _note(self, name: str, data: Any = None, *more: Any) -> None:
        self.events.append(Event(name, data if not more else (data, *more), time.monotonic()))
        self._arrived.set()

    def _note_end(self, reason: str) -> None:
        self.closed_because = reason or "unknown"
        self._arrived.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


@dataclass(slots=True, eq=False)
class Rest:
    """A REST client of one node; paths are relative to `base` (`http://host:port/api`)."""

    base: str
    headers: Mapping[str, str]
    http: aiohttp.ClientSession

    @classmethod
    def open(cls, node_url: str, *, identity_token: str | None = None, auth_token: str | None = None) -> Self:
        """A client that signs each call with one of the two tokens, or with none."""
        given = {"X-MSTR-IdentityToken": identity_token, "X-MSTR-AuthToken": auth_token}
        headers = {name: token for name, token in given.items() if token is not None}
        return cls(f"{node_url}/api", headers, new_session(keeps_cookies=False))

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON (or text) and headers of the answer, whatever they are."""
        async with self.http.request(
            method,
            self.base + path,
            json=body,
            params=dict(params or {}),
            headers={**self.headers, **(headers or {})},
        ) as answer:
            is_json = answer.content_type == "application/json"
            content = await answer.json() if is_json else await answer.text()
            return answer.status, content, answer.headers

    async def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The JSON of a successful answer. Raises `Failed`."""
        status, content, _ = await self.request(method, path, body, **more)
        if status >= 400:
            raise Failed(content if isinstance(content, dict) else {"message": content}, status)
        return content

    async def get(self, path: str, **more: Any) -> Any:
        """`call("GET", …)`."""
        return await self.call("GET", path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> Any:
        """`call("POST", …)`."""
        return await self.call("POST", path, body, **more)

    async def close(self) -> None:
        """Close its connections."""
        await self.http.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()
