"""Servers for the protocol tests: real uvicorn processes of one thread each, on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import uvicorn

from collab_server.realtime import EngineServer, SocketServer, build_asgi, build_engineio_server, build_server

PING_INTERVAL = 0.3
PING_TIMEOUT = 0.2
"""Of the official suites; for tests of the heartbeat."""
CALM = {"ping_interval": 25.0, "ping_timeout": 20.0}
"""For all others, so that a busy machine is not taken for a client that has gone."""
DEADLINE_SECONDS = 20.0
"""A busy machine may be late; shorter than what ends a connection by itself."""

OF_UVICORN = ("ASGI callable returned without completing handshake.", "Invalid UTF-8 sequence")
"""What uvicorn itself logs as errors, the plain ASGI way: refused handshakes, broken text."""

WAYS: dict[str, dict[str, Any]] = {
    "lean": {"loop": "uvloop"},
    "lean-asyncio": {"loop": "asyncio"},
    "lean-h11": {"loop": "asyncio", "http": "h11"},
    "asgi": {"loop": "uvloop", "lifespan": "off"},
}
"""How uvicorn is run: with the lean protocol classes, or the plain ASGI way."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs: `url` without a path."""

    url: str
    server: Any
    uvicorn: uvicorn.Server
    thread: threading.Thread

    def stop(self) -> None:
        """Ask it to stop gracefully and wait until it has."""
        self.uvicorn.should_exit = True
        self.thread.join(DEADLINE_SECONDS)
        assert not self.thread.is_alive(), "uvicorn did not stop"


@contextlib.contextmanager
def serve(server: Any, **options: Any) -> Iterator[Served]:
    """Run a server of `build_server` or `build_engineio_server` under uvicorn."""
    with serve_application(build_asgi(server), server, **options) as served:
        yield served


@contextlib.contextmanager
def serve_application(application: Any, server: Any, **options: Any) -> Iterator[Served]:
    """Run an ASGI application, with this server in it, under uvicorn."""

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        server.loop = asyncio.get_running_loop()
        await application(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(noted, log_config=None, access_log=False, **options)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        served = Served(url, server, running, thread)
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while not running.started:
                assert time.monotonic() < deadline
                assert thread.is_alive()
                time.sleep(0.002)
            yield served
        finally:
            served.stop()


def echo_engine(**options: Any) -> Any:
    """An Engine.IO server that sends every message back, with more than `build_engineio_server` gives if asked."""
    more = {
        name: options.pop(name) for name in ("bounds", "known_by", "elsewhere", "watcher") if name in options
    }
    options = {**CALM, **options}
    server = build_engineio_server(**options)
    if more:
        server = EngineServer(async_mode="asgi", cors_allowed_origins="*", **more, **options)
    server.ended = {}

    @server.on("message")
    async def message(sid: str, data: Any) -> None:
        await server.send(sid, data)

    @server.on("disconnect")
    async def disconnect(sid: str, reason: str) -> None:
        server.ended[sid] = reason

    return server


def echo_sockets(**options: Any) -> Any:
    """A Socket.IO server with the handlers of the official suite's, and with other limits where they are given."""
    limits = {
        name: options.pop(name) for name in ("strangers", "connect_seconds", "elsewhere") if name in options
    }
    options = {**CALM, "namespaces": ["/", "/custom"], **options}
    server = build_server(**options)
    if limits:
        server = SocketServer(async_mode="asgi", cors_allowed_origins="*", **limits, **options)
    server.ended = {}

    for namespace in ("/", "/custom"):

        @server.on("connect", namespace=namespace)
        async def connect(sid: str, environ: Any, auth: Any, namespace: str = namespace) -> None:
            await server.emit("auth", auth or {}, to=sid, namespace=namespace)

        @server.on("message", namespace=namespace)
        async def message(sid: str, *args: Any, namespace: str = namespace) -> None:
            await server.emit("message-back", args, to=sid, namespace=namespace)

        @server.on("message-with-ack", namespace=namespace)
        async def with_ack(sid: str, *args: Any) -> Any:
            return args

        @server.on("disconnect", namespace=namespace)
        async def disconnect(sid: str, reason: str) -> None:
            server.ended[sid] = reason

    return server


@pytest.fixture(scope="session", params=list(WAYS))
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each way to run uvicorn."""
    return WAYS[request.param]


@pytest.fixture(scope="session")
def engine(way: dict[str, Any]) -> Iterator[Served]:
    """An Engine.IO server that echoes, shared by the tests of one way."""
    with serve(echo_engine(), **way) as served:
        yield served


@pytest.fixture(scope="session")
def hasty(way: dict[str, Any]) -> Iterator[Served]:
    """The same with the short heartbeat of the official suites."""
    with serve(echo_engine(ping_interval=PING_INTERVAL, ping_timeout=PING_TIMEOUT), **way) as served:
        yield served


@pytest.fixture(scope="session")
def sockets(way: dict[str, Any]) -> Iterator[Served]:
    """A Socket.IO server with the official suite's handlers, shared by the tests of one way."""
    with serve(echo_sockets(), **way) as served:
        yield served


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a client does is an error of ours."""
    caplog.set_level(logging.INFO)
    yield
    errors = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR and record.name != "engineio.client"  # what the test's client says
    ]
    assert not [error for error in errors if not error.startswith(OF_UVICORN)]


def wait_until(condition: Any) -> None:
    """Wait for something on a server's own thread, with a deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)
