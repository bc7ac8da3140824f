"""The connections of those who read and write under faults: our lean client's, and the official Python client's.

Most are lean, so that what is tested is kept busy rather than the clients. Both are told what came in the order in
which it came: an acknowledgement is handed to who asked before anything behind it is looked at.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any, Literal, Protocol

import aiohttp
import socketio

from tests.harness.clients import Client, Failed, Refused
from tests.harness.wire import Wire

__all__ = ["CONNECT_SECONDS", "LOST", "Connection", "Hear", "Kind", "ask", "connect", "until_all_have_left"]

CONNECT_SECONDS = 4.0
GIVE_UP_SECONDS = 0.5
ANSWER_SECONDS = 4.0
LEAVE_SECONDS = 6.0

LOST = (Failed, Refused, TimeoutError, OSError, aiohttp.ClientError, socketio.exceptions.SocketIOError)
"""Whatever a client meets when its server, or the way there, has gone."""

Kind = Literal["lean", "websocket", "polling"]
"""The lean client, or the official one over either transport."""

Hear = Callable[[str, Any], None]
"""Gets an event's name and data."""

_leaving: set[asyncio.Task[Any]] = set()


class Connection(Protocol):
    """`hello` is the data of `server.hello`; `ended` is set when the connection is known to be over."""

    hello: dict[str, Any]
    ended: asyncio.Event

    async def emit(self, command: str, payload: dict[str, Any], note: Callable[[Any], None]) -> None:
        """Send a command; `note` gets what it is acknowledged with, or None if the connection ended."""

    def leave(self) -> None:
        """Close it, though it may be dead already; takes no time, never raises."""


class _Lean:
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.hello = wire.hello
        self.ended = wire.ended

    async def emit(self, command: str, payload: dict[str, Any], note: Callable[[Any], None]) -> None:
        self._wire.emit(command, payload, lambda text: note(None if text is None else json.loads(text)))

    def leave(self) -> None:
        self._wire.close()


class _Official:
    def __init__(self, client: Client, ended: asyncio.Event) -> None:
        self._client = client
        self.hello = client.hello
        self.ended = ended

    async def emit(self, command: str, payload: dict[str, Any], note: Callable[[Any], None]) -> None:
        await self._client.sio.emit(command, payload, callback=lambda reply=None, *_: note(reply))

    def leave(self) -> None:
        async def close() -> None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._client.close()

        task = asyncio.create_task(close())
        _leaving.add(task)
        task.add_done_callback(_leaving.discard)


async def connect(kind: Kind, url: str, auth: dict[str, str], hear: Hear) -> Connection:
    """Connect to a node, sign in with `auth` (the wire's object), wait for `server.hello`. Raises one of `LOST`."""
    if kind == "lean":

        def take(text: str) -> None:
            name, *data = json.loads(text)
            hear(name, data[0] if data else None)

        return _Lean(await Wire.connect(url, auth, hear=take, timeout=CONNECT_SECONDS))
    client = await _connected(Client.connect(url, auth=auth, transport=kind, timeout=CONNECT_SECONDS))
    # aiohttp repeats a GET whose connection was cut. The answer that was cut with it held events of a poll: a client
    # that goes on as if nothing had happened has lost them itself. Official clients give up and come back.
    client.http._retry_connection = False
    ended = asyncio.Event()
    client.sio.on("*", lambda name, data=None, *_: hear(name, data))
    client.sio.on("disconnect", lambda _reason=None: ended.set())
    if not client.is_connected:
        ended.set()
    return _Official(client, ended)


async def _connected(connecting: Coroutine[Any, Any, Client]) -> Client:
    """A client that connects in time. Another one may take ten seconds more to give up; nobody waits for that."""
    task = asyncio.create_task(connecting)
    done: set[asyncio.Task[Client]] = set()
    try:
        done, _ = await asyncio.wait({task}, timeout=CONNECT_SECONDS + GIVE_UP_SECONDS)
    finally:
        if not done:
            _leaving.add(task)
            task.add_done_callback(_gave_up)
    if not done:
        raise TimeoutError
    return task.result()


def _gave_up(task: asyncio.Task[Client]) -> None:
    _leaving.discard(task)
    if not task.cancelled() and task.exception() is None:
        _Official(task.result(), asyncio.Event()).leave()


async def ask(
    connection: Connection,
    command: str,
    payload: dict[str, Any],
    take: Callable[[Any], Any] = lambda data: data,
    timeout: float = ANSWER_SECONDS,
) -> Any:
    """What `take` made of the command's data, called before anything that came behind it is looked at.

    Raises `Failed`, `ConnectionError` when the connection is over, or `TimeoutError` when there is no answer.
    """
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def note(reply: Any) -> None:
        if answer.done():
            return
        if reply is None and connection.ended.is_set():
            answer.set_exception(ConnectionResetError("the connection ended before an answer came"))
        elif not isinstance(reply, dict) or "ok" not in reply:
            answer.set_exception(Failed({"code": "malformed", "message": repr(reply)}))
        elif not reply["ok"]:
            answer.set_exception(Failed(reply["error"]))
        else:
            answer.set_result(take(reply["data"]))

    await connection.emit(command, payload, note)
    async with asyncio.timeout(timeout):
        return await answer


async def until_all_have_left() -> None:
    """Wait for connections that are being closed."""
    if _leaving:
        await asyncio.wait(_leaving, timeout=LEAVE_SECONDS + 1)
