"""What stands in a payload: it is refused for what it costs to refuse it, and that is little."""

from __future__ import annotations

import asyncio
import json

import aiohttp

from tests.harness.clients import new_session
from tests.hostile.costs import TIMES, Node1GiB, costs
from tests.integration.doors import Raw


async def test_a_long_key_over_many_values_costs_no_product_of_the_two(node: Node1GiB, eve: Raw) -> None:
    payload = json.dumps({"k" * 50_000: [0] * 20_000})
    async with costs(node) as cost:
        for number in range(TIMES):
            answer = await cost.ask(eve, number, "notification.read", payload)
            assert answer["error"]["code"] == "invalid"
            status, error = await cost.call("eve", "PUT", "/api/notifications/read", payload)
            assert (status, error["code"]) == (400, "invalid")


async def test_many_packets_in_one_payload_of_long_polling(node: Node1GiB) -> None:
    """Of commands that wait there are so many; for the others, to be refused takes a moment each."""
    token = await (await node.cluster.person("eve")).identity_token()
    async with costs(node) as cost, new_session() as http:
        url = f"{node.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(url) as answer:
            url += f"&sid={json.loads((await answer.text())[1:])['sid']}"
        async with http.post(url, data="40" + json.dumps({"identityToken": token})):
            pass
        async with http.get(url) as answer:
            assert (await answer.text()).startswith("40")
        body = "\x1e".join(f'42{number}["me"]' for number in range(16_000))
        cost.sent += len(body)
        posted = asyncio.create_task(_post(http, url, body))
        try:
            answered = ""
            while '"rate_limited"' not in answered:
                async with http.get(url) as answer:
                    answered += await answer.text()
        finally:
            posted.cancel()


async def _post(http: aiohttp.ClientSession, url: str, body: str) -> None:
    async with http.post(url, data=body) as answer:
        await answer.read()


async def test_lists_are_refused_by_their_length_or_at_the_first_wrong_item(node: Node1GiB, eve: Raw) -> None:
    many = ",".join(["{}"] * 329_000)
    wide = json.dumps({"name": "x", "members": [{"k" * 100: n} for n in range(200)]})
    async with costs(node) as cost:
        for number in range(TIMES):
            for payload, field in (
                (f'{{"name":"x","members":[{many}]}}', "members"),
                (wide, "members[0]." + "k" * 100),
            ):
                answer = await cost.ask(eve, number, "discussion.create", payload)
                assert (answer["error"]["code"], answer["error"]["field"]) == ("invalid", field)
                status, error = await cost.call("eve", "POST", "/api/discussions", payload)
                assert (status, error["code"], error["field"]) == (400, "invalid", field)
