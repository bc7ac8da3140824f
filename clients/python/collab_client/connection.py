"""One connection: signing in, coming back, asking."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

import aiohttp
import socketio

from collab_client.ids import wired
from collab_client.refused import Refused
from collab_client.wire import User

Credentials = Mapping[Literal["identityToken", "authToken", "resumeToken"], str]
"""What one shows to be let in, under its kind: a token of Library, or a resume token of another connection."""

Auth = Credentials | Callable[[], Awaitable[Credentials | None] | Credentials | None]
"""Credentials, or better what gets some: it is asked again whenever new ones are needed; None: nobody is signed in."""

State = Literal["connecting", "live", "offline", "signed_out", "closed"]
"""`offline`: it comes back by itself; `signed_out`: `sign_in()` tries again."""

_ANSWER_SECONDS: Final = 10  # the server's own limits are below that
_CONNECT_SECONDS: Final = 8
_AGAIN_SECONDS: Final = 3
_FIRST_PAUSE: Final = 0.3
_LAST_PAUSE: Final = 5.0
_LEAVE_SECONDS: Final = 1
_MOST_BYTES: Final = 64 * 2**20  # of one message
_ADDED: Final = ("format", "ofRevision", "ofName")
"""Fields that a node refuses which does not say what it knows: one of the version before."""

_EXPECTED: Final = "expected {identityToken}, {authToken} or {resumeToken}"

_log = logging.getLogger("collab_client")


class Connection:
    """Comes back by itself until it is closed. `heard` is called with every event and signal, `hello` whenever one is
    let in, `changed` whenever the state is another one.

    `owner` is whose that is what is asked now: the id of who was let in since the last `sign_in()`, empty before."""

    def __init__(
        self,
        url: str,
        auth: Auth,
        *,
        tls: ssl.SSLContext | None,
        heard: Callable[[str, Any], None],
        hello: Callable[[Mapping[str, Any]], None],
        changed: Callable[[], None],
    ) -> None:
        place = urllib.parse.urlsplit(url)
        if place.scheme not in ("http", "https") or not place.hostname:
            raise ValueError("url: expected where the server is, such as https://reports.example.com")
        if not callable(auth) and not isinstance(auth, Mapping):
            raise TypeError(f"auth: {_EXPECTED}, or a function that gets them")
        self._origin = f"{place.scheme}://{place.netloc}"
        self._path = f"{place.path.strip('/')}/socket.io".lstrip("/")
        self._auth = auth
        self._tls = tls
        self._heard, self._hello, self._changed = heard, hello, changed
        self.state: State = "connecting"
        self.user: User | None = None
        self.owner = ""
        self.node = ""
        self.problem: Refused | None = None
        self._credentials: Credentials | None = None
        self._current: _Socket | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lacking = ""

    @property
    def live_on(self) -> object | None:
        """What stands for the present connection while one is let in: another one is another object."""
        return self._current if self.state == "live" else None

    def sign_in(self) -> None:
        """Connect. Once is enough; after `signed_out` it tries again."""
        is_over = self._task is None or self._task.done() or self.state == "signed_out"
        if self.state != "closed" and is_over:
            # Who was signed in before is shown until somebody is let in, but it may be another.
            self.owner = ""
            self._set("connecting", None)
            self._task = asyncio.create_task(self._stay_connected(self._task))

    async def live(self) -> User:
        """Who is signed in, once one is. Raises `Refused` when nobody is let in, or the client is closed."""
        while self.state != "live":
            if self.state == "closed":
                raise Refused("closed", "The client is closed.")
            if self.state == "signed_out":
                problem = self.problem or Refused("unauthenticated", "Nobody is signed in.")
                # It is raised for each who asks, and is not to grow with them.
                raise problem.with_traceback(None)
            await self._news.wait()
        assert self.user is not None
        return self.user

    async def ask(self, name: str, payload: Mapping[str, Any]) -> Any:
        """Send a command once, as nobody but who is signed in now, and return what it answers. Raises `Refused`, and
        `TypeError` and `ValueError` for what is no JSON: sent, it would break the connection off."""
        payload = wired(payload)
        current: _Socket | None = None
        former, whose = self._task, self.owner
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.live()
                if former not in (None, self._task) or whose not in ("", self.owner):
                    raise Refused("unauthenticated", "Somebody else has signed in.")  # in one moment
                current = self._current
                assert current is not None
                if not current.knows:
                    payload = {field: value for field, value in payload.items() if field not in _ADDED}
                answer = await current.ask(name, payload)
        except TimeoutError:
            if current is not None:
                current.ended.set()  # a node that does not answer for so long may be frozen: go to another one
            raise Refused("no_answer", "The server did not answer.") from None
        if not answer["ok"]:
            raise Refused.of(answer["error"])
        return answer["data"]

    async def sign_out(self) -> None:
        """End the sign-in, wherever it is shared, as far as the server can be reached within a second."""
        ending = self._task
        with contextlib.suppress(Refused, TimeoutError):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self.ask("session.end", {})
        if self._task is ending:  # else somebody has signed in already, where the end was told
            self._signed_out("Signed out.")
        if ending is not None:
            await asyncio.gather(ending, return_exceptions=True)

    async def close(self) -> None:
        """Disconnect for good."""
        self._set("closed", None)
        await self._stop()

    async def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _set(self, state: State, problem: Refused | None) -> None:
        if self.state == "closed":  # for good
            return
        self.state, self.problem = state, problem
        self._news.set()  # whoever waits looks, and waits for the next one
        self._news = asyncio.Event()
        self._changed()

    def _signed_out(self, why: str) -> None:
        self._credentials = None
        self._current = None  # what else it has to say is of no consequence to whoever comes next
        if self._task is not None:
            self._task.cancel()
        self._set("signed_out", Refused("unauthenticated", why))

    def _away(self, problem: Refused | None) -> None:
        if self.state != "signed_out":
            self._set("connecting" if self.user is None else "offline", problem)

    async def _stay_connected(self, former: asyncio.Task[None] | None = None) -> None:
        if former is not None:
            await asyncio.gather(former, return_exceptions=True)  # it may be leaving yet
        connector = None if self._tls is None else aiohttp.TCPConnector(ssl=self._tls)
        # Some balancers keep a client at its node by a cookie; also those that are named by a number.
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), connector=connector
        ) as http:
            pause = _FIRST_PAUSE
            while True:
                is_fresh = self._credentials is None
                try:
                    if is_fresh:
                        await self._get_credentials()
                    await self._be_there(http)
                    pause = _FIRST_PAUSE
                    seconds = pause
                except Refused as problem:
                    if problem.code == "unauthenticated":
                        self._credentials = None
                        if is_fresh:
                            self._set("signed_out", problem)
                            return
                        seconds = 0
                    else:
                        known = problem.retry_after or (
                            None if problem.code == "no_answer" else _AGAIN_SECONDS
                        )
                        pause = min(pause * 2, _LAST_PAUSE)
                        seconds = known or pause
                        self._away(problem)
                # Those that lose a node together do not come to the next one together.
                await asyncio.sleep(seconds * random.uniform(0.5, 1.5))

    async def _get_credentials(self) -> None:
        try:
            given = self._auth() if callable(self._auth) else self._auth
            self._credentials = await given if inspect.isawaitable(given) else given
        except Refused:
            raise
        except Exception as error:
            if self._lacking != type(error).__name__:  # said once, however often it is tried
                self._lacking = type(error).__name__
                _log.warning("No credentials yet: %s", self._lacking)
            raise Refused("unavailable", str(error) or type(error).__name__) from error
        if self._credentials is None:
            raise Refused("unauthenticated", "Nobody is signed in.")
        if not isinstance(self._credentials, Mapping):
            raise Refused("unauthenticated", f"auth: {_EXPECTED}.")

    async def _be_there(self, http: aiohttp.ClientSession) -> None:
        """Connect, and return when the connection has ended."""
        current = _Socket(http, self._hear)
        self._current = current
        try:
            await current.connect(self._origin, self._path, self._credentials)
            await current.ended.wait()
        finally:
            if self._current is current:
                self._away(self.problem)
                self._current = None
            await current.leave()
        if current.problem is not None:
            raise current.problem

    def _hear(self, source: _Socket, name: str, said: Any) -> None:
        if source is not self._current:
            return
        if name == "server.hello":
            self._credentials = {"resumeToken": said["resumeToken"]}
            source.knows = said.get("knows", ())
            if not source.greeted.is_set():  # else only a younger token
                source.greeted.set()
                self.user, self.node = said["user"], said["node"]
                self.owner = said["user"]["id"]
                self._hello(said)
                self._set("live", None)
        elif name == "server.signed_out":
            self._credentials = None
            if said["reason"] != "session_expired":
                self._signed_out("The session has ended.")
            source.ended.set()
        self._heard(name, said)


class _Socket:
    """One Socket.IO connection, from its beginning to its end."""

    def __init__(self, http: aiohttp.ClientSession, hear: Callable[[_Socket, str, Any], None]) -> None:
        self.greeted = asyncio.Event()
        self.ended = asyncio.Event()
        self.problem: Refused | None = None
        self.knows: Sequence[str] = ()
        self._hear = hear
        self._asked: set[asyncio.Future[Any]] = set()
        self._sio = socketio.AsyncClient(
            reconnection=False,
            handle_sigint=False,
            http_session=http,
            websocket_extra_options={"max_msg_size": _MOST_BYTES},
        )
        self._sio.on("*", self._said)
        self._sio.on("connect_error", self._refused)
        self._sio.on("disconnect", self._lost)

    async def connect(self, origin: str, path: str, credentials: Credentials | None) -> None:
        """Connect and wait for `server.hello`. Raises `Refused`."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._sio.connect(
                    origin,
                    auth=dict(credentials or {}),
                    socketio_path=path,
                    # Polling needs every request at the same node.
                    transports=["websocket"],
                    wait_timeout=_CONNECT_SECONDS,
                )
                await self.greeted.wait()
        except (socketio.exceptions.ConnectionError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.problem or Refused("no_answer", "The server cannot be reached.") from error

    async def ask(self, name: str, payload: Mapping[str, Any]) -> Any:
        """The acknowledgement of a command. Raises `Refused` when the connection ends before it."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asked.add(answer)

        def note(reply: Any) -> None:
            if not answer.done():
                answer.set_result(reply)

        try:
            await self._sio.emit(name, dict(payload), callback=note)
            return await answer
        except socketio.exceptions.SocketIOError:
            raise Refused("no_answer", "The connection was lost.") from None
        finally:
            self._asked.discard(answer)

    async def leave(self) -> None:
        """End it, within a moment."""
        self._lost()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._sio.disconnect()
                websocket = self._sio.eio.ws
                if websocket is not None:  # which stays open where the server has gone silent
                    await websocket.close()
        for task in (self._sio.eio.read_loop_task, self._sio.eio.write_loop_task):
            if task is not None:
                task.cancel()

    def _said(self, name: str, said: Any = None, *_more: Any) -> None:
        self._hear(self, name, said)

    def _refused(self, detail: Any = None, *_more: Any) -> None:
        if isinstance(detail, dict) and "message" in detail:
            told = {"code": detail["message"], "message": detail["message"], **(detail.get("data") or {})}
            self.problem = Refused.of(told)

    def _lost(self, _reason: Any = None) -> None:
        self.ended.set()
        for answer in self._asked:
            if not answer.done():
                answer.set_exception(Refused("no_answer", "The connection was lost."))
