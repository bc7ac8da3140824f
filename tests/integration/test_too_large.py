"""A command that is too large, or no packet, is answered before its connection ends, whatever carries it: who hears
nothing comes back and sends it again, for ever."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeCluster
from tests.harness.clients import new_session
from tests.harness.cluster import Cluster
from tests.integration.official import OfficialClient
from tests.integration.test_handover import ask, handshake, round_robin

PACKET_BYTES = 1_000_000


@pytest.fixture(params=["lean", "asgi"])
async def nodes(request: pytest.FixtureRequest, make_cluster: MakeCluster) -> Cluster:
    return await make_cluster(nodes=2, env={"COLLAB_TRANSPORT": request.param})


def odd_payloads() -> dict[str, dict[str, Any]]:
    """What ends a connection, by the answer."""
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"in": deep}
    return {
        "too_large": {"text": "x" * (3 * PACKET_BYTES)},
        "invalid": {"text": "x", "viewState": deep},
    }


@pytest.mark.parametrize("way", ["one node", "any node"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_the_official_client_is_answered_and_goes_on(
    nodes: Cluster, topic: str, tmp_path: Path, transport: str, way: str
) -> None:
    token = await (await nodes.person("ann")).identity_token()
    with round_robin(nodes.nodes, tmp_path) as nginx:
        url = nodes[0].url if way == "one node" else f"http://{nginx.host}:{nginx.port}"
        client = await OfficialClient.start(
            url, {"identityToken": token}, transports=[transport], topic=topic
        )
        async with client:
            await client.hears("subscribed")
            for code, payload in odd_payloads().items():
                before = len(client.told)
                answer = await client.ask("comment.add", {"topic": topic, **payload})
                assert answer["error"]["code"] == code
                await client.hears("subscribed", skip=before)
            assert (await client.ask("comment.add", {"topic": topic, "text": "x"}))["ok"]
            assert sum("disconnected" in told for told in client.told) == 2
            assert client.seqs == [1]


async def sign_in(http: Any, nodes: Cluster, node: int = 0) -> str:
    """A session of this node's, by polling; what it is greeted with has been read."""
    token = await (await nodes.person("ann")).identity_token()
    sid = await handshake(http, nodes[node])
    assert await ask(http, nodes[node], sid, f"40{json.dumps({'identityToken': token})}") == (200, "ok")
    heard = ""
    while "server.hello" not in heard:
        status, more = await ask(http, nodes[node], sid)
        assert status == 200
        heard += more
    return sid


@pytest.mark.parametrize("node", [0, 1], ids=["its node", "another node"])
async def test_what_is_posted_is_answered_also_where_nobody_polls_just_then(
    nodes: Cluster, topic: str, node: int
) -> None:
    async with new_session() as http:
        for code, payload in odd_payloads().items():
            text = f"427{json.dumps(['comment.add', {'topic': topic, **payload}])}".encode()

            async def pieces(text: bytes = text) -> AsyncIterator[bytes]:
                for start in range(0, len(text), 50_000):
                    yield text[start : start + 50_000]

            for body in (BytesIO(text), pieces()):  # with its length, and in chunks
                sid = await sign_in(http, nodes)
                posting = asyncio.create_task(ask(http, nodes[node], sid, body))
                if code == "invalid":
                    assert await posting == (200, "ok")
                heard, status = "", 200
                async with asyncio.timeout(10):
                    while "437[" not in heard and status == 200:
                        status, more = await ask(http, nodes[node], sid)
                        heard += more
                assert f'437[{{"ok":false,"error":{{"code":"{code}"' in heard
                assert (await ask(http, nodes[node], sid))[0] == 400, "its session is over"
                if code == "too_large":
                    assert (await posting)[0] == 413


@pytest.mark.parametrize("node", [0, 1], ids=["its node", "another node"])
async def test_of_several_that_are_posted_at_once_none_is_refused_that_may_not_be_too_large(
    nodes: Cluster, topic: str, node: int
) -> None:
    """Some clients post all that waits, whatever it comes to. Something else may be before what is too large."""

    def add(number: int, size: int) -> bytes:
        return f"42{number}{json.dumps(['comment.add', {'topic': topic, 'text': 'x' * size}])}".encode()

    async def answered(http: Any, sid: str) -> list[str]:
        status, found = 200, list[str]()
        while status == 200 and not found:
            status, told = await ask(http, nodes[node], sid)
            found = re.findall(r"43\d+\[", told)
        return found

    several = b"\x1e".join(add(number, 15_000) for number in range(10, 80))
    for body, answers in ((several, ["439["]), (b"3\x1e" + add(7, PACKET_BYTES), ["437["])):
        async with new_session() as http:
            sid = await sign_in(http, nodes)
            polling = asyncio.create_task(answered(http, sid))
            posting = asyncio.create_task(ask(http, nodes[node], sid, BytesIO(body)))
            await asyncio.wait([posting])  # fails, in whatever way
            if body is several:
                await ask(http, nodes[node], sid, '429["me",{}]')
            assert await polling == answers


async def test_who_is_told_nothing_is_refused_at_once(nodes: Cluster) -> None:
    async with new_session() as http:
        sid = await handshake(http, nodes[0])
        async with asyncio.timeout(2):  # not after as long as somebody would have to hear of it
            assert (await ask(http, nodes[0], sid, b"427[" + bytes(PACKET_BYTES)))[0] == 413
        sid = await sign_in(http, nodes)
        async with asyncio.timeout(2):
            assert (await ask(http, nodes[0], sid, b"42[" + bytes(PACKET_BYTES)))[0] == 413
