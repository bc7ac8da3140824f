"""One request is found on all nodes under one id."""

from __future__ import annotations

import asyncio
import re
import secrets

import aiohttp
import pytest

from tests.harness.clients import Client
from tests.harness.cluster import Cluster
from tests.harness.traces import heard_of


async def test_an_event_is_found_on_every_node_by_the_id_of_its_request(cluster: Cluster, topic: str) -> None:
    """Also where many were stored together, by the context of one."""
    for node in (1, 2):
        await (await cluster.client(node, "bob")).call("topic.subscribe", {"topic": topic})
    ann = await cluster.rest(0, "ann")

    async def add(id: str) -> str:
        headers = {"X-Request-ID": id}
        status, answer, given = await ann.request(
            "POST", f"/topics/{topic}/comments", {"text": "x"}, headers=headers
        )
        assert (status, given["X-Request-ID"]) == (201, id)
        return str(answer["seq"])

    # What a node has read itself, for the bus was late, has no request there: on a busy machine some of the first have.
    for _ in range(5):
        ids = [f"proxy-{secrets.token_hex(6)}" for _ in range(20)]
        seqs = await asyncio.gather(*map(add, ids))
        expected = dict(zip(seqs, ids, strict=True))
        found = [await heard_of(cluster[number], topic, seqs) for number in (1, 2)]
        if found == [expected, expected]:
            return
    assert found == [expected, expected]


async def test_a_command_of_a_socket_is_found_by_its_connection(cluster: Cluster, topic: str) -> None:
    await (await cluster.client(1, "bob")).call("topic.subscribe", {"topic": topic})
    token = await (await cluster.person("ann")).identity_token()
    id = secrets.token_hex(8)
    ann = await Client.connect(cluster[0].url, identity_token=token, headers={"X-Request-ID": id})
    # As above, some of the first may have none.
    for number in range(1, 10, 2):
        seqs = [str((await ann.call("comment.add", {"topic": topic, "text": "x"}))["seq"]) for _ in range(2)]
        expected = dict(zip(seqs, (f"{id}.{number}", f"{id}.{number + 1}"), strict=True))
        found = await heard_of(cluster[1], topic, seqs)
        if found == expected:
            break
    await ann.close()
    assert found == expected


@pytest.mark.parametrize(
    ("sent", "id"),
    [
        ({"X-Request-ID": "a-b.C_9"}, "a-b.C_9"),
        ({"traceparent": f"00-{'4b' * 16}-{'0f' * 8}-01"}, "4b" * 16),
        ({"X-Request-ID": "mine", "traceparent": f"00-{'4b' * 16}-{'0f' * 8}-01"}, "mine"),
        ({"X-Request-ID": "two words", "traceparent": f"00-{'4b' * 16}-{'0f' * 8}-01"}, "4b" * 16),
        ({"X-Request-ID": "x" * 65}, None),
        ({"traceparent": f"00-{'0' * 32}-{'0f' * 8}-01"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("path", ["/api/me", "/nowhere", "/socket.io/?EIO=4&transport=polling"])
async def test_the_id_is_given_back_by_both_doors(
    cluster: Cluster, path: str, sent: dict[str, str], id: str | None
) -> None:
    async with aiohttp.ClientSession() as http, http.get(cluster[0].url + path, headers=sent) as answer:
        given = answer.headers["X-Request-ID"]
    assert given == id if id else re.fullmatch("[0-9a-f]{16}", given)
