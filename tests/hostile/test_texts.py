"""What stands in texts: to read and to search them costs what their length is worth, whatever they say."""

from __future__ import annotations

import json

from tests.harness.world import fresh_topic
from tests.hostile.costs import TIMES, Node1GiB, costs
from tests.integration.doors import Raw

COMMENTS = 60


async def test_a_short_word_in_many_long_texts_is_looked_for_by_turns(node: Node1GiB, eve: Raw) -> None:
    made = await _call(eve, 0, "discussion.create", {"name": "Notes", "members": []})
    topic = made["discussion"]["topic"]
    for number in range(COMMENTS):
        await _call(eve, 1 + number, "comment.add", {"topic": topic, "text": "zq " * 3333})
    found: set[str] = set()
    async with costs(node) as cost:
        for number in range(TIMES):
            cursor: dict[str, str] = {}
            while True:
                payload = json.dumps({"q": "zq", "topic": topic, "limit": 200, **cursor})
                answer = await cost.ask(eve, 100 + number, "comments.search", payload)
                assert len(json.dumps(answer)) < 1_000_000
                found.update(item["comment"]["id"] for item in answer["data"]["items"])
                if answer["data"]["next"] is None:
                    break
                cursor = {"cursor": answer["data"]["next"]}
    assert len(found) == COMMENTS


async def test_texts_that_are_hard_to_read_are_read_in_little_time(node: Node1GiB, eve: Raw) -> None:
    topic = fresh_topic()
    texts = [
        "a" + "\u0301" * 5000 + "\u0316" * 4999,
        "\uff41" + "\u0f74\u0f72" * 4999,
        "\ufdfa" * 10_000,
        "".join(map(chr, range(0xAC00, 0xAC00 + 10_000))),
        "@[" * 5000,
    ]
    async with costs(node) as cost:
        for text in texts:
            added = await cost.ask(eve, 1, "comment.add", json.dumps({"topic": topic, "text": text}))
            edit = {"commentId": added["data"]["comment"]["id"], "text": "b" + text[1:]}
            assert (await cost.ask(eve, 2, "comment.edit", json.dumps(edit)))["ok"]
            query = json.dumps({"topic": topic, "q": text[:200]})
            await cost.ask(eve, 3, "comments.search", query)


async def test_hard_texts_that_come_together_are_read_by_turns(node: Node1GiB, eve: Raw) -> None:
    topic = fresh_topic()
    async with costs(node) as cost:
        for number in range(TIMES):
            text = "".join(map(chr, range(0xAC00 + number, 0xAC00 + 10_000)))
            await cost.send(eve, f'42{number}["comment.add",{json.dumps({"topic": topic, "text": text})}]')
        for number in range(TIMES):
            assert (await eve.answer(number, 30))["ok"]


async def _call(
    client: Raw, ack_id: int, command: str, payload: dict[str, object]
) -> dict[str, dict[str, str]]:
    await client.send(f'42{ack_id}["{command}",{json.dumps(payload)}]')
    answer = await client.answer(ack_id, 30)
    assert answer["ok"], answer
    data: dict[str, dict[str, str]] = answer["data"]
    return data
