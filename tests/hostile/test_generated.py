"""Hostile payloads by chance: for every command, through both doors, each within the bounds.

`HOSTILE_SECONDS` says for how long (a few seconds by default), `HOSTILE_SEED` where chance begins; a failure prints
both, and what was sent.
"""

from __future__ import annotations

import os
import secrets
import time
from random import Random

import aiohttp

from collab_server.errors import CODES
from tests.hostile.costs import HELD_SECONDS, Cost, Node1GiB, costs
from tests.hostile.generator import Attack, attack
from tests.integration.doors import Raw

SECONDS = float(os.environ.get("HOSTILE_SECONDS", "4"))
LEAST = 40


async def test_whatever_is_sent_costs_little_and_is_answered_clearly(node: Node1GiB) -> None:
    seed = int(os.environ.get("HOSTILE_SEED") or secrets.randbits(32))
    random = Random(seed)
    print(f"\nHOSTILE_SEED={seed}")  # noqa: T201
    found: list[str] = []
    sent = 0
    ends_at = time.monotonic() + SECONDS
    eve = await node.raw("eve")
    async with costs(node, held_seconds=float("inf")) as cost:
        before = await node.held()
        while time.monotonic() < ends_at or sent < LEAST:
            one = attack(random)
            sent += 1
            if one.door == "socket":
                problem, is_open = await _over_socket(cost, eve, sent, one)
                if not is_open:
                    await eve.close()
                    eve = await node.raw("eve")
            else:
                problem = await _over_rest(cost, one)
            after = await node.held()
            if (key := f"{HELD_SECONDS:g}") in after and after[key] > before[key]:
                problem = f"held the loop for {after['recent']:.3f} s or more"
            before = after
            if problem:
                found.append(f"{problem}: {one.what}")
                print(found[-1])  # noqa: T201
    await eve.close()
    print(f"{sent} attacks")  # noqa: T201
    assert not found, f"HOSTILE_SEED={seed}: {len(found)} of {sent}, the first: {found[:5]}"


async def _over_socket(cost: Cost, eve: Raw, ack_id: int, one: Attack) -> tuple[str | None, bool]:
    """What was wrong with the answer, and whether the connection is still there: a packet that is none ends it."""
    try:
        await cost.send(eve, f"42{ack_id}{one.packet}")
        answer = await eve.answer(ack_id, 30)
    except (AssertionError, ConnectionError):  # the latter while it is still being sent
        return None, False
    eve.frames.clear()
    return _judged(answer.get("error", {})), True


async def _over_rest(cost: Cost, one: Attack) -> str | None:
    try:
        status, content = await cost.call("eve", one.method, one.path, one.body, headers=one.headers)
    except (aiohttp.ClientError, OSError):
        return None  # a head that is too large is not read to its end
    if status == 500:
        return "500"
    return _judged(content) if status >= 400 and isinstance(content, dict) else None


def _judged(error: dict[str, object]) -> str | None:
    code = error.get("code")
    if code is None or (code in CODES and code != "internal"):
        return None
    return f"answered {code}"
