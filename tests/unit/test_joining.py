"""Commands that share a transaction: as many as wait, and no more bytes than one callback can take."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from collab_server.domain.jsontext import NOTHING
from collab_server.services.commands.joining import MOST_BYTES, MOST_JOINED, Joiner
from collab_server.services.commands.once import Answer, Request


async def joined(sizes: Sequence[int]) -> list[list[int]]:
    """What went together, of commands of these sizes on one topic that come while another is carried out."""
    batches: list[list[int]] = []
    is_busy = asyncio.Event()
    may_go_on = asyncio.Event()

    async def commit(
        _database: Any, items: Sequence[int], _requests: Sequence[Request | None], _since: float
    ) -> tuple[list[Answer], Sequence[Any]]:
        batches.append([*items])
        is_busy.set()
        await may_go_on.wait()
        return [NOTHING for _ in items], ()

    joiner: Joiner[int] = Joiner(cast("Any", None), commit, lambda recorded: None, lambda item: item)
    since = asyncio.get_running_loop().time()
    first = asyncio.create_task(joiner.run("topic", 0, None, since))
    await is_busy.wait()
    others = [asyncio.create_task(joiner.run("topic", size, None, since)) for size in sizes]
    await asyncio.sleep(0)
    may_go_on.set()
    assert await asyncio.gather(first, *others) == ["{}"] * (1 + len(sizes))
    return batches[1:]


async def test_small_ones_go_together_up_to_a_number() -> None:
    batches = await joined([1] * (MOST_JOINED + 3))
    assert [len(batch) for batch in batches] == [MOST_JOINED, 3]


async def test_large_ones_go_together_up_to_a_size_in_order_and_each_goes() -> None:
    half, much = MOST_BYTES // 2, 5 * MOST_BYTES
    assert await joined([half, half, 1, much, half, 2, 3]) == [[half, half], [1], [much], [half, 2, 3]]


async def test_what_is_still_carried_out_ends_with_the_joiner() -> None:
    is_busy, begun = asyncio.Event(), asyncio.all_tasks()

    async def commit(*_: Any) -> tuple[list[Answer], Sequence[Any]]:
        if is_busy.is_set():
            await asyncio.Event().wait()
        is_busy.set()
        await asyncio.sleep(0)
        return [NOTHING], ()

    joiner: Joiner[int] = Joiner(cast("Any", None), commit, lambda recorded: None)
    since = asyncio.get_running_loop().time()
    asked = [asyncio.create_task(joiner.run("topic", item, None, since)) for item in range(2)]
    assert await asked[0] == "{}"
    asked[1].cancel()
    await asyncio.wait((asked[1],))
    assert asyncio.all_tasks() - begun  # somebody's command goes on without them
    await joiner.stop()
    assert asyncio.all_tasks() == begun
