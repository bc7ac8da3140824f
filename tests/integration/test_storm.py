"""Five hundred clients that lose their connections together: all are back soon, and ask little for it.

The large versions, with thousands of clients, are run by hand: `python -m tests.faults.storm`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from collab_server.demo.embedded import EmbeddedPostgres
from collab_server.services.live.snapshots import LONGEST_WINDOW_SECONDS
from collab_server.services.upkeep import upkeep
from tests.faults.storm import Crowd, Writers, arena, quantile, statements
from tests.harness.cluster import Cluster
from tests.harness.waiting import until

pytestmark = pytest.mark.alone  # it is about times

PEOPLE = 500
BACKGROUND = (
    "SELECT current_setting",
    "SELECT epoch, seal_key",
    "SELECT name, last_seq",
    "SELECT count(*)",
    "SELECT name FROM collab.jobs",
    "SELECT mark, user_id",
    "SELECT (extract(epoch FROM clock_timestamp())",
    "SELECT DISTINCT user_id FROM collab.notifications",
)
"""What nodes ask every second or two, whether somebody comes or not, and what waits for those who came in the last
quarter of a second, however many they are."""

Storm = tuple[Cluster, Crowd, EmbeddedPostgres]


@pytest_asyncio.fixture(scope="module")
async def storm() -> AsyncIterator[Storm]:
    async with arena(PEOPLE, 50) as found:
        yield found


def has_done_its_jobs(postgres: EmbeddedPostgres) -> bool:
    """Those of upkeep, which are due at the start of a cluster and then every ten minutes."""
    given_back = "UPDATE collab.jobs SET holder = NULL"
    asked = statements(postgres.log_text()).items()
    return sum(number for words, number in asked if words.startswith(given_back)) >= len(upkeep())


async def test_everybody_is_back_within_ten_seconds_and_little_is_asked(storm: Storm) -> None:
    cluster, crowd, postgres = storm
    await until(lambda: has_done_its_jobs(postgres), 20, "the jobs of a start are done")
    tries = []
    for _ in range(6):
        began = time.monotonic()
        found = await asked_by_all_who_come_back(crowd, postgres)
        # Where those who come are held up, less of them are asked for at a time: but never more often.
        seconds = time.monotonic() - began
        most = len(cluster.nodes) * (1 + seconds / LONGEST_WINDOW_SECONDS)
        if sum(found.values()) <= 0.2 * PEOPLE or max(found.values()) <= min(most, 0.5 * PEOPLE):
            break
        tries.append((seconds, found.most_common()))
    else:
        pytest.fail(str(tries))


async def asked_by_all_who_come_back(crowd: Crowd, postgres: EmbeddedPostgres) -> Counter[str]:
    """What PostgreSQL is asked while all are cut and come back."""
    calls = Counter(await crowd.library.calls())
    asked = statements(postgres.log_text())
    crowd.cut()
    await until(lambda: not any(client.is_here for client in crowd.clients))
    await crowd.until_back(10)
    times = crowd.times()
    assert len(times) == PEOPLE
    assert crowd.faults() == []
    calls_of_returns = Counter(await crowd.library.calls()) - calls
    assert calls_of_returns["GET /sessions/userInfo"] == calls_of_returns["POST /auth/delegate"] == 0
    assert calls_of_returns["GET /objects/{id}"] == 0
    found = statements(postgres.log_text()) - asked
    return Counter({words: number for words, number in found.items() if not words.startswith(BACKGROUND)})


async def test_nodes_are_restarted_one_by_one_under_writes_and_nothing_is_lost(storm: Storm) -> None:
    cluster, crowd, _ = storm
    writers = Writers(crowd, 20)
    writers.start()
    for node in cluster.nodes:
        assert await node.stop() == 0
        await node.start()
    await crowd.until_back(15)
    await writers.stop()
    assert writers.refused == []
    assert crowd.faults() == []
    assert quantile(crowd.times(), 0.99) <= 5.5
    heads: dict[str, int] = {}
    for topic, seq in writers.acknowledged.values():
        heads[topic] = max(heads.get(topic, 0), seq)
    for topic, head in heads.items():
        # Each write took one seq: none was stored twice, and none that nobody was told of.
        assert sorted(seq for name, seq in writers.acknowledged.values() if name == topic) == list(
            range(1, head + 1)
        )
    await until(lambda: all(client.seq == heads.get(client.topic, 0) for client in crowd.clients), 10)


async def test_a_node_that_is_killed_leaves_its_clients_to_the_others(storm: Storm) -> None:
    cluster, crowd, _ = storm
    writers = Writers(crowd, 20)
    writers.start()
    await cluster[0].kill()
    await until(lambda: not all(client.is_here for client in crowd.clients))
    await crowd.until_back(10)
    await writers.stop()
    assert crowd.faults() == []
    assert writers.refused == []
    heads = {
        topic: max(seq for name, seq in writers.acknowledged.values() if name == topic)
        for topic, _ in writers.acknowledged.values()
    }
    await until(
        lambda: all(
            client.seq is not None and client.seq >= heads.get(client.topic, 0) for client in crowd.clients
        ),
        10,
    )
    await cluster[0].start()
