"""Under bare uvicorn the app's own settings count, unless uvicorn was given others; with real uvicorn processes."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from collab_server.app import settings_of
from collab_server.config import Config
from collab_server.demo.embedded import free_port
from collab_server.realtime.lean import adapter
from tests.harness.waiting import Stopwatch

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60
GRACEFUL_SECONDS = 1

# Answers with what uvicorn runs on, and keeps `/slow` open for as long as the client stays.
APP = """
import asyncio, json, sys
sys.path.insert(0, {root!r})
from collab_server.realtime.lean import adapter
from collab_server.app import settings_of
from collab_server.config import load_config

adapter.GRACEFUL_SECONDS = {graceful}
running = None

async def app(scope, receive, send):
    global running
    if scope["type"] == "lifespan":
        await receive()
        running = receive.__self__.config
        adapter.adopt(receive, settings_of(load_config().config))
        await send({{"type": "lifespan.startup.complete"}})
        await receive()
        return await send({{"type": "lifespan.shutdown.complete"}})
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    if scope["path"] == "/slow":
        await send({{"type": "http.response.body", "body": b"waiting", "more_body": True}})
        await asyncio.sleep(60)
    await send({{"type": "http.response.body", "body": json.dumps({{
        "ws_max_size": running.ws_max_size,
        "deflate": running.ws_per_message_deflate,
        "graceful": running.timeout_graceful_shutdown,
        "access_log": running.access_log,
        "client": scope["client"][0],
        "scheme": scope["scheme"],
    }}).encode()}})
"""


class Uvicorn:
    """A `python -m uvicorn toy:app …` in a folder with a config.json."""

    def __init__(self, folder: Path, config: dict[str, Any], *arguments: str, **environ: str) -> None:
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "toy.py").write_text(APP.format(root=str(ROOT), graceful=GRACEFUL_SECONDS))
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "toy:app", *arguments],
            cwd=folder,
            env={"PATH": "/usr/bin:/bin", **environ},
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def get(
        self, port: int, path: str = "/", context: ssl.SSLContext | None = None, **headers: str
    ) -> dict[str, Any]:
        """The answer to one request, as soon as the server is up."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            connection = self.connect(port, context)
            try:
                connection.request("GET", path, headers=headers)
                answer: dict[str, Any] = json.loads(connection.getresponse().read())
                return answer
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.text()
                assert time.monotonic() < deadline, self.text()
                time.sleep(0.05)
            finally:
                connection.close()

    def connect(self, port: int, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if context is not None:
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS, context=context)
        return http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)

    def text(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def stop(self) -> int:
        """End it by SIGTERM; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Uvicorn] = []

    def start(config: dict[str, Any], *arguments: str, **environ: str) -> Uvicorn:
        started.append(Uvicorn(tmp_path, config, *arguments, **environ))
        return started[-1]

    yield start
    for uvicorn in started:
        uvicorn.close()


def test_the_files_port_and_our_settings_are_used(start: Any) -> None:
    port = free_port()
    found = start({"port": port, "limits": {"packetBytes": 500_000}}).get(port)
    assert (found["ws_max_size"], found["deflate"]) == (500_000, False)
    assert (found["graceful"], found["access_log"]) == (GRACEFUL_SECONDS, False)


@pytest.mark.parametrize("way", ["--port N", "--port=N", "UVICORN_PORT"])
def test_a_port_given_to_uvicorn_outranks_the_file(start: Any, way: str) -> None:
    port = free_port()
    arguments = way.replace("N", str(port)).split() if way.startswith("--") else ()
    environ = {} if arguments else {"UVICORN_PORT": str(port)}
    start({"port": free_port()}, *arguments, **environ).get(port)


def test_other_settings_given_to_uvicorn_outrank_ours(start: Any) -> None:
    port = free_port()
    arguments = ["--ws-max-size", "7", "--timeout-graceful-shutdown=3", "--access-log"]
    found = start({"port": port}, *arguments, UVICORN_WS_PER_MESSAGE_DEFLATE="true").get(port)
    assert (found["ws_max_size"], found["graceful"], found["access_log"]) == (7, 3, True)
    assert found["deflate"] is True


def test_a_config_with_tls_is_never_served_in_clear(start: Any, tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    port = free_port()
    pair = {"enableTls": True, "privateKeyFile": "key.pem", "publicCertFile": "cert.pem"}
    uvicorn = start({"port": port, **pair})
    assert uvicorn.get(port, context=trusting)["scheme"] == "https"


@pytest.mark.parametrize(("trusted", "seen"), [(["127.0.0.0/8"], "192.0.2.7"), (["10.0.0.1"], "127.0.0.1")])
def test_only_trusted_proxies_are_believed(start: Any, trusted: list[str], seen: str) -> None:
    port = free_port()
    uvicorn = start({"port": port, "trustedProxies": trusted})
    assert uvicorn.get(port, **{"X-Forwarded-For": "192.0.2.7"})["client"] == seen


def test_an_open_request_does_not_hold_up_the_end(start: Any) -> None:
    port = free_port()
    uvicorn = start({"port": port})
    uvicorn.get(port)
    connection = uvicorn.connect(port)
    connection.request("GET", "/slow")
    connection.getresponse().read(7)
    watch = Stopwatch()
    uvicorn.stop()
    assert watch.seconds < GRACEFUL_SECONDS + 3
    connection.close()


def test_another_server_is_left_alone() -> None:
    class Receive:
        config = object()

        async def receive(self) -> None: ...

    async def plain() -> None: ...

    for receive in (Receive().receive, plain, None):
        adapter.adopt(receive, settings_of(Config()))
