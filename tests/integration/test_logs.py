"""What has happened at a node can be told from its log: with a `ticketId`, and by those who have none."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.conftest import MakeCluster
from tests.harness.clients import Client, Failed, Refused, new_session
from tests.harness.cluster import Cluster, Node
from tests.harness.waiting import until
from tests.integration.doors import Raw

FLOOD = 400


def lines_of(node: Node, **wanted: Any) -> list[dict[str, Any]]:
    """The lines of a log in JSON that have all these facts."""
    lines = [json.loads(line) for line in node.log.splitlines()]
    return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]


async def line_of(node: Node, **wanted: Any) -> dict[str, Any]:
    """The first line with these facts, which may still have to be written."""
    found = await until(lambda: lines_of(node, **wanted), what=lambda: f"{wanted} in\n{node.log_tail()}")
    line: dict[str, Any] = found[0]
    return line


@pytest_asyncio.fixture
async def node(make_cluster: MakeCluster) -> Cluster:
    limits = {"commandsPerSecond": 5, "commandsBurst": 30, "connectionsPerUser": 3, "failedSignIns": 100_000}
    overrides = {"logging": False, "logFormat": "json", "limits": limits}
    return await make_cluster(nodes=1, overrides=overrides)


async def flood(node: Node, path: str, **more: Any) -> tuple[list[Any], int]:
    """Ask for it `FLOOD` times without a token; the answers, and how many bytes at least were sent."""
    tickets, least = [], len(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n") * FLOOD
    async with new_session(keeps_cookies=False) as http:

        async def ask() -> None:
            async with http.get(node.url + path, **more) as answer:
                assert answer.status >= 400
                tickets.append((await answer.json()).get("ticketId"))

        for _ in range(FLOOD // 20):
            await asyncio.gather(*(ask() for _ in range(20)))
    return tickets, least


async def test_an_incident_is_told_from_the_log_alone(node: Cluster) -> None:
    one = node[0]
    ann_id = (await node.person("ann")).id
    # Who has come, and why they have gone.
    token = await (await node.person("ann")).identity_token()
    trace = {"X-Request-ID": "a-trace-of-a-test"}
    ann = await Client.connect(one.url, identity_token=token, headers=trace)
    line = await line_of(one, event="signed in", user=ann_id)
    assert (line["trace"], line["door"], line["by"]) == ("a-trace-of-a-test", "socketio", "identityToken")
    assert line["address"] == "127.0.0.1"
    assert line["node"] == ann.hello["node"]
    with pytest.raises(Failed) as failed:
        await ann.call("comment.add", {"topic": "nonsense", "text": "WordsOfAUser", "WordsOfAUser": 1})
    line = await line_of(one, ticket=failed.value.error["ticketId"])
    assert (line["code"], line["command"], line["trace"]) == ("invalid", "comment.add", "a-trace-of-a-test.1")
    await ann.close()
    line = await line_of(one, event="disconnected", user=ann_id)
    assert line["trace"] == "a-trace-of-a-test"
    # The client says the one and does the other; which of them comes first is its own race.
    assert line["why"] in ("client disconnect", "transport close")
    assert line["commands"] == 1

    # Who was refused, and why.
    with pytest.raises(Refused) as refused:
        await Client.connect(one.url, identity_token="HunterTwo")
    line = await line_of(one, ticket=refused.value.error["ticketId"])
    assert (line["event"], line["code"], line["by"]) == (
        "a sign-in was refused",
        "unauthenticated",
        "identityToken",
    )
    assert line["why"] == "Library does not accept this token"
    async with aiohttp.ClientSession() as http:
        asked = [
            ("/socket.io/?EIO=3&transport=polling", {}, "Unsupported protocol version"),
            ("/socket.io/?EIO=4&transport=polling&sid=HunterTwo", {}, "Session ID unknown"),
            ("/socket.io/?EIO=4&transport=polling", {"Origin": "https://elsewhere.example"}, "Forbidden"),
        ]
        for path, headers, why in asked:
            async with http.get(one.url + path, headers=headers) as answer:
                assert answer.status == 400
            line = await line_of(one, event="a request was refused", why=why)
            assert line["address"] == "127.0.0.1"
        async with http.get(one.url + "/api/me", headers={"X-MSTR-AuthToken": "HunterTwo"}) as answer:
            line = await line_of(one, ticket=(await answer.json())["ticketId"])
            assert (line["event"], line["door"]) == ("a sign-in was refused", "rest")
        async with http.get(one.url + "/api/nowhere") as answer:
            assert (await line_of(one, ticket=(await answer.json())["ticketId"]))["code"] == "not_found"
        for path in ("/health/live", "/health/ready", "/status", "/metrics"):
            async with http.get(one.url + path) as answer:
                assert answer.status == 200

    # Who asks for too much.
    bob, bob_id = await node.client(0, "bob"), (await node.person("bob")).id
    answers = await asyncio.gather(*(bob.ask("me") for _ in range(60)))
    heard = [answer["error"]["ticketId"] for answer in answers if not answer["ok"]]
    assert len(heard) > 15
    line = await line_of(one, ticket=heard[0])
    assert (line["code"], line["user"]) == ("rate_limited", bob_id)
    for ticket in heard:
        await line_of(one, ticket=ticket)
    assert len(lines_of(one, code="rate_limited")) == 11

    # Who is put out.
    dan = await Raw.open(one.url, {"identityToken": await (await node.person("dan")).identity_token()})
    await dan.send("4{nonsense")
    await dan.close()
    line = await line_of(one, event="put out: it broke the protocol")
    assert (line["user"], line["why"]) == ((await node.person("dan")).id, "no packet")
    assert (await line_of(one, event="disconnected", trace=line["trace"]))["why"] == "transport error"
    carol = await node.client(0, "carol")
    await carol.call("session.end")
    line = await line_of(one, event="signed out", user=(await node.person("carol")).id)
    assert line["why"] == "session_ended"
    assert (await line_of(one, event="disconnected", trace=line["trace"]))["why"] == "signed out"

    await one.stop()
    assert [line["left"] for line in lines_of(one, event="draining") if "left" in line] == []
    assert (await line_of(one, event="disconnected", user=bob_id))["why"] == "draining"
    assert (await line_of(one, event="drained"))["closed"] == 1
    (line,) = lines_of(one, event="errors of one minute were sent under one ticket", user=bob_id)
    assert line["counts"] == f"rate_limited {len(heard) - 10}"
    assert {line["node"] for line in lines_of(one)} == {ann.hello["node"]}
    for secret in ("HunterTwo", "WordsOfAUser", token, "/health", "/metrics"):
        assert secret not in one.log


async def test_a_flood_of_strangers_logs_less_than_it_sends_and_hides_no_ticket(node: Cluster) -> None:
    one = node[0]
    before, tickets, sent = len(one.log), [], 0
    for path in ("/api/me", "/api/nowhere", "/socket.io/?EIO=4&transport=polling&sid=x"):
        heard, least = await flood(one, path)
        tickets += heard
        sent += least
    for number in range(30):
        with pytest.raises(Refused) as refused:
            await Client.connect(one.url, auth={"identityToken": f"no{number}"})
        tickets.append(refused.value.error["ticketId"])
    await one.stop()
    assert len(one.log) - before < sent
    seen = {line["ticket"] for line in lines_of(one) if "ticket" in line}
    assert set(tickets) - {None} <= seen
    counts = [line["counts"] for line in lines_of(one) if "counts" in line]
    total = sum(int(number) for line in counts for number in re.findall(r" (\d+)", line))
    assert total >= 3 * FLOOD + 30 - 2 * 10
