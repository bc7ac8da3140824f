"""What stands in a payload: it is refused for what it costs to refuse it, and that is little."""

from __future__ import annotations

import json

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
