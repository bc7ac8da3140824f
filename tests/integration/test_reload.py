"""SIGHUP: certificates and what may change are read again, what may not is named, and an error changes nothing."""

from __future__ import annotations

import json
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from collab_server.demo.embedded import free_port
from tests.harness.clients import new_session
from tests.harness.cluster import Launch, Node
from tests.harness.waiting import until

DONE = "SIGHUP: certificates are read again"
WRONG = "SIGHUP: the configuration has errors"
TOKENS = ["the-first-status-token", "the-second-status-token"]
ADMINISTRATOR = "A" * 32


@pytest.fixture
async def started() -> AsyncIterator[list[Node]]:
    nodes: list[Node] = []
    yield nodes
    for node in nodes:
        if node.is_running:
            await node.kill()


def write_pair(folder: Path, authority: trustme.CA, kind: trustme.KeyType) -> None:
    leaf = authority.issue_cert("localhost", key_type=kind)
    (folder / "key.pem").write_bytes(leaf.private_key_pem.bytes())
    (folder / "cert.pem").write_bytes(leaf.cert_chain_pems[0].bytes())


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    authority.configure_trust(context)
    return context


def node_of(folder: Path, launch: Launch, **config: object) -> Node:
    """A node without any server behind it."""
    nowhere = {"host": "127.0.0.1", "port": free_port(), "username": "u", "password": "p"}
    return Node(folder, {"dataSource": nowhere, **config}, launch=launch)


def rewrite(node: Node, **config: object) -> None:
    path = node.folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


async def hang_up(node: Node, expected: str) -> str:
    """Let the node look again, and return what it has logged meanwhile."""
    before = len(node.log)
    node.process.send(signal.SIGHUP)
    await until(lambda: expected in node.log[before:], 30, node.log_tail)
    return node.log[before:]


@pytest.mark.parametrize("launch", ["uvicorn", "serve"])
async def test_certificates_that_were_replaced_are_served(
    tmp_path: Path, launch: Launch, started: list[Node]
) -> None:
    before, after = trustme.CA(), trustme.CA()
    write_pair(tmp_path, before, trustme.KeyType.RSA)
    config = {"enableTls": True, "privateKeyFile": "key.pem", "publicCertFile": "cert.pem"}
    node = node_of(tmp_path, launch, **config)
    started.append(node)
    node.spawn()

    async def live(authority: trustme.CA) -> bool:
        try:
            async with new_session() as http:
                return await answers(http, authority)
        except OSError:
            return False

    async def answers(http: aiohttp.ClientSession, authority: trustme.CA) -> bool:
        url = f"https://127.0.0.1:{node.port}/health/live"
        async with http.get(url, ssl=trusting(authority)) as answer:
            return answer.status == 200

    await until(lambda: live(before), 30, node.log_tail)
    async with new_session() as http:
        assert await answers(http, before)
        # Another kind of key: whoever only loads it into the same context serves both.
        write_pair(tmp_path, after, trustme.KeyType.ECDSA)
        assert not await live(after)
        await hang_up(node, DONE)
        assert await live(after)
        assert not await live(before)
        # A pair that does not fit changes nothing.
        (tmp_path / "key.pem").write_text("no key")
        said = await hang_up(node, WRONG)
        assert "privateKeyFile" in said
        assert await live(after)
    assert await node.stop() == 0


async def test_the_page_of_the_calls_is_a_setting(tmp_path: Path, started: list[Node]) -> None:
    node = node_of(tmp_path, "serve", docsPage=False)
    started.append(node)
    node.spawn()
    await node.wait_for_health("live", 200)
    async with new_session() as http:
        for path, status in (("/docs", 404), ("/docs-static/swagger-ui.css", 404), ("/openapi.json", 200)):
            async with http.get(node.url + path) as answer:
                assert answer.status == status, path
    assert await node.stop() == 0


async def test_settings_that_may_change_do_and_the_others_are_named(
    tmp_path: Path, started: list[Node]
) -> None:
    node = node_of(tmp_path, "serve", statusToken=TOKENS[0], allowedOrigins=["https://a.example"])
    started.append(node)
    node.spawn()
    await node.wait_for_health("live", 200)

    async def status(token: str | None = None, origin: str | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if origin is not None:
            headers["Origin"] = origin
        path = "/status?verbose=1" if origin is None else "/socket.io/?EIO=4&transport=polling"
        async with new_session() as http, http.get(node.url + path, headers=headers) as answer:
            return answer.status, await answer.json() if origin is None else {}

    assert "dependencies" in (await status(TOKENS[0]))[1]
    refused, _ = await status(origin="https://b.example")
    rewrite(
        node,
        statusToken=TOKENS[1],
        administrators=[ADMINISTRATOR],
        allowedOrigins=["https://b.example"],
        logging=True,
        port=free_port(),
        sessionHours=3,
    )
    said = await hang_up(node, DONE)
    assert "settings that changed: administrators, allowedOrigins, logging, statusToken" in said
    assert "takes a restart: port, sessionHours" in said
    assert "dependencies" not in (await status(TOKENS[0]))[1]
    seen = (await status(TOKENS[1]))[1]
    assert "dependencies" in seen
    assert seen["logging"] is True
    assert (await status(origin="https://b.example"))[0] != refused
    assert (await status(origin="https://a.example"))[0] == refused
    async with new_session(keeps_cookies=False) as http, http.get(f"{node.url}/nothing"):
        await until(lambda: '"GET /nothing' in node.log)  # as detailed logs say

    rewrite(node, limits={"commandsBurst": 0}, statusToken=TOKENS[0])
    said = await hang_up(node, WRONG)
    assert "limits.commandsBurst" in said
    assert TOKENS[0] not in node.log
    assert "dependencies" in (await status(TOKENS[1]))[1]
    assert await node.stop() == 0
