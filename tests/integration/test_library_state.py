"""Library away, wrong, or something else in its place: what a user, the log, the status and the metrics say."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from collab_server.authority.library.api import LibraryApi
from collab_server.authority.library.library import Library, Timing
from collab_server.demo.serving import LoopbackServer
from collab_server.demo.standin import create_standin
from collab_server.domain.keys import KeyRing
from collab_server.errors import Unavailable
from collab_server.ports import Ended
from collab_server.services.sign_in import Authenticator, Credentials
from tests.conftest import MakeCluster
from tests.harness.clients import Client as SocketClient
from tests.harness.clients import Failed, LibraryUser, Refused, Rest
from tests.harness.waiting import until
from tests.harness.world import test_data

SECRET = "c2VjcmV0"


def answer_instead(fault: str) -> Response:
    page = "<!doctype html><title>Sign in</title>"
    if fault.isdigit():
        return HTMLResponse(page, int(fault))
    return {
        "redirect": RedirectResponse(f"https://idp.example.com/login?SAMLRequest={SECRET}", 302),
        "spring 404": JSONResponse({"timestamp": 1, "status": 404, "error": "Not Found", "path": "/x"}, 404),
        "gateway 401": JSONResponse({"message": "Unauthorized"}, 401, headers={"WWW-Authenticate": "Basic"}),
        "empty 401": Response(status_code=401),
        "plain 404": PlainTextResponse("no such app", 404),
        "a node": JSONResponse(
            {"code": "not_found", "message": "There is no such path.", "ticketId": "1"}, 404
        ),
        "page": HTMLResponse(page),
        "raw bytes": Response(
            status_code=302, headers={"Location": f"https://idp.example.com/\xfc?x={SECRET}"}
        ),
        "cut": Response("{}", media_type="application/json", headers={"Content-Encoding": "gzip"}),
        "endless head": Response(headers={f"X-{number}": "x" * 1000 for number in range(200)}),
        "nonsense": JSONResponse({"this": "is something else"}),
        "library 500": JSONResponse({"code": "ERR001", "message": "I-Server", "ticketId": "1"}, 500),
    }[fault]


class Edge(LoopbackServer):
    """Library, or what answers in its place while `fault` is set; only to paths with one of the words in `only_at`."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.only_at: tuple[str, ...] = ("",)
        standin: ASGIApp = create_standin(test_data(), identity_token_seconds=600)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            is_meant = any(word in scope["path"] for word in self.only_at)
            is_well = self.fault is None or not is_meant
            await (standin if is_well else answer_instead(str(self.fault)))(scope, receive, send)

        super().__init__(answer, name="edge")

    @property
    def url(self) -> str:
        return f"http://{self.address}/MicroStrategyLibrary/api"


@pytest.fixture(scope="module")
def edge_of_all() -> Iterator[Edge]:
    with Edge() as server:
        yield server


@pytest.fixture
def edge(edge_of_all: Edge) -> Edge:
    edge_of_all.fault, edge_of_all.only_at = None, ("",)
    return edge_of_all


@dataclass
class Watched:
    """A Library whose calls are noted as (call, outcome), with somebody in session and somebody who comes."""

    library: Library
    authenticator: Authenticator
    noted: list[tuple[str, str]] = field(default_factory=list)

    def outcomes_of(self, call: str) -> list[str]:
        return [outcome for noted, outcome in self.noted if noted == call]


@contextlib.asynccontextmanager
async def watched(url: str, **how: Any) -> AsyncIterator[Watched]:
    noted: list[tuple[str, str]] = []
    timing = Timing(check=0.3, look=0.1)
    library = Library(
        url, timing=timing, observe=lambda call, outcome, seconds: noted.append((call, outcome)), **how
    )
    authenticator = Authenticator(library.as_authority())
    authenticator.use_keys(KeyRing.of(b"k" * 32))
    await library.start()
    try:
        yield Watched(library, authenticator, noted)
    finally:
        await library.stop()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name == "collab_server.authority.library"
    ]


FAULTS = {
    "redirect": r"302 to https://idp\.example\.com/login: ",
    "raw bytes": r"302 to https://idp\.example\.com/\?: ",
    "cut": r"the answers of \S+ break off or cannot be decoded: see what stands before Library",
    "endless head": r"\S+ answers with heads of more than 100 KB: see which cookies it sets",
    "404": r"404 at http://\S+/api/auth/identityToken: check authorizationServerUrl",
    "spring 404": r"404 at http://\S+: check authorizationServerUrl",
    "plain 404": r"404 at http://\S+: check authorizationServerUrl",
    "a node": r"404 at http://\S+: check authorizationServerUrl",
    "page": r"200 with text/html instead of JSON at http://\S+: check authorizationServerUrl",
    "401": r"401 at http://\S+, and not from Library: ",
    "403": r"403 at http://\S+, and not from Library: ",
    "gateway 401": r"401 at http://\S+, and not from Library: ",
    "empty 401": r"401 at http://\S+, and not from Library: ",
    "405": r"405 at http://\S+, and not from Library: ",
    "502": r"502 at http://\S+: the load balancer or proxy before Library does not reach it",
    "503": r"503 at http://\S+: the load balancer or proxy before Library does not reach it",
    "500": r"500 at http://\S+: see the log of Library",
    "library 500": r"500 at http://\S+: see the log of Library",
    "nonsense": r"the answer of \S+ \S+ makes no sense: is authorizationServerUrl that of Library's REST API\?",
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_the_set_up_is_nobodys_token_and_ends_nobodys_session(
    edge: Edge, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = LibraryApi(edge.url)
    await client.start()
    ann, bob = await client.login("ann", "ann"), await client.login("bob", "bob")
    tokens = [await client.make_identity_token(session) for session in (ann, bob)]
    await client.stop()
    caplog.clear()
    async with watched(edge.url) as here:
        identity = (await here.authenticator.sign_in(Credentials(identity_token=tokens[0]))).identity
        told: list[Ended] = []
        here.authenticator.attach(identity, told.append)
        assert lines(caplog) == ["Library is available"]

        edge.fault = fault
        for shown in (Credentials(identity_token=tokens[1]), Credentials(auth_token=bob.auth_token)):
            with pytest.raises(Unavailable):
                await here.authenticator.sign_in(shown)
        with pytest.raises(Unavailable):
            await here.authenticator.identify(Credentials(bearer=tokens[1] + "x"))
        checks = len(here.outcomes_of("PUT /sessions"))
        await until(
            lambda: len(here.outcomes_of("PUT /sessions")) > checks + 1, what="the session is checked"
        )
        assert told == []
        assert here.library.health.problem is not None
        assert re.match(FAULTS[fault].replace("identityToken", r"\w+"), here.library.health.problem)

        edge.fault = None
        if fault not in (
            "nonsense",
            "library 500",
        ):  # what answers in its own way may be Library, until somebody comes
            await until(lambda: here.library.health.problem is None, what="it is seen to be well again")
        assert (await here.authenticator.identify(Credentials(identity_token=tokens[1]))).user.name
        assert not here.library.sessions.is_ended(identity.session)
        assert not here.library.health.problem
    said = lines(caplog)
    assert [line.partition(":")[0] for line in said] == [
        "Library is available",
        "Library is unavailable",
        "Library is available",
    ], said
    for secret in (*tokens, ann.auth_token, bob.auth_token, SECRET):
        assert secret not in caplog.text


@pytest.mark.parametrize("fault", ["redirect", "404", "page", "503", "gateway 401"])
async def test_the_first_line_after_a_start_says_what_is_wrong(
    edge: Edge, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Although nobody has come yet."""
    edge.fault = fault
    async with watched(edge.url) as here:
        await until(lambda: lines(caplog), what="it is said")
        await until(lambda: len(here.noted) >= 3, what="it is asked again")
    [said] = lines(caplog)
    assert re.match("Library is unavailable: " + FAULTS[fault], said)


def certificate(
    folder: Path, *, is_expired: bool = False, name: str = "127.0.0.1"
) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, whose chain holds the root too, and one that trusts that root."""
    root, now = trustme.CA(), datetime.now(UTC)
    leaf = root.issue_cert(name, not_after=now - timedelta(days=1) if is_expired else None)
    chain = folder / "chain.pem"
    chain.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + root.cert_pem.bytes())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain)
    trusting = ssl.create_default_context()
    root.configure_trust(trusting)
    return server, trusting


TLS_FAULTS = {
    "untrusted": r"self-signed certificate in certificate chain: name the PEM file of the CA .* in trustedCerts",
    "expired": r"certificate has expired: Library needs a new certificate",
    "other name": r"IP address mismatch, .*: authorizationServerUrl has to use a name that is in the certificate",
    "no TLS": r"wrong version number: does authorizationServerUrl name a port that speaks TLS\?",
}


@pytest.mark.parametrize("fault", TLS_FAULTS)
async def test_what_is_wrong_with_tls_is_said(
    fault: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    context, trusting = certificate(
        tmp_path,
        is_expired=fault == "expired",
        name="library.example.com" if fault == "other name" else "127.0.0.1",
    )
    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=None if fault == "no TLS" else context)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/api"
        trust = ssl.create_default_context() if fault == "untrusted" else trusting
        async with watched(url, ssl_context=trust) as here:
            with pytest.raises(Unavailable):
                await here.authenticator.identify(Credentials(identity_token="x"))
            assert set(here.outcomes_of("POST /auth/delegate")) == {"tls"}
    [said] = lines(caplog)
    assert re.match(r"Library is unavailable: TLS with 127\.0\.0\.1:\d+ failed: " + TLS_FAULTS[fault], said)


@pytest.mark.parametrize(
    ("way", "outcome"), [("swallows", "unreachable"), ("trickles", "slow"), ("hangs", "slow")]
)
async def test_what_takes_too_long_is_told_by_its_cause(
    way: str, outcome: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collab_server.authority.library.calls.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("collab_server.authority.library.calls.CALL_SECONDS", 1.0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            if way == "trickles":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n")
            while not reader.at_eof():
                if way == "trickles":
                    writer.write(b" ")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(100), 0.05)
        writer.close()

    with contextlib.ExitStack() as sockets:
        if way == "swallows":  # as a firewall: nobody accepts, and more than a few cannot wait
            listening = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            port = listening.getsockname()[1]
            for _ in range(3):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(("127.0.0.1", port))
        else:
            server = await asyncio.start_server(talk, "127.0.0.1", 0)
            sockets.callback(server.close)
            port = server.sockets[0].getsockname()[1]
        async with watched(f"http://127.0.0.1:{port}/api") as here:
            with pytest.raises(Unavailable):
                await here.authenticator.identify(Credentials(identity_token="x"))
            assert here.outcomes_of("POST /auth/delegate") == [outcome]
    [said] = lines(caplog)
    assert ("does a firewall swallow it" if way == "swallows" else "is Library overloaded?") in said


async def test_one_object_that_fails_is_no_fault_of_library(
    edge: Edge, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = LibraryApi(edge.url)
    await client.start()
    ann = await client.login("ann", "ann")
    await client.stop()
    caplog.clear()
    async with watched(edge.url) as here:
        identity = await here.authenticator.identify(
            Credentials(auth_token=ann.auth_token, cookie=ann.cookie)
        )
        edge.only_at = ("/objects/", "/recipients")
        for fault in ("library 500", "404", "403"):
            edge.fault = fault
            for asked in (
                here.library.questions.may_open(identity, "F" * 32, "D" * 32),
                here.library.questions.recipients(identity, "<script>"),
            ):
                with pytest.raises(Unavailable):
                    await asked
        edge.fault = None
        assert here.library.health.problem is None
        assert here.outcomes_of("GET /objects/{id}") == ["error", "wrong_path", "page"]
    assert lines(caplog) == ["Library is available"]


async def test_a_node_says_what_is_wrong_with_library(make_cluster: MakeCluster, edge: Edge) -> None:
    cluster = await make_cluster(nodes=1, library=edge)
    node = cluster[0]
    ann, bob = [await LibraryUser.sign_in(edge.url, login) for login in ("ann", "bob")]
    token = await bob.identity_token()
    client = await cluster.client(0, "ann")

    async def ask(path: str) -> str:
        async with aiohttp.ClientSession() as http, http.get(node.url + path) as answer:
            assert answer.status == 200
            return await answer.text()

    async def library() -> dict[str, Any]:
        status = await node.status(is_verbose=True)
        assert list(status["dependencies"]) == ["DB Service", "Redis Server", "Library"]
        assert (status["state"], "reason" in status) == ("running", False)
        found: dict[str, Any] = status["dependencies"]["Library"]
        return found

    assert (await library())["ok"]
    edge.fault = "404"
    with pytest.raises(Refused) as refusal:
        await SocketClient.connect(node.url, identity_token=token)
    assert refusal.value.code == "unavailable"
    for given in ({"identity_token": token}, {"auth_token": bob.auth_token}):
        async with Rest.open(node.url, **given) as rest:
            with pytest.raises(Failed) as failure:
                await rest.get("/me")
            assert (failure.value.status, failure.value.code) == (503, "unavailable")
    said = await library()
    assert (said["ok"], said["error"]) == (
        False,
        f"404 at {edge.url}/auth/delegate: check authorizationServerUrl",
    )
    figures = await ask("/metrics")
    assert 'collab_dependency_up{service="Library"} 0.0' in figures
    assert re.search(
        r'collab_library_requests_total\{call="POST /auth/delegate",outcome="wrong_path"\} [1-9]', figures
    )
    assert 'collab_library_request_seconds_bucket{call="POST /auth/delegate",le="0.005"}' in figures
    assert await ask("/health/ready")
    assert (await client.call("me"))["user"]["id"] == ann.id

    async def has_looked() -> bool:
        said = 'collab_library_requests_total{call="GET /auth/identityToken",outcome="wrong_path"}'
        return said in await ask("/metrics")

    await until(has_looked, 10, "the node has looked for itself")
    edge.fault = None

    async def is_well() -> bool:
        return bool((await library())["ok"])

    await until(is_well, 15, "it is seen to be well again")
    async with Rest.open(node.url, identity_token=token) as rest:
        assert (await rest.get("/me"))["user"]["id"] == bob.id
    about = [line for line in node.log.splitlines() if "Library is " in line]
    assert len(about) == 3, about
    assert "404 at" in about[1]
