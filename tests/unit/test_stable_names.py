"""Names that others use stay: what deployments start, what servers of one's own are built with."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import engineio
import pytest
import socketio
import uvicorn

from collab_server import realtime
from collab_server.app import create_app
from collab_server.config import Config

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = {
    "dataSource": {"username": "u", "password": "p", "host": "127.0.0.1"},
    "authorizationServerUrl": "http://127.0.0.1:9/api",
}
PROTOCOL = {"ping_interval": 25.0, "ping_timeout": 20.0, "max_packet_bytes": 1_000_000}


async def nothing(scope: Any, receive: Any, send: Any) -> None: ...


def test_app_is_an_asgi_application_made_of_the_config_that_is_found(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(MINIMAL))
    asking = (
        "import collab_server.app as module; print(type(module.app).__name__,"
        " eval('load()', vars(module)) is module.app)"
    )
    done = subprocess.run(
        [sys.executable, "-c", asking],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.strip(), done.stderr) == ("Application True", "")


def test_create_app_takes_a_config() -> None:
    assert list(inspect.signature(create_app).parameters) == ["config"]
    assert callable(create_app(Config.model_validate(MINIMAL)))


@pytest.mark.parametrize(
    ("build", "arguments", "kind"),
    [
        (realtime.build_server, {**PROTOCOL, "namespaces": ("/",)}, socketio.AsyncServer),
        (realtime.build_engineio_server, PROTOCOL, engineio.AsyncServer),
    ],
)
def test_bare_servers_are_built_with_these_arguments(build: Any, arguments: Any, kind: type) -> None:
    parameters = inspect.signature(build).parameters
    assert {name: parameter.default for name, parameter in parameters.items()} == arguments
    server = build(**arguments)
    assert isinstance(server, kind)
    assert callable(realtime.build_asgi(server))


def test_uvicorn_finds_the_class_for_its_option_ws() -> None:
    config = uvicorn.Config(nothing, ws="collab_server.realtime.transport:WebSocketProtocol", log_config=None)
    config.load()
    assert config.ws_protocol_class is not None
    assert config.ws_protocol_class.__name__ == "WebSocketProtocol"


def test_the_console_command_is_there() -> None:
    (command,) = [point for point in entry_points(group="console_scripts") if point.name == "collab-server"]
    assert callable(command.load())


@pytest.mark.parametrize("build", [realtime.build_server, realtime.build_engineio_server])
async def test_nothing_of_ours_hides_a_method_of_the_library(build: Any) -> None:
    server = build()
    engine = getattr(server, "eio", server)
    await shake_hands(engine)
    for one in {server, engine, getattr(server, "manager", server)}:
        library = [kind for kind in type(one).__mro__ if kind.__module__.startswith(("socketio", "engineio"))]
        methods = {name for kind in library for name, value in vars(kind).items() if callable(value)}
        assert methods
        assert not methods & set(vars(one)), "an attribute has the name of a method"
    (sid,) = engine.sockets
    assert engine._upgrades(sid, "polling") == ["websocket"]
    await engine.disconnect()
    await engine.shutdown()


async def shake_hands(engine: Any) -> None:
    """Open a session by long-polling."""
    said: list[Any] = []

    async def send(event: Any) -> None:
        said.append(event)

    to_receive = [{"type": "http.request"}]

    async def receive() -> Any:
        return to_receive.pop() if to_receive else await asyncio.Event().wait()

    query, client = b"EIO=4&transport=polling", ("127.0.0.1", 1)
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": query,
        "headers": [],
        "client": client,
    }
    await engine.handle_request(scope, receive, send)
    assert said[0]["status"] == 200
