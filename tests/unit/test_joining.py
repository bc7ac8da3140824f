"""Commands that share a transaction: as many as wait, and no more bytes than one callback can take; and when another
transaction begins beside one that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
import pytest_asyncio

from collab_server.domain.jsontext import NOTHING
from collab_server.errors import Paused
from collab_server.services.commands import joining
from collab_server.services.commands.joining import (
    LEAST_FREE_SECONDS,
    LEAST_SECONDS,
    MOST_AT_ONCE,
    MOST_BYTES,
    MOST_FOR_LOCKS,
    MOST_JOINED,
    Held,
    Joiner,
)
from collab_server.services.commands.once import Answer, Request
from collab_server.storage.database import COMMAND_SECONDS
from collab_server.storage.failures import Locked


async def joined(sizes: Sequence[int]) -> list[list[int]]:
    """What went together, of commands of these sizes on one topic that come while another is carried out."""
    batches: list[list[int]] = []
    is_busy = asyncio.Event()
    may_go_on = asyncio.Event()

    async def commit(
        _database: Any,
        items: Sequence[int],
        _requests: Sequence[Request | None],
        _since: float,
        *,
        waits: bool,
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


class Transactions:
    """Commands of a joiner, each on the topic that its name begins with, in transactions that end when a test says."""

    locked: str = ""
    """Topics that somebody else has locked: a transaction that does not wait for them leaves them out at its end."""
    made: str = ""
    """Topics that somebody else makes: a transaction that does not wait for them stores nothing."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        """What went together, as it began."""
        self.waiting: list[str] = []
        """Of that, what waits for the lock of its topic."""
        self._has_begun = asyncio.Event()
        self._ends: dict[str, asyncio.Future[None]] = {}
        self._asked: list[asyncio.Task[Any]] = []
        self.joiner: Joiner[str] = Joiner(cast("Any", None), self._commit, lambda recorded: None)

    async def _commit(
        self,
        _database: Any,
        items: Sequence[str],
        _requests: Sequence[Request | None],
        _since: float,
        *,
        waits: bool,
    ) -> tuple[list[Answer], Sequence[Any]]:
        together = " ".join(items)
        self.begun.append(together)
        if waits:
            self.waiting.append(together)
        self._has_begun.set()
        await self._ends.setdefault(together, asyncio.get_running_loop().create_future())
        if not waits and any(item[0] in self.made for item in items):
            raise Locked
        return [NOTHING if waits or item[0] not in self.locked else Held() for item in items], ()

    async def come(self, *names: str, waited: float = 0.0) -> list[asyncio.Task[Any]]:
        """Have these commands come in one turn of the loop, and everything begin that begins by that; so many seconds
        they have `waited` already."""
        since = asyncio.get_running_loop().time() - waited
        asked = [asyncio.create_task(self.joiner.run(name[0], name, None, since)) for name in names]
        self._asked += asked
        await turns()
        return asked

    async def end(self, together: str) -> None:
        """Let what went together be committed, and everything begin that begins by that."""
        self._ends.pop(together).set_result(None)
        await turns()

    async def begin(self, count: int) -> None:
        """Wait until so many transactions have begun."""
        async with asyncio.timeout(10):
            while len(self.begun) < count:
                self._has_begun.clear()
                await self._has_begun.wait()

    async def stop(self) -> None:
        """Leave nothing behind."""
        for asked in self._asked:
            asked.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
        await self.joiner.stop()


async def turns() -> None:
    """Some turns of the loop, more than it takes anything to begin."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest_asyncio.fixture
async def transactions() -> AsyncIterator[Transactions]:
    made = Transactions()
    yield made
    await made.stop()


@pytest.fixture
def never_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "HELD_UP_SECONDS", 1000)


@pytest.mark.usefixtures("never_held_up")
async def test_what_comes_in_one_turn_of_the_loop_goes_together(transactions: Transactions) -> None:
    await transactions.come("a1", "b1", "a2")
    assert transactions.begun == ["a1 b1 a2"]


@pytest.mark.usefixtures("never_held_up")
async def test_another_transaction_begins_when_as_many_have_come_as_are_in_the_first(
    transactions: Transactions,
) -> None:
    await transactions.come("a1", "b1")
    await transactions.come("c1")
    assert transactions.begun == ["a1 b1"]
    await transactions.come("d1")
    assert transactions.begun == ["a1 b1", "c1 d1"]
    await transactions.come("e1", "f1", "g1")
    assert transactions.begun == ["a1 b1", "c1 d1"], "two at once are enough"
    await transactions.end("c1 d1")
    assert transactions.begun == ["a1 b1", "c1 d1", "e1 f1 g1"]


@pytest.mark.usefixtures("never_held_up")
async def test_what_too_few_have_come_for_goes_with_the_end_of_the_first(transactions: Transactions) -> None:
    await transactions.come("a1", "b1")
    await transactions.come("c1")
    await transactions.end("a1 b1")
    assert transactions.begun == ["a1 b1", "c1"]


@pytest.mark.usefixtures("never_held_up")
async def test_no_two_transactions_are_about_one_topic(transactions: Transactions) -> None:
    await transactions.come("a1", "b1")
    await transactions.come("a2", "a3", "b2", "c1")
    assert transactions.begun == ["a1 b1"], "one that could go is fewer than two"
    await transactions.come("c2", "a4")
    assert transactions.begun == ["a1 b1", "c1 c2"]
    await transactions.end("c1 c2")
    assert transactions.begun == ["a1 b1", "c1 c2"]
    await transactions.end("a1 b1")
    assert transactions.begun == ["a1 b1", "c1 c2", "a2 a3 b2 a4"]


async def test_what_is_held_up_holds_up_nothing_else(transactions: Transactions) -> None:
    await transactions.come("a1", "b1", "c1")
    await transactions.come("a2", "d1")
    await transactions.begin(2)
    assert transactions.begun == ["a1 b1 c1", "d1"]
    await transactions.end("d1")
    await transactions.come("d2")
    await transactions.begin(3)
    assert transactions.begun == ["a1 b1 c1", "d1", "d2"]
    await transactions.end("a1 b1 c1")
    await transactions.begin(4)
    assert transactions.begun[3:] == ["a2"]


@pytest.mark.usefixtures("never_held_up")
async def test_only_what_is_about_one_topic_waits_for_its_lock(transactions: Transactions) -> None:
    await transactions.come("a1", "a2")
    await transactions.come("b1", "c1")
    assert transactions.begun == ["a1 a2", "b1 c1"]
    assert transactions.waiting == ["a1 a2"]


@pytest.mark.usefixtures("never_held_up")
async def test_what_is_held_goes_next_by_itself_in_order_and_all_others_are_answered(
    transactions: Transactions,
) -> None:
    transactions.locked = "bd"
    asked = await transactions.come("a1", "b1", "c1", "b2", "d1")
    await transactions.come("b3", "e1")
    await transactions.end("a1 b1 c1 b2 d1")
    assert [each.done() for each in asked] == [True, False, True, False, False]
    assert transactions.begun[1:] == ["b1 b2 b3"]
    await transactions.come("f1", "g1", "h1")
    assert transactions.begun[2:] == ["d1"], "what is held goes before all that came after it"
    assert transactions.waiting == ["b1 b2 b3", "d1"]
    await transactions.end("d1")
    assert transactions.begun[3:] == ["e1 f1 g1 h1"]
    await transactions.end("b1 b2 b3")
    assert [await each for each in asked] == [NOTHING] * 5


async def test_no_number_of_locked_topics_holds_up_others(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "HELD_UP_SECONDS", 0)
    monkeypatch.setattr(joining, "TRIED_AGAIN_SECONDS", (1000, 1000))
    transactions.locked = "abcdefgh"
    asked = []
    for number, name in enumerate(["a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1"], 1):
        asked += await transactions.come(name)
        await transactions.begin(number)
        if number > MOST_FOR_LOCKS:
            await transactions.end(name)
    assert transactions.waiting == ["a1", "b1", "c1"]
    await transactions.come("i1", "d2", "i2")
    await transactions.begin(9)
    assert transactions.begun[8:] == ["i1 i2"]
    await transactions.end("a1")
    await transactions.come("b2", "d3", "a2")
    await transactions.begin(10)
    assert transactions.waiting[3:] == ["a2"], "the others stay for a while"
    assert [each.done() for each in asked] == [True] + [False] * 7


@pytest.mark.usefixtures("never_held_up")
async def test_what_is_held_and_may_not_wait_is_tried_again_with_others(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "HELD_UP_SECONDS", 0)
    monkeypatch.setattr(joining, "TRIED_AGAIN_SECONDS", (0.001, 0.002))
    transactions.locked = "d"
    for number, name in enumerate(["a1", "b1", "c1"], 1):
        await transactions.come(name)
        await transactions.begin(number)
    [held] = await transactions.come("d1")
    await transactions.begin(4)
    for number in range(5, 8):
        await transactions.end("d1")
        await transactions.begin(number)
    assert transactions.begun[3:] == ["d1"] * 4
    transactions.locked = ""
    await transactions.end("d1")
    assert await held == NOTHING


@pytest.mark.usefixtures("never_held_up")
async def test_what_has_too_little_time_to_wait_for_a_lock_goes_without_beside_others_of_its_kind(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "TRIED_AGAIN_SECONDS", (1000, 1000))
    late = COMMAND_SECONDS - LEAST_SECONDS + 0.1
    transactions.locked = "a"
    await transactions.come("z1")
    asked = await transactions.come("a1", "b1", waited=late) + await transactions.come("a2", "c1")
    await transactions.end("z1")
    assert transactions.begun[1:] == ["a1 b1"]
    await transactions.end("a1 b1")
    assert transactions.begun[2:] == ["c1"], "what is late and held is tried again after a while"
    assert "a1 b1" not in transactions.waiting
    assert [each.done() for each in asked] == [False, True, False, False]


async def test_what_is_not_worth_it_any_more_is_refused(transactions: Transactions) -> None:
    [refused] = await transactions.come("a1", waited=COMMAND_SECONDS - LEAST_FREE_SECONDS)
    with pytest.raises(Paused):
        await refused
    assert not transactions.begun


async def test_so_many_bytes_wait_and_no_more(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_WAITING_BYTES", 10)
    monkeypatch.setattr(transactions.joiner, "_size_of", lambda _: 4)
    first, second = await transactions.come("a1", "a2")
    [refused] = await transactions.come("b1")
    with pytest.raises(Paused):
        await refused
    await transactions.end("a1 a2")
    assert [await first, await second] == [NOTHING] * 2
    await transactions.come("b2", "b3")
    assert transactions.begun == ["a1 a2", "b2 b3"], "what is answered waits no more"


async def test_what_is_on_a_topic_that_somebody_makes_is_found_out_and_goes_with_nothing_else(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_FOR_LOCKS", 0)
    monkeypatch.setattr(joining, "TRIED_AGAIN_SECONDS", (0.0, 0.0))
    transactions.made = "a"
    [held, going] = await transactions.come("a1", "b1")
    for together in ("a1 b1", "a1", "b1"):
        await transactions.end(together)
    assert going.result() == NOTHING
    assert not held.done()
    for number in (2, 3):
        await turns()  # it would be tried again by now
        [_, going] = await transactions.come(f"a{number}", f"b{number}")
        await transactions.end(f"b{number}")
        assert going.result() == NOTHING
    assert transactions.begun == ["a1 b1", "a1", "b1", "b2", "b3"]
    monkeypatch.setattr(joining, "MOST_FOR_LOCKS", 3)
    await transactions.come("b4")
    assert transactions.waiting == ["a1 a2 a3"]
    await transactions.end("a1 a2 a3")
    assert held.result() == NOTHING


async def test_nothing_that_is_held_begins_after_the_end(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "MOST_FOR_LOCKS", 0)
    monkeypatch.setattr(joining, "TRIED_AGAIN_SECONDS", (0, 0))
    transactions.locked = "a"
    await transactions.come("a1")
    transactions._ends["a1"].set_result(None)
    await transactions.stop()
    await turns()
    assert transactions.begun == ["a1"]


async def test_no_more_are_held_up_than_leave_connections_to_others(
    transactions: Transactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "HELD_UP_SECONDS", 0)
    names = [f"{chr(ord('a') + number)}1" for number in range(MOST_AT_ONCE + 1)]
    for number, name in enumerate(names[:-1], 1):
        await transactions.come(name)
        await transactions.begin(number)
    await transactions.come(names[-1])
    assert transactions.begun == names[:-1]
    await transactions.end(names[0])
    await transactions.begin(len(names))
    assert transactions.begun == names


@pytest.mark.usefixtures("never_held_up")
async def test_whoever_has_begun_a_transaction_and_gives_up_leaves_those_of_others_alone(
    transactions: Transactions,
) -> None:
    first, second = await transactions.come("a1", "b1")
    first.cancel()
    await transactions.end("a1 b1")
    assert await second == NOTHING


async def test_what_is_still_carried_out_ends_with_the_joiner() -> None:
    is_busy, begun = asyncio.Event(), asyncio.all_tasks()

    async def commit(*_: Any, waits: bool) -> tuple[list[Answer], Sequence[Any]]:
        if is_busy.is_set():
            await asyncio.Event().wait()
        is_busy.set()
        return [NOTHING], ()

    joiner: Joiner[int] = Joiner(cast("Any", None), commit, lambda recorded: None)
    since = asyncio.get_running_loop().time()
    assert await joiner.run("topic", 0, None, since) == "{}"
    asked = asyncio.create_task(joiner.run("topic", 1, None, since))
    await turns()
    asked.cancel()
    await asyncio.wait((asked,))
    assert asyncio.all_tasks() - begun  # somebody's command goes on without them
    await joiner.stop()
    assert asyncio.all_tasks() == begun
