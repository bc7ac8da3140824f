"""Those that leave are given their turn, each once."""

from __future__ import annotations

import pytest

from collab_server.realtime.spreading import spread


@pytest.mark.parametrize(("how_many", "most_seconds"), [(0, 1.0), (1, 1.0), (30, 1.0), (5_000, 0.05)])
async def test_each_leaves_once_and_they_not_together(how_many: int, most_seconds: float) -> None:
    given = [some async for some in spread(range(how_many), most_seconds)]
    assert sorted(number for some in given for number in some) == list(range(how_many))
    assert how_many < 2 or len(given) > 1


async def test_those_that_come_while_others_leave_are_not_among_them() -> None:
    here = {1, 2, 3}
    gone = []
    async for some in spread(here):
        here.add(len(here) + 1)
        gone += some
    assert sorted(gone) == [1, 2, 3]
