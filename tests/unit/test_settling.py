"""Moving recent comments to the index keeps nobody waiting for long."""

from __future__ import annotations

from typing import Any, cast

import pytest

from collab_server.services.search import settling
from collab_server.storage.database import Database


class Recent:
    """Stands for a database with so many comments that wait, and writes down what is done with them."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.done: list[int | str] = []

    async def fetchval(self, statement: str) -> int:
        return self.count

    async def write(self, statement: str, *arguments: Any) -> list[bool]:
        if not arguments:
            self.done.append("taken in")
            return []
        moved = min(arguments[0], self.count)
        self.count -= moved
        self.done.append(moved)
        return [True] * moved


@pytest.mark.parametrize("count", [0, 999, 1000, 1200, 2000, 4321])
async def test_no_statement_moves_many_and_the_index_takes_in_thousands(count: int) -> None:
    recent = Recent(count)
    await settling.settle(cast(Database, recent))
    is_worth_it = count >= settling.WORTH_SETTLING
    assert recent.count == (0 if is_worth_it else count)
    moved = [one for one in recent.done if isinstance(one, int)]
    assert max(moved, default=0) <= settling.SETTLED_AT_ONCE
    assert recent.done.count("taken in") == (count // settling.TAKEN_IN_AT_ONCE + 1 if is_worth_it else 0)
    assert not is_worth_it or recent.done[-1] == "taken in"
